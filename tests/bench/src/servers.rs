//! The shards with their tables, and the same tables whole on one server for those who do not shard.
//!
//! Database `app` is Shardgate's: home tables on the first shard, the others over both. Database `plain` on the first
//! server holds all rows of all tables: the direct line and the other proxies read there.

use crate::cases::ROWS;
use anyhow::{Context, Result, anyhow, ensure};
use shard_admin::cluster::{Cluster, ClusterError, Node, query};
use std::path::Path;

/// What Shardgate's clients name.
pub const SHARDED: &str = "app";
/// What all others name.
pub const PLAIN: &str = "plain";
/// The role of the load.
pub const USER: &str = "app";

/// Room for 1000 clients that connect directly while those of the run before are still leaving.
const MAX_CONNECTIONS: u32 = 2300;

const TABLES: [&str; 4] = [
    "CREATE TABLE accounts_home (aid bigint PRIMARY KEY, abalance bigint NOT NULL, filler text NOT NULL)",
    "CREATE TABLE copied (id bigint NOT NULL, filler text NOT NULL)",
    "CREATE TABLE accounts (aid bigint PRIMARY KEY, abalance bigint NOT NULL, filler text NOT NULL)",
    "CREATE TABLE history (aid bigint NOT NULL, delta bigint NOT NULL)",
];

/// Starts two shards without replicas and makes the catalog. Data is not synced: the disk is not what is measured.
pub fn start(dir: &Path, ports: Option<&[u16]>) -> Result<Cluster> {
    let builder = || {
        Cluster::builder()
            .shards(2)
            .replicas(0)
            .dir(dir)
            .database(SHARDED)
            .max_connections(MAX_CONNECTIONS)
            .own_group(true)
            .setting("shared_buffers", "256MB")
            .setting("synchronous_commit", "off")
            .setting("max_wal_size", "4GB")
            .setting("checkpoint_timeout", "1h")
            .setting("autovacuum", "off")
            .setting("log_min_messages", "warning")
    };
    let mut cluster = builder().start().map_err(full)?;
    if let Some(ports) = ports {
        ensure!(ports.len() == 2, "--server-ports takes two ports");
        drop(cluster);
        let ports = ports.iter().map(|port| vec![*port]).collect();
        cluster = builder().reopen(ports).start().map_err(full)?;
    }
    shard_admin::demo::catalog::create(&cluster, SHARDED)?;
    Ok(cluster)
}

/// Makes and fills the tables; `router` is the URL of Shardgate as the superuser.
pub fn fill(cluster: &Cluster, router: &str) -> Result<()> {
    let ask = |sql: &str| {
        query(router, sql)
            .map_err(full)
            .with_context(|| format!("through the router: {sql}"))
    };
    ask("CREATE ROLE app LOGIN")?;
    for table in TABLES {
        ask(table)?;
    }
    ask("SELECT create_distributed_table('accounts', 'aid')")?;
    ask("SELECT create_distributed_table('history', 'aid', colocate_with => 'accounts')")?;
    for table in ["accounts_home", "copied", "accounts", "history"] {
        ask(&format!("GRANT ALL ON {table} TO {USER}"))?;
    }
    let [home, second] = cluster.shards.as_slice() else {
        return Err(anyhow!("two shards were wanted"));
    };
    let rows = format!("SELECT i, 0, repeat('x', 84) FROM generate_series(1, {ROWS}) i");
    for shard in [home, second] {
        let owned = owned_rows(&shard.primary)?;
        let sql = format!(
            "INSERT INTO accounts SELECT * FROM ({rows}) AS t (aid, abalance, filler) WHERE {owned}"
        );
        on(&shard.primary, SHARDED, &sql)?;
    }
    on(
        &home.primary,
        SHARDED,
        &format!("INSERT INTO accounts_home {rows}"),
    )?;
    on(
        &home.primary,
        "postgres",
        &format!("CREATE DATABASE {PLAIN}"),
    )?;
    for sql in TABLES {
        on(&home.primary, PLAIN, sql)?;
    }
    for table in ["accounts", "accounts_home"] {
        on(&home.primary, PLAIN, &format!("INSERT INTO {table} {rows}"))?;
    }
    on(
        &home.primary,
        PLAIN,
        &format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {USER}"),
    )?;
    settle(cluster)
}

/// Vacuums, so that every run begins from the same tables; `history` is emptied.
pub fn settle(cluster: &Cluster) -> Result<()> {
    for (number, shard) in cluster.shards.iter().enumerate() {
        let databases: &[&str] = if number == 0 {
            &[SHARDED, PLAIN]
        } else {
            &[SHARDED]
        };
        for database in databases {
            on(&shard.primary, database, "TRUNCATE history")?;
            on(&shard.primary, database, "VACUUM (ANALYZE) accounts")?;
        }
    }
    Ok(())
}

/// The condition that the rows of this shard's `accounts` satisfy: the guard that the catalog has put on the table.
fn owned_rows(node: &Node) -> Result<String> {
    let sql = "SELECT string_agg('(' || pg_get_expr(conbin, conrelid) || ')', ' AND ') FROM pg_constraint \
               WHERE contype = 'c' AND conrelid = 'public.accounts'::regclass";
    let rows = on(node, SHARDED, sql)?;
    rows.into_iter()
        .flatten()
        .flatten()
        .next()
        .context("the distributed table has no guard")
}

/// Runs SQL on the server as the superuser.
pub fn on(node: &Node, database: &str, sql: &str) -> Result<shard_admin::cluster::Rows> {
    node.query(database, sql)
        .map_err(full)
        .with_context(|| format!("on {}: {sql}", node.name))
}

pub fn full(error: ClusterError) -> anyhow::Error {
    anyhow!(error.full_text())
}
