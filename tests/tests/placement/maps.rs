//! Range and list maps: rows lie as the map says, and Postgres compares.

use crate::guard;
use anyhow::{Context, Result, bail, ensure};
use shardgate_catalog::{Backend, DistributeRequest, distribute_table};
use shardgate_tests::{Running, Session};
use std::time::{Duration, Instant};

/// Type of the key, bounds, keys around them.
const RANGES: &[(&str, &[&str], &[&str])] = &[
    (
        "int8",
        &["0", "1000"],
        &[
            "-9223372036854775808",
            "-1",
            "0",
            "1",
            "999",
            "1000",
            "1001",
            "9223372036854775807",
        ],
    ),
    (
        "int4",
        &["-5", "7"],
        &["-2147483648", "-6", "-5", "6", "7", "2147483647"],
    ),
    (
        "text",
        &["B", "a"],
        &[
            "", "A", "AZ", "B", "B ", "Z", "a", "aa", "z", "é", "日本", "😀",
        ],
    ),
    (
        "date",
        &["2024-01-01", "2025-01-01"],
        &[
            "-infinity",
            "2023-12-31",
            "2024-01-01",
            "2024-12-31",
            "2025-01-01",
            "infinity",
        ],
    ),
    (
        "timestamp",
        &["2024-01-01 00:00:00", "2025-01-01 12:00:00"],
        &[
            "2023-12-31 23:59:59.999999",
            "2024-01-01 00:00:00",
            "2025-01-01 11:59:59.999999",
            "2025-01-01 12:00:00",
        ],
    ),
    (
        "timestamptz",
        &["2024-01-01 00:00:00+00", "2025-01-01 00:00:00+00"],
        &[
            "2024-01-01 00:59:59+01",
            "2024-01-01 01:00:00+01",
            "2024-12-31 23:59:59.999999+00",
            "2025-01-01 00:00:00+00",
        ],
    ),
    (
        "uuid",
        &[
            "40000000-0000-0000-0000-000000000000",
            "a0000000-0000-0000-0000-000000000000",
        ],
        &[
            "00000000-0000-0000-0000-000000000000",
            "3fffffff-ffff-ffff-ffff-ffffffffffff",
            "40000000-0000-0000-0000-000000000000",
            "a0000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    (
        "bytea",
        &["\\x40", "\\x80ff"],
        &[
            "\\x", "\\x3fff", "\\x40", "\\x4000", "\\x80fe", "\\x80ff", "\\xff",
        ],
    ),
];

/// Three shards own three ranges, in order; Postgres compares.
pub async fn ranges(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for (key_type, bounds, keys) in RANGES {
        let table = format!("r_{key_type}");
        let quoted: Vec<String> = bounds.iter().map(|bound| format!("'{bound}'")).collect();
        make(
            &router,
            &table,
            key_type,
            &format!("'range', bounds => ARRAY[{}]", quoted.join(",")),
        )
        .await?;
        for (n, key) in keys.iter().enumerate() {
            insert(&router, &table, key_type, key, n).await?;
        }
        let collate = if *key_type == "text" {
            " COLLATE \"C\""
        } else {
            ""
        };
        let mut found = 0;
        for index in 0..3 {
            let above = match index {
                0 => "true".to_owned(),
                i => format!("k{collate} >= '{}'", bounds[i - 1]),
            };
            let below = bounds
                .get(index)
                .map_or("true".to_owned(), |bound| format!("k{collate} < '{bound}'"));
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE {above} AND {below}) FROM {table}"
            );
            let row = running
                .connect_shard(index)
                .await?
                .query_one(&sql, &[])
                .await
                .context(sql)?;
            let (all, own): (i64, i64) = (row.get(0), row.get(1));
            ensure!(
                all == own && own > 0,
                "{table}: shard {index} has {all} rows, {own} of its own"
            );
            found += all;
        }
        ensure!(
            found == i64::try_from(keys.len())?,
            "{table}: {found} rows of {}",
            keys.len()
        );
        read_back(&router, &table, key_type, keys).await?;
        guard::refuses_strangers(running, &table, key_type).await?;
    }
    println!("{} range maps hold what they say", RANGES.len());
    Ok(())
}

/// Values of the list and where they live; every other value has no shard.
const LIST: [(&str, usize); 5] = [("de", 0), ("fr", 1), ("it", 2), ("O'Br\\ien", 1), ("", 2)];

