//! Changes past the router: it notices them, and until then it guesses nothing.

use anyhow::{Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};

/// The schema's fingerprint is taken in a hundredth of the time, so on a busy machine it is taken rarely.
const NOTICED: Duration = Duration::from_secs(60);

/// Changes past the router are noticed within seconds.
pub async fn behind_the_back(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let home = running.connect_shard(0).await?;
    home.batch_execute("CREATE VIEW behind AS SELECT v FROM t")
        .await?;
    // Until the view is known it may not be answered from home's rows alone.
    eventually(&router, "SELECT count(*) FROM behind", Some("0A000")).await?;
    home.batch_execute("CREATE TABLE late (k bigint)").await?;
    eventually(&router, "INSERT INTO late VALUES (1)", None).await?;
    for index in 0..2 {
        let shard = running.connect_shard(index).await?;
        shard
            .batch_execute("ALTER TABLE t ADD COLUMN behind int DEFAULT 9")
            .await?;
    }
    eventually(&router, "UPDATE t SET behind = 10 WHERE k = 5", None).await?;
    let operator = "CREATE FUNCTION same(int8, int8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
        CREATE OPERATOR public.= (LEFTARG = int8, RIGHTARG = int8, FUNCTION = same)";
    for index in 0..2 {
        running
            .connect_shard(index)
            .await?
            .batch_execute(operator)
            .await?;
    }
    // An equality of somebody's own proves nothing of the key.
    eventually(&router, "SELECT v FROM t WHERE k = 5::int8", Some("0A000")).await?;
    for index in 0..2 {
        running
            .connect_shard(index)
            .await?
            .batch_execute("DROP OPERATOR public.= (int8, int8)")
            .await?;
    }
    eventually(&router, "SELECT v FROM t WHERE k = 5::int8", None).await?;
    home.batch_execute("DROP VIEW behind; DROP TABLE t; CREATE TABLE t (k bigint, plain int)")
        .await?;
    eventually(&router, "SELECT count(plain) FROM t", None).await
}

/// A view that somebody made, or replaced, on the home shard alone is answered there or not at all.
pub async fn views_of_home(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let home = running.connect_shard(0).await?;
    let second = running.connect_shard(1).await?;
    router
        .simple_query("CREATE VIEW shared AS SELECT k, v FROM t")
        .await?;
    home.batch_execute("CREATE SCHEMA hidden").await?;
    second.batch_execute("CREATE SCHEMA hidden").await?;
    // Another object of the name lies further back in the path of the second shard.
    router
        .simple_query("CREATE VIEW hidden.alone AS SELECT k, -1 AS v FROM t")
        .await?;
    let keys = "SELECT k FROM t ORDER BY k LIMIT 1";
    let here: i64 = home.query_one(keys, &[]).await?.get(0);
    let there: i64 = second.query_one(keys, &[]).await?.get(0);
    let read = |view: &str, key: i64| format!("SELECT v FROM {view} WHERE k = {key}");
    for key in [here, there] {
        eventually(&router, &read("shared", key), None).await?;
    }
    home.batch_execute(
        "CREATE VIEW alone AS SELECT k, v FROM t; CREATE OR REPLACE VIEW shared AS SELECT k, v FROM t WHERE k <> 0",
    )
    .await?;
    router
        .simple_query("SET search_path = public, hidden")
        .await?;
    for view in ["alone", "shared"] {
        eventually(&router, &read(view, there), Some("0A000")).await?;
        eventually(&router, &read(view, here), None).await?;
    }
    for view in ["alone", "shared"] {
        let body = format!("CREATE OR REPLACE VIEW public.{view} AS SELECT k, v FROM public.t");
        router.simple_query(&body).await?;
        for key in [here, there] {
            let rows = router.simple_query(&read(view, key)).await?;
            ensure!(!rows.is_empty(), "{view} is on every shard");
        }
    }
    for sql in [
        "DROP VIEW shared, alone, hidden.alone",
        "DROP SCHEMA hidden",
    ] {
        router.simple_query(sql).await?;
    }
    Ok(())
}

/// A login is remembered only as long as the roles are what they were.
pub async fn dropped_roles(running: &Running) -> Result<()> {
    for index in 0..2 {
        let shard = running.connect_shard(index).await?;
        shard.batch_execute("CREATE ROLE passing LOGIN").await?;
    }
    let url = running.url_as("passing");
    for _ in 0..2 {
        Session::open(&url).await?;
    }
    for change in [
        "ALTER ROLE passing NOLOGIN",
        "ALTER ROLE passing LOGIN",
        "DROP ROLE passing",
    ] {
        let login = change.ends_with(" LOGIN");
        for index in 0..2 {
            let shard = running.connect_shard(index).await?;
            shard.batch_execute(change).await?;
        }
        let start = Instant::now();
        while Session::open(&url).await.is_ok() != login {
            ensure!(start.elapsed() < Duration::from_secs(15), "after {change}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{change}: noticed after {:?}", start.elapsed());
    }
    Ok(())
}

/// Until the statement fails with the code, or is done.
async fn eventually(router: &Session, sql: &str, code: Option<&str>) -> Result<()> {
    let start = Instant::now();
    loop {
        let result = router.simple_query(sql).await;
        let found = result
            .as_ref()
            .err()
            .and_then(|error| error.code().map(|code| code.code().to_owned()));
        if found.as_deref() == code && (code.is_some() || result.is_ok()) {
            println!(
                "{sql}: {} after {:?}",
                code.unwrap_or("done"),
                start.elapsed()
            );
            return Ok(());
        }
        ensure!(start.elapsed() < NOTICED, "{sql}: {result:?}, not {code:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
