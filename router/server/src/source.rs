//! What the console, the metrics and the readiness check are told of clients, pools and servers.

use crate::admin::{CatalogView, ClientView, PoolView, ServerView, Source};
use crate::backend::LinkInfo;
use crate::pool::PoolFacts;
use crate::registry::Client;
use crate::shared::{Shared, pg_error};
use shardgate_catalog::Backend;
use shardgate_catalog::moves::{self, MoveStatus};
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use shardgate_wire::PgError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

impl Source for Shared {
    fn clients(&self) -> Vec<ClientView> {
        let snapshot = self.follower.snapshot();
        self.clients
            .all()
            .iter()
            .map(|client| client_view(client, &snapshot))
            .collect()
    }

    fn pools(&self) -> Vec<PoolView> {
        let snapshot = self.follower.snapshot();
        self.pools
            .facts()
            .iter()
            .map(|facts| pool_view(facts, &snapshot, self.config.pool.size))
            .collect()
    }

    fn servers(&self) -> Vec<ServerView> {
        let snapshot = self.follower.snapshot();
        let facts = self.pools.facts();
        let all = facts
            .iter()
            .flat_map(|facts| facts.links.iter().map(move |info| (facts, info)));
        all.map(|(facts, info)| server_view(facts, info, &snapshot))
            .collect()
    }

    fn catalog(&self) -> CatalogView {
        let state = self.follower.state();
        CatalogView {
            connected: state.connected,
            host: state.host,
            epoch: state.epoch,
            from_disk: state.from_disk,
            refused: state.refused,
            last_error: state.last_error,
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.follower.snapshot()
    }

    fn moves(&self) -> Pin<Box<dyn Future<Output = Result<Vec<MoveStatus>, PgError>> + Send + '_>> {
        Box::pin(async {
            let asked = async {
                let home = Backend::primary(self.follower.config(), "the home shard").await?;
                moves::list(&home).await
            };
            let limit = self.config.pool.server_connect_timeout;
            match tokio::time::timeout(limit, asked).await {
                Ok(answer) => answer.map_err(|error| pg_error(&error)),
                Err(_) => Err(PgError::error("57P03", "the home shard does not answer")),
            }
        })
    }

    fn accepting(&self) -> bool {
        self.is_accepting()
    }

    fn kill(&self, pid: u32) -> bool {
        self.clients.kill(pid)
    }

    fn reload(&self) -> Result<(), PgError> {
        Err(
            PgError::error("0A000", "the configuration cannot be reloaded yet")
                .hint("Restart the router."),
        )
    }
}

fn shard_name(snapshot: &Snapshot, id: ShardId) -> String {
    snapshot
        .shard(id)
        .map_or_else(|| id.0.to_string(), |shard| shard.name.clone())
}

fn role(standby: bool) -> &'static str {
    if standby { "replica" } else { "primary" }
}

fn client_view(client: &Client, snapshot: &Snapshot) -> ClientView {
    let shown = client.shown();
    let now = Instant::now();
    ClientView {
        pid: client.pid,
        user: client.user.to_string(),
        database: client.database.to_string(),
        state: shown.state.to_owned(),
        application_name: shown.application_name,
        addr: Some(client.address),
        local_addr: client.local,
        connect_time: client.connected,
        request_time: shown.requested,
        wait: shown
            .waiting_since
            .map(|since| now.saturating_duration_since(since))
            .unwrap_or_default(),
        shards: shown
            .slots
            .iter()
            .map(|(shard, _)| shard_name(snapshot, *shard))
            .collect(),
        pinned: shown.slots.into_iter().find_map(|(_, pinned)| pinned),
    }
}

fn pool_view(facts: &PoolFacts, snapshot: &Snapshot, size: usize) -> PoolView {
    let pool = &facts.pool;
    PoolView {
        database: pool.database.to_string(),
        user: pool.role.role.to_string(),
        shard: shard_name(snapshot, pool.endpoint.shard),
        host: pool.endpoint.host.to_string(),
        port: pool.endpoint.port,
        role: role(facts.links.first().is_some_and(|info| info.standby)),
        pool_size: size,
        cl_active: facts.in_use,
        cl_waiting: facts.waiting,
        sv_active: facts.in_use,
        sv_idle: facts.idle,
        sv_login: facts.opening,
        maxwait: facts.waiting_longest,
    }
}

fn server_view(facts: &PoolFacts, info: &LinkInfo, snapshot: &Snapshot) -> ServerView {
    let pool = &facts.pool;
    let client = info.client();
    ServerView {
        user: pool.role.role.to_string(),
        database: pool.database.to_string(),
        shard: shard_name(snapshot, pool.endpoint.shard),
        role: role(info.standby),
        state: if client.is_some() { "active" } else { "idle" },
        host: pool.endpoint.host.to_string(),
        port: pool.endpoint.port,
        local_addr: info.local,
        connect_time: info.connected,
        request_time: info.connected,
        remote_pid: info.pid,
        client_pid: client,
    }
}
