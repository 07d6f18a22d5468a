//! A router that is killed at every edge of a write over several shards: all of it is in force or none, and nothing stays
//! prepared or locked.

use crate::edges::{SOON, Write, goes_on, router, settled};
use anyhow::{Context, Result, bail, ensure};
use shard_admin::cluster::RouterProcess;
use shardgate_tests::Running;
use std::time::{Duration, Instant};

/// The number of the router that dies.
const VICTIM: u16 = 2;

/// An edge, how often it is passed on that many shards, and what becomes of the write.
fn edges(shards: usize) -> Vec<(&'static str, usize, bool)> {
    let others = shards - 1;
    let mut list = Vec::new();
    for (name, count, in_force) in [
        ("write-run", shards, false),
        ("write-ran", shards, false),
        ("write-prepare", others, false),
        ("write-prepared", others, false),
        ("write-decide", 1, false),
        ("write-decided", 1, true),
        ("write-commit", others, true),
        ("write-committed", others, true),
        ("write-answer", 1, true),
    ] {
        list.extend((1..=count).map(|nth| (name, nth, in_force)));
    }
    list
}

/// At every edge of writes that succeed: an INSERT of several rows, and UPDATEs without a key.
pub async fn at_every_edge(running: &Running) -> Result<()> {
    let shards = running.cluster.shards.len();
    let cases = edges(shards);
    let mut longest = Duration::ZERO;
    for (number, (name, nth, in_force)) in cases.iter().enumerate() {
        // Each edge with an INSERT, and with one of the others.
        for write in [
            Write::number(8 * number, shards),
            Write::number(8 * number + 1 + number % 3, shards),
        ] {
            let at = format!("{name}:{nth}");
            let title = format!("killed at {at} of {}", write.sql);
            let took = die(running, &at, &write, *in_force)
                .await
                .context(title.clone())?;
            goes_on(running).await.context(title)?;
            longest = longest.max(took);
        }
    }
    println!(
        "{} edges on {shards} shards; nothing was prepared any more after {longest:?} at most",
        cases.len()
    );
    Ok(())
}

/// At every edge of a roll-back: after an error of the last shard, and after one of PREPARE TRANSACTION.
pub async fn at_every_edge_of_a_roll_back(running: &Running) -> Result<()> {
    let shards = running.cluster.shards.len();
    let last = running.connect_shard(shards - 1).await?;
    let key: i64 = last
        .query_one("SELECT min(k) FROM t", &[])
        .await?
        .get::<_, Option<i64>>(0)
        .context("the last shard has a row")?;
    let failing = Write {
        sql: format!("UPDATE t SET n = 1 / (k - {key})::int + 7000"),
        count: "SELECT count(*) FROM t WHERE n >= 6999".to_owned(),
        rows: -1,
    };
    let mut count = 0;
    for name in ["write-roll-back", "write-rolled-back"] {
        for nth in 1..=shards {
            let at = format!("{name}:{nth}");
            die(running, &at, &failing, false)
                .await
                .with_context(|| format!("killed at {at} after a failure"))?;
            goes_on(running).await?;
            count += 1;
        }
    }
    count += when_one_cannot_prepare(running).await?;
    println!("{count} edges of a roll-back on {shards} shards");
    goes_on(running).await
}

