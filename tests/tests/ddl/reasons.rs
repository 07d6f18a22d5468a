//! Tables that cannot be distributed: refused with the reason, and left as they were.

use crate::{nothing_prepared, on_shards, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;

struct Case {
    /// What makes the table `bad`, and what else it needs.
    setup: &'static [&'static str],
    call: &'static str,
    codes: &'static [&'static str],
    /// A word of the reason, in the message, detail or hint.
    says: &'static str,
}

const BY_K: &str = "SELECT create_distributed_table('bad', 'k')";

const fn by_k(setup: &'static [&'static str], says: &'static str) -> Case {
    Case {
        setup,
        call: BY_K,
        codes: &["0A000", "42P16", "42P17", "42830", "42809", "55000"],
        says,
    }
}

const fn call(
    setup: &'static [&'static str],
    call: &'static str,
    codes: &'static [&'static str],
    says: &'static str,
) -> Case {
    Case {
        setup,
        call,
        codes,
        says,
    }
}

const PLAIN: &[&str] = &["CREATE TABLE bad (k bigint, v int)"];

const CASES: &[Case] = &[
    by_k(
        &["CREATE TABLE bad (k bigint, id bigint PRIMARY KEY)"],
        "bad_pkey",
    ),
    by_k(
        &["CREATE TABLE bad (k bigint PRIMARY KEY, mail text UNIQUE)"],
        "bad_mail_key",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint, mail text)",
            "CREATE UNIQUE INDEX odd_one ON bad (lower(mail))",
        ],
        "odd_one",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint, mail text)",
            "CREATE UNIQUE INDEX odd_two ON bad ((k + 0), mail)",
        ],
        "odd_two",
    ),
    by_k(
        &["CREATE TABLE bad (k bigint, during int4range, EXCLUDE USING gist (during WITH &&))"],
        "xclu",
    ),
    by_k(
        &[
            "CREATE TABLE other (id bigint PRIMARY KEY)",
            "CREATE TABLE bad (k bigint, o bigint REFERENCES other)",
        ],
        "other",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint PRIMARY KEY)",
            "CREATE TABLE other (b bigint REFERENCES bad)",
        ],
        "other",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint, v int)",
            "CREATE FUNCTION other_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
            "CREATE TRIGGER watch BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION other_f()",
        ],
        "watch",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint, v int)",
            "CREATE RULE quiet AS ON DELETE TO bad DO INSTEAD NOTHING",
        ],
        "quiet",
    ),
    by_k(
        &[
            "CREATE TABLE parent (k bigint)",
            "CREATE TABLE bad () INHERITS (parent)",
        ],
        "inherit",
    ),
    by_k(
        &["CREATE TABLE bad (k bigint) PARTITION BY HASH (k)"],
        "partition",
    ),
    by_k(&["CREATE VIEW bad AS SELECT 1::bigint AS k"], "bad"),
    by_k(&["CREATE TABLE bad (k numeric)"], "numeric"),
    by_k(&["CREATE TABLE bad (k float8)"], "double precision"),
    by_k(&["CREATE TABLE bad (k jsonb)"], "jsonb"),
    by_k(&["CREATE TABLE bad (k bpchar(5))"], "character"),
    by_k(
        &[
            "CREATE TYPE other_e AS ENUM ('a')",
            "CREATE TABLE bad (k other_e)",
        ],
        "other_e",
    ),
    by_k(
        &[
            "CREATE COLLATION other_c (provider = icu, locale = 'und', deterministic = false)",
            "CREATE TABLE bad (k text COLLATE other_c)",
        ],
        "collation",
    ),
    by_k(
        &[
            "CREATE TABLE bad (k bigint, v int)",
            "INSERT INTO bad VALUES (1, 1)",
        ],
        "rows",
    ),
    by_k(
        &["CREATE TABLE bad (a bigint, k bigint GENERATED ALWAYS AS (a + 1) STORED)"],
        "generated",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'missing')",
        &["42703"],
        "missing",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('missing', 'k')",
        &["42P01"],
        "missing",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', 'round robin')",
        &["22023", "0A000"],
        "round robin",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', buckets => 100)",
        &["22023"],
        "100",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', buckets => 131072)",
        &["22023"],
        "131072",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', 'range', bounds => ARRAY['7', '3'])",
        &["22023", "42P17"],
        "bound",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', 'range', bounds => ARRAY['x'])",
        &["22P02", "22023"],
        "x",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', colocate_with => 'missing')",
        &["42P01"],
        "missing",
    ),
    call(
        &["CREATE TABLE bad (k text)"],
        "SELECT create_distributed_table('bad', 'k', colocate_with => 'made_0_simple')",
        &["42804"],
        "text",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad')",
        &["42883", "22023", "0A000"],
        "create_distributed_table",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k', flavour => 'sweet')",
        &["42883", "22023", "0A000"],
        "flavour",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', NULL)",
        &["22004", "22023", "0A000"],
        "NULL",
    ),
    call(
        PLAIN,
        "SELECT undistribute_table('bad')",
        &["0A000", "42809", "55000", "22023"],
        "bad",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('made_0_simple', 'k')",
        &["0A000", "42809", "55000", "42710"],
        "made_0_simple",
    ),
    call(
        PLAIN,
        "SELECT create_reference_table('made_0_simple')",
        &["0A000", "42809", "55000", "42710"],
        "made_0_simple",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('pg_catalog.pg_class', 'oid')",
        &["0A000", "42501", "42809"],
        "pg_class",
    ),
    call(
        PLAIN,
        "SELECT create_distributed_table('bad', 'k'), 1",
        &["0A000"],
        "create_distributed_table",
    ),
];

