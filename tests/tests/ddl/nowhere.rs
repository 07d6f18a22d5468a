//! What fails on one shard, or is undone with its block, changes no shard.

use crate::{everywhere_is, nothing_prepared, on_shards, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;

/// Something stands in the way on the second shard alone.
pub async fn failures(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let second = running.connect_shard(1).await?;
    let key: i64 = second.query_one("SELECT min(k) FROM t", &[]).await?.get(0);
    // What is in the way, the statement, the code, what must be on no shard but for what was in the way.
    let cases = [
        (
            "CREATE INDEX taken ON t (v)".to_owned(),
            "CREATE INDEX taken ON t (k)",
            "42P07",
            "SELECT count(*) FROM pg_indexes WHERE indexname = 'taken'",
            ["0", "1"],
        ),
        (
            format!("INSERT INTO t (k, v) VALUES ({key}, 7001)"),
            "CREATE UNIQUE INDEX uniq ON t (k)",
            "23505",
            "SELECT count(*) FROM pg_class WHERE relname = 'uniq'",
            ["0", "0"],
        ),
        (
            format!("INSERT INTO t (k, v) VALUES ({key}, 7002)"),
            "ALTER TABLE t ADD CONSTRAINT low CHECK (v < 7000)",
            "23514",
            "SELECT count(*) FROM pg_constraint WHERE conname = 'low'",
            ["0", "0"],
        ),
        (
            "CREATE TYPE shade AS ENUM ('x')".to_owned(),
            "CREATE TYPE shade AS ENUM ('a', 'b')",
            "42710",
            "SELECT count(*) FROM pg_type WHERE typname = 'shade'",
            ["0", "1"],
        ),
        (
            "ALTER TABLE t ADD COLUMN crowd int".to_owned(),
            "ALTER TABLE t ADD COLUMN crowd int",
            "42701",
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'crowd'",
            ["0", "1"],
        ),
        (
            "CREATE ROLE double".to_owned(),
            "CREATE ROLE double LOGIN",
            "42710",
            "SELECT count(*) FROM pg_roles WHERE rolname = 'double'",
            ["0", "1"],
        ),
        (
            "CREATE SCHEMA corner".to_owned(),
            "CREATE SCHEMA corner",
            "42P06",
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'corner'",
            ["0", "1"],
        ),
        (
            "CREATE VIEW on_it AS SELECT v FROM t".to_owned(),
            "ALTER TABLE t DROP COLUMN v",
            "2BP01",
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'",
            ["1", "1"],
        ),
        (
            String::new(),
            "CREATE UNIQUE INDEX without_key ON t (v)",
            "0A000",
            "SELECT count(*) FROM pg_class WHERE relname = 'without_key'",
            ["0", "0"],
        ),
        (
            String::new(),
            "ALTER TABLE t DROP COLUMN k",
            "0A000",
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'k'",
            ["1", "1"],
        ),
        (
            String::new(),
            "ALTER TABLE t ADD UNIQUE (v)",
            "0A000",
            "SELECT count(*) FROM pg_constraint WHERE contype = 'u' AND conrelid = 't'::regclass",
            ["0", "0"],
        ),
        (
            String::new(),
            "ALTER TABLE t DROP CONSTRAINT shardgate_owns",
            "0A000",
            "SELECT count(*) FROM pg_constraint WHERE conname = 'shardgate_owns' AND conrelid = 't'::regclass",
            ["1", "1"],
        ),
    ];
    let mut wrong = Vec::new();
    for (obstacle, sql, code, check, expected) in &cases {
        if !obstacle.is_empty() {
            second
                .batch_execute(obstacle)
                .await
                .with_context(|| obstacle.clone())?;
        }
        let error = router.simple_query(sql).await.err();
        let found = error
            .as_ref()
            .and_then(|error| error.code().map(|code| code.code().to_owned()));
        if found.as_deref() != Some(code) {
            wrong.push(format!("{sql}: {error:?}, not {code}"));
        }
        let values: Vec<String> = on_shards(running, check)
            .await?
            .into_iter()
            .flatten()
            .collect();
        if values != *expected {
            wrong.push(format!("{sql}: {values:?} on the shards, not {expected:?}"));
        }
        run(&router, "SELECT v FROM t WHERE k = 5")
            .await
            .with_context(|| format!("after {sql}"))?;
        nothing_prepared(running)
            .await
            .with_context(|| format!("after {sql}"))?;
    }
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    second.batch_execute("DROP VIEW on_it; ALTER TABLE t DROP COLUMN crowd; DROP INDEX taken; DROP TYPE shade; DROP ROLE double; DROP SCHEMA corner").await?;
    println!("{} failures on one shard, no change on any", cases.len());
    Ok(())
}

/// DDL over shards within a block: refused, or undone with it.
pub async fn in_blocks(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for begin in ["BEGIN", "BEGIN; SELECT v FROM t WHERE k = 5"] {
        run(&router, begin).await?;
        let change = router
            .simple_query("ALTER TABLE t ADD COLUMN undone int")
            .await;
        if let Err(error) = change {
            let code = error.code().map(|code| code.code().to_owned());
            ensure!(
                matches!(code.as_deref(), Some("0A000" | "25001")),
                "{error:?}"
            );
            let next = router.simple_query("SELECT 1").await;
            ensure!(
                next.is_err_and(|error| error.code().is_some_and(|code| code.code() == "25P02")),
                "the block goes on"
            );
        }
        run(&router, "ROLLBACK").await?;
        everywhere_is(running, "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'undone'", "0").await?;
    }
    // Two statements in one message are one transaction.
    let both = router
        .simple_query("ALTER TABLE t ADD COLUMN undone int; SELECT 1 / 0")
        .await;
    ensure!(both.is_err(), "a division by zero");
    everywhere_is(
        running,
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'undone'",
        "0",
    )
    .await?;
    nothing_prepared(running).await
}
