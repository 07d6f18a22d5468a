//! What the tests of routers and shards that die in the middle of a statement share.

use crate::on_shards;
use anyhow::{Context, Result, ensure};
use shard_admin::cluster::RouterProcess;
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};

/// How long until nothing is prepared any more, wherever a router or a shard was lost.
pub const SETTLED: Duration = Duration::from_secs(60);
/// How long a session, a statement or the end of a process may take.
pub const SOON: Duration = Duration::from_secs(20);

/// What all shards must agree on: columns, constraints but the guard, indexes, types, and their order.
const DEFINITIONS: &str = "SELECT md5(string_agg(d, E'\n' ORDER BY d)) FROM ( \
    SELECT 'column ' || c.relname || a.attnum || a.attname || format_type(a.atttypid, a.atttypmod) || a.attnotnull AS d \
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
      WHERE c.relnamespace = 'public'::regnamespace AND c.relname ~ '^t' AND NOT a.attisdropped AND a.attnum > 0 \
    UNION ALL SELECT 'constraint ' || conname || pg_get_constraintdef(oid) FROM pg_constraint \
      WHERE connamespace = 'public'::regnamespace AND conname <> 'shardgate_owns' \
    UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename ~ '^t' \
    UNION ALL SELECT 'type ' || typname || typtype::text FROM pg_type \
      WHERE typnamespace = 'public'::regnamespace AND typname ~ '^e') x";

/// A distributed table `t`, and a key on each shard.
pub async fn prepare(running: &Running) -> Result<Vec<i64>> {
    let router = running.connect().await?;
    router
        .simple_query("CREATE TABLE t (k bigint PRIMARY KEY, v int)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('t', 'k')")
        .await?;
    for k in 1..=24 {
        router
            .simple_query(&format!("INSERT INTO t VALUES ({k}, {k})"))
            .await?;
    }
    let mut keys = Vec::new();
    for index in 0..running.cluster.shards.len() {
        let shard = running.connect_shard(index).await?;
        let key: Option<i64> = shard.query_one("SELECT min(k) FROM t", &[]).await?.get(0);
        keys.push(key.context("every shard has a key")?);
    }
    Ok(keys)
}

/// One statement for all shards, and SQL that is 1 where it is in force and 0 where it is not.
#[derive(Clone, Debug)]
pub struct Change {
    pub sql: String,
    pub check: String,
    /// A read that succeeds where it is in force, for a key.
    pub read: Option<String>,
}

impl Change {
    /// One of several kinds, with names of its own.
    pub fn number(number: usize) -> Change {
        let column = format!("c{number}");
        match number % 3 {
            0 => Change {
                sql: format!("ALTER TABLE t ADD COLUMN {column} int DEFAULT 7"),
                check: format!(
                    "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = '{column}'"
                ),
                read: Some(format!("SELECT {column} FROM t WHERE k = ")),
            },
            1 => Change {
                sql: format!("CREATE INDEX i{number} ON t (v)"),
                check: format!("SELECT count(*) FROM pg_class WHERE relname = 'i{number}'"),
                read: None,
            },
            _ => Change {
                sql: format!("CREATE TYPE e{number} AS ENUM ('a', 'b')"),
                check: format!("SELECT count(*) FROM pg_type WHERE typname = 'e{number}'"),
                read: None,
            },
        }
    }

    /// In force on every shard (true) or on none.
    pub async fn in_force(&self, running: &Running) -> Result<bool> {
        let found = on_shards(running, &self.check).await?;
        let is = |value: &str| found.iter().all(|one| one.as_deref() == Some(value));
        ensure!(is("0") || is("1"), "{}: half of it: {found:?}", self.sql);
        let definitions = on_shards(running, DEFINITIONS).await?;
        ensure!(
            definitions.windows(2).all(|pair| pair[0] == pair[1]),
            "{}: the shards differ",
            self.sql
        );
        Ok(is("1"))
    }
}

/// Waits until no transaction of a router is prepared on any shard, and says how long that took.
pub async fn settled(running: &Running) -> Result<Duration> {
    let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'shardgate:%'";
    let start = Instant::now();
    loop {
        let found = on_shards(running, sql).await?;
        if found.iter().all(|count| count.as_deref() == Some("0")) {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < SETTLED,
            "prepared after {SETTLED:?}: {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// No lock is left: a statement that needs all of them goes through, and the rows are read.
pub async fn goes_on(running: &Running, keys: &[i64]) -> Result<()> {
    let work = async {
        let session = running.connect().await?;
        for sql in [
            "ALTER TABLE t ADD COLUMN next int",
            "ALTER TABLE t DROP COLUMN next",
        ] {
            session.simple_query(sql).await.context(sql)?;
        }
        for key in keys {
            let row = session
                .query_one("SELECT k FROM t WHERE k = $1", &[key])
                .await?;
            ensure!(row.get::<_, i64>(0) == *key, "another row");
        }
        Ok(())
    };
    tokio::time::timeout(SOON, work)
        .await
        .context("the next statement waits")?
}

/// Starts another router in the background of the runtime.
pub fn router(running: &Running, id: u16, env: &[(&str, &str)]) -> Result<RouterProcess> {
    tokio::task::block_in_place(|| running.another_router(id, env))
}

/// A client of a living router, which reads the new column of every shard again and again: once one shard has shown it,
/// no shard may be without it.
pub async fn never_half(session: Session, read: String, keys: Vec<i64>) -> Result<Session> {
    let mut seen = false;
    for round in 0.. {
        for key in &keys {
            let result = session.simple_query(&format!("{read}{key}")).await;
            match &result {
                Ok(_) => seen = true,
                Err(error) => {
                    let code = error.code().map(|code| code.code().to_owned());
                    ensure!(
                        matches!(code.as_deref(), Some("42703" | "0A000")),
                        "{read}{key}: {error:?}"
                    );
                    ensure!(
                        !seen,
                        "round {round}: {read}{key}: another shard has it already"
                    );
                }
            }
        }
        if round >= 3 {
            break;
        }
    }
    Ok(session)
}