/// What the cases make.
const CLEAN: &[&str] = &[
    "DROP VIEW IF EXISTS bad",
    "DROP TABLE IF EXISTS bad CASCADE",
    "DROP TABLE IF EXISTS other CASCADE",
    "DROP TABLE IF EXISTS parent CASCADE",
    "DROP FUNCTION IF EXISTS other_f()",
    "DROP TYPE IF EXISTS other_e",
    "DROP COLLATION IF EXISTS other_c",
];

pub async fn all(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let mut wrong = Vec::new();
    for case in CASES {
        for sql in case.setup {
            run(&router, sql).await?;
        }
        let before = traces(running).await?;
        for simple in [true, false] {
            let result = if simple {
                router.simple_query(case.call).await.map(|_| ())
            } else {
                router.query(case.call, &[]).await.map(|_| ())
            };
            let title = format!("{} after {:?}", case.call, case.setup);
            match result {
                Ok(()) => wrong.push(format!("{title}: done")),
                Err(error) => match error.as_db_error() {
                    None => wrong.push(format!("{title}: {error:?}")),
                    Some(db) => {
                        let words = format!(
                            "{} {} {}",
                            db.message(),
                            db.detail().unwrap_or_default(),
                            db.hint().unwrap_or_default()
                        );
                        if !case.codes.contains(&db.code().code())
                            || !words.to_lowercase().contains(&case.says.to_lowercase())
                        {
                            wrong.push(format!("{title}: {} {words}", db.code().code()));
                        }
                    }
                },
            }
            let after = traces(running).await?;
            if after != before {
                wrong.push(format!("{title}: left {after:?}, before {before:?}"));
            }
        }
        // The kind of `bad` differs from case to case.
        for sql in CLEAN {
            let _other_kind = router.simple_query(sql).await;
        }
        let left = router
            .query_one("SELECT to_regclass('bad')::text", &[])
            .await?
            .get::<_, Option<String>>(0);
        ensure!(left.is_none(), "bad is left after {:?}", case.setup);
    }
    nothing_prepared(running).await.context("after refusals")?;
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        2 * CASES.len(),
        wrong.join("\n")
    );
    println!("{} reasons", CASES.len());
    Ok(())
}

/// What a refused call may not leave: constraints, tables of other shards, rows of the catalog.
async fn traces(running: &Running) -> Result<Vec<Option<String>>> {
    let mut all = on_shards(
        running,
        "SELECT (SELECT count(*) FROM pg_constraint WHERE conname LIKE 'shardgate%') + \
         (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
    )
    .await?;
    let home = running.connect_shard(0).await?;
    let sql = "SELECT count(*)::text || ' ' || (SELECT count(*) FROM shardgate.distribution) FROM shardgate.distributed_table";
    all.push(home.query_one(sql, &[]).await?.get(0));
    Ok(all)
}
