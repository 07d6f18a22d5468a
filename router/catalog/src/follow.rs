//! Following the catalog: one task that keeps a connection to the home shard, learns of new epochs, and hands out
//! snapshots.
//!
//! It must not know what a snapshot is used for. When the home shard is away the last snapshot stays, and the state
//! says so. An epoch that does not descend from the one that is held is refused, and the refusal stays visible.

use crate::connect::{Backend, config_for};
use crate::disk;
use crate::epoch;
use crate::error::CatalogError;
use crate::follow_task::{Request, Task};
use crate::raw::RawSnapshot;
use shardgate_plan::snapshot::{Floor, Host, Shard, Snapshot};
use shardgate_shard_map::ShardId;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tracing::warn;

/// Reloads that may wait at a time; more callers wait for a place.
pub(crate) const REQUESTS_MAX: usize = 64;

/// How long a router that ends tries to say so.
const LEAVE_MS_MAX: Duration = Duration::from_millis(1_000);

/// What a follower needs to know.
#[derive(Clone, Debug)]
pub struct FollowerOptions {
    /// The home shard, with all its hosts, and the credentials that hold on every shard.
    pub config: Config,
    /// Unique among routers and stable over restarts.
    pub router_id: String,
    /// The router's name for people.
    pub router_name: String,
    /// Where the last snapshot is kept; None: nowhere.
    pub state_file: Option<PathBuf>,
    /// How often the epoch is asked for, besides notifications.
    pub poll_ms: u64,
}

/// How a follower is doing, for SHOW and the readiness check.
#[derive(Clone, Debug)]
pub struct FollowerState {
    /// A connection to the home shard is there, and the last question was answered.
    pub connected: bool,
    /// `host:port` of the home shard's primary, when connected.
    pub host: Option<String>,
    /// Since when `connected` has its value.
    pub since: SystemTime,
    /// The last error, kept after it has passed.
    pub last_error: Option<String>,
    /// The number of the epoch that is in use.
    pub epoch: u64,
    /// The snapshot in use was read from disk, and the home shard has not confirmed it yet.
    pub from_disk: bool,
    /// Set while the home shard's epochs are refused: why.
    pub refused: Option<String>,
}

/// A snapshot with what it was built from.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub raw: Arc<RawSnapshot>,
    pub snapshot: Arc<Snapshot>,
}

/// Keeps the newest snapshot. Dropping it ends its task.
#[derive(Debug)]
pub struct Follower {
    config: Config,
    router_id: String,
    held: watch::Receiver<Held>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    state: watch::Receiver<FollowerState>,
    requests: mpsc::Sender<Request>,
    published: Arc<AtomicU64>,
    drained: watch::Sender<u64>,
    task: JoinHandle<()>,
}

/// Asks a follower for the newest snapshot, and does not keep it alive.
#[derive(Clone, Debug)]
pub struct Refresher {
    requests: mpsc::WeakSender<Request>,
}

impl Refresher {
    /// Reads the catalog now and returns what it then says. Cancel-safe: the reload goes on without its caller.
    ///
    /// # Errors
    /// The home shard cannot be reached, or the follower has ended.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, CatalogError> {
        let requests = self.requests.upgrade().ok_or(CatalogError::Stopped)?;
        let (answer, done) = oneshot::channel();
        let wish = Request {
            bump: false,
            answer,
        };
        requests
            .send(wish)
            .await
            .map_err(|_| CatalogError::Stopped)?;
        let found = done.await.map_err(|_| CatalogError::Stopped)??;
        Ok(found.snapshot)
    }
}

