//! Starts a demo: a new one, or a stopped one again.

use crate::cluster::{
    Cluster, ClusterError, Ports, RouterConfig, RouterProcess, free_port, port_is_free,
    router_binary,
};
use crate::demo::place::Place;
use crate::demo::sample::{self, Sample};
use crate::demo::state::{Process, RouterState, State};
use crate::demo::{DATABASE, catalog};
use crate::failure::Failure;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

pub const SHARDS: u16 = 2;
pub const REPLICAS: u16 = 1;
pub const PORT: u16 = 6432;
/// Taken if it is free and none was asked for.
pub const HTTP_PORT: u16 = 6480;

/// What was asked for; None is the default, or what a stopped demo already has.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    pub shards: Option<u16>,
    pub replicas: Option<u16>,
    pub port: Option<u16>,
    pub http_port: Option<u16>,
    pub sample: Sample,
    pub fsync: bool,
    pub detach: bool,
}

/// A running demo. Dropping it ends all its processes, the router first.
#[derive(Debug)]
pub struct Demo {
    pub router: RouterProcess,
    pub cluster: Cluster,
    pub state: State,
    pub place: Place,
    /// False if a stopped demo was started again.
    pub new: bool,
}

/// Starts it and returns when the router is ready and the sample is loaded. Blocking; inside of an async runtime it must
/// run on a blocking thread.
///
/// What was started is ended when it fails or when `cancelled` becomes true meanwhile, and a demo that was to be new is
/// removed again.
pub fn start(
    place: &Place,
    options: &StartOptions,
    cancelled: &AtomicBool,
) -> Result<Demo, Failure> {
    let binary = router_binary()?;
    let created = !place.dir.exists();
    std::fs::create_dir_all(&place.dir)
        .map_err(Failure::io(format!("create {}", place.dir.display())))?;
    open_to_all(&place.dir, created)?;
    if State::load(place)?.is_none() {
        // Before the lock file is made: nothing is left in a directory that is somebody else's.
        place.require_empty()?;
    }
    let _lock = place.lock()?;
    let known = State::load(place)?;
    let new = known.is_none();
    let state = match known {
        Some(state) => reopened(state, place, options),
        None => fresh(options),
    };
    let shards = state.as_ref().map(State::shard_names).unwrap_or_default();
    let result = state.and_then(|state| run(place, state, new, options, &binary, cancelled));
    if result.is_err() && new {
        // A half-made demo is of no use. The error itself is reported; a directory that was there before stays.
        let _removed = if created {
            place.remove(&shards).map(|_| ())
        } else {
            place.clear(&shards)
        };
    }
    result
}

/// A new directory is made enterable whatever the umask says, because the servers may run as another account.
fn open_to_all(dir: &Path, created: bool) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    if !created {
        return Ok(());
    }
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).map_err(Failure::io(format!("open {}", dir.display())))
}

fn fresh(options: &StartOptions) -> Result<State, Failure> {
    let ports = ports(options, None)?;
    let router = RouterState {
        port: ports.clients,
        http_port: ports.http,
        process: None,
    };
    let (shards, replicas) = (
        options.shards.unwrap_or(SHARDS),
        options.replicas.unwrap_or(REPLICAS),
    );
    Ok(State::new(shards, replicas, options.fsync, router))
}

/// The state of a stopped demo, if it can be started as it was asked for.
fn reopened(mut state: State, place: &Place, options: &StartOptions) -> Result<State, Failure> {
    let dir = place.dir.display();
    if let Some(process) = state.living_processes().first() {
        return Err(Failure::new(format!("the demo in {dir} is running"))
            .detail(format!("Process {} is one of its servers.", process.pid))
            .hint("See \"shard-admin demo status\"; end it with \"shard-admin demo stop\"."));
    }
    if !state.made {
        return Err(
            Failure::new(format!("the demo in {dir} was never completed"))
                .detail("The command that was making it has been killed.")
                .hint("Remove it with \"shard-admin demo destroy\", then start it again."),
        );
    }
    let has = [
        ("shards", options.shards, shard_count(&state)),
        ("replicas", options.replicas, state.replicas),
    ];
    for (what, asked, has) in has {
        if asked.is_some_and(|asked| asked != has) {
            return Err(Failure::usage(format!("the demo in {dir} has {has} {what}"))
                .hint(format!("Leave --{what} out, or remove the demo with \"shard-admin demo destroy\" first.")));
        }
    }
    let ports = ports(options, Some(&state.router))?;
    state.router = RouterState {
        port: ports.clients,
        http_port: ports.http,
        process: None,
    };
    state.fsync |= options.fsync;
    Ok(state)
}

fn shard_count(state: &State) -> u16 {
    u16::try_from(state.shards.len()).unwrap_or(u16::MAX)
}

