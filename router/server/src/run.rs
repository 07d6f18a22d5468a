//! The life of the process: build the parts, serve, and end as the signals say.

use crate::config::Config;
use crate::health::{Health, Monitor, Options};
use crate::http::Pages;
use crate::lanes::{Lanes, Measured};
use crate::metrics::{Scrape, registry};
use crate::registry::announce_snapshots;
use crate::shared::Shared;
use crate::stops::Stops;
use crate::{admin, drains, listener, recovery};
use shardgate_catalog::{CatalogError, Follower, FollowerOptions};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// The beat of everything that is due by time.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two looks at all idle connections.
const TICKS_PER_LOOK: u32 = 50;
/// Ticks between two measurements of the threads that serve clients.
const TICKS_PER_BALANCE: u32 = 5;
/// The last snapshot's file in `router.state_dir`.
const STATE_FILE: &str = "snapshot.json";

/// Why the router does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("could not listen on {host}:{port}: {error}")]
    Listen {
        host: String,
        port: u16,
        error: io::Error,
    },
    #[error("could not make router.state_dir {path}: {error}")]
    StateDir { path: String, error: io::Error },
    #[error("could not watch for signals: {0}")]
    Signals(io::Error),
    #[error("could not load the catalog: {0}")]
    Catalog(#[from] CatalogError),
}

/// Runs until a signal ends it: SIGTERM lets open transactions end (`drain_timeout`), SIGINT does not. With `stops` it
/// stops or dies where they say, for tests.
///
/// # Errors
/// It could not start.
pub async fn run(config: Config, lanes: Lanes, stops: Option<Stops>) -> Result<(), StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let config = Arc::new(config);
    // The ports first: what is in the way of them is told at once, and clients that come early wait in the queue.
    let sockets = bind(&config.listen.host, config.listen.port).await?;
    let http = match &config.http {
        Some(http) => bind(&http.host, http.port).await?,
        None => Vec::new(),
    };
    let follower = tokio::select! {
        follower = follow(&config) => follower?,
        _ = signals.end() => return Ok(()),
    };
    let (health, monitor) = Health::start(Options::from_config(&config), follower.subscribe());
    let stops = stops.map(Arc::new);
    let shared = Arc::new(Shared::new(
        Arc::clone(&config),
        follower,
        health,
        lanes,
        stops,
    ));
    let mut tasks = background(&shared, http);
    let accepting = tokio::spawn(listener::serve(Arc::clone(&shared), sockets));
    let epoch = shared.follower.snapshot().epoch.number;
    tracing::info!(listen = %format!("{}:{}", config.listen.host, config.listen.port), epoch, "the router serves");
    let ending = signals.end().await;
    accepting.abort();
    shared.set_accepting(false);
    if ending == Ending::Drain {
        drain(&shared, &mut signals).await;
    }
    tasks.shutdown().await;
    shared.follower.leave().await;
    Monitor::stop(monitor).await;
    tracing::info!("the router ends");
    Ok(())
}

async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, StartError> {
    let failed = |error| StartError::Listen {
        host: host.to_owned(),
        port,
        error,
    };
    listener::bind(host, port).await.map_err(failed)
}

async fn follow(config: &Config) -> Result<Follower, StartError> {
    let database = &config.database;
    let mut home = tokio_postgres::Config::new();
    for server in &database.home {
        home.host(&server.host).port(server.port);
    }
    home.user(&database.admin_user)
        .dbname(&database.name)
        .application_name("shardgate catalog");
    home.connect_timeout(config.pool.server_connect_timeout);
    if let Some(password) = &database.admin_password {
        home.password(password.expose());
    }
    let state_file = match &config.router.state_dir {
        Some(folder) => {
            let failed = |error| StartError::StateDir {
                path: folder.display().to_string(),
                error,
            };
            std::fs::create_dir_all(folder).map_err(failed)?;
            Some(folder.join(STATE_FILE))
        }
        None => None,
    };
    let options = FollowerOptions {
        config: home,
        router_id: config.router.id.to_string(),
        router_name: config.router.name.clone(),
        state_file: state_file.clone(),
        poll_ms: u64::try_from(config.catalog.poll_interval.as_millis()).unwrap_or(u64::MAX),
    };
    match (Follower::start(options.clone()).await, state_file) {
        // After an upgrade, most often. The home shard has the newest snapshot anyway; the file is kept for people.
        (Err(error @ CatalogError::StateFile { .. }), Some(path)) => {
            let aside = path.with_extension("unusable");
            tracing::warn!(moved_to = %aside.display(), "{error}");
            let failed = |error| StartError::StateDir {
                path: aside.display().to_string(),
                error,
            };
            std::fs::rename(&path, &aside).map_err(failed)?;
            Ok(Follower::start(options).await?)
        }
        (started, _) => Ok(started?),
    }
}

/// Everything that runs beside the clients. It ends when the set is dropped.
fn background(shared: &Arc<Shared>, http: Vec<TcpListener>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(tick(Arc::clone(shared)));
    tasks.spawn(announce_snapshots(
        Arc::clone(&shared.clients),
        shared.follower.subscribe(),
    ));
    tasks.spawn(drains::run(Arc::clone(shared)));
    tasks.spawn(renew_backends(Arc::clone(shared)));
    tasks.spawn(recovery::run(Arc::clone(shared)));
    let source: Arc<dyn admin::Source> = Arc::clone(shared) as Arc<dyn admin::Source>;
    let scrape = Scrape {
        metrics: Arc::clone(&shared.metrics),
        health: shared.health.clone(),
        source: Arc::clone(&source),
    };
    let pages = Arc::new(Pages {
        registry: registry(scrape),
        health: shared.health.clone(),
        source,
    });
    for socket in http {
        tasks.spawn(crate::http::serve(socket, Arc::clone(&pages)));
    }
    tasks
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u32 = 0;
    let mut measured = Measured::default();
    loop {
        interval.tick().await;
        ticks = ticks.wrapping_add(1);
        shared.pools.tick(Instant::now());
        shared.clients.tick();
        if ticks.is_multiple_of(TICKS_PER_BALANCE) {
            shared.lanes.balance(&mut measured);
        }
        if ticks.is_multiple_of(TICKS_PER_LOOK) {
            shared.pools.look_at_idle();
        }
    }
}

/// Settings of roles and databases are applied by a login and by nothing else, so a change of them retires all backends.
async fn renew_backends(shared: Arc<Shared>) {
    let mut snapshots = shared.follower.subscribe();
    let mut known = shared.follower.raw().login_settings.clone();
    while snapshots.changed().await.is_ok() {
        let now = shared.follower.raw().login_settings.clone();
        if now != known {
            known = now;
            shared.pools.retire_all();
        }
    }
}

/// Lets sessions end by themselves; a second signal, or `drain_timeout`, cuts the rest off.
async fn drain(shared: &Arc<Shared>, signals: &mut Signals) {
    let limit = shared.config.limits.drain_timeout;
    tracing::info!(
        clients = shared.connections.count(),
        "draining for at most {} ms",
        limit.as_millis()
    );
    shared.drain();
    tokio::select! {
        () = shared.connections.wait_empty() => {}
        () = tokio::time::sleep(limit) => {
            tracing::warn!(clients = shared.connections.count(), "drain_timeout has passed, the rest is cut off");
        }
        _ = signals.end() => {}
    }
}

/// How the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Drain,
    AtOnce,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the process. Cancel-safe.
    async fn end(&mut self) -> Ending {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ending::Drain,
                _ = self.interrupt.recv() => return Ending::AtOnce,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: the configuration is read at the start only, a restart is needed for changes");
                }
            }
        }
    }
}
