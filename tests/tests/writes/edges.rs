//! What the tests of routers and shards that die in the middle of a write share.

use anyhow::{Context, Result, ensure};
use shard_admin::cluster::RouterProcess;
use shardgate_tests::Running;
use std::time::{Duration, Instant};

/// How long until nothing is prepared any more, wherever a router or a shard was lost.
pub const SETTLED: Duration = Duration::from_secs(60);
/// How long a session, a statement or the end of a process may take.
pub const SOON: Duration = Duration::from_secs(20);

/// Rows of `t` before any write. Every shard has some, and some of `v = 1`.
const ROWS: i64 = 24;

/// A distributed table `t`.
pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for sql in [
        "CREATE TABLE t (k bigint PRIMARY KEY, v int NOT NULL, n int NOT NULL DEFAULT 0)",
        "SELECT create_distributed_table('t', 'k')",
        "CREATE TABLE r (k bigint PRIMARY KEY, v int)",
        "SELECT create_reference_table('r')",
    ] {
        router.simple_query(sql).await.context(sql)?;
    }
    for k in 1..=ROWS {
        router
            .simple_query(&format!("INSERT INTO t VALUES ({k}, {})", k % 2))
            .await?;
    }
    Ok(())
}

/// A write of all shards.
#[derive(Clone, Debug)]
pub struct Write {
    pub sql: String,
    /// Counts the rows that it has made or changed, on one shard.
    pub count: String,
    /// How many these are on all shards together, if it is in force.
    pub rows: i64,
}

impl Write {
    /// One of several kinds, each with a number of its own.
    pub fn number(number: usize, shards: usize) -> Write {
        match number % 4 {
            0 => {
                // Rows of their own; some on each shard.
                let first = 1000 + 100 * number;
                let rows: Vec<String> = (first..first + 12)
                    .map(|k| format!("({k}, {number})"))
                    .collect();
                Write {
                    sql: format!("INSERT INTO t (k, v) VALUES {}", rows.join(", ")),
                    count: format!(
                        "SELECT count(*) FROM t WHERE k >= {first} AND k < {}",
                        first + 12
                    ),
                    rows: 12,
                }
            }
            1 => Write {
                sql: format!("UPDATE t SET n = {number} WHERE k <= {ROWS}"),
                count: format!("SELECT count(*) FROM t WHERE n = {number}"),
                rows: ROWS,
            },
            2 => Write {
                sql: format!(
                    "WITH x AS (SELECT 1) UPDATE t SET n = {number} FROM x WHERE v = 1 AND k <= {ROWS} RETURNING k"
                ),
                count: format!("SELECT count(*) FROM t WHERE n = {number}"),
                rows: ROWS / 2,
            },
            // A row of a reference table, on every shard.
            _ => Write {
                sql: format!("INSERT INTO r VALUES ({number}, 1)"),
                count: format!("SELECT count(*) FROM r WHERE k = {number}"),
                rows: i64::try_from(shards).expect("a few"),
            },
        }
    }

    /// In force on every shard (true) or on none.
    pub async fn in_force(&self, running: &Running) -> Result<bool> {
        let mut sum = 0;
        let mut each = Vec::new();
        for index in 0..running.cluster.shards.len() {
            let shard = running.connect_shard(index).await?;
            let count: i64 = shard.query_one(&self.count, &[]).await?.get(0);
            each.push(count);
            sum += count;
        }
        ensure!(
            sum == 0 || sum == self.rows,
            "{}: half of it: {each:?}",
            self.sql
        );
        Ok(sum > 0)
    }
}

/// Waits until no transaction of a router is prepared on any shard, and says how long that took.
pub async fn settled(running: &Running) -> Result<Duration> {
    let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'shardgate:%'";
    let start = Instant::now();
    loop {
        let mut prepared = 0;
        for index in 0..running.cluster.shards.len() {
            let shard = running.connect_shard(index).await?;
            prepared += shard.query_one(sql, &[]).await?.get::<_, i64>(0);
        }
        if prepared == 0 {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < SETTLED,
            "{prepared} are prepared after {SETTLED:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// No lock is left: a write of all rows, and a change of the schema, go through.
pub async fn goes_on(running: &Running) -> Result<()> {
    let work = async {
        let session = running.connect().await?;
        for sql in [
            "UPDATE t SET n = 0",
            "ALTER TABLE t ADD COLUMN next int",
            "ALTER TABLE t DROP COLUMN next",
        ] {
            session.simple_query(sql).await.context(sql)?;
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
