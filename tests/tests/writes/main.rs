//! Writes over several shards: what they answer, as one plain Postgres does, and that all of their parts are in force or
//! none, whatever router or shard is lost.

mod alike;
mod edges;
mod kills;
mod losses;
#[allow(dead_code, reason = "the tests of gathering use more of it")]
#[path = "../gather/raw.rs"]
mod raw;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

/// Of tests in which dozens of processes die, one after another.
const LONG_DEADLINE: Duration = Duration::from_secs(290);

const DEADLINE: Duration = Duration::from_secs(240);

/// Tests must not hang.
async fn in_time(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test)
        .await
        .expect("the test ends in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_say_what_one_postgres_says() {
    in_time(alike::statements(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_shards_say_what_one_postgres_says() {
    in_time(alike::statements(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_say_what_one_postgres_says() {
    in_time(alike::parameters(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_request_undoes_all_parts() {
    in_time(alike::cancelled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_the_same_rows_do_not_wait_in_a_circle() {
    in_time(alike::many_writers()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_stay_alike_whoever_writes_them() {
    in_time(alike::many_writers_of_copies()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_is_one_on_all_shards() {
    in_time(alike::one_time()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_prepared_is_refused_before_it_is_done() {
    in_time(alike::not_able()).await;
}

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
