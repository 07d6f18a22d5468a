//! One backend, many clients: what a client leaves on it is never seen by the next, and each sees its own again.

mod cancel;
mod leaks;
mod left;
mod pins;
#[path = "../sequences/raw.rs"]
mod raw;
mod skipped;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

/// A pool of one backend for each server and role.
fn pool_of_one() -> Running {
    Running::start_with(1, 0, |builder| builder.pool_size(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_client_is_seen_by_the_next() -> Result<()> {
    let work = async {
        let running = pool_of_one();
        leaks::prepare(&running).await?;
        leaks::settings(&running).await?;
        leaks::custom_settings(&running).await?;
        leaks::hidden_settings(&running).await?;
        leaks::roles(&running).await?;
        leaks::prepared_statements(&running).await?;
        leaks::start_up(&running).await?;
        pins::what_pins(&running).await?;
        pins::by_wish(&running).await?;
        pins::own_only(&running).await?;
        pins::abandoned_block(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[test]
fn what_a_client_leaves_behind_that_goes_at_once_is_not_the_next_ones() -> Result<()> {
    let running = pool_of_one();
    left::all(&running)?;
    left::locks(&running)?;
    left::typing_errors(&running)
}

#[test]
fn a_message_that_is_skipped_owes_nothing() -> Result<()> {
    skipped::all(&pool_of_one())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_hits_nobody_else() -> Result<()> {
    let work = async {
        let running = pool_of_one();
        cancel::own_statement(&running).await?;
        cancel::race(&running).await?;
        cancel::while_waiting(&running).await?;
        cancel::by_strangers(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}