/// The router's ports: as asked for, or as they were, or the defaults.
fn ports(options: &StartOptions, known: Option<&RouterState>) -> Result<Ports, Failure> {
    let clients = options
        .port
        .or(known.map(|router| router.port))
        .unwrap_or(PORT);
    if !port_is_free(clients) {
        return Err(taken(clients, "--port"));
    }
    let http = match (options.http_port, known.map(|router| router.http_port)) {
        (Some(port), _) if !port_is_free(port) => return Err(taken(port, "--http-port")),
        (Some(port), _) => port,
        (None, Some(port)) if port_is_free(port) => port,
        (None, _) if HTTP_PORT != clients && port_is_free(HTTP_PORT) => HTTP_PORT,
        (None, _) => free_port()?,
    };
    if http == clients {
        return Err(Failure::usage("--port and --http-port are equal"));
    }
    Ok(Ports { clients, http })
}

fn taken(port: u16, option: &str) -> Failure {
    Failure::new(format!("port {port} of 127.0.0.1 is in use"))
        .detail("The router cannot listen there: another program does, or ports below 1024 are not for this user.")
        .hint(format!("Choose another with {option}, or find the program: ss -ltnp 'sport = :{port}'."))
}

fn run(
    place: &Place,
    mut state: State,
    new: bool,
    options: &StartOptions,
    binary: &Path,
    cancelled: &AtomicBool,
) -> Result<Demo, Failure> {
    if !options.detach {
        state.supervisor = crate::cluster::ProcessId::current().map(Process::from);
    }
    let check = || {
        if cancelled.load(Ordering::Relaxed) {
            Err(Failure::new("interrupted"))
        } else {
            Ok(())
        }
    };
    state.save(place)?;
    let cluster = servers(place, &state, new, cancelled);
    let (cluster, mut state) = match cluster {
        Ok(made) => made,
        Err(error) => return Err(check().err().unwrap_or(error)),
    };
    check()?;
    if new {
        catalog::create(&cluster, DATABASE)?;
    }
    check()?;
    let router = start_router(place, &state, &cluster, binary)?;
    state.router.process = Some(Process::from(router.process().clone()));
    state.save(place)?;
    check()?;
    if new {
        sample::load(options.sample, &cluster, &state.router_url(DATABASE))?;
    }
    check()?;
    state.made = true;
    state.save(place)?;
    Ok(Demo {
        router,
        cluster,
        state,
        place: place.clone(),
        new,
    })
}

fn servers(
    place: &Place,
    state: &State,
    new: bool,
    cancelled: &AtomicBool,
) -> Result<(Cluster, State), Failure> {
    // In groups of their own, so that Ctrl-C ends them in order and not all at once.
    let mut builder = Cluster::builder()
        .dir(&place.dir)
        .database(DATABASE)
        .fsync(state.fsync)
        .own_group(true);
    builder = match new {
        true => builder.shards(shard_count(state)).replicas(state.replicas),
        false => {
            let ports = state
                .shards
                .iter()
                .map(|shard| shard.servers.iter().map(|server| server.port).collect());
            builder.reopen(ports.collect())
        }
    };
    let shared = Mutex::new(state.clone());
    let cluster = builder.start_seen(&|node| {
        if cancelled.load(Ordering::Relaxed) {
            return Err(ClusterError::Cancelled);
        }
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.record(node);
        state.save(place).map_err(|failure| ClusterError::Observer {
            cause: failure.to_string(),
        })
    })?;
    Ok((
        cluster,
        shared.into_inner().unwrap_or_else(PoisonError::into_inner),
    ))
}

fn start_router(
    place: &Place,
    state: &State,
    cluster: &Cluster,
    binary: &Path,
) -> Result<RouterProcess, Failure> {
    let home = cluster
        .shards
        .first()
        .into_iter()
        .flat_map(|shard| shard.nodes());
    let config = RouterConfig {
        name: "demo".to_owned(),
        ports: Ports {
            clients: state.router.port,
            http: state.router.http_port,
        },
        dir: router_dir(place)?,
        auth: crate::cluster::Auth::Trust,
        database: DATABASE.to_owned(),
        home: home.map(|node| (node.host.clone(), node.port)).collect(),
        pool_size: 20,
        drain_seconds: 2,
        env: Vec::new(),
        own_group: true,
    };
    Ok(RouterProcess::start(binary, &config)?)
}

fn router_dir(place: &Place) -> Result<PathBuf, Failure> {
    let dir = place.router_dir();
    std::fs::create_dir_all(&dir).map_err(Failure::io(format!("create {}", dir.display())))?;
    Ok(dir)
}

impl Demo {
    /// Ends the processes in order and writes down that they have ended. The data stays.
    pub fn end(mut self) -> Result<(), Failure> {
        self.router.stop();
        self.cluster.stop();
        self.state.forget_processes();
        self.state.save(&self.place)
    }

    /// Lets everything live on after this command.
    pub fn detach(self) -> State {
        self.router.detach();
        self.cluster.detach();
        self.state
    }
}