pub async fn lists(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for key_type in ["text", "varchar"] {
        let table = format!("l_{key_type}");
        make_list(running, &router, &table, key_type).await?;
        for (n, (key, _)) in LIST.iter().enumerate() {
            insert(&router, &table, key_type, key, n).await?;
        }
        for (key, shard) in LIST {
            for index in 0..3 {
                let sql = format!("SELECT count(*) FROM {table} WHERE k = $1");
                let row = running
                    .connect_shard(index)
                    .await?
                    .query_one(&sql, &[&key])
                    .await?;
                ensure!(
                    row.get::<_, i64>(0) == i64::from(index == shard),
                    "{key} on shard {index}"
                );
            }
        }
        let keys: Vec<&str> = LIST.iter().map(|(key, _)| *key).collect();
        read_back(&router, &table, key_type, &keys).await?;
        let stranger = router
            .execute(&format!("INSERT INTO {table} VALUES ('es', 'x', 9)"), &[])
            .await;
        let error = stranger
            .err()
            .context("a value without a shard was let in")?;
        let code = error.code().map(|code| code.code().to_owned());
        ensure!(
            code.as_deref() == Some("23514"),
            "a value without a shard: {error:?}"
        );
        ensure!(
            router
                .query(&format!("SELECT 1 FROM {table} WHERE k = 'es'"), &[])
                .await?
                .is_empty(),
            "a value without a shard was found"
        );
        guard::refuses_strangers(running, &table, key_type).await?;
    }
    Ok(())
}

/// By the code of `shard-admin`, which says on which shard each value lives.
async fn make_list(running: &Running, router: &Session, table: &str, key_type: &str) -> Result<()> {
    let create = format!("CREATE TABLE {table} (k {key_type}, src text, n int)");
    router.simple_query(&create).await.context(create)?;
    let config = running.catalog_url().parse()?;
    let mut home = Backend::primary(&config, "the home shard").await?;
    let shard_of = |shard: usize| Some(running.cluster.shards[shard].name.clone());
    let request = DistributeRequest {
        relation: table.to_owned(),
        column: "k".to_owned(),
        method: Some("list".to_owned()),
        values: Some(
            LIST.iter()
                .map(|(value, shard)| ((*value).to_owned(), shard_of(*shard)))
                .collect(),
        ),
        ..DistributeRequest::default()
    };
    distribute_table(&mut home, &request).await?;
    // The router is told of it; until then the table is a home table to it.
    let start = Instant::now();
    while router
        .simple_query(&format!("SELECT * FROM {table} FOR UPDATE"))
        .await
        .is_ok()
    {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "the router does not see {table}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn make(router: &Session, table: &str, key_type: &str, method: &str) -> Result<()> {
    let create = format!("CREATE TABLE {table} (k {key_type}, src text, n int)");
    router.simple_query(&create).await.context(create)?;
    let call = format!("SELECT create_distributed_table('{table}', 'k', {method})");
    router.simple_query(&call).await.context(call)?;
    Ok(())
}

/// As a literal and as a parameter, in turn.
async fn insert(router: &Session, table: &str, key_type: &str, key: &str, n: usize) -> Result<()> {
    let n = i32::try_from(n)?;
    let literal = key.replace('\'', "''");
    let done = match n % 2 {
        0 => {
            router
                .execute(
                    &format!("INSERT INTO {table} VALUES ('{literal}', 'x', $1)"),
                    &[&n],
                )
                .await
        }
        _ => {
            router
                .execute(
                    &format!("INSERT INTO {table} VALUES ($1::text::{key_type}, 'x', $2)"),
                    &[&key, &n],
                )
                .await
        }
    };
    match done {
        Ok(1) => Ok(()),
        // A cast of a parameter is for Postgres to compute: the literal says the same.
        Err(error) if n % 2 == 1 && error.code().is_some_and(|code| code.code() == "0A000") => {
            router
                .execute(
                    &format!("INSERT INTO {table} VALUES ('{literal}', 'x', $1)"),
                    &[&n],
                )
                .await?;
            Ok(())
        }
        other => bail!("{key} in {table}: {other:?}"),
    }
}

async fn read_back(router: &Session, table: &str, key_type: &str, keys: &[&str]) -> Result<()> {
    for (n, key) in keys.iter().enumerate() {
        let literal = key.replace('\'', "''");
        let sql = format!("SELECT n FROM {table} WHERE k = {key_type} '{literal}'");
        let found = router.query(&sql, &[]).await.context(sql.clone())?;
        let found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
        ensure!(found == [i32::try_from(n)?], "{sql} gave {found:?}");
    }
    Ok(())
}
