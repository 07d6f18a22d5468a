//! Spellings of keys that a router may misread: what it writes lies where Postgres says, what it reads is what the
//! shards hold; all else it refuses.

use crate::oracle;
use anyhow::{Context, Result, bail, ensure};
use shardgate_tests::{Running, Session};
use std::collections::BTreeMap;

/// Type of the key, spellings.
const ODD: &[(&str, &[&str])] = &[
    (
        "int8",
        &[
            "1.0",
            "1.5",
            "-1.5",
            "'  42 '",
            "'+7'",
            "007",
            "1e3",
            "'-9223372036854775808'",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "5::float8",
            "6::numeric",
            "'8'::text::int8",
            "2 + 3",
            "abs(-50)",
            "(SELECT 51)",
            "NULL",
            "- 52",
            "+53",
            "B'101'::int",
            "'54'::int2",
            "54.9::int",
            "length('abcde') + 60",
            "round(61.6)",
            "'1_000'",
            "''",
            "'x'",
            "-(-63)",
            "64::oid",
            "9007199254740993::float8",
            "9007199254740993::numeric",
            "'65'::varchar::int8",
            "66::int8::int4",
            "(67)",
            "((68)::int4)::int8",
        ],
    ),
    (
        "int2",
        &[
            "70000",
            "-32768",
            "'32767'",
            "1.4",
            "32768 - 1",
            "5::int8",
            "'12'::int4",
        ],
    ),
    (
        "text",
        &[
            "U&'d\\0061t\\+000061'",
            "'a' \n 'b'",
            "E'\\x41\\u00e9\\101'",
            "'abc   '::char(6)",
            "'xyz'::varchar(1)",
            "'ABC' COLLATE \"C\"",
            "'a' || 'b'",
            "''",
            "N'abcd'",
            "$$do'llar$$",
            "'a\\b'",
            "current_user",
            "upper('x')",
            "'e\u{301}'",
            "123::text",
            "123",
            "'x'::name",
            "'\u{feff}y'",
            "U&'!0041' UESCAPE '!'",
            "E'tab\\there'",
            "'z'::text",
            "('q')",
        ],
    ),
    (
        "varchar(3)",
        &[
            "'abc   '",
            "'abcd'",
            "'abc   '::text",
            "'ab'::bpchar",
            "'abcdef'::varchar(3)",
            "'  a'",
            "'日本語'",
            "'日本語ab'",
            "'ab'::char(3)",
        ],
    ),
    (
        "uuid",
        &[
            "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'",
            "'A0EEBC999C0B4EF8BB6D6BB9BD380A12'",
            "'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a13'",
            "uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14'",
            "'a0eebc99'",
            "' a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a15'",
            "md5('x')::uuid",
            "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16'",
        ],
    ),
    (
        "bytea",
        &[
            "'abc'",
            "'\\x'",
            "'\\x61 62'",
            "'\\141b'",
            "decode('616263','hex')",
            "'\\x6162'::bytea",
            "'\\x6'",
            "E'\\\\x6163'",
            "'\\\\x'",
            "'\\X61'",
            "'\\xAB'",
            "'a'::text::bytea",
        ],
    ),
    (
        "date",
        &[
            "'2024-1-5'",
            "'Jan 6 2024'",
            "'07/01/2024'",
            "'today'",
            "'infinity'",
            "'-infinity'",
            "'2024-01-08 BC'",
            "'20240109'",
            "'2024.010'",
            "date '2024-01-10' + 1",
            "'2024-01-12 10:00'",
            "timestamp '2024-01-13 10:00'",
            "'epoch'",
            "'0001-01-01 BC'",
            "'2024-02-30'",
            "current_date + 1000",
            "'  2024-01-14  '",
            "'2024-01-15'::text::date",
            "'12024-01-16'",
            "'24-01-17'",
            "timestamptz '2024-01-18 23:30+00'",
            "'5874897-12-31'",
        ],
    ),
    (
        "timestamp",
        &[
            "'2024-01-05'",
            "'2024-01-05T10:00:00'",
            "'2024-01-05 10:00:00.123456789'",
            "'2024-01-05 24:00:00'",
            "'2024-01-05 10:00:60'",
            "'2024-01-05 10:00:00+05'",
            "date '2024-01-06'",
            "'infinity'",
            "'now'",
            "'2024-01-07 10:00'",
            "'2024-01-08 10:00:00.9999995'",
            "'294276-12-31 23:59:59.999999'",
            "'4713-01-01 00:00:00 BC'",
            "'2024-01-05 10:00 PM'",
            "timestamptz '2024-01-09 00:00+00'",
            "'2024-01-10 1:02:03'",
        ],
    ),
    (
        "timestamp(0)",
        &[
            "'2024-01-05 10:00:00.5'",
            "'2024-01-05 10:00:01.5'",
            "'2024-01-05 10:00:03.499999'",
            "timestamp '2024-01-05 10:00:04.7'",
            "'2024-01-05 10:00:06'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'2024-01-05 10:00:00+05:30'",
            "'2024-01-05 10:00:00Z'",
            "'2024-01-05 10:00:01 UTC'",
            "'2024-01-05 10:00:00 Europe/Berlin'",
            "'2024-01-05 10:00:02'",
            "'2024-01-05 10:00:03-00'",
            "'2024-01-05 10:00:00.9999995+00'",
            "timestamp '2024-01-05 10:00:04'",
            "'2024-01-05 10:00:05+15:59:59'",
            "'2024-01-05 10:00:06 -0330'",
            "'2024-01-05'",
            "date '2024-01-06'",
            "'2024-01-05T10:00:07.5+01'",
            "'infinity'",
            "'2024-01-05 10:00:08+16:00'",
        ],
    ),
    (
        "timestamptz(3)",
        &[
            "'2024-01-05 10:00:00.0005+00'",
            "'2024-01-05 10:00:00.0015+00'",
            "'2024-01-05 10:00:00.123+00'",
            "'2024-01-05 10:00:01.00049999+00'",
        ],
    ),
];

