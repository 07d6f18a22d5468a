//! Range and list maps, and spellings of keys that a router may misread.

use crate::guard;
use crate::oracle;
use anyhow::{Context, Result, bail, ensure};
use shardgate_catalog::{Backend, DistributeRequest, distribute_table};
use shardgate_tests::{Running, Session};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Type of the key, bounds, keys around them.
const RANGES: &[(&str, &[&str], &[&str])] = &[
    ("int8", &["0", "1000"], &["-9223372036854775808", "-1", "0", "1", "999", "1000", "1001", "9223372036854775807"]),
    ("int4", &["-5", "7"], &["-2147483648", "-6", "-5", "6", "7", "2147483647"]),
    ("text", &["B", "a"], &["", "A", "AZ", "B", "B ", "Z", "a", "aa", "z", "é", "日本", "😀"]),
    ("date", &["2024-01-01", "2025-01-01"], &["-infinity", "2023-12-31", "2024-01-01", "2024-12-31", "2025-01-01", "infinity"]),
    ("timestamp", &["2024-01-01 00:00:00", "2025-01-01 12:00:00"], &["2023-12-31 23:59:59.999999", "2024-01-01 00:00:00", "2025-01-01 11:59:59.999999", "2025-01-01 12:00:00"]),
    ("timestamptz", &["2024-01-01 00:00:00+00", "2025-01-01 00:00:00+00"], &["2024-01-01 00:59:59+01", "2024-01-01 01:00:00+01", "2024-12-31 23:59:59.999999+00", "2025-01-01 00:00:00+00"]),
    ("uuid", &["40000000-0000-0000-0000-000000000000", "a0000000-0000-0000-0000-000000000000"], &["00000000-0000-0000-0000-000000000000", "3fffffff-ffff-ffff-ffff-ffffffffffff", "40000000-0000-0000-0000-000000000000", "a0000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("bytea", &["\\x40", "\\x80ff"], &["\\x", "\\x3fff", "\\x40", "\\x4000", "\\x80fe", "\\x80ff", "\\xff"]),
];

/// Three shards own three ranges, in order; Postgres compares.
pub async fn ranges(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for (key_type, bounds, keys) in RANGES {
        let table = format!("r_{key_type}");
        let quoted: Vec<String> = bounds.iter().map(|bound| format!("'{bound}'")).collect();
        make(&router, &table, key_type, &format!("'range', bounds => ARRAY[{}]", quoted.join(","))).await?;
        for (n, key) in keys.iter().enumerate() {
            insert(&router, &table, key_type, key, n).await?;
        }
        let collate = if *key_type == "text" { " COLLATE \"C\"" } else { "" };
        let mut found = 0;
        for index in 0..3 {
            let above = match index {
                0 => "true".to_owned(),
                i => format!("k{collate} >= '{}'", bounds[i - 1]),
            };
            let below = bounds.get(index).map_or("true".to_owned(), |bound| format!("k{collate} < '{bound}'"));
            let sql = format!("SELECT count(*), count(*) FILTER (WHERE {above} AND {below}) FROM {table}");
            let row = running.connect_shard(index).await?.query_one(&sql, &[]).await.context(sql)?;
            let (all, own): (i64, i64) = (row.get(0), row.get(1));
            ensure!(all == own && own > 0, "{table}: shard {index} has {all} rows, {own} of its own");
            found += all;
        }
        ensure!(found == i64::try_from(keys.len())?, "{table}: {found} rows of {}", keys.len());
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
                let row = running.connect_shard(index).await?.query_one(&sql, &[&key]).await?;
                ensure!(row.get::<_, i64>(0) == i64::from(index == shard), "{key} on shard {index}");
            }
        }
        let keys: Vec<&str> = LIST.iter().map(|(key, _)| *key).collect();
        read_back(&router, &table, key_type, &keys).await?;
        let stranger = router.execute(&format!("INSERT INTO {table} VALUES ('es', 'x', 9)"), &[]).await;
        let error = stranger.err().context("a value without a shard was let in")?;
        let code = error.code().map(|code| code.code().to_owned());
        ensure!(code.as_deref() == Some("23514"), "a value without a shard: {error:?}");
        ensure!(
            router.query(&format!("SELECT 1 FROM {table} WHERE k = 'es'"), &[]).await?.is_empty(),
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
        values: Some(LIST.iter().map(|(value, shard)| ((*value).to_owned(), shard_of(*shard))).collect()),
        ..DistributeRequest::default()
    };
    distribute_table(&mut home, &request).await?;
    // The router is told of it; until then the table is a home table to it.
    let start = Instant::now();
    while router.simple_query(&format!("SELECT * FROM {table}")).await.is_ok() {
        ensure!(start.elapsed() < Duration::from_secs(10), "the router does not see {table}");
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
        0 => router.execute(&format!("INSERT INTO {table} VALUES ('{literal}', 'x', $1)"), &[&n]).await,
        _ => router.execute(&format!("INSERT INTO {table} VALUES ($1::text::{key_type}, 'x', $2)"), &[&key, &n]).await,
    };
    match done {
        Ok(1) => Ok(()),
        // A cast of a parameter is for Postgres to compute: the literal says the same.
        Err(error) if n % 2 == 1 && error.code().is_some_and(|code| code.code() == "0A000") => {
            router.execute(&format!("INSERT INTO {table} VALUES ('{literal}', 'x', $1)"), &[&n]).await?;
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

/// Type of the key, spellings.
const ODD: &[(&str, &[&str])] = &[
    ("int8", &[
        "1.0", "1.5", "-1.5", "'  42 '", "'+7'", "007", "1e3", "'-9223372036854775808'", "-9223372036854775808", "9223372036854775807",
        "9223372036854775808", "5::float8", "6::numeric", "'8'::text::int8", "2 + 3", "abs(-50)", "(SELECT 51)", "NULL", "- 52", "+53",
        "B'101'::int", "'54'::int2", "54.9::int", "length('abcde') + 60", "round(61.6)", "'1_000'", "''", "'x'", "-(-63)", "64::oid",
        "9007199254740993::float8", "9007199254740993::numeric", "'65'::varchar::int8", "66::int8::int4", "(67)", "((68)::int4)::int8",
    ]),
    ("int2", &["70000", "-32768", "'32767'", "1.4", "32768 - 1", "5::int8", "'12'::int4"]),
    ("text", &[
        "U&'d\\0061t\\+000061'", "'a' \n 'b'", "E'\\x41\\u00e9\\101'", "'abc   '::char(6)", "'xyz'::varchar(1)", "'ABC' COLLATE \"C\"",
        "'a' || 'b'", "''", "N'abcd'", "$$do'llar$$", "'a\\b'", "current_user", "upper('x')", "'e\u{301}'", "123::text", "123", "'x'::name",
        "'\u{feff}y'", "U&'!0041' UESCAPE '!'", "E'tab\\there'", "'z'::text", "('q')",
    ]),
    ("varchar(3)", &["'abc   '", "'abcd'", "'abc   '::text", "'ab'::bpchar", "'abcdef'::varchar(3)", "'  a'", "'日本語'", "'日本語ab'", "'ab'::char(3)"]),
    ("uuid", &[
        "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", "'A0EEBC999C0B4EF8BB6D6BB9BD380A12'", "'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a13'",
        "uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14'", "'a0eebc99'", "' a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a15'", "md5('x')::uuid",
        "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16'",
    ]),
    ("bytea", &["'abc'", "'\\x'", "'\\x61 62'", "'\\141b'", "decode('616263','hex')", "'\\x6162'::bytea", "'\\x6'", "E'\\\\x6163'", "'\\\\x'", "'\\X61'", "'\\xAB'", "'a'::text::bytea"]),
    ("date", &[
        "'2024-1-5'", "'Jan 6 2024'", "'07/01/2024'", "'today'", "'infinity'", "'-infinity'", "'2024-01-08 BC'", "'20240109'", "'2024.010'",
        "date '2024-01-10' + 1", "'2024-01-12 10:00'", "timestamp '2024-01-13 10:00'", "'epoch'", "'0001-01-01 BC'", "'2024-02-30'",
        "current_date + 1000", "'  2024-01-14  '", "'2024-01-15'::text::date", "'12024-01-16'", "'24-01-17'", "timestamptz '2024-01-18 23:30+00'", "'5874897-12-31'",
    ]),
    ("timestamp", &[
        "'2024-01-05'", "'2024-01-05T10:00:00'", "'2024-01-05 10:00:00.123456789'", "'2024-01-05 24:00:00'", "'2024-01-05 10:00:60'",
        "'2024-01-05 10:00:00+05'", "date '2024-01-06'", "'infinity'", "'now'", "'2024-01-07 10:00'", "'2024-01-08 10:00:00.9999995'",
        "'294276-12-31 23:59:59.999999'", "'4713-01-01 00:00:00 BC'", "'2024-01-05 10:00 PM'", "timestamptz '2024-01-09 00:00+00'", "'2024-01-10 1:02:03'",
    ]),
    ("timestamp(0)", &["'2024-01-05 10:00:00.5'", "'2024-01-05 10:00:01.5'", "'2024-01-05 10:00:03.499999'", "timestamp '2024-01-05 10:00:04.7'", "'2024-01-05 10:00:06'"]),
    ("timestamptz", &[
        "'2024-01-05 10:00:00+05:30'", "'2024-01-05 10:00:00Z'", "'2024-01-05 10:00:01 UTC'", "'2024-01-05 10:00:00 Europe/Berlin'",
        "'2024-01-05 10:00:02'", "'2024-01-05 10:00:03-00'", "'2024-01-05 10:00:00.9999995+00'", "timestamp '2024-01-05 10:00:04'",
        "'2024-01-05 10:00:05+15:59:59'", "'2024-01-05 10:00:06 -0330'", "'2024-01-05'", "date '2024-01-06'", "'2024-01-05T10:00:07.5+01'", "'infinity'", "'2024-01-05 10:00:08+16:00'",
    ]),
    ("timestamptz(3)", &["'2024-01-05 10:00:00.0005+00'", "'2024-01-05 10:00:00.0015+00'", "'2024-01-05 10:00:00.123+00'", "'2024-01-05 10:00:01.00049999+00'"]),
];

/// Under two sets of settings, since the meaning of dates hangs on them.
pub async fn odd_spellings(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for (round, settings) in ["SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'", "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'"]
        .into_iter()
        .enumerate()
    {
        for setting in settings.split("; ") {
            router.simple_query(setting).await.context(setting)?;
        }
        let mut shards = Vec::new();
        for index in 0..running.cluster.shards.len() {
            let shard = running.connect_shard(index).await?;
            shard.batch_execute(settings).await?;
            shards.push(shard);
        }
        for (number, (key_type, spellings)) in ODD.iter().enumerate() {
            let table = format!("odd_{number}_{round}");
            let create = format!("CREATE TABLE {table} (k {key_type}, src text, n int)");
            router.simple_query(&create).await.context(create)?;
            let call = format!("SELECT create_distributed_table('{table}', 'k')");
            router.simple_query(&call).await.context(call)?;
            for (n, spelling) in spellings.iter().enumerate() {
                *outcomes.entry(write(&router, &table, spelling, n).await?).or_default() += 1;
            }
            oracle::check_hash(running, &table, key_type, 4096).await?;
            for spelling in *spellings {
                *outcomes.entry(read(&router, &shards, &table, spelling).await?).or_default() += 1;
            }
        }
    }
    println!("{outcomes:?}");
    ensure!(outcomes.get("written").is_some_and(|n| *n > 100), "too few are understood: {outcomes:?}");
    ensure!(outcomes.get("read").is_some_and(|n| *n > 100), "too few are understood: {outcomes:?}");
    Ok(())
}

async fn write(router: &Session, table: &str, spelling: &str, n: usize) -> Result<&'static str> {
    let sql = format!("INSERT INTO {table} VALUES ({spelling}, 'x', {n})");
    match router.simple_query(&sql).await {
        Ok(_) => Ok("written"),
        Err(error) => match error.code().map(|code| code.code().to_owned()).as_deref() {
            Some("0A000") => Ok("write refused"),
            // Not a value of the type, or none: Postgres says so, or the router in its words.
            Some(code) if code.starts_with("22") || ["42804", "42846", "23502", "23514", "42601"].contains(&code) => Ok("no value"),
            _ => bail!("{sql}: {error:?}"),
        },
    }
}

/// What the router finds is what the shards hold together.
async fn read(router: &Session, shards: &[Session], table: &str, spelling: &str) -> Result<&'static str> {
    let sql = format!("SELECT n FROM {table} WHERE k = {spelling} ORDER BY n");
    let answer = match router.query(&sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| code.code() == "0A000") => return Ok("read refused"),
        Err(error) if error.code().is_some() => {
            let direct = shards[0].query(&sql, &[]).await;
            ensure!(direct.is_err(), "{sql}: {error:?}, and Postgres answers");
            return Ok("no comparison");
        }
        Err(error) => bail!("{sql}: {error:?}"),
    };
    let mut expected: Vec<i32> = Vec::new();
    for shard in shards {
        let rows = shard.query(&sql, &[]).await.context(sql.clone())?;
        expected.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    expected.sort_unstable();
    let found: Vec<i32> = answer.iter().map(|row| row.get(0)).collect();
    ensure!(found == expected, "{sql}: {found:?} through the router, the shards hold {expected:?}");
    Ok("read")
}
