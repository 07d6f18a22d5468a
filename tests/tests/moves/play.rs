//! A move that is played by hand: the rows of the catalog are written as whoever moves data writes them, step by step, so that
//! the routers' part can be looked at by itself.

use anyhow::{Context, Result, ensure};
use shardgate_shard_map::{Key, bucket};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;

/// How long anything may take that needs no more than a few messages.
pub const SOON: Duration = Duration::from_secs(20);
/// How long a statement is watched that must not be answered yet.
pub const MOMENT: Duration = Duration::from_millis(300);

const BUCKETS: u32 = 4096;
/// The move's id.
pub const MOVE: i64 = 1;

/// The move of all buckets of some keys from one shard to another.
pub struct Play {
    home: Session,
    /// The shards, past the router.
    pub source: Session,
    pub target: Session,
    /// Their names.
    names: [&'static str; 2],
    /// Keys of the source that move, and one that stays there.
    pub moving: Vec<i64>,
    pub staying: i64,
    /// A key of the target.
    pub other: i64,
}

/// Makes `acc (k, v)` with rows on both shards. `source`: 0 for home, 1 for the other shard.
pub async fn prepare(running: &Running, source: usize) -> Result<Play> {
    let router = running.connect().await?;
    router
        .simple_query("CREATE TABLE acc (k bigint PRIMARY KEY, v bigint NOT NULL)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('acc', 'k')")
        .await?;
    for k in 1..=40 {
        router
            .simple_query(&format!("INSERT INTO acc VALUES ({k}, 0)"))
            .await?;
    }
    let names = if source == 0 {
        ["s1", "s2"]
    } else {
        ["s2", "s1"]
    };
    let target = running.connect_shard(1 - source).await?;
    let source = running.connect_shard(source).await?;
    let there = keys(&source).await?;
    let other = keys(&target).await?;
    ensure!(there.len() > 4, "the source has few keys: {there:?}");
    Ok(Play {
        home: running.connect_shard(0).await?,
        source,
        target,
        names,
        moving: there[..3].to_vec(),
        staying: there[3],
        other: *other.first().context("the target has keys")?,
    })
}

async fn keys(shard: &Session) -> Result<Vec<i64>> {
    let rows = shard.query("SELECT k FROM acc ORDER BY k", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

impl Play {
    fn buckets(&self) -> Vec<u32> {
        let of = |key: &i64| bucket(&Key::Int(*key), BUCKETS).0;
        self.moving.iter().map(of).collect()
    }

    /// A change of the catalog in one new epoch, which it answers.
    pub async fn epoch(&self, changes: &str) -> Result<u64> {
        self.home
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE shardgate.epoch IN EXCLUSIVE MODE; {changes}; \
                 INSERT INTO shardgate.epoch (number, id, parent, note, fingerprint) \
                 SELECT number + 1, gen_random_uuid(), id, 'played', fingerprint FROM shardgate.epoch \
                 ORDER BY number DESC LIMIT 1; \
                 UPDATE shardgate.identity SET epoch = e.number, epoch_id = e.id FROM \
                 (SELECT number, id FROM shardgate.epoch ORDER BY number DESC LIMIT 1) e; \
                 SELECT pg_notify('shardgate_epoch', max(number)::text) FROM shardgate.epoch; COMMIT"
            ))
            .await
            .with_context(|| changes.to_owned())?;
        let number: i64 = self
            .home
            .query_one("SELECT max(number) FROM shardgate.epoch", &[])
            .await?
            .get(0);
        Ok(u64::try_from(number)?)
    }

    /// The move is there, and its rows lie on both shards.
    pub async fn copy(&self) -> Result<u64> {
        let distribution = "(SELECT distribution_id FROM shardgate.distributed_table WHERE relation = 'acc'::regclass)";
        let mut sql = format!(
            // With a lease, lest a router takes the move for one whose maker has died.
            "INSERT INTO shardgate.move (id, distribution_id, source_shard, target_shard, step, replica_lag_bytes_max, \
             wal_bytes_max, pause_ms_max, keyless_rows_max, lease) \
             SELECT {MOVE}, {distribution}, s.id, t.id, 'prepare', 1000, 1000, 3000, 0, now() + interval '1 hour' \
             FROM shardgate.shard s, shardgate.shard t WHERE s.name = '{}' AND t.name = '{}'",
            self.names[0], self.names[1]
        );
        for (ordinal, bucket) in self.buckets().iter().enumerate() {
            sql.push_str(&format!(
                "; INSERT INTO shardgate.move_part (move_id, ordinal, kind, lower, upper) \
                 VALUES ({MOVE}, {ordinal}, 'buckets', '{bucket}', '{bucket}')"
            ));
        }
        let epoch = self.epoch(&sql).await?;
        self.drained(epoch, SOON).await?;
        for key in &self.moving {
            let value = self.value(&self.source, *key).await?;
            self.target
                .batch_execute(&format!(
                    "SET session_replication_role = replica; INSERT INTO acc VALUES ({key}, {value}) \
                     ON CONFLICT (k) DO UPDATE SET v = {value}; RESET session_replication_role"
                ))
                .await?;
        }
        self.step("verified").await
    }

    pub async fn value(&self, shard: &Session, key: i64) -> Result<i64> {
        Ok(shard
            .query_one("SELECT v FROM acc WHERE k = $1", &[&key])
            .await?
            .get(0))
    }

    pub async fn step(&self, step: &str) -> Result<u64> {
        self.epoch(&format!(
            "UPDATE shardgate.move SET step = '{step}', step_at = now() WHERE id = {MOVE}"
        ))
        .await
    }

    /// The map changes.
    pub async fn moved(&self) -> Result<u64> {
        let buckets: Vec<String> = self.buckets().iter().map(u32::to_string).collect();
        self.epoch(&format!(
            "UPDATE shardgate.bucket_map SET shard_id = (SELECT target_shard FROM shardgate.move WHERE id = {MOVE}) \
             WHERE distribution_id = (SELECT distribution_id FROM shardgate.move WHERE id = {MOVE}) \
             AND bucket IN ({}); \
             UPDATE shardgate.move SET step = 'moved', since = (SELECT max(number) + 1 FROM shardgate.epoch) \
             WHERE id = {MOVE}",
            buckets.join(", ")
        ))
        .await
    }

    /// The guard of the target takes the moved rows from clients too.
    pub async fn widen(&self) -> Result<()> {
        self.target
            .batch_execute("ALTER TABLE acc DROP CONSTRAINT shardgate_owns")
            .await?;
        Ok(())
    }

    /// What router 1 says of itself.
    pub async fn said(&self) -> Result<u64> {
        self.said_by(1).await
    }

    pub async fn said_by(&self, router: u16) -> Result<u64> {
        let sql = "SELECT drained FROM shardgate.router WHERE id = $1";
        let row = self.home.query_one(sql, &[&router.to_string()]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Waits until router 1 works by the epoch.
    pub async fn known(&self, epoch: u64) -> Result<()> {
        let begun = Instant::now();
        let sql = "SELECT epoch FROM shardgate.router WHERE id = '1'";
        while u64::try_from(self.home.query_one(sql, &[]).await?.get::<_, i64>(0))? < epoch {
            ensure!(begun.elapsed() < SOON, "the router does not follow");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until router 1 says that nothing older than the epoch is under way.
    pub async fn drained(&self, epoch: u64, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        while self.said().await? < epoch {
            ensure!(
                begun.elapsed() < limit,
                "the router has drained {} and not {epoch}",
                self.said().await?
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(begun.elapsed())
    }

    /// The whole switch. Answers the epoch in which the map has changed.
    pub async fn switch(&self) -> Result<u64> {
        let epoch = self.step("hold").await?;
        self.drained(epoch, SOON).await?;
        let moved = self.moved().await?;
        self.drained(moved, SOON).await?;
        self.widen().await?;
        self.step("switched").await?;
        Ok(moved)
    }

    /// The shard serves only routers that know the epoch, and ends the connections of this one.
    pub async fn cut_off(&self, shard: &Session, epoch: u64, router: u16) -> Result<i64> {
        let sql = format!("UPDATE shardgate.identity SET fence = {epoch}");
        shard.batch_execute(&sql).await?;
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
             WHERE locktype = 'advisory' AND classid = 1397178709 AND objid = hashtext('{router}')::bigint::bit(32)::bigint \
             AND objsubid = 2 AND d.datname = current_database()"
        );
        Ok(shard.query_one(&sql, &[]).await?.get(0))
    }

    /// The number of the newest epoch.
    pub async fn newest(&self) -> Result<i64> {
        let sql = "SELECT max(number) FROM shardgate.epoch";
        Ok(self.home.query_one(sql, &[]).await?.get(0))
    }

    /// Home forgets the epoch as it was: who holds it cannot follow home any more, though it can reach it.
    pub async fn forget(&self, epoch: i64) -> Result<()> {
        self.home
            .batch_execute(&format!(
                "UPDATE shardgate.epoch SET id = gen_random_uuid() WHERE number = {epoch}; \
                 UPDATE shardgate.epoch SET parent = (SELECT id FROM shardgate.epoch WHERE number = {epoch}) \
                 WHERE number = {epoch} + 1"
            ))
            .await?;
        Ok(())
    }
}

/// The values of the first column.
pub async fn ask(session: &Session, sql: &str) -> Result<Vec<String>> {
    let messages = session
        .simple_query(sql)
        .await
        .with_context(|| sql.to_owned())?;
    let value = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(messages.iter().filter_map(value).collect())
}

/// SQLSTATE of the statement's error; empty if there was none.
pub async fn state_of(session: &Session, sql: &str) -> String {
    match session.simple_query(sql).await {
        Ok(_) => String::new(),
        Err(error) => error
            .code()
            .map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}
