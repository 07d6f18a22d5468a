//! The routers' part in a move of data: what waits, what goes on, what a router says of itself, and what one that was left
//! behind can still do. The move itself is played by hand.

mod fences;
mod holds;
mod play;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(200);

/// Tests must not hang.
async fn in_time(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(DEADLINE, test)
        .await
        .context("the test ends in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_for_keys_that_change_hands_wait_and_all_others_go_on() -> Result<()> {
    in_time(async {
        let running = Running::start_with(2, 0, |builder| {
            builder.router_setting("limits.hold_grace", "150ms")
        });
        let play = play::prepare(&running, 0).await?;
        holds::nothing_is_counted_twice(&running, &play).await?;
        holds::transactions_are_waited_for(&running, &play).await?;
        holds::a_switch(&running, &play).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_can_be_cancelled_and_does_not_wait_for_ever() -> Result<()> {
    in_time(async {
        let running = Running::start_with(2, 0, |builder| {
            builder
                .router_setting("limits.hold_timeout", "700ms")
                .router_setting("limits.held_clients", "2")
        });
        let play = play::prepare(&running, 0).await?;
        holds::limits(&running, &play).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_was_left_behind_is_fenced_off() -> Result<()> {
    in_time(async {
        let running = Running::start(2, 0);
        let play = play::prepare(&running, 1).await?;
        fences::a_stopped_router(&running, &play).await?;
        fences::an_old_state_file(&running, &play).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_the_rows_is_not_read_from() -> Result<()> {
    in_time(async {
        let running = Running::start(2, 1);
        let play = play::prepare(&running, 1).await?;
        fences::floors(&running, &play).await
    })
    .await
}
