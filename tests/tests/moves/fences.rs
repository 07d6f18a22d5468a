//! Routers that were left behind, and replicas that were: the database itself keeps them from what they should not do.

use crate::play::{Play, SOON, ask, state_of};
use anyhow::{Context, Result, anyhow, ensure};
use shard_admin::cluster::Signal;
use shardgate_tests::{Running, Session};
use std::time::Instant;

/// A router that is stopped before the switch and wakes up behind it, and that can learn nothing from home.
pub async fn a_stopped_router(running: &Running, play: &Play) -> Result<()> {
    let key = play.moving[0];
    let read = format!("SELECT v FROM acc WHERE k = {key}");
    let write = format!("UPDATE acc SET v = v + 100 WHERE k = {key}");
    let second = running.another_router(2, &[])?;
    play.copy().await?;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let session = running.connect_to(&second).await?;
        session.batch_execute("BEGIN").await?;
        ensure!(ask(&session, &read).await? == ["0"]);
        sessions.push(session);
    }
    // Half of them have their connection still open in a transaction.
    for session in &sessions[2..] {
        session.batch_execute("COMMIT").await?;
    }
    let held = play.newest().await?;
    let start = Instant::now();
    while play.said_by(2).await? < u64::try_from(held)? {
        ensure!(start.elapsed() < SOON, "the second router follows");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    second.signal(Signal::Stop);
    let moved = play.switch().await?;
    play.forget(held).await?;
    ensure!(
        play.cut_off(&play.source, moved, 2).await? >= 2,
        "the connections of the router were found"
    );
    play.cut_off(&play.target, moved, 2).await?;
    let first = running.connect().await?;
    first
        .batch_execute(&format!("UPDATE acc SET v = 7 WHERE k = {key}"))
        .await?;

    // What it is told while it sleeps it looks at first when it wakes.
    let mut tasks = Vec::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let sql = if number % 2 == 0 {
            write.clone()
        } else {
            read.clone()
        };
        tasks.push(tokio::spawn(async move { state_of(&session, &sql).await }));
    }
    second.signal(Signal::Continue);
    for task in tasks {
        let state = task.await?;
        ensure!(
            ["57P01", "57P03", "08006"].contains(&state.as_str()),
            "{state:?}"
        );
    }
    // What comes later is told why.
    let late = running.connect_to(&second).await?;
    for sql in [&read, &write, "SELECT count(*) FROM acc", "SELECT 1"] {
        let state = state_of(&late, sql).await;
        ensure!(state == "57P03", "{sql}: {state:?}");
    }
    let values = (
        play.value(&play.source, key).await?,
        play.value(&play.target, key).await?,
    );
    ensure!(values == (0, 7), "source and target: {values:?}");
    // A router that can ask home goes on.
    ensure!(ask(&first, &read).await? == ["7"]);
    let fresh = running.another_router(4, &[])?;
    let session = running.connect_to(&fresh).await?;
    ensure!(ask(&session, &read).await? == ["7"]);
    Ok(())
}

/// A router that starts with what it has kept on disk from before the switch.
pub async fn an_old_state_file(running: &Running, play: &Play) -> Result<()> {
    // Undo the fence of home, so that clients get as far as their statements.
    play.target
        .batch_execute("UPDATE shardgate.identity SET fence = 0")
        .await?;
    let key = play.moving[0];
    let old = running.another_router(3, &[])?;
    let held = play.newest().await?;
    old.kill9();
    // A newer epoch, which the source asks for.
    let newer = play.epoch("SELECT 1").await?;
    play.cut_off(&play.source, newer, 3).await?;
    play.forget(held).await?;
    let old = running.another_router(3, &[])?;
    let state = running.connect_to(&old).await?;
    for sql in [
        format!("SELECT v FROM acc WHERE k = {}", play.staying),
        format!("UPDATE acc SET v = 9 WHERE k = {}", play.staying),
        "SELECT count(*) FROM acc".to_owned(),
    ] {
        let found = state_of(&state, &sql).await;
        ensure!(found == "57P03", "{sql}: {found:?}");
    }
    // What lies on a shard that has no fence is served.
    ensure!(ask(&state, &format!("SELECT v FROM acc WHERE k = {key}")).await? == ["7"]);
    let (_, metrics) = old
        .http_get("/metrics")
        .map_err(|error| anyhow!(error.full_text()))?;
    let fenced = metrics
        .lines()
        .find(|line| line.starts_with("shardgate_backends_fenced_total"));
    ensure!(
        fenced.is_some_and(|line| !line.ends_with(" 0")),
        "{fenced:?}"
    );
    Ok(())
}

/// Who answers a read of the key: a replica?
async fn by_replica(session: &Session, key: i64) -> Result<bool> {
    let sql = format!("SELECT pg_is_in_recovery() FROM acc WHERE k = {key}");
    let answer = ask(session, &sql).await?;
    Ok(answer.first().context("the row is there")? == "t")
}

pub async fn floors(running: &Running, play: &Play) -> Result<()> {
    let session = running.connect().await?;
    let key = play.staying;
    let start = Instant::now();
    while !by_replica(&session, key).await? {
        ensure!(start.elapsed() < SOON, "a replica serves in the end");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let floor = async |lsn: &str| -> Result<()> {
        let epoch = play
            .epoch(&format!(
                "UPDATE shardgate.shard SET floor_timeline = 1, floor_lsn = {lsn} WHERE name = 's2'"
            ))
            .await?;
        play.drained(epoch, SOON).await.map(|_| ())
    };
    floor("pg_lsn 'FFFF/0'").await?;
    for _ in 0..50 {
        ensure!(!by_replica(&session, key).await?, "below the floor");
    }
    session
        .batch_execute("SET shardgate.role = replica")
        .await?;
    let state = state_of(&session, &format!("SELECT v FROM acc WHERE k = {key}")).await;
    ensure!(state == "57P03", "{state:?}");
    session.batch_execute("SET shardgate.role = auto").await?;
    // The other shard has none.
    ensure!(by_replica(&session, play.other).await? || running.cluster.shards.len() == 2);
    floor("pg_lsn '0/1'").await?;
    let start = Instant::now();
    while !by_replica(&session, key).await? {
        ensure!(
            start.elapsed() < SOON,
            "a replica that has passed the floor serves"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Ok(())
}
