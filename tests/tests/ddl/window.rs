//! Statements that are under way while another session changes the schema.

use crate::run;
use anyhow::{Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;

const PATIENCE: Duration = Duration::from_secs(60);

/// Until so many wait for a lock on the shard.
async fn waiting(shard: &Session, count: i64) -> Result<()> {
    const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let start = Instant::now();
    while shard.query_one(WAITING, &[]).await?.get::<_, i64>(0) < count {
        ensure!(start.elapsed() < PATIENCE, "not {count} wait");
    }
    Ok(())
}

/// A statement that has waited for a connection is planned by the schema of the moment in which it gets it: the table that
/// it reads was distributed and filled meanwhile. The pools have one connection.
pub async fn behind_a_full_pool(running: &Running) -> Result<()> {
    let (holder, reader, maker) = (
        running.connect().await?,
        running.connect().await?,
        running.connect().await?,
    );
    run(&maker, "CREATE TABLE filled (k bigint, v int)").await?;
    run(&holder, "BEGIN").await?;
    run(&holder, "SELECT 1").await?;
    let read = reader.query_one("SELECT count(*) FROM filled", &[]);
    let fill = async {
        let start = Instant::now();
        loop {
            let rows = tokio::task::block_in_place(|| running.console("SHOW CLIENTS"))?;
            let waits = |cell: &Option<String>| cell.as_deref() == Some("waiting");
            if rows.iter().flatten().any(waits) {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "nobody waits: {rows:?}");
        }
        run(
            &maker,
            "SELECT create_distributed_table('filled', 'k', method => 'range', bounds => ARRAY[100])",
        )
        .await?;
        for k in 100..105 {
            run(&maker, &format!("INSERT INTO filled VALUES ({k}, 1)")).await?;
        }
        run(&holder, "COMMIT").await
    };
    let (read, filled) = tokio::join!(read, fill);
    filled?;
    let count: i64 = read?.get(0);
    ensure!(count == 5, "{count} rows of 5");
    Ok(())
}

/// A statement that waits on a shard behind the change finds the table as it is then, or an error: never the rows of
/// another shard, for the router has said where it runs by a key that the change cannot move.
pub async fn behind_a_lock(running: &Running) -> Result<()> {
    let (reader, maker) = (running.connect().await?, running.connect().await?);
    run(&maker, "CREATE TABLE moving (k bigint, v int)").await?;
    let distribute =
        "SELECT create_distributed_table('moving', 'k', method => 'range', bounds => ARRAY[100])";
    run(&maker, distribute).await?;
    run(&maker, "INSERT INTO moving VALUES (500, 10)").await?;
    for (change, expected) in [
        (
            "ALTER TABLE moving ADD COLUMN more int DEFAULT 3",
            Some("10"),
        ),
        ("ALTER TABLE moving ALTER COLUMN v TYPE text", Some("10")),
        ("ALTER TABLE moving RENAME COLUMN v TO w", None),
    ] {
        let holder = running.connect_shard(1).await?;
        run(&holder, "BEGIN").await?;
        run(&holder, "LOCK TABLE moving IN ACCESS SHARE MODE").await?;
        let watcher = running.connect_shard(1).await?;
        let read = async {
            waiting(&watcher, 1).await?;
            let sql = "SELECT v FROM moving WHERE k = 500";
            anyhow::Ok(reader.simple_query(sql).await)
        };
        let release = async {
            waiting(&watcher, 2).await?;
            run(&holder, "COMMIT").await
        };
        let (changed, read, released) = tokio::join!(run(&maker, change), read, release);
        changed?;
        released?;
        let read = read?;
        let found = match &read {
            Ok(rows) => first(rows),
            Err(error) => {
                let code = error.code().map(|code| code.code());
                ensure!(code == Some("42703"), "{change}: {error:?}");
                None
            }
        };
        ensure!(found.as_deref() == expected, "{change}: {read:?}");
    }
    Ok(())
}

fn first(rows: &[SimpleQueryMessage]) -> Option<String> {
    rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// The one exception, of which the manual warns: a function is not locked by those who call it. A statement that was sent to
/// home before it was replaced runs it as it is after that, over home's rows alone.
pub async fn behind_a_function(running: &Running) -> Result<()> {
    let (reader, maker) = (running.connect().await?, running.connect().await?);
    for sql in [
        "CREATE TABLE here (one int)",
        "INSERT INTO here VALUES (1)",
        "CREATE FUNCTION seen() RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'",
    ] {
        run(&maker, sql).await?;
    }
    let holder = running.connect_shard(0).await?;
    run(&holder, "BEGIN").await?;
    run(&holder, "LOCK TABLE here").await?;
    let watcher = running.connect_shard(0).await?;
    let call = "SELECT seen() FROM here";
    let replace = async {
        waiting(&watcher, 1).await?;
        let body = "CREATE OR REPLACE FUNCTION seen() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM moving'";
        run(&maker, body).await?;
        run(&holder, "COMMIT").await
    };
    let (read, replaced) = tokio::join!(reader.simple_query(call), replace);
    replaced?;
    let found = first(&read?);
    ensure!(
        found.as_deref() == Some("0"),
        "home has none of the rows: {found:?}"
    );
    let next = reader.simple_query(call).await;
    let refused = |error: &tokio_postgres::Error| error.code().is_some_and(|c| c.code() == "0A000");
    ensure!(next.as_ref().is_err_and(refused), "{next:?}");
    Ok(())
}
