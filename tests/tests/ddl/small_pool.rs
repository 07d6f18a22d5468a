//! DDL on all shards where each pool has one connection: it waits for nothing that it holds itself, nor for what another
//! holds that waits for it; and it can be cancelled until it is decided.

use crate::{everywhere_is, nothing_prepared, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};
use tokio_postgres::{Error, NoTls};

const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{what}: it waits"))?
}

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    run(&router, "CREATE TABLE small (k bigint, v int)").await?;
    run(&router, "SELECT create_distributed_table('small', 'k')").await
}

const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'small\\_%'";

/// A session that is pinned has the pool's only connection.
pub async fn pinned(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    run(&router, "CREATE TEMP TABLE mine AS SELECT 7 AS seven").await?;
    let index = "CREATE INDEX small_pinned ON small (v)";
    in_time("simple", run(&router, index)).await?;
    everywhere_is(running, INDEXES, "1").await?;
    in_time("extended", async {
        router.execute("DROP INDEX small_pinned", &[]).await?;
        Ok(())
    })
    .await?;
    everywhere_is(running, INDEXES, "0").await?;
    in_time("in the pipeline of another Parse", async {
        let (other, done) = tokio::join!(
            router.prepare("SELECT seven FROM mine"),
            router.execute(index, &[])
        );
        other?;
        done?;
        Ok(())
    })
    .await?;
    // A failure leaves the connection as well.
    let again = in_time("a failure", async { Ok(run(&router, index).await) }).await?;
    ensure!(again.is_err(), "the index is there already");
    in_time("gathered", run(&router, "SELECT count(*) FROM small")).await?;
    in_time("gathered, extended", async {
        router.query("SELECT v FROM small ORDER BY v", &[]).await?;
        Ok(())
    })
    .await?;
    let seven = router.query_one("SELECT seven FROM mine", &[]).await?;
    ensure!(seven.get::<_, i32>(0) == 7, "the connection was kept");
    in_time("dropped", run(&router, "DROP INDEX small_pinned")).await?;
    nothing_prepared(running).await
}

/// Sessions that each need a connection of every shard.
pub async fn at_once(running: &Running) -> Result<()> {
    let mut sessions = Vec::new();
    for number in 0..4 {
        sessions.push((number, running.connect().await?));
    }
    let work = sessions.iter().map(|(number, session)| async move {
        for _ in 0..5 {
            let name = format!("small_{number}");
            run(session, &format!("CREATE INDEX {name} ON small (v)")).await?;
            run(session, &format!("DROP INDEX {name}")).await?;
        }
        anyhow::Ok(())
    });
    let done = futures_util::future::join_all(work);
    for result in tokio::time::timeout(PATIENCE * 3, done)
        .await
        .context("they wait")?
    {
        result?;
    }
    everywhere_is(running, INDEXES, "0").await
}

fn is_cancelled(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "57014")
}

/// Runs the statement and cancels it once somebody waits for a lock on the shard.
async fn cancelled_behind_a_lock(router: &Session, shard: &Session, sql: &str) -> Result<()> {
    let token = router.cancel_token();
    let start = Instant::now();
    let cancel = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while shard.query_one(waits, &[]).await?.get::<_, i64>(0) == 0 {
            ensure!(start.elapsed() < PATIENCE, "nobody waits for the lock");
        }
        token.cancel_query(NoTls).await.context("cancel")
    };
    let work = async { Ok(router.simple_query(sql).await) };
    let (ran, sent) = tokio::join!(in_time(sql, work), cancel);
    sent?;
    match ran? {
        Err(error) if is_cancelled(&error) => Ok(()),
        other => anyhow::bail!("{sql}: {other:?}"),
    }
}

/// On home, on another shard, by a pinned session, and where no transaction is possible.
pub async fn cancelled(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for (index, pin) in [(0, "off"), (1, "off"), (0, "on"), (1, "on")] {
        run(&router, &format!("SET shardgate.pin = {pin}")).await?;
        run(&router, "SELECT 1 FROM small WHERE k = 1").await?;
        let holder = running.connect_shard(index).await?;
        run(&holder, "BEGIN").await?;
        run(&holder, "LOCK TABLE small").await?;
        cancelled_behind_a_lock(&router, &holder, "CREATE INDEX small_never ON small (v)").await?;
        run(&holder, "ROLLBACK").await?;
        everywhere_is(running, INDEXES, "0").await?;
        nothing_prepared(running).await?;
        in_time(
            "what follows",
            run(&router, "SELECT 1 FROM small WHERE k = 2"),
        )
        .await?;
        in_time("again", run(&router, "CREATE INDEX small_now ON small (v)")).await?;
        everywhere_is(running, INDEXES, "1").await?;
        run(&router, "DROP INDEX small_now").await?;
    }
    Ok(())
}

/// It has no connection yet.
pub async fn cancelled_while_it_waits(running: &Running) -> Result<()> {
    let (holder, router) = (running.connect().await?, running.connect().await?);
    run(&holder, "BEGIN").await?;
    run(&holder, "SELECT 1").await?;
    let token = router.cancel_token();
    let start = Instant::now();
    let cancel = async {
        loop {
            let rows = tokio::task::block_in_place(|| running.console("SHOW POOLS"))?;
            // The fourth column is of clients that wait.
            let waits =
                |row: &Vec<Option<String>>| row.get(3).is_some_and(|n| n.as_deref() == Some("1"));
            if rows.iter().any(waits) {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "nobody waits: {rows:?}");
        }
        token.cancel_query(NoTls).await.context("cancel")
    };
    let work = async {
        Ok(router
            .simple_query("CREATE INDEX small_never ON small (v)")
            .await)
    };
    let (ran, sent) = tokio::join!(in_time("cancel", work), cancel);
    sent?;
    let error = ran?.err().context("it was to be cancelled")?;
    ensure!(is_cancelled(&error), "{error:?}");
    run(&holder, "COMMIT").await?;
    everywhere_is(running, INDEXES, "0").await?;
    run(&router, "SELECT 1").await
}
