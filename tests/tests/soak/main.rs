//! Clients that know what they have written, on shards between which data moves while processes are killed.
//!
//! Every acknowledged write must be there once, on the shard that owns it, whatever was done meanwhile; each client reads
//! its own writes; and no error is seen that a kill of the client's own router or primary does not explain.

mod audit;
mod client;
mod compare;
mod crowd;
mod foreign;
mod journal;
mod ledger;
mod map;
mod plan;
mod planted;
mod random;
mod work;
mod world;

use anyhow::{Context, Result, ensure};
use crowd::Crowd;
use journal::Journal;
use plan::Allowed;
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
