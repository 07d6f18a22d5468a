//! Which server of a shard is the primary, and which replicas may answer which session.
//!
//! Roles are found by asking the servers. It must not know sessions, statements or pools: they come with marks and leave
//! with an endpoint. What the query path calls reads one published value and never waits.
//!
//! Its invariant: a replica is offered to a session only if it has replayed all that the session's marks stand for. A
//! mark is a *tick* of one counter, taken after an acknowledgement came in. A *sample* is the primary's timeline and
//! insert position, asked for by a statement that was sent after the counter was read; so a sample whose tick is not
//! below the mark's covers the mark, and a replica that has replayed the sample's position on its timeline has it all.
//! The insert position and not the written one is asked for, because a commit with `synchronous_commit = off` is
//! acknowledged before it is written.

mod board;
mod choose;
mod follow;
mod history;
#[cfg(test)]
pub(crate) mod live_tests;
mod probe;
mod sampler;
mod server;
mod shard;
#[cfg(test)]
mod tests;

pub use choose::Load;

use crate::config::{Config, Secret};
use arc_swap::ArcSwap;
use shard::Shard;
use shardgate_plan::snapshot::{Floor, Snapshot};
use shardgate_shard_map::ShardId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One run of one server in one role: it changes when the server is another one, was restarted, or has switched its
/// timeline. What was seen under one id says nothing about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// A server that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub id: EndpointId,
    pub shard: ShardId,
    pub host: Arc<str>,
    pub port: u16,
}

/// What one session has written and seen on one shard. Zero ticks are "nothing".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMarks {
    /// Taken with `Health::tick` after the last acknowledgement of a write.
    pub write: u64,
    /// Taken with `Health::tick` after the last read.
    pub read: u64,
    /// The endpoint of that read, if the last reads since `read_on` was set were all there.
    pub read_on: Option<EndpointId>,
}

/// A server that is silent for so long is taken for down, so that a fail-over is followed.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How servers are asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The router's own role. It needs what `pg_monitor` gives: without it replicas do not tell whether they stream, and
    /// are left out.
    pub user: String,
    pub password: Option<Secret>,
    pub application_name: String,
    pub connect_timeout: Duration,
    /// Between two questions to a server while replicas are in use.
    pub probe_interval: Duration,
    /// The same while they are not.
    pub idle_interval: Duration,
    /// A server that does not answer for so long is down.
    pub probe_timeout: Duration,
    /// Between two samples of one shard, at least.
    pub sample_interval: Duration,
    /// None: no limit.
    pub lag_bytes_max: Option<u64>,
    pub lag_max: Option<Duration>,
}

impl Options {
    pub fn from_config(config: &Config) -> Self {
        Options {
            user: config.database.admin_user.clone(),
            password: config.database.admin_password.clone(),
            application_name: format!("shardgate health {}", config.router.id),
            connect_timeout: config.pool.server_connect_timeout.min(SILENCE_MAX),
            probe_interval: config.replicas.probe_interval,
            idle_interval: Duration::from_secs(1).max(config.replicas.probe_interval),
            probe_timeout: SILENCE_MAX,
            sample_interval: Duration::from_millis(10),
            lag_bytes_max: config.replicas.lag_bytes_max,
            lag_max: config.replicas.lag_ms_max,
        }
    }
}

/// Why a shard has no primary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} has no primary: {reason}")]
pub struct NoPrimary {
    pub shard: u16,
    /// For the log and the admin console; it names hosts, so clients are not told.
    pub reason: String,
}

/// What a server is to its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRole {
    Primary,
    Replica,
    /// A primary of an older timeline: never used.
    Fenced,
    /// A server of another cluster: never used.
    Foreign,
    /// A second primary of the same timeline: never used.
    Conflict,
    /// It does not answer.
    Down,
    /// It was not asked yet.
    Unknown,
}

impl ServerRole {
    /// The word that the console and the metrics say.
    pub fn as_str(self) -> &'static str {
        match self {
            ServerRole::Primary => "primary",
            ServerRole::Replica => "replica",
            ServerRole::Fenced => "fenced",
            ServerRole::Foreign => "foreign",
            ServerRole::Conflict => "conflict",
            ServerRole::Down => "down",
            ServerRole::Unknown => "unknown",
        }
    }
}

/// What the console shows of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    pub shard: ShardId,
    pub host: String,
    pub port: u16,
    pub id: Option<EndpointId>,
    pub role: ServerRole,
    /// A replica that may be used now.
    pub usable: bool,
    pub timeline: u32,
    /// Insert position of a primary, replay position of a replica.
    pub lsn: u64,
    pub lag_bytes: Option<u64>,
    pub lag: Option<Duration>,
    pub latency: Option<Duration>,
    /// Connections in use, as told by `endpoint_busy`.
    pub busy: i64,
    pub error: Option<String>,
}

/// The shared, cheap handle.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    clock: Clock,
    shards: ArcSwap<Shards>,
}

/// The watched shards, by id.
#[derive(Default)]
struct Shards(Vec<(ShardId, Arc<Shard>)>);

impl Shards {
    fn new(shards: impl Iterator<Item = (ShardId, Arc<Shard>)>) -> Self {
        let mut shards: Vec<_> = shards.collect();
        shards.sort_by_key(|(id, _)| *id);
        Shards(shards)
    }

    fn get(&self, id: ShardId) -> Option<&Arc<Shard>> {
        let at = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.0.get(at).map(|(_, shard)| shard)
    }
}

