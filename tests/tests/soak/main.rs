//! Clients that know what they have written, on shards between which data moves while processes are killed.
//!
//! Every acknowledged write must be there once, on the shard that owns it, whatever was done meanwhile; each client reads
//! its own writes; and no error is seen that a kill of the client's own router or primary does not explain.

mod audit;
mod chaos;
mod client;
mod compare;
mod crowd;
mod foreign;
mod journal;
mod ledger;
mod map;
mod pauses;
mod plan;
mod planted;
mod random;
mod rounds;
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