impl Follower {
    /// Returns when a first snapshot is there: from the home shard, or from disk when that cannot be reached.
    ///
    /// # Errors
    /// The home shard cannot be reached and nothing is on disk; there is no catalog; the file on disk is damaged.
    pub async fn start(options: FollowerOptions) -> Result<Follower, CatalogError> {
        let kept = match options.state_file.clone() {
            Some(path) => blocking(move || disk::read(&path)).await?,
            None => None,
        };
        let kept = match kept {
            Some(raw) => Some(Held {
                snapshot: Arc::new(raw.build()?),
                raw: Arc::new(raw),
            }),
            None => None,
        };
        let (task, parts) = Task::first(options.clone(), kept).await?;
        let task = tokio::spawn(task.run());
        Ok(Follower {
            config: options.config,
            router_id: options.router_id,
            held: parts.held,
            snapshots: parts.snapshots,
            state: parts.state,
            requests: parts.requests,
            published: parts.published,
            drained: parts.drained,
            task,
        })
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// What a replica of the shard must have replayed, by the newest snapshot.
    pub fn floor(&self, shard: ShardId) -> Option<Floor> {
        self.snapshots.borrow().floors.get(&shard).copied()
    }

    /// How many snapshots there have been, 0 for the first: a cheap question whether there is a newer one. An epoch is
    /// acknowledged to the other routers after its snapshot counts here.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Says in the router's row, as soon as it can be reached, that nothing is under way here which was planned by an older
    /// epoch and concerns a move. It never goes down.
    pub fn set_drained(&self, epoch: u64) {
        self.drained.send_if_modified(|known| {
            let newer = epoch > *known;
            *known = epoch.max(*known);
            newer
        });
    }

    /// Asks for snapshots.
    pub fn refresher(&self) -> Refresher {
        Refresher {
            requests: self.requests.downgrade(),
        }
    }

    /// A channel that always holds the newest snapshot.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// How the follower is doing.
    pub fn state(&self) -> FollowerState {
        self.state.borrow().clone()
    }

    /// A channel that always holds the newest state.
    pub fn subscribe_state(&self) -> watch::Receiver<FollowerState> {
        self.state.clone()
    }

    /// What the newest snapshot was built from.
    pub fn raw(&self) -> Arc<RawSnapshot> {
        Arc::clone(&self.held.borrow().raw)
    }

    /// The secret that keys the salts which unknown users are shown.
    pub fn mock_auth_secret(&self) -> Vec<u8> {
        crate::key_text::bytes(&self.held.borrow().raw.mock_auth_secret).unwrap_or_default()
    }

    /// The home shard's configuration, as it was given.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How to reach one host of a shard with our own credentials.
    pub fn config_for(&self, shard: &Shard, host: &Host) -> Config {
        config_for(
            &self.config,
            std::slice::from_ref(host),
            self.dbname_of(shard).as_deref(),
        )
    }

    /// How to reach a shard, all of its hosts.
    pub fn config_for_shard(&self, shard: &Shard) -> Config {
        config_for(&self.config, &shard.hosts, self.dbname_of(shard).as_deref())
    }

    /// The name of the database on a shard.
    pub fn dbname_of(&self, shard: &Shard) -> Option<String> {
        let held = self.held.borrow();
        let raw = held.raw.shards.iter().find(|raw| raw.id == shard.id.0);
        raw.and_then(|raw| raw.dbname.clone())
            .or_else(|| Some(held.raw.database.clone()))
    }

    /// Reads the catalog now and returns what it then says. With `bump`, a new epoch is made first if the schema has
    /// changed: for DDL that the caller has just committed. Then it also waits until every other router that lives works
    /// by the epoch, within a limit: who learns that the DDL is done may ask any router.
    ///
    /// Cancel-safe: the reload goes on without its caller.
    pub async fn refresh(&self, bump: bool) -> Result<Arc<Snapshot>, CatalogError> {
        let (answer, done) = oneshot::channel();
        self.requests
            .send(Request { bump, answer })
            .await
            .map_err(|_| CatalogError::Stopped)?;
        let found = done.await.map_err(|_| CatalogError::Stopped)??;
        if found.others_behind {
            // A connection of its own: the task's must go on, since the others may wait for this router.
            match Backend::primary(&self.config, "the home shard").await {
                Ok(home) => {
                    let number = i64::try_from(found.snapshot.epoch.number).unwrap_or(i64::MAX);
                    epoch::acknowledged(&home, number).await;
                }
                Err(error) => warn!(%error, "other routers were not waited for"),
            }
        }
        Ok(found.snapshot)
    }

    /// Ends the task, and takes the router out of the list of those that changes wait for. A router that cannot do so
    /// counts as gone some seconds later.
    pub async fn leave(&self) {
        self.task.abort();
        let left = async {
            let home = Backend::primary(&self.config, "the home shard").await?;
            let sql = "DELETE FROM shardgate.router WHERE id = $1";
            let deleted = home.execute(sql, &[&self.router_id]).await;
            deleted.map_err(|error| home.err(&error))
        };
        match tokio::time::timeout(LEAVE_MS_MAX, left).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "the router is still listed"),
            Err(_) => warn!("the router is still listed: no answer in time"),
        }
    }

    /// Ends the task and waits for it.
    pub async fn shutdown(self) {
        drop(self.requests);
        // The task ends when nobody can ask it any more; a panic in it has been logged by the runtime.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.task).await;
    }
}

/// Runs file work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CatalogError> + Send + 'static,
) -> Result<T, CatalogError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| CatalogError::Stopped)?
}