/// The counter of ticks and the one of endpoint ids.
pub(crate) struct Clock {
    tick: AtomicU64,
    endpoint: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Clock {
            tick: AtomicU64::new(0),
            endpoint: AtomicU64::new(0),
        }
    }

    /// The ticks that were given out so far.
    fn now(&self) -> u64 {
        self.tick.load(Ordering::SeqCst)
    }

    fn next_endpoint(&self) -> EndpointId {
        EndpointId(self.endpoint.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Keeps the tasks; they end when it is dropped.
pub struct Monitor {
    task: tokio::task::JoinHandle<()>,
}

impl Monitor {
    /// Ends all tasks and waits for them.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only outcome is that it was aborted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Health {
    /// Starts to ask the servers of the snapshot, and follows it as hosts come and go. To be called within a runtime.
    pub fn start(options: Options, snapshots: watch::Receiver<Arc<Snapshot>>) -> (Self, Monitor) {
        let shared = Arc::new(Shared {
            options,
            clock: Clock::new(),
            shards: ArcSwap::default(),
        });
        let task = tokio::spawn(follow::Running::start(shared.clone(), snapshots));
        (Health { shared }, Monitor { task })
    }

    fn shard(&self, id: ShardId) -> Option<Arc<Shard>> {
        self.shared.shards.load().get(id).cloned()
    }

    /// As `shard`, without a reference that is counted: for what each statement asks.
    fn with<T>(&self, id: ShardId, ask: impl FnOnce(&Shard) -> T) -> Option<T> {
        self.shared.shards.load().get(id).map(|shard| ask(shard))
    }

    /// A new tick. Take it after the acknowledgement has come in, never before.
    pub fn tick(&self) -> u64 {
        self.shared.clock.tick.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The shard's primary, if one is known right now.
    pub fn primary(&self, shard: ShardId) -> Option<Endpoint> {
        self.with(shard, |shard| shard.view().primary.clone())?
    }

    /// The shard's primary; waits for a fail-over to end, until the deadline. Cancel-safe.
    pub async fn wait_primary(
        &self,
        shard: ShardId,
        deadline: Instant,
    ) -> Result<Endpoint, NoPrimary> {
        let unknown = || NoPrimary {
            shard: shard.0,
            reason: "it is not in the catalog".to_owned(),
        };
        let state = match self.shard(shard) {
            Some(state) => state,
            None => return Err(unknown()),
        };
        let mut changes = state.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(endpoint) = &state.view().primary {
                return Ok(endpoint.clone());
            }
            let waited = tokio::time::timeout_at(deadline.into(), changes.changed()).await;
            if !matches!(waited, Ok(Ok(()))) {
                return Err(NoPrimary {
                    shard: shard.0,
                    reason: state.view().reason.clone(),
                });
            }
        }
    }

    /// Why `primary` has nothing; empty if it has. It names hosts, so clients are not told.
    pub fn why_no_primary(&self, shard: ShardId) -> String {
        let state = self.shard(shard);
        state.map_or_else(
            || "it is not in the catalog".to_owned(),
            |s| s.view().reason.clone(),
        )
    }

    /// A replica that streams, lags less than the limits and has replayed all that the marks stand for. None: ask the
    /// primary. Never waits. `floor`: of the newest snapshot.
    pub fn replica(
        &self,
        shard: ShardId,
        marks: &ShardMarks,
        floor: Option<Floor>,
    ) -> Option<Endpoint> {
        self.with(shard, |shard| {
            if shard.view().replicas.is_empty() {
                return None;
            }
            shard.touch();
            shard.choose(marks, floor)
        })?
    }

    /// A replica that streams and lags less than the limits, whatever a session has seen.
    pub fn any_replica(&self, shard: ShardId, floor: Option<Floor>) -> Option<Endpoint> {
        self.replica(shard, &ShardMarks::default(), floor)
    }

    /// Whether the shard has a replica that could be used by a session without marks.
    pub fn has_replica(&self, shard: ShardId) -> bool {
        self.shard(shard)
            .is_some_and(|s| s.view().replicas.iter().any(|r| r.usable))
    }

    /// Whether the endpoint is one that is in use now: a connection to any other is to be closed when it is free.
    pub fn is_current(&self, endpoint: &Endpoint) -> bool {
        self.with(endpoint.shard, |shard| shard.view().has(endpoint.id))
            .unwrap_or(false)
    }

    /// Says that a session waits for replicas to reach `tick`. Cheap; may be said for every mark.
    pub fn need_sample(&self, shard: ShardId, tick: u64) {
        // Without replicas nobody would use it; the first mark after one has come asks again.
        self.with(shard, |shard| {
            if !shard.view().replicas.is_empty() {
                shard.touch();
                shard.need_sample(tick);
            }
        });
    }

    /// The count of connections in use at the endpoint: +1 when one is taken, -1 when it is given back. None: it is not
    /// one of the servers that are watched now.
    pub fn load(&self, endpoint: &Endpoint) -> Option<Arc<Load>> {
        self.with(endpoint.shard, |shard| {
            shard.view().load(endpoint.id).cloned()
        })?
    }

    /// Something went wrong at the endpoint that a changed role would explain (no connection, a read-only error on a
    /// primary): its servers are asked at once.
    pub fn report_failure(&self, endpoint: &Endpoint) {
        if let Some(state) = self.shard(endpoint.shard) {
            state.hurry();
        }
    }

    /// All servers as they were last seen, by shard and in the catalog's order of hosts.
    pub fn servers(&self) -> Vec<ServerHealth> {
        let shards = self.shared.shards.load();
        shards.0.iter().flat_map(|(_, s)| s.servers()).collect()
    }
}
