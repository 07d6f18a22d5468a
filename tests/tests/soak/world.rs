//! The deployment of a soak: shards with a replica each, two routers, two distributions, and rows that nobody changes.

use anyhow::{Context, Result, anyhow};
use shard_admin::cluster::{RouterConfig, RouterProcess, Signal, connection_url, router_binary};
use shardgate_tests::{Running, Session};

/// Through the router, in this order. `parent`, `child`, `entry` and `ballast` are co-located.
const TABLES: &[&str] = &[
    "CREATE TABLE parent (k bigint PRIMARY KEY, client int NOT NULL, n bigint NOT NULL, b int, big text)",
    "CREATE TABLE child (k bigint, id int, client int NOT NULL, n bigint NOT NULL, PRIMARY KEY (k, id))",
    "CREATE TABLE entry (k bigint NOT NULL, client int NOT NULL, n bigint NOT NULL)",
    "CREATE TABLE ballast (k bigint PRIMARY KEY, v text NOT NULL)",
    "CREATE TABLE named (name text PRIMARY KEY, client int NOT NULL, n bigint NOT NULL, b int, big text)",
    "SELECT create_distributed_table('parent', 'k')",
    "SELECT create_distributed_table('child', 'k', colocate_with => 'parent')",
    "SELECT create_distributed_table('entry', 'k', colocate_with => 'parent')",
    "SELECT create_distributed_table('ballast', 'k', colocate_with => 'parent')",
    "SELECT create_distributed_table('named', 'name')",
    "ALTER TABLE child ADD CONSTRAINT of_parent FOREIGN KEY (k) REFERENCES parent ON DELETE CASCADE",
    "CREATE INDEX entry_k ON entry (k)",
    // Without a primary key: the whole row identifies itself.
    "ALTER TABLE entry REPLICA IDENTITY FULL",
    // Long values lie outside of their rows, uncompressed.
    "ALTER TABLE parent ALTER COLUMN big SET STORAGE EXTERNAL",
    "ALTER TABLE named ALTER COLUMN big SET STORAGE EXTERNAL",
];

/// A router beside the first one, with what is needed to start it again.
#[derive(Debug)]
struct Second {
    process: RouterProcess,
    config: RouterConfig,
}

/// Fields are dropped in order: routers before servers.
#[derive(Debug)]
pub struct World {
    second: Second,
    pub running: Running,
    pub ballast: i64,
}

/// The number of routers.
pub const ROUTERS: usize = 2;

impl World {
    /// Starts it and makes the tables; `ballast` rows are spread over the shards.
    pub async fn start(shards: u16, replicas: u16, ballast: i64) -> Result<World> {
        let running = Running::start_with(shards, replicas, |builder| {
            builder
                .setting("max_logical_replication_workers", "16")
                .setting("max_worker_processes", "24")
                .setting("max_replication_slots", "30")
                .setting("max_wal_senders", "30")
        });
        let mut config = RouterConfig::new(
            running.cluster.dir.join("second"),
            running.config.home.clone(),
        )?;
        config.name = "router2".to_owned();
        config
            .env
            .push(("SHARDGATE__ROUTER__ID".to_owned(), "2".to_owned()));
        let process = tokio::task::block_in_place(|| start_router(&config))?;
        let world = World {
            second: Second { process, config },
            running,
            ballast,
        };
        let session = world.running.connect().await?;
        for sql in TABLES {
            session.simple_query(sql).await.context(*sql)?;
        }
        world.fill().await?;
        Ok(world)
    }

    /// Past the routers, for it is much; the guards look at every row.
    async fn fill(&self) -> Result<()> {
        let map = crate::map::Map::load(&self.running).await?;
        for shard in 0..self.running.cluster.shards.len() {
            let session = self.running.connect_shard(shard).await?;
            let buckets = map.buckets_of("parent", shard)?;
            let sql = format!(
                "INSERT INTO ballast SELECT k, md5(k::text) FROM \
                 (SELECT -g AS k FROM generate_series(1, {}) g) x WHERE {} = ANY ($1)",
                self.ballast,
                map.bucket_sql("parent", "k")?
            );
            session
                .execute(&sql, &[&buckets])
                .await
                .with_context(|| format!("filling shard {shard}"))?;
        }
        Ok(())
    }

    pub fn url(&self, router: usize) -> String {
        let process = self.router(router);
        let login = self.running.config.auth.superuser();
        connection_url(&login, "127.0.0.1", process.port, self.running.database())
    }

    pub fn router(&self, router: usize) -> &RouterProcess {
        match router {
            0 => &self.running.router,
            _ => &self.second.process,
        }
    }

    /// Starts a router that was killed again, on the same ports; blocking.
    pub fn restart_router(&mut self, router: usize) -> Result<()> {
        if router == 0 {
            return self.running.restart_router();
        }
        self.second.process.stop();
        self.second.process = start_router(&self.second.config)?;
        Ok(())
    }

    /// Stops or continues a router's process.
    pub fn signal_router(&self, router: usize, signal: Signal) {
        self.router(router).signal(signal);
    }

    pub async fn connect(&self, router: usize) -> Result<Session> {
        Session::open(&self.url(router)).await
    }
}

fn start_router(config: &RouterConfig) -> Result<RouterProcess> {
    let full = |error: shard_admin::cluster::ClusterError| anyhow!(error.full_text());
    RouterProcess::start(&router_binary().map_err(full)?, config).map_err(full)
}
