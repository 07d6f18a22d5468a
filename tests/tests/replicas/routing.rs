//! Which server answers: asked by `pg_is_in_recovery()` in statements that are bound to a shard.

use anyhow::{Context, Result, bail, ensure};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;

/// How long a change of the servers may take until the router acts on it.
const NOTICE: Duration = Duration::from_secs(15);
/// Bound to a shard by a key of a distributed table.
const BY_KEY: &str = "SELECT pg_is_in_recovery() FROM t WHERE k = 1";

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    router
        .simple_query("CREATE TABLE t (k bigint PRIMARY KEY, v int NOT NULL)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('t', 'k')")
        .await?;
    for k in 1..=20 {
        router
            .simple_query(&format!("INSERT INTO t VALUES ({k}, 0)"))
            .await?;
    }
    Ok(())
}

/// The answer of the first row of the last statement that has rows.
async fn ask(session: &Session, sql: &str) -> Result<bool> {
    let messages = session
        .simple_query(sql)
        .await
        .with_context(|| sql.to_owned())?;
    let mut answer = None;
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            answer = row.get(0).map(|text| text == "t");
        }
    }
    answer.with_context(|| format!("{sql} gave no row"))
}

/// Repeats until the answer is as expected: replicas are seen, and left out, by probes.
async fn becomes(session: &Session, sql: &str, expected: bool) -> Result<()> {
    let start = Instant::now();
    while ask(session, sql).await? != expected {
        ensure!(
            start.elapsed() < NOTICE,
            "{sql} is not {expected} within {NOTICE:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn is(session: &Session, sql: &str, expected: bool) -> Result<()> {
    let answer = ask(session, sql).await?;
    ensure!(answer == expected, "{sql} is {answer}");
    Ok(())
}

pub async fn rules(running: &Running) -> Result<()> {
    let session = running.connect().await?;
    for k in 1..=20 {
        becomes(
            &session,
            &format!("SELECT pg_is_in_recovery() FROM t WHERE k = {k}"),
            true,
        )
        .await?;
    }
    let prepared = session
        .prepare("SELECT pg_is_in_recovery() FROM t WHERE k = $1")
        .await?;
    for k in 1..=20i64 {
        // What the statement is was asked of a primary, and the session may not go back behind that for a moment.
        becomes(
            &session,
            &format!("SELECT pg_is_in_recovery() FROM t WHERE k = {k}"),
            true,
        )
        .await?;
        let row = session.query_one(&prepared, &[&k]).await?;
        ensure!(
            row.get::<_, bool>(0),
            "key {k} as a parameter is read from the primary"
        );
    }
    for shard in ["s1", "s2"] {
        let by_comment = format!("/* shardgate: shard={shard} */ SELECT pg_is_in_recovery()");
        becomes(&session, &by_comment, true).await?;
        session
            .simple_query(&format!("SET shardgate.shard = '{shard}'"))
            .await?;
        becomes(&session, "SELECT pg_is_in_recovery()", true).await?;
        session.simple_query("RESET shardgate.shard").await?;
    }
    blocks(&session).await?;
    by_hand(&session).await?;
    primary_only(&session).await
}

async fn blocks(session: &Session) -> Result<()> {
    session.simple_query("BEGIN").await?;
    is(session, BY_KEY, false).await?;
    session.simple_query("COMMIT").await?;
    becomes(session, BY_KEY, true).await?;
    for begin in [
        "BEGIN READ ONLY",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    ] {
        // What was read of the primary just now, a replica may not have yet: the block is begun until one serves it.
        let start = Instant::now();
        loop {
            session.simple_query(begin).await?;
            let on_replica = ask(session, BY_KEY).await?;
            session.simple_query("COMMIT").await?;
            if on_replica {
                break;
            }
            ensure!(
                start.elapsed() < NOTICE,
                "{begin} is not served by a replica"
            );
        }
    }
    // The statements of one message are one transaction.
    is(
        session,
        "SELECT 1; SELECT pg_is_in_recovery() FROM t WHERE k = 1",
        false,
    )
    .await?;
    session.simple_query("BEGIN READ ONLY").await?;
    let write = session.simple_query("UPDATE t SET v = 1 WHERE k = 1").await;
    let code = write
        .err()
        .and_then(|error| error.code().map(|code| code.code().to_owned()));
    ensure!(
        matches!(code.as_deref(), Some("25006" | "0A000")),
        "a write in a READ ONLY block: {code:?}"
    );
    session.simple_query("ROLLBACK").await?;
    Ok(())
}

async fn by_hand(session: &Session) -> Result<()> {
    session
        .simple_query("SET shardgate.role = 'primary'")
        .await?;
    is(session, BY_KEY, false).await?;
    is(
        session,
        &format!("/* shardgate: role=replica */ {BY_KEY}"),
        true,
    )
    .await?;
    session
        .simple_query("SET shardgate.role = 'replica'")
        .await?;
    becomes(session, BY_KEY, true).await?;
    session.simple_query("SET shardgate.role = 'auto'").await?;
    becomes(session, BY_KEY, true).await?;
    is(
        session,
        &format!("/* shardgate: role=primary */ {BY_KEY}"),
        false,
    )
    .await?;
    is(
        session,
        &format!("{BY_KEY} /* shardgate: role=primary */"),
        false,
    )
    .await?;
    becomes(session, BY_KEY, true).await?;
    let unknown = session.simple_query("SET shardgate.role = 'both'").await;
    ensure!(unknown.is_err(), "an unknown role was taken");
    Ok(())
}

/// What a standby cannot answer as the primary does.
async fn primary_only(session: &Session) -> Result<()> {
    for sql in [
        "SELECT pg_is_in_recovery() FROM t WHERE k = 1 FOR UPDATE",
        "WITH w AS (UPDATE t SET v = v + 1 WHERE k = 1 RETURNING k) SELECT pg_is_in_recovery() FROM w",
        "INSERT INTO t VALUES (1, 0) ON CONFLICT (k) DO UPDATE SET v = t.v + 1 RETURNING pg_is_in_recovery()",
        "SELECT pg_is_in_recovery() FROM t WHERE k = 1 AND pg_current_xact_id() IS NOT NULL",
    ] {
        match ask(session, sql).await {
            Ok(in_recovery) => ensure!(!in_recovery, "{sql} ran on a replica"),
            Err(error) if format!("{error:?}").contains("0A000") => {}
            Err(error) if format!("{error:?}").contains("not supported") => {}
            Err(error) => bail!("{error:?}"),
        }
    }
    session
        .simple_query("SET default_transaction_isolation = 'serializable'")
        .await?;
    is(session, BY_KEY, false).await?;
    session
        .simple_query("RESET default_transaction_isolation")
        .await?;
    becomes(session, BY_KEY, true).await
}

/// Roles whose transactions are serializable by default: a replica would answer with an error.
pub async fn serializable_roles(running: &Running) -> Result<()> {
    let admin = running.connect().await?;
    for sql in [
        "CREATE ROLE strict LOGIN IN ROLE pg_read_all_data",
        "CREATE ROLE plain LOGIN IN ROLE pg_read_all_data",
        "CREATE ROLE duty ROLE strict IN ROLE pg_read_all_data",
        "ALTER ROLE strict SET default_transaction_isolation = 'SERIALIZABLE'",
    ] {
        admin.simple_query(sql).await.context(sql)?;
    }
    let plain = Session::open(&running.url_as("plain")).await?;
    becomes(&plain, BY_KEY, true).await?;
    let strict = Session::open(&running.url_as("strict")).await?;
    is(&strict, BY_KEY, false).await?;
    strict.simple_query("SET ROLE duty").await?;
    is(&strict, BY_KEY, false).await?;
    admin
        .simple_query("ALTER DATABASE app SET default_transaction_isolation = serializable")
        .await?;
    let late = Session::open(&running.url_as("plain")).await?;
    is(&late, BY_KEY, false).await?;
    admin
        .simple_query("ALTER DATABASE app RESET default_transaction_isolation")
        .await?;
    let again = Session::open(&running.url_as("plain")).await?;
    becomes(&again, BY_KEY, true).await
}

/// The replicas stop while sessions read: nothing fails but what was under way on them; later they serve again.
pub async fn without_replica(running: &Running) -> Result<()> {
    let session = running.connect().await?;
    for stop in [false, true] {
        becomes(&session, BY_KEY, true).await?;
        for shard in &running.cluster.shards {
            let replica = &shard.replicas[0];
            tokio::task::block_in_place(|| {
                if stop {
                    replica.stop()
                } else {
                    replica.kill9()
                }
            });
        }
        becomes(&session, BY_KEY, false).await?;
        for k in 1..=20 {
            is(
                &session,
                &format!("SELECT pg_is_in_recovery() FROM t WHERE k = {k}"),
                false,
            )
            .await?;
            session
                .simple_query(&format!("UPDATE t SET v = v + 1 WHERE k = {k}"))
                .await?;
        }
        session.simple_query("BEGIN READ ONLY").await?;
        is(&session, BY_KEY, false).await?;
        session.simple_query("COMMIT").await?;
        for shard in &running.cluster.shards {
            tokio::task::block_in_place(|| shard.replicas[0].start())
                .map_err(|error| anyhow::anyhow!(error.full_text()))?;
        }
    }
    becomes(&session, BY_KEY, true).await
}
