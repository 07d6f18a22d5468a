//! Changes of the schema through the router: on every shard that they concern, or on none; and tables as the router's
//! functions make them.

mod behind;
mod distribute;
mod edges;
mod everywhere;
mod kills;
mod losses;
mod nowhere;
mod reasons;
mod small_pool;
mod two_routers;
mod values;
mod window;

use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(240);
/// Of tests in which dozens of processes die, one after another.
const LONG_DEADLINE: Duration = Duration::from_secs(290);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_distributed_by_functions() -> Result<()> {
    let work = async {
        let mut running = Running::start(2, 0);
        distribute::forms(&running).await?;
        distribute::maps(&running).await?;
        distribute::references_and_back(&running).await?;
        distribute::serials(&running).await?;
        reasons::all(&running).await?;
        distribute::after_a_restart(&mut running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_every_shard_or_none() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        everywhere::prepare(&running).await?;
        everywhere::changes(&running).await?;
        everywhere::home_alone(&running).await?;
        nowhere::failures(&running).await?;
        nowhere::in_blocks(&running).await?;
        values::refused(&running).await?;
        two_routers::agree(&running).await?;
        behind::dropped_roles(&running).await?;
        behind::views_of_home(&running).await?;
        behind::behind_the_back(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_ddl_stores_are_alike_on_shards_that_differ() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        values::alike(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_sessions_that_share_few_connections() -> Result<()> {
    let work = async {
        let running = Running::start_with(2, 0, |builder| builder.pool_size(1));
        small_pool::prepare(&running).await?;
        small_pool::pinned(&running).await?;
        small_pool::at_once(&running).await?;
        small_pool::cancelled(&running).await?;
        small_pool::cancelled_while_it_waits(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_are_under_way_during_a_change() -> Result<()> {
    let work = async {
        window::behind_a_full_pool(&Running::start_with(2, 0, |b| b.pool_size(1))).await?;
        let running = Running::start(2, 0);
        window::behind_a_lock(&running).await?;
        window::behind_a_function(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_router_that_dies_leaves_no_half_of_a_change_on_two_shards() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        let keys = edges::prepare(&running).await?;
        kills::at_every_edge(&running, &keys).await?;
        kills::at_every_edge_of_a_roll_back(&running, &keys).await?;
        kills::another_router_cleans_up(&running, &keys).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_router_that_dies_leaves_no_half_of_a_change_on_three_shards() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        let keys = edges::prepare(&running).await?;
        kills::at_every_edge(&running, &keys).await?;
        kills::at_every_edge_of_a_roll_back(&running, &keys).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_router_that_dies_leaves_no_half_of_a_distributed_table() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        kills::of_the_functions(&running).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_is_lost_leaves_no_half_of_a_change() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        let keys = edges::prepare(&running).await?;
        losses::of_a_shard(&running, &keys).await
    };
    tokio::time::timeout(LONG_DEADLINE, work)
        .await
        .context("in time")?
}

async fn run(session: &Session, sql: &str) -> Result<()> {
    session
        .simple_query(sql)
        .await
        .map(|_| ())
        .with_context(|| sql.to_owned())
}

/// The first value of a query on each shard, past the router.
async fn on_shards(running: &Running, sql: &str) -> Result<Vec<Option<String>>> {
    let mut values = Vec::new();
    for index in 0..running.cluster.shards.len() {
        let shard = running.connect_shard(index).await?;
        let text = format!("SELECT (x.*)::text FROM ({sql}) x");
        let row = shard
            .query_opt(&text, &[])
            .await
            .with_context(|| text.clone())?;
        // A row of one column prints as its value in brackets.
        values.push(
            row.and_then(|row| row.get::<_, Option<String>>(0))
                .map(|text| text.trim_matches(['(', ')']).to_owned()),
        );
    }
    Ok(values)
}

/// The same value on every shard.
async fn everywhere_is(running: &Running, sql: &str, expected: &str) -> Result<()> {
    let values = on_shards(running, sql).await?;
    ensure!(
        values
            .iter()
            .all(|value| value.as_deref() == Some(expected)),
        "{sql}: {values:?}, not {expected}"
    );
    Ok(())
}

/// No transaction waits for its second phase.
async fn nothing_prepared(running: &Running) -> Result<()> {
    everywhere_is(running, "SELECT count(*) FROM pg_prepared_xacts", "0").await
}
