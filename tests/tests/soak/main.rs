//! Clients that know what they have written, on shards between which data moves while processes are killed.
//!
//! Every acknowledged write must be there once, on the shard that owns it, whatever was done meanwhile; each client reads
//! its own writes; and no error is seen that a kill of the client's own router or primary does not explain.

mod audit;
mod chaos;
mod client;
mod compare;
mod crowd;
mod episode;
mod foreign;
mod journal;
mod ledger;
mod map;
mod pauses;
mod plan;
mod planted;
mod random;
mod rate;
mod rounds;
mod verbs;
mod work;
mod world;

use anyhow::{Context, Result, ensure};
use crowd::Crowd;
use journal::Journal;
use plan::Allowed;
use rounds::{Settings, Soak};
use std::sync::Arc;
use std::time::Duration;
use world::World;

const DEADLINE: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_faults_are_found() -> Result<()> {
    let work = async {
        let seed = random::seed()?;
        println!("SEED={seed}");
        let world = World::start(2, 1, 500).await?;
        let allowed = Allowed::default();
        let crowd = Crowd::new(&world, 2, 200, seed, allowed);
        let journal = Arc::new(Journal::new());
        let working = crowd.start(&journal, seed)?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut crowd = working.stop().await?;
        println!("{:?}", journal.counts());
        let (failures, _) = journal.judge(|_| Vec::new());
        ensure!(failures.is_empty(), "errors without any kill: {failures:?}");
        ensure!(journal.wrong_answers().is_empty(), "wrong answers");
        planted::all(&world, &mut crowd).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

/// Without moves: the clients themselves, the routers, and what explains an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_with_kills_loses_nothing() -> Result<()> {
    let work = async {
        let mut soak = Soak::start(Settings {
            seed: random::seed()?,
            clients: 12,
            rate: random::number("RATE", 200)?,
            ballast: 1000,
            time: Duration::from_secs(30),
            rounds: u32::try_from(random::number("ROUNDS", 2)?)?,
            chaos_percent: 100,
            stop_ms_max: 2000,
            spread: random::number("SPREAD", 1)? > 0,
        })
        .await?;
        soak.kills().await?;
        println!("{:?}", soak.chaos.happened);
        Ok(())
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

/// Random moves, in the time of a test: `ROUNDS` and `RATE` change it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_while_keys_move() -> Result<()> {
    let seconds = random::number("SECONDS", 35)?;
    let work = async {
        let mut soak = Soak::start(Settings {
            seed: random::seed()?,
            clients: 12,
            rate: random::number("RATE", 200)?,
            ballast: 2000,
            time: Duration::from_secs(seconds),
            rounds: u32::try_from(random::number("ROUNDS", 1000)?)?,
            chaos_percent: random::number("CHAOS", 25)?,
            stop_ms_max: 2000,
            // Refused while rows move.
            spread: random::number("SPREAD", 0)? > 0,
        })
        .await?;
        let done = soak.moves().await;
        soak.report();
        done
    };
    tokio::time::timeout(DEADLINE + Duration::from_secs(seconds), work)
        .await
        .context("in time")?
}

/// The same for as long as `MINUTES` says, with more rows and harder pauses: `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as MINUTES says"]
async fn load_long_while_keys_move() -> Result<()> {
    let minutes = random::number("MINUTES", 60)?;
    let mut soak = Soak::start(Settings {
        seed: random::seed()?,
        clients: 16,
        rate: random::number("RATE", 500)?,
        ballast: i64::try_from(random::number("BALLAST", 20_000)?)?,
        time: Duration::from_secs(60 * minutes),
        rounds: u32::try_from(random::number("ROUNDS", 1_000_000)?)?,
        chaos_percent: random::number("CHAOS", 30)?,
        // Longer than a router may be silent before it counts as lost.
        stop_ms_max: 25_000,
        spread: random::number("SPREAD", 0)? > 0,
    })
    .await?;
    let done = soak.moves().await;
    soak.report();
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: wants the machine for itself"]
async fn load_of_a_copy_is_near_to_a_plain_one() -> Result<()> {
    let percent = rate::compare().await?;
    ensure!(percent >= 60, "a move copies at {percent} % of COPY");
    Ok(())
}
