//! The four drivers, and the forms in which each sends a key: literals, text and binary parameters, prepared or not.

use crate::keys::Row;
use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use serde_json::json;
use shardgate_tests::{Finished, Running, Session, node, psql, python};
use std::error::Error;
use std::io::Write;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// All drivers at the same time.
pub async fn write_all(running: &Running, rows: &[Row]) -> Result<()> {
    let url = running.url();
    let of = |source: &str| -> Vec<Row> {
        rows.iter()
            .filter(|row| row.source == source)
            .cloned()
            .collect()
    };
    let (for_psql, for_python, for_node) = (of("psql"), of("psycopg"), of("node-postgres"));
    let (psql_url, python_url, node_url) = (url.clone(), url.clone(), url);
    let psql = tokio::task::spawn_blocking(move || by_psql(&psql_url, &for_psql));
    let python =
        tokio::task::spawn_blocking(move || by_script(&python_url, &for_python, python, PSYCOPG));
    let node = tokio::task::spawn_blocking(move || by_script(&node_url, &for_node, node, NODE));
    by_rust(running, &of("tokio-postgres"))
        .await
        .context("tokio-postgres")?;
    psql.await?.context("psql")?;
    python.await?.context("psycopg")?;
    node.await?.context("node-postgres")
}

fn by_psql(url: &str, rows: &[Row]) -> Result<()> {
    let mut script = String::new();
    for row in rows {
        let (table, key, n) = (row.table, literal(row), row.number);
        script.push_str(&match row.number % 3 {
            0 => format!("INSERT INTO {table} VALUES ({key}, 'psql', {n});\n"),
            1 => {
                format!("insert into public.\"{table}\" (n, k, src) values ({n}, {key}, 'psql');\n")
            }
            _ => format!(
                "INSERT INTO {table} AS t (src, n, k) VALUES ('psql', {n}, {key}) RETURNING n;\n"
            ),
        });
    }
    let returned = psql(url, &script).and_then(Finished::success)?;
    let expected = rows.iter().filter(|row| row.number % 3 == 2).count();
    ensure!(
        returned.lines().count() == expected,
        "RETURNING gave {} rows of {expected}",
        returned.lines().count()
    );
    Ok(())
}

/// The key as a constant, in one of several spellings.
pub fn literal(row: &Row) -> String {
    let base = row.key_type.split('(').next().unwrap_or_default();
    let text = match base {
        "bytea" => format!("\\x{}", row.text),
        "uuid" if row.number % 2 == 1 => row.text.to_uppercase(),
        _ => row.text.clone(),
    };
    let quoted = format!("'{}'", text.replace('\'', "''"));
    let is_number = base.starts_with("int");
    match row.number % 6 {
        0 if is_number => text,
        1 if is_number => format!("({text})::int8"),
        1 => format!("{base} {quoted}"),
        2 => format!("{quoted}::{base}"),
        3 => format!("CAST({quoted} AS {base})"),
        4 => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        5 if !text.contains('$') => format!("$q${text}$q$"),
        _ => quoted,
    }
}

/// A parameter whose bytes are ready, in the format that was chosen.
#[derive(Debug)]
pub struct Ready<'a> {
    bytes: &'a [u8],
    binary: bool,
}

impl ToSql for Ready<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.binary {
            Format::Binary
        } else {
            Format::Text
        }
    }

    to_sql_checked!();
}

async fn by_rust(running: &Running, rows: &[Row]) -> Result<()> {
    let session = running.connect().await?;
    for row in rows {
        let text = parameter_text(row);
        let sql = format!("INSERT INTO {} VALUES ($1, $2, $3)", row.table);
        let done = match row.number % 3 {
            0 => {
                let key = Ready {
                    bytes: &row.binary,
                    binary: true,
                };
                session
                    .execute(&sql, &[&key, &row.source, &row.number])
                    .await
            }
            1 => {
                let key = Ready {
                    bytes: text.as_bytes(),
                    binary: false,
                };
                session
                    .execute(&sql, &[&key, &row.source, &row.number])
                    .await
            }
            _ => {
                let sql = format!(
                    "INSERT INTO {} VALUES ({}, $1, $2)",
                    row.table,
                    literal(row)
                );
                session.execute(&sql, &[&row.source, &row.number]).await
            }
        };
        ensure!(
            done.with_context(|| format!("{row:?}"))? == 1,
            "{row:?} gave another tag"
        );
    }
    Ok(())
}

