//! A shard that is lost in the middle of a write over several shards, while the router lives: a backend is ended, or the
//! whole server by an immediate shutdown. What the client is told is true at that moment, on every shard.

use crate::edges::{SETTLED, SOON, Write, goes_on, router, settled};
use anyhow::{Context, Result, bail, ensure};
use shard_admin::cluster::{RouterProcess, Signal};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};

const ROUTER: u16 = 3;

/// What is lost, while the router stands still at an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Backend,
    /// An immediate shutdown, and a start before the router goes on.
    Restart,
    /// The same, but it is started a moment after the router goes on.
    Away,
    /// It is away until the client has been told something.
    Long,
}

/// What the client may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Done,
    Failed,
    /// 08007: decided, and not confirmed everywhere. It is in force once the shard is back.
    Unconfirmed,
}

/// Edge, shard, harm, what the client is told.
fn cases(shards: usize) -> Vec<(String, usize, Harm, Told)> {
    let last = shards - 1;
    let mut list = Vec::new();
    for harm in [Harm::Backend, Harm::Restart, Harm::Away] {
        // Before anything is decided: it fails, wherever the loss is.
        list.push((format!("write-ran:{shards}"), last, harm, Told::Failed));
        list.push(("write-prepare:1".to_owned(), last, harm, Told::Failed));
        list.push(("write-prepare:1".to_owned(), 0, harm, Told::Failed));
        list.push(("write-decide:1".to_owned(), 0, harm, Told::Failed));
        // A shard that has prepared is not needed for the decision.
        list.push((format!("write-prepared:{last}"), last, harm, Told::Done));
        list.push(("write-decided:1".to_owned(), last, harm, Told::Done));
        list.push(("write-commit:1".to_owned(), last, harm, Told::Done));
        list.push(("write-committed:1".to_owned(), 1, harm, Told::Done));
    }
    // Home has decided, and is not needed for the rest.
    list.push(("write-decided:1".to_owned(), 0, Harm::Backend, Told::Done));
    list.push(("write-decided:1".to_owned(), 0, Harm::Restart, Told::Done));
    list.push((
        "write-decided:1".to_owned(),
        last,
        Harm::Long,
        Told::Unconfirmed,
    ));
    list
}

/// At the edges at which it matters.
pub async fn of_a_shard(running: &Running) -> Result<()> {
    let cases = cases(running.cluster.shards.len());
    for (number, (at, shard, harm, told)) in cases.iter().enumerate() {
        let write = Write::number(300 + number, running.cluster.shards.len());
        lose(running, at, (*shard, *harm), *told, &write)
            .await
            .with_context(|| format!("{harm:?} of shard {shard} at {at} of {}", write.sql))?;
    }
    println!("{} losses", cases.len());
    Ok(())
}

async fn lose(
    running: &Running,
    at: &str,
    (shard, harm): (usize, Harm),
    told: Told,
    write: &Write,
) -> Result<()> {
    let router = router(running, ROUTER, &[("SHARDGATE_PAUSE_AT", at)])?;
    let client = running.connect_to(&router).await?;
    let sql = write.sql.clone();
    let statement = tokio::spawn(async move {
        let result = client.simple_query(&sql).await.map(|_| ());
        (client, result)
    });
    paused(&router).await?;
    let server = &running.cluster.shards[shard].primary;
    match harm {
        Harm::Backend => end_backends(running, shard, write).await?,
        Harm::Restart | Harm::Away | Harm::Long => {
            let process = server.process().context("it runs")?;
            server.signal(Signal::Quit);
            let ended = tokio::task::block_in_place(|| process.wait_end(SOON));
            ensure!(ended, "the server lives on");
        }
    }
    if harm == Harm::Restart {
        tokio::task::block_in_place(|| server.start())
            .map_err(|error| anyhow::anyhow!(error.full_text()))?;
    }
    router.signal(Signal::Continue);
    if harm == Harm::Away {
        // The router meets a server that is not there, and repeats.
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| server.start())
            .map_err(|error| anyhow::anyhow!(error.full_text()))?;
    }
    let (client, result) = tokio::time::timeout(SETTLED, statement)
        .await
        .context("the statement ends")??;
    if harm == Harm::Long {
        tokio::task::block_in_place(|| server.start())
            .map_err(|error| anyhow::anyhow!(error.full_text()))?;
    }
    match (&result, told) {
        (Ok(()), Told::Done) => {
            // Acknowledged: in force everywhere, now.
            ensure!(
                write.in_force(running).await?,
                "acknowledged, and in force nowhere"
            );
        }
        (Err(error), Told::Failed) => {
            let code = error.code().map(|code| code.code().to_owned());
            ensure!(
                matches!(code.as_deref(), Some("08006" | "40000" | "57P01")),
                "{error:?}"
            );
        }
        (Err(error), Told::Unconfirmed) => ensure!(
            error.code().is_some_and(|code| code.code() == "08007"),
            "{error:?}"
        ),
        (result, told) => bail!("{result:?}, not {told:?}"),
    }
    let took = settled(running).await?;
    ensure!(took < SOON, "something was prepared for {took:?}");
    ensure!(
        write.in_force(running).await? == (told != Told::Failed),
        "told {told:?}, and it is not so"
    );
    still_serves(&client).await?;
    drop(client);
    goes_on(running).await
}

/// The client's own session outlives the loss.
async fn still_serves(client: &Session) -> Result<()> {
    let start = Instant::now();
    // A server that has just started may be found only by the next probe.
    while let Err(error) = client
        .simple_query("SELECT count(*) FROM t WHERE k = 1")
        .await
    {
        ensure!(!client.is_closed(), "the session has ended: {error:?}");
        ensure!(start.elapsed() < SOON, "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits until the router stands still.
async fn paused(router: &RouterProcess) -> Result<()> {
    let path = format!("/proc/{}/stat", router.pid);
    let start = Instant::now();
    loop {
        let stat = std::fs::read_to_string(&path).context("the router lives")?;
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        if state == Some('T') {
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "the edge is not reached: {stat}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends the backends of the shard that the statement uses, and waits until they are gone.
async fn end_backends(running: &Running, shard: usize, write: &Write) -> Result<()> {
    let session = running.connect_shard(shard).await?;
    let which = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() \
        AND (query = $1 OR query ~ '^(PREPARE TRANSACTION|COMMIT PREPARED|ROLLBACK|COMMIT$)' OR query ~ 'pg_current_xact_id_if_assigned|transaction_isolation')";
    let pids: Vec<i32> = session
        .query(which, &[&write.sql])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    ensure!(!pids.is_empty(), "no backend runs it");
    let start = Instant::now();
    session
        .execute(
            "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid",
            &[&pids],
        )
        .await?;
    loop {
        let alive: i64 = session
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)",
                &[&pids],
            )
            .await?
            .get(0);
        if alive == 0 {
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "{alive} backends live on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
