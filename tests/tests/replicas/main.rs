//! Reads go to replicas when that cannot be seen in the answer: never a stale read of the session's own work, never
//! back in time.

mod calm;
mod freshness;
mod routing;

use anyhow::{Context, Result};
use shardgate_tests::Running;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(150);
/// More rounds than usual (`ROUNDS`) may take so much longer, each.
const ROUND: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_of_the_server_is_what_the_rules_say() -> Result<()> {
    let work = async {
        let running = Running::start(2, 1);
        routing::prepare(&running).await?;
        routing::rules(&running).await?;
        routing::serializable_roles(&running).await?;
        routing::without_replica(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_session_misses_its_own_work_or_goes_back_in_time() -> Result<()> {
    let work = async {
        let running = Running::start(2, 2);
        freshness::prepare(&running).await?;
        freshness::under_pauses(&running).await?;
        calm::replicas_serve_after_a_moment(&running).await
    };
    let deadline = DEADLINE + ROUND * u32::try_from(freshness::rounds()?)?;
    tokio::time::timeout(deadline, work)
        .await
        .context("in time")?
}