/// The rows that the router finds by a row's key.
pub async fn read_by_key(session: &Session, row: &Row) -> Result<Vec<(String, i32)>> {
    let text = parameter_text(row);
    let sql = format!("SELECT src, n FROM {} WHERE k = $1", row.table);
    let rows = match row.number % 3 {
        0 => {
            session
                .query(
                    &sql,
                    &[&Ready {
                        bytes: text.as_bytes(),
                        binary: false,
                    }],
                )
                .await
        }
        1 => {
            session
                .query(
                    &sql,
                    &[&Ready {
                        bytes: &row.binary,
                        binary: true,
                    }],
                )
                .await
        }
        _ => {
            session
                .query(
                    &format!(
                        "SELECT src, n FROM {} WHERE {} = k",
                        row.table,
                        literal(row)
                    ),
                    &[],
                )
                .await
        }
    };
    let rows = rows.with_context(|| format!("{row:?}"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn parameter_text(row: &Row) -> String {
    match row.key_type {
        "bytea" => format!("\\x{}", row.text),
        _ => row.text.clone(),
    }
}

/// Gives a script the rows as a file of JSON.
fn by_script(
    url: &str,
    rows: &[Row],
    run: fn(&str, &[&str]) -> Result<Finished>,
    script: &str,
) -> Result<()> {
    let list: Vec<_> = rows
        .iter()
        .map(|row| json!({"table": row.table, "type": row.key_type, "src": row.source, "n": row.number, "k": row.text, "literal": literal(row)}))
        .collect();
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(serde_json::to_string(&list)?.as_bytes())?;
    let path = file.path().to_string_lossy().into_owned();
    let output = run(script, &[url, &path]).and_then(Finished::success)?;
    ensure!(
        output.trim() == format!("{} rows", rows.len()),
        "it said {output}"
    );
    Ok(())
}

/// Text and binary parameters, prepared after a few executions; and parameters that the driver turns into literals.
const PSYCOPG: &str = r#"
import sys, json, uuid, psycopg
from datetime import date, datetime
rows = json.load(open(sys.argv[2]))
convert = {
    "int8": int, "int4": int, "int2": int, "text": str, "varchar(40)": str, "uuid": uuid.UUID, "bytea": bytes.fromhex,
    "date": date.fromisoformat, "timestamp": datetime.fromisoformat,
    "timestamptz": lambda text: datetime.fromisoformat(text + ":00"),
}
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    literal = psycopg.ClientCursor(conn)
    for row in rows:
        key, n = convert[row["type"]](row["k"]), row["n"]
        mark = "%b" if n % 3 == 1 else "%s"
        cursor = literal if n % 3 == 2 else conn.cursor()
        cursor.execute(f"INSERT INTO {row['table']} VALUES ({mark}, %s, %s)", (key, row["src"], n))
        assert cursor.rowcount == 1, row
        if n % 5 == 0:
            cursor.execute(f"SELECT src, n, k FROM {row['table']} WHERE k = {mark}", (key,))
            found = cursor.fetchall()
            assert found == [(row["src"], n, key)], (row, found)
print(len(rows), "rows")
"#;

/// Literals by the simple protocol, parameters of unnamed statements, and of named ones.
const NODE: &str = r#"
const { Client } = require('pg');
const rows = JSON.parse(require('fs').readFileSync(process.argv[3], 'utf8'));
async function main() {
  const client = new Client(process.argv[2]);
  await client.connect();
  for (const row of rows) {
    const key = row.type === 'bytea' ? Buffer.from(row.k, 'hex') : row.k;
    const text = `INSERT INTO ${row.table} VALUES ($1, $2, $3)`;
    const values = [key, row.src, row.n];
    const done = row.n % 3 === 0 ? await client.query(`INSERT INTO ${row.table} VALUES (${row.literal}, '${row.src}', ${row.n})`)
      : row.n % 3 === 1 ? await client.query({ text, values })
      : await client.query({ text, values, name: 'insert ' + row.table });
    if (done.rowCount !== 1) throw new Error('another tag for ' + JSON.stringify(row));
    if (row.n % 5 === 0) {
      const found = await client.query({ text: `SELECT src, n FROM ${row.table} WHERE k = $1`, values: [key], name: 'select ' + row.table });
      if (found.rows.length !== 1 || found.rows[0].src !== row.src || found.rows[0].n !== row.n)
        throw new Error(JSON.stringify(row) + ' gave ' + JSON.stringify(found.rows));
    }
  }
  await client.end();
  console.log(rows.length + ' rows');
}
main().catch(error => { console.error(error); process.exit(1); });
"#;
