//! Cancel requests: they reach the statement that they are meant for, or nothing.

use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio_postgres::{Error, NoTls};

const ROUNDS: u32 = 300;

fn is_cancelled<T>(result: &Result<T, Error>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.code().is_some_and(|code| code.code() == "57014"))
}

/// A running statement ends soon, and the session goes on.
pub async fn own_statement(running: &Running) -> Result<()> {
    let session = running.connect().await?;
    let token = session.cancel_token();
    let start = Instant::now();
    let sleeping = session.simple_query("SELECT pg_sleep(30)");
    let cancel = async {
        wait_for_sleepers(running, 1).await?;
        token.cancel_query(NoTls).await.context("cancel")
    };
    let (slept, cancelled) = tokio::join!(sleeping, cancel);
    cancelled?;
    ensure!(is_cancelled(&slept), "{slept:?}");
    ensure!(
        start.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        start.elapsed()
    );
    session
        .simple_query("SELECT 1")
        .await
        .context("after the cancel")?;
    Ok(())
}

async fn wait_for_sleepers(running: &Running, count: i64) -> Result<()> {
    let direct = running.connect_shard(0).await?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    let start = Instant::now();
    while direct.query_one(sql, &[]).await?.get::<_, i64>(0) != count {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "there are not {count} statements running"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The first client cancels a statement that is just ending; the second one waits for the only backend.
pub async fn race(running: &Running) -> Result<()> {
    let (first, second) = (running.connect().await?, running.connect().await?);
    let token = first.cancel_token();
    let (mut strangers, mut hit, mut missed) = (0, 0, 0);
    for round in 0..ROUNDS {
        // From well before the end of the statement to well behind it.
        let delay = Duration::from_micros(u64::from(round % 30) * 100);
        let own = first.simple_query("SELECT pg_sleep(0.0015)");
        let other = async {
            tokio::task::yield_now().await;
            second.simple_query("SELECT pg_sleep(0.004)").await
        };
        let cancel = async {
            tokio::time::sleep(delay).await;
            token.cancel_query(NoTls).await
        };
        let (own, other, cancelled) = tokio::join!(own, other, cancel);
        cancelled.context("cancel")?;
        if is_cancelled(&own) {
            hit += 1;
        } else {
            own.context("the first client")?;
            missed += 1;
        }
        if is_cancelled(&other) {
            strangers += 1;
        } else {
            other.context("the second client")?;
        }
    }
    println!("{ROUNDS} rounds: {hit} cancelled, {missed} too late, {strangers} strangers hit");
    ensure!(
        strangers == 0,
        "{strangers} statements of another client were cancelled"
    );
    ensure!(
        hit > 10 && missed > 10,
        "the cancels did not fall around the end: {hit} and {missed}"
    );
    Ok(())
}

/// A statement that has no backend yet is cancelled at once, and does not disturb the one that has it.
pub async fn while_waiting(running: &Running) -> Result<()> {
    let (holder, waiter) = (running.connect().await?, running.connect().await?);
    holder.simple_query("BEGIN").await?;
    holder.simple_query("SELECT 1").await?;
    let token = waiter.cancel_token();
    let start = Instant::now();
    let waiting = waiter.simple_query("SELECT 2");
    let cancel = async {
        // The request is only of use once the statement waits; the console says when it does.
        loop {
            let rows = tokio::task::block_in_place(|| running.console("SHOW CLIENTS"))?;
            if rows
                .iter()
                .flatten()
                .flatten()
                .any(|cell| cell == "waiting")
            {
                break;
            }
            ensure!(
                start.elapsed() < Duration::from_secs(10),
                "nobody waits: {rows:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel_query(NoTls).await.context("cancel")
    };
    let (waited, cancelled) = tokio::join!(waiting, cancel);
    cancelled?;
    ensure!(is_cancelled(&waited), "{waited:?}");
    holder
        .simple_query("SELECT 3")
        .await
        .context("the holder was disturbed")?;
    holder.simple_query("COMMIT").await?;
    waiter
        .simple_query("SELECT 4")
        .await
        .context("after the cancel")?;
    holder.simple_query("SELECT 5").await?;
    Ok(())
}

/// Requests with a wrong key are dropped without a word.
pub async fn by_strangers(running: &Running) -> Result<()> {
    let session = running.connect().await?;
    let sleeping = session.simple_query("SELECT pg_sleep(0.5)");
    let strangers = async {
        wait_for_sleepers(running, 1).await?;
        tokio::task::block_in_place(|| {
            for pid in 0..200u32 {
                for pid in [pid, pid << 21, (1 << 21) | pid] {
                    let answer = send_cancel(running.router.port, pid, 0x1234_5678)?;
                    ensure!(answer.is_empty(), "a wrong key was answered: {answer:?}");
                }
            }
            Ok(())
        })
    };
    let (slept, sent) = tokio::join!(sleeping, strangers);
    sent?;
    slept.context("a stranger's cancel")?;
    Ok(())
}

fn send_cancel(port: u16, pid: u32, secret: u32) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut packet = Vec::new();
    for word in [16, 80_877_102, pid, secret] {
        packet.extend(word.to_be_bytes());
    }
    stream.write_all(&packet)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error.into()),
    }
}