/// The last shard has no room for one more prepared transaction, so that the others have to take theirs back.
async fn when_one_cannot_prepare(running: &Running) -> Result<usize> {
    let shards = running.cluster.shards.len();
    let last = running.connect_shard(shards - 1).await?;
    let room: i32 = last
        .query_one(
            "SELECT current_setting('max_prepared_transactions')::int",
            &[],
        )
        .await?
        .get(0);
    for number in 0..room {
        last.batch_execute(&format!("BEGIN; PREPARE TRANSACTION 'app:{number}'"))
            .await?;
    }
    let write = Write::number(901, shards);
    // Without a kill: the statement fails at once, and nothing is left.
    let session = running.connect().await?;
    let refused = session.simple_query(&write.sql).await;
    ensure!(refused.is_err(), "{} with no room", write.sql);
    let took = settled(running).await?;
    ensure!(took < Duration::from_secs(1), "settled after {took:?} only");
    ensure!(!write.in_force(running).await?, "in force");
    let mut count = 0;
    // Home's ROLLBACK, and ROLLBACK PREPARED on those that have prepared.
    for name in ["write-roll-back", "write-rolled-back"] {
        for nth in 1..shards {
            let at = format!("{name}:{nth}");
            die(running, &at, &write, false)
                .await
                .with_context(|| format!("killed at {at} after a failed PREPARE"))?;
            count += 1;
        }
    }
    for number in 0..room {
        last.batch_execute(&format!("ROLLBACK PREPARED 'app:{number}'"))
            .await?;
    }
    Ok(count)
}

/// A statement that is sent to all shards and writes one of them commits without being prepared.
pub async fn of_one_writer(running: &Running) -> Result<()> {
    let write = Write {
        sql: "UPDATE t SET n = 8000 WHERE k + 0 = 1".to_owned(),
        count: "SELECT count(*) FROM t WHERE n = 8000".to_owned(),
        rows: 1,
    };
    die(running, "write-finish:1", &write, false).await?;
    die(running, "write-answer:1", &write, true).await?;
    let home = running.connect_shard(0).await?;
    let sql = "SELECT count(*) FROM shardgate.decision";
    let before: i64 = home.query_one(sql, &[]).await?.get(0);
    running.connect().await?.simple_query(&write.sql).await?;
    let after: i64 = home.query_one(sql, &[]).await?.get(0);
    ensure!(before == after, "a decision row for one writer");
    goes_on(running).await
}

/// Without the one that died: another router ends what it has left.
pub async fn another_router_cleans_up(running: &Running) -> Result<()> {
    for (number, (at, in_force)) in [("write-prepared:1", false), ("write-decided:1", true)]
        .into_iter()
        .enumerate()
    {
        let write = Write::number(600 + 4 * number, 2);
        let victim = router(running, VICTIM, &[("SHARDGATE_KILL_AT", at)])?;
        let client = running.connect_to(&victim).await?;
        let result = client.simple_query(&write.sql).await;
        ensure!(result.is_err(), "acknowledged by a router that was to die");
        ended(&victim)?;
        let took = settled(running).await?;
        println!("{at}: the other router has ended it after {took:?}");
        ensure!(
            write.in_force(running).await? == in_force,
            "{at}: in force is not {in_force}"
        );
        goes_on(running).await?;
    }
    Ok(())
}

/// Runs the write through a router that dies at the edge, starts that router again and looks. How long something was
/// prepared after that.
async fn die(running: &Running, at: &str, write: &Write, in_force: bool) -> Result<Duration> {
    let victim = router(running, VICTIM, &[("SHARDGATE_KILL_AT", at)])?;
    let client = running.connect_to(&victim).await?;
    let result = tokio::time::timeout(SOON, client.simple_query(&write.sql))
        .await
        .context("the statement ends")?;
    match &result {
        Ok(_) => bail!("acknowledged by a router that was to die"),
        Err(error) if error.code().is_some() => bail!("an error, and no death: {error:?}"),
        Err(_) => {}
    }
    ended(&victim)?;
    let _again = router(running, VICTIM, &[])?;
    let took = settled(running).await?;
    let found = write.in_force(running).await?;
    ensure!(found == in_force, "in force: {found}");
    Ok(took)
}

fn ended(victim: &RouterProcess) -> Result<()> {
    let start = Instant::now();
    tokio::task::block_in_place(|| victim.process().wait_end(SOON))
        .then_some(())
        .with_context(|| format!("the router lives on after {:?}", start.elapsed()))
}
