//! DDL on distributed tables and on what all shards need; what fails on one shard changes none.

use crate::{everywhere_is, nothing_prepared, on_shards, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    run(&router, "CREATE TABLE t (k bigint, v int)").await?;
    run(&router, "SELECT create_distributed_table('t', 'k')").await?;
    for k in 1..=16 {
        run(&router, &format!("INSERT INTO t VALUES ({k}, {k})")).await?;
    }
    Ok(())
}

/// The statement, then SQL that gives the same value on every shard.
const CHANGES: &[(&str, &str, &str)] = &[
    ("CREATE INDEX t_v ON t (v)", "SELECT count(*) FROM pg_indexes WHERE indexname = 't_v'", "1"),
    ("CREATE UNIQUE INDEX t_kv ON t (k, v)", "SELECT count(*) FROM pg_indexes WHERE indexname = 't_kv'", "1"),
    ("ALTER TABLE t ADD COLUMN extra text DEFAULT 'x'", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'extra'", "1"),
    ("ALTER TABLE public.t ALTER COLUMN v SET NOT NULL, ADD COLUMN more int", "SELECT attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'", "t"),
    ("ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0)", "SELECT count(*) FROM pg_constraint WHERE conname = 'positive'", "1"),
    ("ALTER TABLE t RENAME COLUMN more TO less", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'less'", "1"),
    ("ALTER TABLE t DROP COLUMN less", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'less'", "0"),
    ("DROP INDEX t_v", "SELECT count(*) FROM pg_indexes WHERE indexname = 't_v'", "0"),
    ("CREATE TYPE mood AS ENUM ('sad', 'glad')", "SELECT count(*) FROM pg_type WHERE typname = 'mood'", "1"),
    ("ALTER TYPE mood ADD VALUE 'mad'", "SELECT count(*) FROM pg_enum WHERE enumtypid = 'mood'::regtype", "3"),
    ("CREATE DOMAIN small AS int CHECK (VALUE < 10)", "SELECT count(*) FROM pg_type WHERE typname = 'small'", "1"),
    ("CREATE ROLE clerk LOGIN", "SELECT count(*) FROM pg_roles WHERE rolname = 'clerk'", "1"),
    ("ALTER ROLE clerk SET work_mem = '5MB'", "SELECT count(*) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE rolname = 'clerk'", "1"),
    ("CREATE SCHEMA side", "SELECT count(*) FROM pg_namespace WHERE nspname = 'side'", "1"),
    ("GRANT SELECT ON t TO clerk", "SELECT has_table_privilege('clerk', 't', 'SELECT')", "t"),
    ("GRANT USAGE ON SCHEMA side TO clerk", "SELECT has_schema_privilege('clerk', 'side', 'USAGE')", "t"),
    ("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'", "SELECT count(*) FROM pg_proc WHERE proname = 'twice'", "1"),
    ("COMMENT ON TABLE t IS 'spread'", "SELECT obj_description('t'::regclass)", "spread"),
    ("ALTER TABLE t ADD COLUMN feeling mood", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'feeling'", "1"),
    ("DROP FUNCTION twice(int)", "SELECT count(*) FROM pg_proc WHERE proname = 'twice'", "0"),
    ("ALTER TABLE t RENAME TO u", "SELECT to_regclass('u')", "u"),
    ("ALTER TABLE u RENAME TO t", "SELECT to_regclass('t')", "t"),
];

/// Not built yet: refused, so that the shards stay alike.
const MAY_BE_REFUSED: &[&str] = &["DROP INDEX t_v", "ALTER TABLE t ADD COLUMN feeling mood", "COMMENT ON TABLE t IS 'spread'"];

pub async fn changes(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let mut wrong = Vec::new();
    let mut refused = 0;
    for (number, (sql, check, expected)) in CHANGES.iter().enumerate() {
        let done = match number % 2 {
            0 => router.simple_query(sql).await.map(|_| ()),
            _ => router.execute(*sql, &[]).await.map(|_| ()),
        };
        let outcome = match done {
            Ok(()) => everywhere_is(running, check, expected).await.with_context(|| format!("after {sql}")),
            Err(error) if MAY_BE_REFUSED.contains(sql) && error.code().is_some_and(|code| code.code() == "0A000") => {
                refused += 1;
                let values = on_shards(running, check).await?;
                ensure!(values.windows(2).all(|pair| pair[0] == pair[1]), "{sql}: refused, and {values:?}");
                Ok(())
            }
            Err(error) => Err(error).context(*sql),
        };
        if let Err(error) = outcome {
            wrong.push(format!("{error:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CHANGES.len(), wrong.join("\n"));
    nothing_prepared(running).await?;
    // What was changed is known to planning, here and in other sessions, at once.
    for session in [&router, &running.connect().await?] {
        let row = session.query_one("SELECT extra FROM t WHERE k = 5", &[]).await?;
        ensure!(row.get::<_, Option<String>>(0).as_deref() == Some("x"), "{row:?}");
    }
    run(&router, "INSERT INTO t (k, v, extra) VALUES (100, 1, 'y')").await?;
    run(&router, "CREATE TABLE gone (k bigint)").await?;
    run(&router, "SELECT create_distributed_table('gone', 'k')").await?;
    run(&router, "DROP TABLE gone").await?;
    everywhere_is(running, "SELECT count(*) FROM pg_class WHERE relname = 'gone'", "0").await?;
    run(&router, "CREATE TABLE gone (other int)").await?;
    run(&router, "INSERT INTO gone VALUES (1), (2)").await.context("a home table by the name of a dropped one")?;
    println!("{} changes, on every shard; {refused} refused", CHANGES.len());
    Ok(())
}

/// A table that nobody distributed is on home alone, with all that belongs to it.
pub async fn home_alone(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for sql in [
        "CREATE TABLE h (id serial PRIMARY KEY, n int)",
        "INSERT INTO h (n) VALUES (1), (2), (3)",
        "CREATE INDEX h_n ON h (n)",
        "ALTER TABLE h ADD COLUMN x int",
        "CREATE TABLE h2 AS SELECT * FROM h",
        "CREATE VIEW hv AS SELECT n FROM h",
        "TRUNCATE h2",
        "CREATE TABLE h3 (LIKE h INCLUDING ALL)",
        "VACUUM h",
        "ANALYZE h",
        "CREATE INDEX CONCURRENTLY h_x ON h (x)",
    ] {
        run(&router, sql).await?;
    }
    let found = on_shards(running, "SELECT count(*) FROM pg_class WHERE relname ~ '^h[0-9v_]*' AND relnamespace = 'public'::regnamespace").await?;
    ensure!(found[0] != Some("0".to_owned()) && found[1..].iter().all(|count| count.as_deref() == Some("0")), "{found:?}");
    run(&router, "DROP TABLE h, h2, h3 CASCADE").await?;
    Ok(())
}

/// Something stands in the way on the second shard alone.
pub async fn failures(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let second = running.connect_shard(1).await?;
    let key: i64 = second.query_one("SELECT min(k) FROM t", &[]).await?.get(0);
    // What is in the way, the statement, the code, what must be on no shard but for what was in the way.
    let cases = [
        ("CREATE INDEX taken ON t (v)".to_owned(), "CREATE INDEX taken ON t (k)", "42P07", "SELECT count(*) FROM pg_indexes WHERE indexname = 'taken'", ["0", "1"]),
        (format!("INSERT INTO t (k, v) VALUES ({key}, 7001)"), "CREATE UNIQUE INDEX uniq ON t (k)", "23505", "SELECT count(*) FROM pg_class WHERE relname = 'uniq'", ["0", "0"]),
        (format!("INSERT INTO t (k, v) VALUES ({key}, 7002)"), "ALTER TABLE t ADD CONSTRAINT low CHECK (v < 7000)", "23514", "SELECT count(*) FROM pg_constraint WHERE conname = 'low'", ["0", "0"]),
        ("CREATE TYPE shade AS ENUM ('x')".to_owned(), "CREATE TYPE shade AS ENUM ('a', 'b')", "42710", "SELECT count(*) FROM pg_type WHERE typname = 'shade'", ["0", "1"]),
        ("ALTER TABLE t ADD COLUMN crowd int".to_owned(), "ALTER TABLE t ADD COLUMN crowd int", "42701", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'crowd'", ["0", "1"]),
        ("CREATE ROLE double".to_owned(), "CREATE ROLE double LOGIN", "42710", "SELECT count(*) FROM pg_roles WHERE rolname = 'double'", ["0", "1"]),
        ("CREATE SCHEMA corner".to_owned(), "CREATE SCHEMA corner", "42P06", "SELECT count(*) FROM pg_namespace WHERE nspname = 'corner'", ["0", "1"]),
        ("CREATE VIEW on_it AS SELECT v FROM t".to_owned(), "ALTER TABLE t DROP COLUMN v", "2BP01", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'", ["1", "1"]),
        (String::new(), "CREATE UNIQUE INDEX without_key ON t (v)", "0A000", "SELECT count(*) FROM pg_class WHERE relname = 'without_key'", ["0", "0"]),
        (String::new(), "ALTER TABLE t DROP COLUMN k", "0A000", "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'k'", ["1", "1"]),
        (String::new(), "ALTER TABLE t ADD UNIQUE (v)", "0A000", "SELECT count(*) FROM pg_constraint WHERE contype = 'u' AND conrelid = 't'::regclass", ["0", "0"]),
        (String::new(), "ALTER TABLE t DROP CONSTRAINT shardgate_owns", "0A000", "SELECT count(*) FROM pg_constraint WHERE conname = 'shardgate_owns' AND conrelid = 't'::regclass", ["1", "1"]),
    ];
    let mut wrong = Vec::new();
    for (obstacle, sql, code, check, expected) in &cases {
        if !obstacle.is_empty() {
            second.batch_execute(obstacle).await.with_context(|| obstacle.clone())?;
        }
        let error = router.simple_query(sql).await.err();
        let found = error.as_ref().and_then(|error| error.code().map(|code| code.code().to_owned()));
        if found.as_deref() != Some(code) {
            wrong.push(format!("{sql}: {error:?}, not {code}"));
        }
        let values: Vec<String> = on_shards(running, check).await?.into_iter().flatten().collect();
        if values != *expected {
            wrong.push(format!("{sql}: {values:?} on the shards, not {expected:?}"));
        }
        run(&router, "SELECT v FROM t WHERE k = 5").await.with_context(|| format!("after {sql}"))?;
        nothing_prepared(running).await.with_context(|| format!("after {sql}"))?;
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    second.batch_execute("DROP VIEW on_it; ALTER TABLE t DROP COLUMN crowd; DROP INDEX taken; DROP TYPE shade; DROP ROLE double; DROP SCHEMA corner").await?;
    println!("{} failures on one shard, no change on any", cases.len());
    Ok(())
}

/// DDL over shards within a block: refused, or undone with it.
pub async fn in_blocks(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for begin in ["BEGIN", "BEGIN; SELECT v FROM t WHERE k = 5"] {
        run(&router, begin).await?;
        let change = router.simple_query("ALTER TABLE t ADD COLUMN undone int").await;
        if let Err(error) = change {
            let code = error.code().map(|code| code.code().to_owned());
            ensure!(matches!(code.as_deref(), Some("0A000" | "25001")), "{error:?}");
            let next = router.simple_query("SELECT 1").await;
            ensure!(next.is_err_and(|error| error.code().is_some_and(|code| code.code() == "25P02")), "the block goes on");
        }
        run(&router, "ROLLBACK").await?;
        everywhere_is(running, "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'undone'", "0").await?;
    }
    // Two statements in one message are one transaction.
    let both = router.simple_query("ALTER TABLE t ADD COLUMN undone int; SELECT 1 / 0").await;
    ensure!(both.is_err(), "a division by zero");
    everywhere_is(running, "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'undone'", "0").await?;
    nothing_prepared(running).await
}

/// Changes past the router are noticed within seconds.
pub async fn behind_the_back(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let home = running.connect_shard(0).await?;
    home.batch_execute("CREATE VIEW behind AS SELECT v FROM t").await?;
    // Until the view is known it may not be answered from home's rows alone.
    eventually(&router, "SELECT count(*) FROM behind", Some("0A000")).await?;
    home.batch_execute("CREATE TABLE late (k bigint)").await?;
    eventually(&router, "INSERT INTO late VALUES (1)", None).await?;
    for index in 0..2 {
        let shard = running.connect_shard(index).await?;
        shard.batch_execute("ALTER TABLE t ADD COLUMN behind int DEFAULT 9").await?;
    }
    eventually(&router, "UPDATE t SET behind = 10 WHERE k = 5", None).await?;
    let operator = "CREATE FUNCTION same(int8, int8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
        CREATE OPERATOR public.= (LEFTARG = int8, RIGHTARG = int8, FUNCTION = same)";
    for index in 0..2 {
        running.connect_shard(index).await?.batch_execute(operator).await?;
    }
    // An equality of somebody's own proves nothing of the key.
    eventually(&router, "SELECT v FROM t WHERE k = 5::int8", Some("0A000")).await?;
    for index in 0..2 {
        running.connect_shard(index).await?.batch_execute("DROP OPERATOR public.= (int8, int8)").await?;
    }
    eventually(&router, "SELECT v FROM t WHERE k = 5::int8", None).await?;
    home.batch_execute("DROP VIEW behind; DROP TABLE t; CREATE TABLE t (k bigint, plain int)").await?;
    eventually(&router, "SELECT count(plain) FROM t", None).await
}

/// Until the statement fails with the code, or is done.
async fn eventually(router: &Session, sql: &str, code: Option<&str>) -> Result<()> {
    let start = Instant::now();
    loop {
        let result = router.simple_query(sql).await;
        let found = result.as_ref().err().and_then(|error| error.code().map(|code| code.code().to_owned()));
        if found.as_deref() == code && (code.is_some() || result.is_ok()) {
            println!("{sql}: {} after {:?}", code.unwrap_or("done"), start.elapsed());
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(15), "{sql}: {result:?}, not {code:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
