//! Whole moves under load: clients of two routers see a pause and no error, every acknowledged write is there once, nobody
//! reads what is older than what was acknowledged, and every count is right in every step.

use crate::play::{self, ask};
use anyhow::{Context, Result, anyhow, bail, ensure};
use shard_admin::cluster::Signal;
use shardgate_catalog::Backend;
use shardgate_catalog::moves::{self, MoveOptions, MoveSpec, PartsSpec, Step};
use shardgate_shard_map::{Key, bucket};
use shardgate_tests::{Running, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WORKERS: u64 = 6;
const KEYS: usize = 40;

/// What clients were told, and how long they waited.
#[derive(Default)]
struct Ledger {
    stop: AtomicBool,
    /// Acknowledged increments of each key, from 1.
    done: Vec<AtomicI64>,
    statements: AtomicU64,
    longest_ms: AtomicU64,
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One statement or transaction; `key` is of the worker alone, so that its value is known exactly.
async fn work(session: &Session, ledger: &Ledger, key: i64, what: u64) -> Result<()> {
    let done = ledger.done.get(usize::try_from(key)?).context("a key")?;
    let before = done.load(Ordering::SeqCst);
    let value = async || -> Result<i64> {
        let row = session
            .query_one("SELECT v FROM acc WHERE k = $1", &[&key])
            .await?;
        Ok(row.get(0))
    };
    match what {
        0 => {
            let changed = session
                .execute("UPDATE acc SET v = v + 1 WHERE k = $1", &[&key])
                .await?;
            ensure!(changed == 1, "the row of key {key} is there");
            done.fetch_add(1, Ordering::SeqCst);
        }
        1 => {
            session
                .batch_execute(&format!("UPDATE acc SET v = v + 1 WHERE k = {key}"))
                .await?;
            done.fetch_add(1, Ordering::SeqCst);
        }
        2 => {
            session.batch_execute("BEGIN").await?;
            let sql = format!("SELECT v FROM acc WHERE k = {key} FOR UPDATE");
            ensure!(ask(session, &sql).await? == [before.to_string()]);
            let changed = session
                .execute("UPDATE acc SET v = v + 1 WHERE k = $1", &[&key])
                .await?;
            ensure!(changed == 1, "the row of key {key} is there");
            session.batch_execute("COMMIT").await?;
            done.fetch_add(1, Ordering::SeqCst);
        }
        3 => {
            session
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                .await?;
            for _ in 0..2 {
                let sql = format!("SELECT v FROM acc WHERE k = {key}");
                let value = ask(session, &sql).await?;
                ensure!(value == [before.to_string()], "{value:?}, not {before}");
            }
            session.batch_execute("COMMIT").await?;
        }
        4 => {
            // Taken away and put back, in one statement each.
            let deleted = session
                .execute("DELETE FROM acc WHERE k = $1", &[&key])
                .await?;
            ensure!(deleted == 1, "the row of key {key} is there");
            session
                .execute("INSERT INTO acc VALUES ($1, $2)", &[&key, &before])
                .await?;
        }
        5 => {
            let count = ask(session, "SELECT count(*) FROM acc WHERE k > 0").await?;
            let count: usize = count.first().context("a count")?.parse()?;
            // Each worker may have taken one away.
            let least = KEYS - usize::try_from(WORKERS)?;
            ensure!((least..=KEYS).contains(&count), "{count} rows");
        }
        _ => ensure!(value().await? == before, "an old row of key {key}"),
    }
    Ok(())
}

async fn worker(session: Session, ledger: Arc<Ledger>, number: u64, seed: u64) -> Result<()> {
    let mut random = Random(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let own: Vec<i64> = (1..=KEYS as u64)
        .filter(|key| key % WORKERS == number)
        .map(|key| i64::try_from(key).unwrap_or_default())
        .collect();
    while !ledger.stop.load(Ordering::Relaxed) {
        let at = usize::try_from(random.below(own.len() as u64))?;
        let (key, what) = (own[at], random.below(9));
        let begun = Instant::now();
        work(&session, &ledger, key, what)
            .await
            .with_context(|| format!("worker {number}, kind {what}, key {key}"))?;
        let ms = u64::try_from(begun.elapsed().as_millis())?;
        ledger.longest_ms.fetch_max(ms, Ordering::Relaxed);
        ledger.statements.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn advance(home: &mut Backend, id: i64, until: Step, ledger: &Ledger) -> Result<()> {
    ledger.longest_ms.store(0, Ordering::Relaxed);
    let before = ledger.statements.load(Ordering::Relaxed);
    let mut tries = 0;
    let status = loop {
        match moves::advance(home, id, until).await {
            Ok(status) => break status,
            Err(error) if tries < 5 => {
                tries += 1;
                println!("  {until:?} again: {error}");
            }
            Err(error) => bail!("{until:?}: {error}"),
        }
    };
    println!(
        "{until:?}: pause {:?} ms, longest statement {} ms of {}",
        status.pause_ms,
        ledger.longest_ms.load(Ordering::Relaxed),
        ledger.statements.load(Ordering::Relaxed) - before
    );
    Ok(())
}

async fn home_of(running: &Running) -> Result<Backend> {
    let config: tokio_postgres::Config = running.catalog_url().parse()?;
    Backend::primary(&config, "the home shard")
        .await
        .map_err(|error| anyhow!("{error}"))
}

/// The move of the keys' buckets from home to the second shard.
async fn spec_of(play: &play::Play, keys: &[String]) -> Result<MoveSpec> {
    let name = ask(&play.source, "SELECT name FROM shardgate.distribution").await?;
    let runs = keys
        .iter()
        .map(|key| {
            let number = bucket(&Key::Int(key.parse()?), 4096).0;
            Ok((number, number))
        })
        .collect::<Result<std::collections::BTreeSet<_>>>()?;
    Ok(MoveSpec {
        distribution: name.first().context("a distribution")?.clone(),
        parts: PartsSpec::Buckets(runs.into_iter().collect()),
        to: "s2".to_owned(),
        options: MoveOptions::default(),
    })
}

/// A router sleeps through the switch: it is waited for as long as it counts as living, and cut off then. What its clients ask
/// for when it wakes is not answered by what was there before.
pub async fn a_sleeping_router(running: &Running) -> Result<()> {
    let play = play::prepare(running, 0).await?;
    let second = running.another_router(2, &[])?;
    let mut sessions = Vec::new();
    for number in 0..4 {
        let session = running.connect_to(&second).await?;
        if number % 2 == 0 {
            session.batch_execute("BEGIN").await?;
        }
        let sql = format!("SELECT v FROM acc WHERE k = {}", play.moving[0]);
        ensure!(ask(&session, &sql).await? == ["0"]);
        sessions.push(session);
    }
    let mut home = home_of(running).await?;
    let keys: Vec<String> = play.moving.iter().map(i64::to_string).collect();
    let spec = spec_of(&play, &keys).await?;
    let id = moves::start(&mut home, &spec)
        .await
        .map_err(|error| anyhow!("{error}"))?;
    moves::advance(&mut home, id, Step::Verified)
        .await
        .map_err(|error| anyhow!("{error}"))?;
    second.signal(Signal::Stop);
    let begun = Instant::now();
    let mut undone = 0;
    while let Err(error) = moves::advance(&mut home, id, Step::Switched).await {
        undone += 1;
        println!("undone after {:?}: {error}", begun.elapsed());
        ensure!(
            begun.elapsed() < Duration::from_secs(90),
            "it never succeeds"
        );
    }
    ensure!(undone > 0, "a living router is waited for");
    let first = running.connect().await?;
    for key in &play.moving {
        first
            .batch_execute(&format!("UPDATE acc SET v = 7 WHERE k = {key}"))
            .await?;
    }
    let mut tasks = Vec::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let key = play.moving[0];
        tasks.push(tokio::spawn(async move {
            if number < 2 {
                let sql = format!("UPDATE acc SET v = v + 0 WHERE k = {key}");
                return match session.simple_query(&sql).await {
                    Ok(_) | Err(_) => Ok(Vec::new()),
                };
            }
            ask(&session, &format!("SELECT v FROM acc WHERE k = {key}")).await
        }));
    }
    second.signal(Signal::Continue);
    for task in tasks {
        match task.await? {
            Ok(values) => ensure!(values.iter().all(|value| value == "7"), "{values:?}"),
            Err(error) => println!("told: {:?}", error.root_cause().to_string()),
        }
    }
    for key in &play.moving {
        ensure!(play.value(&play.target, *key).await? == 7);
    }
    let late = running.connect_to(&second).await?;
    let sql = format!("SELECT v FROM acc WHERE k = {}", play.moving[0]);
    ensure!(ask(&late, &sql).await? == ["7"], "it goes on");
    Ok(())
}

pub async fn whole_moves(running: &Running) -> Result<()> {
    let play = play::prepare(running, 0).await?;
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(20_261_124);
    println!("SEED={seed}");
    let second = running.another_router(2, &[])?;
    let ledger = Arc::new(Ledger {
        done: (0..=KEYS).map(|_| AtomicI64::new(0)).collect(),
        ..Ledger::default()
    });
    let mut tasks = Vec::new();
    for number in 0..WORKERS {
        let session = match number % 2 {
            0 => running.connect().await?,
            _ => running.connect_to(&second).await?,
        };
        tasks.push(tokio::spawn(worker(
            session,
            Arc::clone(&ledger),
            number,
            seed,
        )));
    }
    let mut home = home_of(running).await?;
    let keys = ask(&play.source, "SELECT k FROM acc").await?;
    // All buckets of all the source's keys: whoever works works with moving keys.
    let spec = spec_of(&play, &keys).await?;
    let id = moves::start(&mut home, &spec)
        .await
        .map_err(|error| anyhow!("{error}"))?;
    for until in [
        Step::Verified,
        Step::Switched,
        Step::Reversed,
        Step::Switched,
        Step::Completed,
    ] {
        advance(&mut home, id, until, &ledger).await?;
        if let Some(ended) = tasks.iter().position(tokio::task::JoinHandle::is_finished) {
            let outcome = tasks.swap_remove(ended).await?;
            outcome.with_context(|| format!("at {until:?}"))?;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    ledger.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    let here = play.source.query("SELECT k FROM acc", &[]).await?;
    ensure!(
        here.iter()
            .all(|row| !keys.contains(&row.get::<_, i64>(0).to_string())),
        "moved rows are left on the source"
    );
    let there = play.target.query("SELECT k, v FROM acc", &[]).await?;
    ensure!(
        there.len() + here.len() == KEYS,
        "no row is lost or doubled"
    );
    for row in there {
        let (key, value): (i64, i64) = (row.get(0), row.get(1));
        let expect = ledger.done[usize::try_from(key)?].load(Ordering::SeqCst);
        ensure!(value == expect, "key {key}: {value}, acknowledged {expect}");
    }
    println!("{} statements", ledger.statements.load(Ordering::Relaxed));
    Ok(())
}
