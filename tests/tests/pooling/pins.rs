//! What stays on a backend and cannot be told to another one: temporary tables, locks, cursors, seeds, transactions.

use crate::leaks::{MOMENT, ask, fails, is, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::time::Duration;

/// Advisory locks of the connection, but for the one that names its router.
const ADVISORY: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() \
    AND NOT (objsubid = 2 AND classid = 1397178709)";

/// What is done; what asks for it and what the client itself then sees; what asks for it and what the next one sees.
type Case = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

const CASES: &[Case] = &[
    (
        "CREATE TEMP TABLE scratch AS SELECT 5 AS n",
        "SELECT n FROM scratch",
        Some("5"),
        "SELECT to_regclass('scratch')",
        None,
    ),
    (
        "CREATE TEMP VIEW glance AS SELECT 6 AS n",
        "SELECT n FROM glance",
        Some("6"),
        "SELECT to_regclass('glance')",
        None,
    ),
    (
        "SELECT 7 AS n INTO TEMP chosen",
        "SELECT n FROM chosen",
        Some("7"),
        "SELECT to_regclass('chosen')",
        None,
    ),
    (
        "SELECT pg_advisory_lock(42)",
        ADVISORY,
        Some("1"),
        // A server lets go of its locks a moment after its connection was closed, so this waits for it.
        "SELECT pg_advisory_xact_lock(42)",
        Some(""),
    ),
    (
        "SELECT lock_it()",
        ADVISORY,
        Some("1"),
        // A server lets go of its locks a moment after its connection was closed, so this waits for it.
        "SELECT pg_advisory_xact_lock(77)",
        Some(""),
    ),
    (
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 8",
        "FETCH kept",
        Some("8"),
        "SELECT count(*) FROM pg_cursors",
        Some("0"),
    ),
    (
        "LISTEN news",
        "SELECT pg_listening_channels()",
        Some("news"),
        "SELECT count(*) FROM pg_listening_channels()",
        Some("0"),
    ),
];

/// State that cannot be told to another backend: its client keeps the backend, or the statement is refused. The next
/// client waits, and sees nothing of it.
pub async fn what_pins(running: &Running) -> Result<()> {
    let direct = running.connect_shard(0).await?;
    run(&direct, "SELECT setseed(0.5)").await?;
    let first = ask(&direct, "SELECT random()").await?;
    let second = ask(&direct, "SELECT random()").await?;
    for &(deed, own, seen, next, unseen) in CASES {
        let (a, b) = (running.connect().await?, running.connect().await?);
        if let Err(error) = a.simple_query(deed).await {
            let code = error.code().map(|code| code.code().to_owned());
            ensure!(code.as_deref() == Some("0A000"), "{deed}: {error:?}");
            println!("refused: {deed}");
        } else {
            is(&a, own, seen)
                .await
                .with_context(|| format!("after {deed}"))?;
        }
        let waiting = ask(&b, next);
        tokio::pin!(waiting);
        let at_once = tokio::time::timeout(MOMENT, &mut waiting).await;
        let answer = match at_once {
            Ok(answer) => answer?,
            Err(_) => {
                drop(a);
                tokio::time::timeout(Duration::from_secs(10), waiting)
                    .await
                    .with_context(|| format!("{deed}: the next client never gets the backend"))??
            }
        };
        ensure!(
            answer.as_deref() == unseen,
            "{deed}: the next client sees {answer:?} by {next}"
        );
    }
    let a = running.connect().await?;
    if a.simple_query("SELECT setseed(0.5)").await.is_ok() {
        is(&a, "SELECT random()", first.as_deref()).await?;
    }
    drop(a);
    let b = running.connect().await?;
    let random = ask(&b, "SELECT random()").await?;
    ensure!(
        random != first && random != second,
        "the seed of another client: {random:?}"
    );
    println!("temporary tables, locks, cursors, channels, sequences, seeds: seen by nobody else");
    Ok(())
}

/// A client that asks for a connection of its own has one until it leaves; the last values of sequences live there.
pub async fn by_wish(running: &Running) -> Result<()> {
    let (a, b) = (running.connect().await?, running.connect().await?);
    run(&a, "SET shardgate.pin = on").await?;
    run(&a, "SELECT nextval('numbers')").await?;
    is(&a, "SELECT currval('numbers') = lastval()", Some("t")).await?;
    let waiting = ask(&b, "SELECT 1");
    tokio::pin!(waiting);
    ensure!(
        tokio::time::timeout(MOMENT, &mut waiting).await.is_err(),
        "the pinned backend serves another client"
    );
    drop(a);
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .context("the backend of a client that has gone")??;
    fails(&b, "SELECT currval('numbers')", &["55000", "0A000"]).await?;
    run(&b, "SET shardgate.pin = on").await?;
    fails(&b, "SELECT currval('numbers')", &["55000"]).await
}

/// What other clients have drawn from sequences, or prepared, on the only backend is shown to nobody.
pub async fn own_only(running: &Running) -> Result<()> {
    let prepared = "SELECT name FROM pg_prepared_statements";
    let (a, b) = (running.connect().await?, running.connect().await?);
    let statement = a.prepare("SELECT 'of a', $1::int4").await?;
    a.query(&statement, &[&1]).await?;
    run(&a, "SELECT nextval('numbers')").await?;
    fails(&a, "SELECT lastval()", &["55000"]).await?;
    for wish in ["off", "on"] {
        run(&b, &format!("SET shardgate.pin = {wish}")).await?;
        for sql in [
            prepared,
            "SELECT * FROM pg_catalog.pg_prepared_statement()",
            "COPY (SELECT statement FROM pg_prepared_statements) TO STDOUT",
        ] {
            let Err(error) = b.simple_query(sql).await else {
                anyhow::bail!("{sql} is answered");
            };
            let error = error.as_db_error().context("an error of the router")?;
            ensure!(error.code().code() == "0A000", "{sql}: {error:?}");
            ensure!(error.hint().is_some_and(|hint| !hint.is_empty()), "{sql}");
        }
        fails(&b, "SELECT lastval()", &["55000"]).await?;
        fails(&b, "SELECT currval('numbers')", &["55000"]).await?;
    }
    run(&b, "SET shardgate.pin = off").await?;
    drop(b);
    run(&a, "SELECT nextval('numbers')").await?;
    let b = running.connect().await?;
    run(&b, "BEGIN").await?;
    fails(&b, "SELECT lastval()", &["55000"]).await?;
    run(&b, "ROLLBACK").await?;
    run(&b, "BEGIN").await?;
    run(&b, "SELECT nextval('others')").await?;
    is(&b, "SELECT lastval() = currval('others')", Some("t")).await?;
    // Of this one only the other client has drawn here.
    fails(&b, "SELECT currval('numbers')", &["55000"]).await?;
    run(&b, "ROLLBACK").await?;
    println!("sequences and prepared statements: each client's own");
    Ok(())
}

/// A client that goes away in a block: the work is undone, and the backend serves the next.
pub async fn abandoned_block(running: &Running) -> Result<()> {
    let a = running.connect().await?;
    run(&a, "BEGIN").await?;
    run(&a, "INSERT INTO plain VALUES (500, 'lost')").await?;
    run(&a, "SET LOCAL work_mem = '99MB'").await?;
    drop(a);
    let b = running.connect().await?;
    is(&b, "SELECT count(*) FROM plain WHERE id = 500", Some("0")).await?;
    run(&b, "INSERT INTO plain VALUES (500, 'kept')").await?;
    let direct = running.connect_shard(0).await?;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    // The server's process ends a moment after its connection: asked again until it has.
    tokio::time::timeout(Duration::from_secs(10), async {
        while ask(&direct, open).await?.as_deref() != Some("0") {}
        Ok(())
    })
    .await
    .context("a transaction is left open on the server")?
}
