//! Real Postgres clusters on this machine: N shards, each a primary with streaming replicas, and a router before them.
//!
//! The demo and the black-box tests start their servers here. This module knows processes, ports, data directories and
//! Postgres's settings; it knows nothing of the catalog, of sharding or of how anything is printed.
//! Everything blocks, works from inside and outside of an async runtime, and is bounded in time.
//!
//! Invariant: every process that a [`Cluster`] or a [`RouterProcess`] has started is ended when the value is dropped,
//! and only those: by process id and birth, never by name.

mod account;
mod address;
mod binaries;
mod builder;
mod error;
mod files;
mod node;
mod port;
mod process;
mod query;
mod router;
mod router_config;
mod settings;

pub use account::Account;
pub use address::{Login, connection_url};
pub use binaries::PgBinaries;
pub use builder::ClusterBuilder;
pub use error::ClusterError;
pub use files::{log_tail, reachable_by};
pub use node::Node;
pub use port::{free_port, port_is_free};
pub use process::{ProcessId, Signal};
pub use query::{Rows, query};
pub use router::{RouterProcess, router_binary};
pub use router_config::{Ports, RouterConfig};
pub use settings::Auth;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One shard: a primary and its streaming replicas.
#[derive(Debug)]
pub struct Shard {
    /// `s1`, `s2`, ..
    pub name: String,
    pub primary: Node,
    pub replicas: Vec<Node>,
}

impl Shard {
    /// The primary, then the replicas.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Waits until every replica streams from the primary.
    pub fn wait_streaming(&self, deadline: Duration) -> Result<(), ClusterError> {
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        let wanted = self.replicas.len();
        wait_until(
            deadline,
            &format!("the {wanted} replicas of {} to stream", self.name),
            || {
                let streaming = single_value(&self.primary.query("postgres", sql)?);
                Ok(streaming
                    .and_then(|n| n.parse::<usize>().ok())
                    .is_some_and(|n| n >= wanted))
            },
        )
    }

    /// Waits until every replica has replayed what the primary had inserted into its WAL when this was called.
    pub fn wait_caught_up(&self, deadline: Duration) -> Result<(), ClusterError> {
        let rows = self
            .primary
            .query("postgres", "SELECT pg_current_wal_insert_lsn()")?;
        let mark = single_value(&rows).unwrap_or_default();
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{mark}'::pg_lsn");
        for replica in &self.replicas {
            wait_until(
                deadline,
                &format!("{} to replay {mark}", replica.name),
                || Ok(single_value(&replica.query("postgres", &sql)?).as_deref() == Some("t")),
            )?;
        }
        Ok(())
    }
}

/// Shards that run on this machine until this value is dropped (or [`Cluster::detach`]ed).
#[derive(Debug)]
pub struct Cluster {
    /// Holds a folder for each shard with the data directories and the logs.
    pub dir: PathBuf,
    /// The first one is meant to be the home shard.
    pub shards: Vec<Shard>,
    /// Set if the directory goes with the cluster. Declared last: it is removed after the servers have ended.
    temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// All servers, shard by shard, the primary first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.shards.iter().flat_map(Shard::nodes)
    }

    /// Stops all servers at the same time: a fast shutdown, then harder means. Data directories stay.
    pub fn stop(&self) {
        end_all(self.nodes(), Signal::Int, Duration::from_secs(30));
    }

    /// Lets the servers live on after this value, and after this process.
    pub fn detach(mut self) {
        for node in self.nodes() {
            node.release();
        }
        if let Some(temporary) = self.temporary.take() {
            let _kept: PathBuf = temporary.keep();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody will read a temporary directory again: an immediate shutdown saves the checkpoint.
        let (signal, deadline) = match self.temporary {
            Some(_) => (Signal::Quit, Duration::from_secs(10)),
            None => (Signal::Int, Duration::from_secs(30)),
        };
        end_all(self.nodes(), signal, deadline);
    }
}

/// Signals all nodes first and waits afterwards, so that the whole takes as long as the slowest.
fn end_all<'a>(nodes: impl Iterator<Item = &'a Node>, signal: Signal, deadline: Duration) {
    let nodes: Vec<&Node> = nodes.collect();
    for node in &nodes {
        node.signal(signal);
    }
    let until = Instant::now() + deadline;
    for node in &nodes {
        node.await_end(until.saturating_duration_since(Instant::now()));
    }
}

/// Asks `condition` again every few milliseconds until it holds; for states of other processes that announce nothing.
pub fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool, ClusterError>,
) -> Result<(), ClusterError> {
    let start = Instant::now();
    loop {
        // An error may be a server that is still starting; the last one is reported if the time runs out.
        let problem = match condition() {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(problem) => Some(problem),
        };
        if start.elapsed() > deadline {
            return Err(ClusterError::Timeout {
                what: what.to_owned(),
                seconds: deadline.as_secs(),
                last: problem.map(|p| p.full_text()),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first column of the first row.
fn single_value(rows: &Rows) -> Option<String> {
    rows.first()?.first()?.clone()
}

/// Where the files of a node are: `DIR/s1/primary` and `DIR/s1/primary.log`.
fn node_paths(dir: &Path, shard: &str, node: &str) -> (PathBuf, PathBuf) {
    let shard = dir.join(shard);
    (shard.join(node), shard.join(format!("{node}.log")))
}
