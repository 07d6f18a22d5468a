//! Writes over several shards: what they answer, as one plain Postgres does, and that all of their parts are in force or
//! none, whatever router or shard is lost.

mod edges;
mod kills;
mod losses;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

/// Of tests in which dozens of processes die, one after another.
const LONG_DEADLINE: Duration = Duration::from_secs(290);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_router_that_dies_leaves_no_half_of_a_write_on_two_shards() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        edges::prepare(&running).await?;
        kills::at_every_edge(&running).await?;
        kills::at_every_edge_of_a_roll_back(&running).await?;
        kills::of_one_writer(&running).await?;
        kills::another_router_cleans_up(&running).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_router_that_dies_leaves_no_half_of_a_write_on_three_shards() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        edges::prepare(&running).await?;
        kills::at_every_edge(&running).await?;
        kills::at_every_edge_of_a_roll_back(&running).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_is_lost_leaves_no_half_of_a_write() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        edges::prepare(&running).await?;
        losses::of_a_shard(&running).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}
