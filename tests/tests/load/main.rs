//! Many clients at once, and processes that are killed under them.

mod kills;
mod pgbench;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_of_pgbench_in_every_mode() -> Result<()> {
    let work = async {
        // A thread that is said to be full at once: clients move between the two all the time.
        let running = Running::start_with(2, 0, |builder| {
            builder
                .router_setting("router.worker_threads", "2")
                .router_setting("router.worker_full_percent", "1")
        });
        pgbench::prepare(&running).await?;
        pgbench::home_tables(&running).await?;
        pgbench::distributed_table(&running).await?;
        pgbench::reconnecting(&running).await?;
        pgbench::clients_have_moved(&running)
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn load_with_kills_hurts_only_those_concerned() -> Result<()> {
    let work = async {
        let running = Running::start(2, 1);
        kills::prepare(&running).await?;
        kills::a_terminated_backend(&running).await?;
        kills::a_killed_client(&running).await?;
        kills::a_killed_replica(&running).await?;
        kills::a_killed_backend(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}
