//! Sessions that write and read by key while replicas stop replaying and go on at random.

use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::types::ToSql;

const SESSIONS: i64 = 8;
/// Rounds of each session, if the environment names no other number.
const ROUNDS: i64 = 1000;
/// Each session writes keys of its own.
const KEYS: i64 = 40;

/// What all sessions saw together.
#[derive(Debug, Default)]
struct Seen {
    reads: AtomicU64,
    on_replica: AtomicU64,
    stale: AtomicU64,
    back_in_time: AtomicU64,
}

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    router
        .simple_query("CREATE TABLE f (k bigint PRIMARY KEY, v bigint NOT NULL)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('f', 'k')")
        .await?;
    let insert = router.prepare("INSERT INTO f VALUES ($1, 0)").await?;
    for k in 0..SESSIONS * KEYS {
        router.execute(&insert, &[&k]).await?;
    }
    Ok(())
}

/// A generator whose seed is printed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

fn seed() -> Result<u64> {
    if let Ok(text) = std::env::var("SEED") {
        return text.parse().context("SEED");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos()))
}

/// Rounds of each session: the variable `ROUNDS`, or the usual number.
pub fn rounds() -> Result<i64> {
    match std::env::var("ROUNDS") {
        Ok(text) => text.parse().context("ROUNDS"),
        Err(_) => Ok(ROUNDS),
    }
}

/// 0 stale reads, and no session goes back in time.
pub async fn under_pauses(running: &Running) -> Result<()> {
    let seed = seed()?;
    let rounds = rounds()?;
    println!("SEED={seed}, {rounds} rounds of {SESSIONS} sessions");
    let seen = Arc::new(Seen::default());
    let done = Arc::new(AtomicBool::new(false));
    let mut pausers = Vec::new();
    for (number, replica) in running
        .cluster
        .shards
        .iter()
        .flat_map(|shard| &shard.replicas)
        .enumerate()
    {
        let session = Session::open(&replica.url(running.database(), "postgres")).await?;
        pausers.push(tokio::spawn(pause(
            session,
            Random(seed + number as u64),
            Arc::clone(&done),
        )));
    }
    let watchers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(watch(running.url(), Arc::clone(&seen), Arc::clone(&done))))
        .collect();
    let writers: Vec<_> = (0..SESSIONS)
        .map(|number| {
            tokio::spawn(write_and_read(
                running.url(),
                (number, rounds),
                Random(seed ^ (77 + number as u64)),
                Arc::clone(&seen),
            ))
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    done.store(true, Ordering::Relaxed);
    for task in watchers {
        task.await??;
    }
    let mut pauses = 0;
    for task in pausers {
        pauses += task.await??;
    }
    println!("{pauses} pauses, {seen:?}");
    ensure!(
        seen.stale.load(Ordering::Relaxed) == 0,
        "stale reads: {seen:?}, SEED={seed}"
    );
    ensure!(
        seen.back_in_time.load(Ordering::Relaxed) == 0,
        "back in time: {seen:?}, SEED={seed}"
    );
    ensure!(pauses > 20, "only {pauses} pauses");
    ensure!(
        seen.on_replica.load(Ordering::Relaxed) > 0,
        "no read was served by a replica: nothing was tested"
    );
    Ok(())
}

/// Stops and continues the replay of one replica.
async fn pause(replica: Session, mut random: Random, done: Arc<AtomicBool>) -> Result<u64> {
    let mut pauses = 0;
    while !done.load(Ordering::Relaxed) {
        replica.simple_query("SELECT pg_wal_replay_pause()").await?;
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        replica
            .simple_query("SELECT pg_wal_replay_resume()")
            .await?;
        tokio::time::sleep(Duration::from_millis(random.below(80))).await;
        pauses += 1;
    }
    Ok(pauses)
}

/// One of the sessions: in each round it raises a value in one of several ways, and reads it.
async fn write_and_read(
    url: String,
    (number, rounds): (i64, i64),
    mut random: Random,
    seen: Arc<Seen>,
) -> Result<()> {
    let session = Session::open(&url).await?;
    if number == 0 {
        session.simple_query("SET synchronous_commit = off").await?;
    }
    let update = session.prepare("UPDATE f SET v = $2 WHERE k = $1").await?;
    let select = session
        .prepare("SELECT v, pg_is_in_recovery() FROM f WHERE k = $1")
        .await?;
    let mut newest: HashMap<i64, i64> = HashMap::new();
    for round in 1..=rounds {
        let k = number * KEYS + i64::try_from(random.below(KEYS as u64))?;
        match random.below(6) {
            0 => {
                session
                    .simple_query(&format!("UPDATE f SET v = {round} WHERE k = {k}"))
                    .await?;
            }
            1 => {
                session
                    .simple_query(&format!(
                        "BEGIN; UPDATE f SET v = {round} WHERE k = {k}; COMMIT"
                    ))
                    .await?;
            }
            2 => {
                session.simple_query("BEGIN").await?;
                session.execute(&update, &[&k, &round]).await?;
                session.simple_query("COMMIT").await?;
            }
            3 => {
                let sql =
                    "WITH w AS (UPDATE f SET v = $2 WHERE k = $1 RETURNING v) SELECT v FROM w";
                session.query(sql, &[&k, &round]).await?;
            }
            4 => {
                let sql =
                    "INSERT INTO f VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
                session.execute(sql, &[&k, &round]).await?;
            }
            _ => {
                // The read is on its way before the answer of the write.
                let (values, key): ([&(dyn ToSql + Sync); 2], [&(dyn ToSql + Sync); 1]) =
                    ([&k, &round], [&k]);
                let (written, row) = tokio::join!(
                    session.execute(&update, &values),
                    session.query_one(&select, &key)
                );
                written?;
                note(&row?, round, &seen);
            }
        }
        newest.insert(k, round);
        note(&session.query_one(&select, &[&k]).await?, round, &seen);
        // Older work of the session as well.
        let other = number * KEYS + i64::try_from(random.below(KEYS as u64))?;
        if let Some(expected) = newest.get(&other) {
            note(
                &session.query_one(&select, &[&other]).await?,
                *expected,
                &seen,
            );
        }
    }
    Ok(())
}

fn note(row: &tokio_postgres::Row, expected: i64, seen: &Seen) {
    let (value, on_replica): (i64, bool) = (row.get(0), row.get(1));
    seen.reads.fetch_add(1, Ordering::Relaxed);
    seen.on_replica
        .fetch_add(u64::from(on_replica), Ordering::Relaxed);
    if value != expected {
        println!("{value} where {expected} was written, on a replica: {on_replica}");
        seen.stale.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads what others write: a value that was seen is never followed by an older one.
async fn watch(url: String, seen: Arc<Seen>, done: Arc<AtomicBool>) -> Result<()> {
    let session = Session::open(&url).await?;
    let select = session
        .prepare("SELECT v, pg_is_in_recovery() FROM f WHERE k = $1")
        .await?;
    let mut newest: HashMap<i64, i64> = HashMap::new();
    let mut k = 0;
    while !done.load(Ordering::Relaxed) {
        k = (k + 1) % (KEYS / 2);
        let row = session.query_one(&select, &[&k]).await?;
        let (value, on_replica): (i64, bool) = (row.get(0), row.get(1));
        seen.reads.fetch_add(1, Ordering::Relaxed);
        seen.on_replica
            .fetch_add(u64::from(on_replica), Ordering::Relaxed);
        let before = newest.insert(k, value).unwrap_or(0);
        if value < before {
            println!("{value} after {before}, on a replica: {on_replica}");
            seen.back_in_time.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