/// Under two sets of settings, since the meaning of dates hangs on them.
pub async fn odd_spellings(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for (round, settings) in [
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'",
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'",
    ]
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
                *outcomes
                    .entry(write(&router, &table, spelling, n).await?)
                    .or_default() += 1;
            }
            oracle::check_hash(running, &table, key_type, 4096).await?;
            for spelling in *spellings {
                *outcomes
                    .entry(read(&router, &shards, &table, spelling).await?)
                    .or_default() += 1;
            }
        }
    }
    println!("{outcomes:?}");
    ensure!(
        outcomes.get("written").is_some_and(|n| *n > 100),
        "too few are understood: {outcomes:?}"
    );
    ensure!(
        outcomes.get("read").is_some_and(|n| *n > 100),
        "too few are understood: {outcomes:?}"
    );
    Ok(())
}

async fn write(router: &Session, table: &str, spelling: &str, n: usize) -> Result<&'static str> {
    let sql = format!("INSERT INTO {table} VALUES ({spelling}, 'x', {n})");
    match router.simple_query(&sql).await {
        Ok(_) => Ok("written"),
        Err(error) => match error.code().map(|code| code.code().to_owned()).as_deref() {
            Some("0A000") => Ok("write refused"),
            // Not a value of the type, or none: Postgres says so, or the router in its words.
            Some(code)
                if code.starts_with("22")
                    || ["42804", "42846", "23502", "23514", "42601"].contains(&code) =>
            {
                Ok("no value")
            }
            _ => bail!("{sql}: {error:?}"),
        },
    }
}

/// What the router finds is what the shards hold together.
async fn read(
    router: &Session,
    shards: &[Session],
    table: &str,
    spelling: &str,
) -> Result<&'static str> {
    let sql = format!("SELECT n FROM {table} WHERE k = {spelling} ORDER BY n");
    let answer = match router.query(&sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| code.code() == "0A000") => {
            return Ok("read refused");
        }
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
    ensure!(
        found == expected,
        "{sql}: {found:?} through the router, the shards hold {expected:?}"
    );
    Ok("read")
}
