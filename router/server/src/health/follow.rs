//! Which shards and servers are watched: those of the newest snapshot.

use super::probe::{self, Task};
use super::sampler;
use super::shard::Shard;
use super::{Shards, Shared};
use shardgate_plan::snapshot::{Host, Snapshot};
use shardgate_shard_map::ShardId;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The tasks, which end with it.
pub(super) struct Running {
    shared: Arc<Shared>,
    shards: HashMap<ShardId, Watched>,
}

struct Watched {
    shard: Arc<Shard>,
    hosts: Vec<Host>,
    database: String,
    probes: HashMap<Host, Task>,
    _sampler: Task,
}

impl Running {
    /// Watches the current snapshot's servers at once. What comes back follows the newer ones; it ends only by being
    /// dropped.
    pub fn start(
        shared: Arc<Shared>,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> impl Future<Output = ()> + Send {
        let mut running = Running {
            shared,
            shards: HashMap::new(),
        };
        let first = snapshots.borrow_and_update().clone();
        running.apply(&first);
        async move {
            while snapshots.changed().await.is_ok() {
                let newer = snapshots.borrow_and_update().clone();
                running.apply(&newer);
            }
            // Nobody makes snapshots any more: the last one stays in force.
            std::future::pending::<()>().await;
        }
    }

    fn apply(&mut self, snapshot: &Snapshot) {
        self.shards.retain(|id, _| snapshot.shard(*id).is_some());
        for shard in &snapshot.shards {
            let shared = &self.shared;
            let watched = self
                .shards
                .entry(shard.id)
                .or_insert_with(|| Watched::new(shared, shard.id, &shard.hosts));
            watched.set(shared, &shard.hosts, &snapshot.database);
        }
        let public = self.shards.iter();
        let public = public.map(|(id, w)| (*id, w.shard.clone()));
        self.shared.shards.store(Arc::new(Shards::new(public)));
    }
}

impl Watched {
    fn new(shared: &Arc<Shared>, id: ShardId, hosts: &[Host]) -> Self {
        let options = shared.options.clone();
        let shard = Arc::new(Shard::new(id, hosts, options, seed()));
        let (sampled, shared) = (shard.clone(), shared.clone());
        let sampler = tokio::spawn(async move { sampler::run(&sampled, &shared.clock).await });
        Watched {
            shard,
            hosts: hosts.to_vec(),
            database: String::new(),
            probes: HashMap::new(),
            _sampler: Task(sampler),
        }
    }

    fn set(&mut self, shared: &Arc<Shared>, hosts: &[Host], database: &str) {
        if self.hosts != hosts {
            self.hosts = hosts.to_vec();
            self.shard.set_hosts(hosts);
        }
        if self.database != database {
            self.database = database.to_owned();
            self.probes.clear();
        }
        self.probes.retain(|host, _| hosts.contains(host));
        for host in hosts {
            let start = || {
                let (shard, shared) = (self.shard.clone(), shared.clone());
                let (host, database) = (host.clone(), database.to_owned());
                let run = async move { probe::run(shard, host, database, &shared.clock).await };
                Task(tokio::spawn(run))
            };
            self.probes.entry(host.clone()).or_insert_with(start);
        }
    }
}

/// A seed for the choice among replicas; without a source of randomness every router chooses alike, which is harmless.
fn seed() -> u64 {
    getrandom::u64().unwrap_or(1)
}
