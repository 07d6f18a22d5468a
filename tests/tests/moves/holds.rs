//! Holding: who waits, who goes on, and what the router says of it.

use crate::play::{MOMENT, Play, SOON, ask, state_of};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

fn update(key: i64) -> String {
    format!("UPDATE acc SET v = v + 1 WHERE k = {key}")
}

/// A statement in a task of its own.
async fn send(running: &Running, sql: &str) -> Result<JoinHandle<Result<Vec<String>>>> {
    let session = running.connect().await?;
    let sql = sql.to_owned();
    Ok(tokio::spawn(async move { ask(&session, &sql).await }))
}

/// The line of a metric.
fn metric(running: &Running, name: &str) -> Result<String> {
    let metrics = running.router.http_get("/metrics");
    let (_, text) = metrics.map_err(|error| anyhow::anyhow!(error.full_text()))?;
    let found = text.lines().find(|line| line.starts_with(name));
    Ok(found.map(str::to_owned).unwrap_or_default())
}

/// Waits until so many clients wait.
async fn held(running: &Running, count: usize) -> Result<()> {
    let until = Instant::now() + SOON;
    while !metric(running, "shardgate_held_clients ")?.ends_with(&format!(" {count}")) {
        ensure!(Instant::now() < until, "{count} clients do not wait");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn still_waits<T>(task: &JoinHandle<T>, who: &str) -> Result<()> {
    tokio::time::sleep(MOMENT).await;
    ensure!(!task.is_finished(), "{who} does not wait");
    Ok(())
}

async fn ends<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    tokio::time::timeout(SOON, task)
        .await
        .context("it goes on")??
}

/// From the copy on, rows lie on both shards, and every read counts them once.
pub async fn nothing_is_counted_twice(running: &Running, play: &Play) -> Result<()> {
    let session = running.connect().await?;
    // A statement that was planned before, by simple and extended protocol.
    let prepared = session.prepare("SELECT count(*) FROM acc").await?;
    let check = async |when: &str| -> Result<()> {
        let simple = ask(&session, "SELECT count(*) FROM acc").await?;
        let extended: i64 = session.query_one(&prepared, &[]).await?.get(0);
        let sum = ask(
            &session,
            "SELECT sum(a.v) FROM acc a JOIN acc b USING (k) WHERE a.k < 1000",
        )
        .await?;
        ensure!(simple == ["40"], "{when}: {simple:?}");
        ensure!(extended == 40, "{when}: {extended}");
        ensure!(sum == ["0"], "{when}: {sum:?}");
        Ok(())
    };
    check("before").await?;
    play.copy().await?;
    let copied: i64 = play
        .target
        .query_one(
            "SELECT count(*) FROM acc WHERE k = ANY($1)",
            &[&play.moving],
        )
        .await?
        .get(0);
    ensure!(copied == 3, "the rows were copied");
    check("copied").await?;
    Ok(())
}

/// `drained` is said when transactions that have used the keys have ended, and not before.
pub async fn transactions_are_waited_for(running: &Running, play: &Play) -> Result<()> {
    let key = play.moving[0];
    let user = running.connect().await?;
    user.batch_execute("BEGIN").await?;
    ask(
        &user,
        &format!("SELECT v FROM acc WHERE k = {key} FOR UPDATE"),
    )
    .await?;
    // One that stays in its transaction without the keys, and one that is elsewhere.
    let idle = running.connect().await?;
    idle.batch_execute("BEGIN").await?;
    idle.batch_execute(&update(play.staying)).await?;
    let elsewhere = running.connect().await?;
    elsewhere.batch_execute("BEGIN").await?;
    elsewhere.batch_execute(&update(play.other)).await?;

    let epoch = play.step("hold").await?;
    play.known(epoch).await?;
    let waiting = send(running, &update(play.moving[1])).await?;
    still_waits(&waiting, "waiting (1)").await?;
    ensure!(
        play.said().await? < epoch,
        "a transaction has used the keys"
    );
    // It goes on to the old owner, also with keys that it has not used before.
    user.batch_execute(&update(key)).await?;
    user.batch_execute(&update(play.moving[2])).await?;
    ensure!(play.said().await? < epoch, "it is still open");
    user.batch_execute("COMMIT").await?;
    play.drained(epoch, SOON).await?;
    // The idle one was given its time, and waits like all others now.
    still_waits(&waiting, "waiting (2)").await?;
    let key = play.moving[1];
    let late = tokio::spawn(async move {
        let state = state_of(&idle, &update(key)).await;
        idle.batch_execute("ROLLBACK").await?;
        Ok(state)
    });
    still_waits(&late, "late (3)").await?;
    elsewhere.batch_execute("COMMIT").await?;

    // Undone: everybody goes on, where the rows are.
    play.step("verified").await?;
    ends(waiting).await?;
    let state = ends(late).await?;
    ensure!(state.is_empty(), "{state}");
    let values = [
        play.value(&play.source, play.moving[0]).await?,
        play.value(&play.source, play.moving[1]).await?,
        play.value(&play.source, play.moving[2]).await?,
    ];
    ensure!(values == [1, 1, 1], "{values:?}");
    play.source.batch_execute("UPDATE acc SET v = 0").await?;
    Ok(())
}

/// A switch while clients work.
pub async fn a_switch(running: &Running, play: &Play) -> Result<()> {
    let epoch = play.step("hold").await?;
    let took = play.drained(epoch, SOON).await?;
    println!("drained {took:?} behind the epoch");
    let session = running.connect().await?;
    for key in [play.staying, play.other] {
        let begun = Instant::now();
        session.batch_execute(&update(key)).await?;
        session
            .execute("UPDATE acc SET v = v + 1 WHERE k = $1", &[&key])
            .await?;
        ensure!(begun.elapsed() < Duration::from_secs(2), "others go on");
    }
    let simple = send(running, &update(play.moving[0])).await?;
    let extended = {
        let session = running.connect().await?;
        let key = play.moving[1];
        tokio::spawn(async move {
            let sql = "UPDATE acc SET v = v + 1 WHERE k = $1";
            Ok(session.execute(sql, &[&key]).await?)
        })
    };
    let gathered = send(running, "SELECT count(*) FROM acc").await?;
    let gone = send(running, &update(play.moving[2])).await?;
    still_waits(&simple, "simple (4)").await?;
    still_waits(&extended, "extended (5)").await?;
    still_waits(&gathered, "gathered (6)").await?;
    let states = running.console("SHOW CLIENTS")?;
    let held = states
        .iter()
        .filter(|row| row.get(3).cloned().flatten().as_deref() == Some("held"))
        .count();
    ensure!(held == 4, "{held} are shown as held");
    let moves = running.console("SHOW MOVES")?;
    let shown = |at: usize| moves.first().and_then(|row| row.get(at)?.as_deref());
    ensure!(moves.len() == 1, "{moves:?}");
    ensure!(
        (shown(3), shown(4)) == (Some("s1"), Some("s2")),
        "{moves:?}"
    );
    ensure!(
        (shown(5), shown(9)) == (Some("hold"), Some("4")),
        "{moves:?}"
    );
    // A client that leaves has sent its statement all the same; this one is killed off the list by its own end.
    gone.abort();

    let epoch = play.moved().await?;
    play.drained(epoch, SOON).await?;
    play.widen().await?;
    still_waits(&simple, "simple (7)").await?;
    play.step("switched").await?;
    ends(simple).await?;
    let changed = ends(extended).await?;
    ensure!(changed == 1, "the row is where the statement went");
    let count = ends(gathered).await?;
    ensure!(count == ["40"], "{count:?}");
    for key in &play.moving[..2] {
        let there = play.value(&play.target, *key).await?;
        let here = play.value(&play.source, *key).await?;
        ensure!((there, here) == (1, 0), "key {key}: {there} and {here}");
    }
    let count = ask(&session, "SELECT count(*) FROM acc").await?;
    ensure!(count == ["40"], "{count:?}");
    ensure!(metric(running, "shardgate_held_clients ")?.ends_with(" 0"));
    ensure!(!metric(running, "shardgate_statements_held_total ")?.ends_with(" 0"));
    Ok(())
}

/// Cancel, timeout, too many, and the end of a router.
pub async fn limits(running: &Running, play: &Play) -> Result<()> {
    play.copy().await?;
    let epoch = play.step("hold").await?;
    play.drained(epoch, SOON).await?;
    let sql = update(play.moving[0]);
    let session = running.connect().await?;
    let begun = Instant::now();
    ensure!(state_of(&session, &sql).await == "55P03");
    ensure!(
        begun.elapsed() >= Duration::from_millis(600),
        "it has waited"
    );
    ensure!(state_of(&session, &update(play.staying)).await.is_empty());
    // Cancelled.
    let token = session.cancel_token();
    let task = {
        let sql = sql.clone();
        tokio::spawn(async move { Ok(state_of(&session, &sql).await) })
    };
    held(running, 1).await?;
    token.cancel_query(NoTls).await?;
    ensure!(ends(task).await? == "57014");
    // More than are allowed.
    let one = send(running, &sql).await?;
    let two = send(running, &sql).await?;
    held(running, 2).await?;
    let session = running.connect().await?;
    ensure!(state_of(&session, &sql).await == "53400");
    ensure!(ends(one).await.is_err() && ends(two).await.is_err());
    // Nobody was changed by any of it.
    ensure!(play.value(&play.source, play.moving[0]).await? == 0);
    Ok(())
}
