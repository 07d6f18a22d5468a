//! Replicas that replay without delay do the reading.

use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::Duration;

const SESSIONS: i64 = 8;
const ROUNDS: i64 = 20;

/// At least half of the reads that follow a write and a pause of 200 ms are served by replicas.
pub async fn replicas_serve_after_a_moment(running: &Running) -> Result<()> {
    for shard in &running.cluster.shards {
        tokio::task::block_in_place(|| shard.wait_caught_up(Duration::from_secs(20)))
            .map_err(|error| anyhow::anyhow!(error.full_text()))?;
    }
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| tokio::spawn(session(running.url(), number)))
        .collect();
    let mut on_replica = 0;
    for task in sessions {
        let count = task.await?.context("a session")?;
        on_replica += count;
    }
    println!(
        "{on_replica} of {} reads after 200 ms were served by replicas",
        SESSIONS * ROUNDS
    );
    ensure!(
        on_replica * 2 >= SESSIONS * ROUNDS,
        "{on_replica} of {}",
        SESSIONS * ROUNDS
    );
    Ok(())
}

async fn session(url: String, number: i64) -> Result<i64> {
    let session = Session::open(&url).await?;
    let mut on_replica = 0;
    let update = session.prepare("UPDATE f SET v = $2 WHERE k = $1").await?;
    let select = session
        .prepare("SELECT v, pg_is_in_recovery() FROM f WHERE k = $1")
        .await?;
    for round in 0..ROUNDS {
        session.execute(&update, &[&number, &round]).await?;
        // The promise is about reads after this pause.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let row = session.query_one(&select, &[&number]).await?;
        ensure!(row.get::<_, i64>(0) == round, "a stale read");
        on_replica += i64::from(row.get::<_, bool>(1));
    }
    Ok(on_replica)
}
