//! Values that DDL computes for the rows that are there: alike on every shard, or the statement is refused.

use crate::{nothing_prepared, on_shards, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;

/// Each would differ from shard to shard, or from what one server gives.
const REFUSED: &[&str] = &[
    "ADD COLUMN bad timestamptz DEFAULT now()",
    "ADD COLUMN bad timestamptz NOT NULL DEFAULT clock_timestamp()",
    "ADD COLUMN bad date DEFAULT current_date",
    "ADD COLUMN bad date DEFAULT 'today'",
    "ADD COLUMN bad timestamptz DEFAULT '2026-01-31 10:00'",
    "ADD COLUMN bad date DEFAULT '01/02/2026'",
    "ADD COLUMN bad money DEFAULT '1,50'",
    "ADD COLUMN bad float8 DEFAULT random()",
    "ADD COLUMN bad uuid DEFAULT gen_random_uuid()",
    "ADD COLUMN bad text DEFAULT current_user",
    "ADD COLUMN bad text DEFAULT current_setting('port')",
    "ADD COLUMN bad oid DEFAULT 'pg_class'::regclass",
    "ADD COLUMN bad serial",
    "ADD COLUMN bad bigint GENERATED ALWAYS AS IDENTITY",
    "ADD COLUMN fine int DEFAULT 1, ADD COLUMN bad timestamptz DEFAULT now()",
    "ALTER COLUMN v TYPE timestamptz USING now()",
    "ALTER COLUMN v TYPE float8 USING random()",
    "ALTER COLUMN v TYPE text USING v || current_user",
];

/// On a distributed table and on a reference table; nothing is left on any shard.
pub async fn refused(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    run(&router, "CREATE TABLE copied (k bigint, v int)").await?;
    run(&router, "SELECT create_reference_table('copied')").await?;
    let shape = "SELECT string_agg(attrelid::regclass || attname || atttypid::regtype, ' ' ORDER BY attrelid, attnum) \
        FROM pg_attribute WHERE attrelid IN ('t'::regclass, 'copied'::regclass) AND attnum > 0";
    let before = on_shards(running, shape).await?;
    for table in ["t", "copied"] {
        for action in REFUSED {
            let sql = format!("ALTER TABLE {table} {action}");
            let error = router
                .simple_query(&sql)
                .await
                .err()
                .with_context(|| format!("{sql}: done"))?;
            let db = error
                .as_db_error()
                .with_context(|| format!("{sql}: {error:?}"))?;
            ensure!(
                db.code().code() == "0A000" && db.hint().is_some(),
                "{sql}: {db:?}"
            );
        }
    }
    ensure!(
        on_shards(running, shape).await? == before,
        "a shard was changed"
    );
    // The way out.
    for sql in [
        "ALTER TABLE t ADD COLUMN made timestamptz",
        "ALTER TABLE t ALTER COLUMN made SET DEFAULT now()",
        "UPDATE t SET made = '2026-01-31 10:00+00' WHERE k = 5",
        "INSERT INTO t (k, v) VALUES (777, 1)",
    ] {
        run(&router, sql).await?;
    }
    let made: bool = router
        .query_one("SELECT made IS NOT NULL FROM t WHERE k = 777", &[])
        .await?
        .get(0);
    ensure!(made, "the default is not in force");
    println!("{} statements refused", 2 * REFUSED.len());
    nothing_prepared(running).await
}

/// What differs from home on the second shard.
const ODD: &[&str] = &[
    "ALTER DATABASE app SET TimeZone = 'Asia/Tokyo'",
    "ALTER DATABASE app SET DateStyle = 'SQL, DMY'",
    "ALTER DATABASE app SET IntervalStyle = 'sql_standard'",
    "ALTER DATABASE app SET extra_float_digits = -10",
    "ALTER DATABASE app SET bytea_output = 'escape'",
];

/// Accepted, and so the same everywhere.
const ALIKE: &[&str] = &[
    "ADD COLUMN a1 int DEFAULT 7",
    "ADD COLUMN a2 numeric(6,2) NOT NULL DEFAULT -1.5",
    "ADD COLUMN a3 text DEFAULT 'now'",
    "ADD COLUMN a4 jsonb DEFAULT '{\"a\": [1]}'::jsonb",
    "ADD COLUMN a5 date DEFAULT '2026-02-01'",
    "ADD COLUMN a6 timestamp DEFAULT '2026-02-01 10:11:12.5'",
    "ADD COLUMN a7 timestamptz DEFAULT '2026-02-01 10:11:12+02'",
    "ADD COLUMN a8 timestamptz DEFAULT '-infinity'",
    "ADD COLUMN a9 interval DEFAULT '1 day 02:03'",
    "ADD COLUMN b1 int[] DEFAULT '{1,2}'",
    "ADD COLUMN b2 text[] DEFAULT ARRAY['x', 'y']",
    "ADD COLUMN b3 bool DEFAULT 't'",
    "ADD COLUMN b4 float8 DEFAULT 1.25e-7",
    "ADD COLUMN b5 uuid DEFAULT '00000000-0000-0000-0000-000000000001'",
    "ADD COLUMN b6 mood DEFAULT 'glad'",
    "ADD COLUMN b7 bytea DEFAULT '\\x0102'",
    "ADD COLUMN b8 time DEFAULT '10:11'",
    "ADD COLUMN b9 int GENERATED ALWAYS AS (k * 2) STORED",
    "ALTER COLUMN code TYPE varchar(3) USING left(upper(code), 3)",
    "ALTER COLUMN number TYPE int USING number::int",
    "ALTER COLUMN stamp TYPE timestamptz USING stamp AT TIME ZONE 'Europe/Berlin'",
    "ALTER COLUMN zoned TYPE timestamp USING zoned AT TIME ZONE 'UTC'",
    "ALTER COLUMN seconds TYPE timestamptz USING to_timestamp(seconds)",
    "ALTER COLUMN small TYPE bigint",
    "ALTER COLUMN flag TYPE int USING CASE WHEN flag THEN 1 ELSE 0 END",
    "ALTER COLUMN day TYPE timestamp",
];

/// The copies of a reference table stay the same on servers with other settings.
pub async fn alike(running: &Running) -> Result<()> {
    let odd = running.connect_shard(1).await?;
    for sql in ODD {
        odd.batch_execute(sql).await?;
    }
    let router = running.connect().await?;
    run(&router, "CREATE TYPE mood AS ENUM ('sad', 'glad')").await?;
    run(
        &router,
        "CREATE TABLE r (k int, code text, number text, stamp timestamp, zoned timestamptz, seconds bigint, small int, flag bool, day date)",
    )
    .await?;
    run(&router, "SELECT create_reference_table('r')").await?;
    // The same rows in every copy.
    for index in 0..running.cluster.shards.len() {
        let shard = running.connect_shard(index).await?;
        let rows = "SET TimeZone = 'UTC'; INSERT INTO r SELECT k, 'code' || k, k::text, timestamp '2026-01-01' + k * interval '7 days', \
            timestamptz '2026-01-01 00:00+00' + k * interval '7 days', 86400 * k, k, k % 2 = 0, date '2026-01-01' + k \
            FROM generate_series(1, 40) k";
        shard.batch_execute(rows).await?;
    }
    for action in ALIKE {
        let sql = format!("ALTER TABLE r {action}");
        run(&router, &sql).await?;
        let mut sums = Vec::new();
        for index in 0..running.cluster.shards.len() {
            let shard = running.connect_shard(index).await?;
            shard
                .batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'")
                .await?;
            let row = shard
                .query_one(
                    "SELECT md5(string_agg(r::text, '|' ORDER BY k)) FROM r",
                    &[],
                )
                .await?;
            sums.push(row.get::<_, String>(0));
        }
        ensure!(sums[0] == sums[1], "after {sql} the copies differ");
    }
    println!("{} statements, and the copies are alike", ALIKE.len());
    nothing_prepared(running).await
}
