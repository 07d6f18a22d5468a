//! The tables and the keys: the same keys on every run, made by Postgres, as text and as the binary form of their type.

use anyhow::{Context, Result};
use shardgate_tests::Running;

/// A hash-distributed table, by the type of its key.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    pub key_type: &'static str,
    pub buckets: u32,
    /// SQL for the key from `h`, a hash in hexadecimal, and `i`, a number.
    value: &'static str,
    /// SQL for the key's text from `k`.
    text: &'static str,
}

const fn table(
    name: &'static str,
    key_type: &'static str,
    value: &'static str,
    text: &'static str,
) -> Table {
    Table {
        name,
        key_type,
        buckets: 4096,
        value,
        text,
    }
}

const INT8: &str = "('x' || left(h, 16))::bit(64)::int8";
const MOMENT: &str =
    "timestamp '2000-01-01' + (('x' || left(h, 8))::bit(32)::int) * interval '1.000001 s'";
const MOMENT_TEXT: &str = "to_char(k, 'YYYY-MM-DD HH24:MI:SS.US')";

pub const TABLES: &[Table] = &[
    table("p_int8", "int8", INT8, "k::text"),
    table(
        "p_int4",
        "int4",
        "('x' || left(h, 8))::bit(32)::int4",
        "k::text",
    ),
    table("p_int2", "int2", "i - 700", "k::text"),
    table(
        "p_text",
        "text",
        r#"left(h, i % 9) || ' é''\"$1' || i"#,
        "k::text",
    ),
    table(
        "p_varchar",
        "varchar(40)",
        "'日本-' || i || left(h, i % 20)",
        "k::text",
    ),
    table("p_uuid", "uuid", "h::uuid", "k::text"),
    table(
        "p_bytea",
        "bytea",
        "decode(left(h, 2 * (i % 12)), 'hex') || int4send(i)",
        "encode(k, 'hex')",
    ),
    table(
        "p_date",
        "date",
        "date '2000-01-01' + (i * 11 - 5000)",
        "k::text",
    ),
    table("p_timestamp", "timestamp", MOMENT, MOMENT_TEXT),
    table(
        "p_timestamptz",
        "timestamptz",
        "(timestamp '2000-01-01' + (('x' || left(h, 8))::bit(32)::int) * interval '1.000001 s') AT TIME ZONE 'UTC'",
        "to_char(k, 'YYYY-MM-DD HH24:MI:SS.US') || '+00'",
    ),
    Table {
        buckets: 16,
        ..table("p_buckets", "int8", INT8, "k::text")
    },
];

/// Who writes; each has its own keys of every type.
pub const SOURCES: [&str; 4] = ["psql", "tokio-postgres", "psycopg", "node-postgres"];

/// Rows of each driver in each table, if the environment names no other number.
const EACH: i32 = 210;

/// Rows of each driver in each table: the variable `ROWS`, or the usual number. From 910 on each driver writes 10,000.
pub fn each() -> Result<i32> {
    match std::env::var("ROWS") {
        Ok(text) => text.parse().context("ROWS"),
        Err(_) => Ok(EACH),
    }
}

/// One row to be written.
#[derive(Clone, Debug)]
pub struct Row {
    pub table: &'static str,
    pub key_type: &'static str,
    pub source: &'static str,
    pub number: i32,
    pub text: String,
    pub binary: Vec<u8>,
}

/// All rows of all drivers. Keys are unique within a table.
pub async fn all(running: &Running) -> Result<Vec<Row>> {
    let home = running.connect_shard(0).await?;
    home.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'")
        .await?;
    let each = each()?;
    let mut rows = Vec::new();
    for table in TABLES {
        let send = match table.key_type {
            "varchar(40)" => "varcharsend",
            "text" => "textsend",
            "uuid" => "uuid_send",
            "bytea" => "byteasend",
            "date" => "date_send",
            "timestamp" => "timestamp_send",
            "timestamptz" => "timestamptz_send",
            "int2" => "int2send",
            "int4" => "int4send",
            _ => "int8send",
        };
        let sql = format!(
            "SELECT i, {}, encode({send}(k), 'hex') FROM (SELECT i, ({})::{} AS k FROM \
             (SELECT i, md5(i::text || '{}') AS h FROM generate_series(0, {}) i) a) b ORDER BY i",
            table.text,
            table.value,
            table.key_type,
            table.name,
            each * 4 - 1,
        );
        for row in home.query(&sql, &[]).await.with_context(|| sql.clone())? {
            let i: i32 = row.get(0);
            let hex: String = row.get(2);
            rows.push(Row {
                table: table.name,
                key_type: table.key_type,
                source: SOURCES[usize::try_from(i % 4)?],
                number: i / 4,
                text: row.get(1),
                binary: bytes_of(&hex)?,
            });
        }
    }
    Ok(rows)
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| {
        let text: String = pair.iter().collect();
        u8::from_str_radix(&text, 16).context("two hexadecimal digits")
    };
    digits.chunks(2).map(byte).collect()
}

pub async fn create_tables(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for table in TABLES {
        let create = format!(
            "CREATE TABLE {} (k {}, src text NOT NULL, n int NOT NULL)",
            table.name, table.key_type
        );
        router
            .simple_query(&create)
            .await
            .with_context(|| create.clone())?;
        let buckets = match table.buckets {
            4096 => String::new(),
            n => format!(", buckets => {n}"),
        };
        let distribute = format!(
            "SELECT create_distributed_table('{}', 'k'{buckets})",
            table.name
        );
        router
            .simple_query(&distribute)
            .await
            .with_context(|| distribute.clone())?;
    }
    Ok(())
}
