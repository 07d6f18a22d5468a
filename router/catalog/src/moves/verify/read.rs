//! Reading rows with their hashes: whole slices, rows by their names, and the columns of a row that differs.

use super::rounds::Different;
use super::shape::{ROW_CHARACTERS_MAX, RowId, Shape};
use super::slices::{HASHES, slice_sql};
use super::{Difference, Kind, Sides};
use crate::connect::Backend;
use crate::error::CatalogError;
use crate::quote::ident;
use futures_util::future::try_join;
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Rows that are asked for by their names in one statement.
const NAMED_ROWS: usize = 1_000;

/// A row as the comparison sees it: how often it is there, and the hashes of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyedRow {
    pub rows: i64,
    pub hash: (i64, i64),
}

/// A row, and which version of it: another one after every change, even to the same values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub row: KeyedRow,
    pub version: String,
}

/// All moved rows of some slices.
pub(super) async fn by_slices(
    backend: &Backend,
    shape: &Shape,
    mask: i64,
    slices: &[i64],
) -> Result<HashMap<RowId, KeyedRow>, CatalogError> {
    let condition = format!("WHERE {} = ANY ($1::int8[])", slice_sql(mask));
    let sql = listing(shape, "", &condition);
    rows(backend, shape, &sql, &[&slices]).await
}

/// All moved rows that have one of these keys of the distribution, for tables whose rows have no key of their own.
pub(super) async fn by_keys(
    backend: &Backend,
    shape: &Shape,
    keys: &[&str],
) -> Result<HashMap<RowId, KeyedRow>, CatalogError> {
    let sql = listing(shape, &key_condition(shape), "");
    rows(backend, shape, &sql, &[&keys]).await
}

fn key_condition(shape: &Shape) -> String {
    format!(
        " AND r.{} = ANY ($1::pg_catalog.text[]::{}[])",
        ident(&shape.key.name),
        shape.key.type_sql
    )
}

/// Rows with what tells them apart and their hashes. Equal rows of a table without a key are one row with a count.
fn listing(shape: &Shape, within: &str, condition: &str) -> String {
    if shape.has_key() {
        let values: Vec<String> = shape
            .identity
            .iter()
            .map(|column| format!("r.{}::text", ident(&column.name)))
            .collect();
        let values = format!(", ARRAY[{}] AS id", values.join(", "));
        format!(
            "SELECT {HASHES}, 1::int8, id FROM {} AS m {condition}",
            shape.moved(&values, within)
        )
    } else {
        let key = format!(", r.{}::text AS k", ident(&shape.key.name));
        format!(
            "SELECT h1, h2, count(*), ARRAY[k, min(x)] FROM (SELECT {HASHES}, k, left(x, {ROW_CHARACTERS_MAX}) AS x FROM {} AS m \
             {condition}) AS l GROUP BY h1, h2, k",
            shape.moved(&key, within)
        )
    }
}

async fn rows(
    backend: &Backend,
    shape: &Shape,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<HashMap<RowId, KeyedRow>, CatalogError> {
    let rows = backend
        .query(sql, parameters)
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(rows.iter().map(|row| keyed(shape, row)).collect())
}

fn keyed(shape: &Shape, row: &Row) -> (RowId, KeyedRow) {
    let hash = (row.get(0), row.get(1));
    let mut values: Vec<String> = row.get(3);
    let id = if shape.has_key() {
        RowId::Key(values)
    } else {
        let text = values.pop().unwrap_or_default();
        let key = values.pop().unwrap_or_default();
        RowId::Content {
            key,
            row: text,
            hash,
        }
    };
    let keyed = KeyedRow {
        rows: row.get(2),
        hash,
    };
    (id, keyed)
}

/// The rows of these names as they are now, by their position in `ids`. One that is not there has no entry.
pub(super) async fn named(
    backend: &Backend,
    shape: &Shape,
    ids: &[&RowId],
) -> Result<HashMap<usize, Seen>, CatalogError> {
    // An index is there for each: a plan that reads the whole table must not be taken because nobody has analysed it.
    backend
        .run(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_hashjoin = off; \
              SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off",
        )
        .await?;
    let mut seen = HashMap::new();
    let mut read = Ok(());
    for (batch, ids) in ids.chunks(NAMED_ROWS).enumerate() {
        let first = batch * NAMED_ROWS;
        read = if shape.has_key() {
            keyed_batch(backend, shape, ids, first, &mut seen).await
        } else {
            content_batch(backend, shape, ids, first, &mut seen).await
        };
        if read.is_err() {
            break;
        }
    }
    backend.run("ROLLBACK").await?;
    read.map(|()| seen)
}

/// The version of a row on its server.
const VERSION: &str = "concat_ws(' ', r.tableoid, r.ctid, r.xmin)";

/// `unnest` of one array for each column of the identity, joined to the table.
fn named_rows(shape: &Shape) -> (String, String) {
    let numbers = 1..=shape.identity.len();
    let arrays: Vec<String> = numbers.clone().map(|n| format!("${n}::text[]")).collect();
    let names: Vec<String> = numbers.map(|n| format!("k{n}")).collect();
    let on: Vec<String> = shape
        .identity
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("r.{} = c.{name}::{}", ident(&column.name), column.type_sql))
        .collect();
    let from = format!(
        "unnest({}) WITH ORDINALITY AS c ({}, n)",
        arrays.join(", "),
        names.join(", ")
    );
    (from, on.join(" AND "))
}

/// One array of texts for each column of the identity.
fn arrays(shape: &Shape, ids: &[&RowId]) -> Vec<Vec<String>> {
    let column = |column: usize| {
        ids.iter()
            .map(|id| match id {
                RowId::Key(values) => values.get(column).cloned().unwrap_or_default(),
                RowId::Content { .. } => String::new(),
            })
            .collect()
    };
    (0..shape.identity.len()).map(column).collect()
}

fn parameters(arrays: &[Vec<String>]) -> Vec<&(dyn ToSql + Sync)> {
    arrays
        .iter()
        .map(|array| array as &(dyn ToSql + Sync))
        .collect()
}

async fn keyed_batch(
    backend: &Backend,
    shape: &Shape,
    ids: &[&RowId],
    first: usize,
    seen: &mut HashMap<usize, Seen>,
) -> Result<(), CatalogError> {
    let (from, on) = named_rows(shape);
    let sql = format!(
        "SELECT {HASHES}, n, v FROM (SELECT c.n, {VERSION} AS v, {} AS x FROM {from} JOIN {} AS r ON {on} \
         WHERE ({}) OFFSET 0) AS m",
        shape.row_text("r"),
        shape.table(),
        shape.subject.predicate,
    );
    let arrays = arrays(shape, ids);
    let rows = backend
        .query(&sql, &parameters(&arrays))
        .await
        .map_err(|error| backend.err(&error))?;
    for row in &rows {
        let hash = (row.get(0), row.get(1));
        let number = usize::try_from(row.get::<_, i64>(2) - 1).unwrap_or_default();
        let version = row.get(3);
        seen.insert(
            first + number,
            Seen {
                row: KeyedRow { rows: 1, hash },
                version,
            },
        );
    }
    Ok(())
}

async fn content_batch(
    backend: &Backend,
    shape: &Shape,
    ids: &[&RowId],
    first: usize,
    seen: &mut HashMap<usize, Seen>,
) -> Result<(), CatalogError> {
    let mut keys = Vec::new();
    let mut hashes = Vec::new();
    let mut numbers: HashMap<(i64, i64), usize> = HashMap::new();
    for (number, id) in ids.iter().enumerate() {
        if let RowId::Content { key, hash, .. } = id {
            keys.push(key.as_str());
            hashes.push(hash.0);
            numbers.insert(*hash, first + number);
        }
    }
    let version = format!(", {VERSION} AS v");
    let sql = format!(
        "SELECT h1, h2, count(*), string_agg(v, ',' ORDER BY v) FROM (SELECT {HASHES}, v FROM {} AS m) AS l \
         WHERE h1 = ANY ($2::int8[]) GROUP BY h1, h2",
        shape.moved(&version, &key_condition(shape))
    );
    let rows = backend
        .query(&sql, &[&keys, &hashes])
        .await
        .map_err(|error| backend.err(&error))?;
    for row in &rows {
        let hash = (row.get(0), row.get(1));
        if let Some(number) = numbers.get(&hash) {
            let version = row.get(3);
            seen.insert(
                *number,
                Seen {
                    row: KeyedRow {
                        rows: row.get(2),
                        hash,
                    },
                    version,
                },
            );
        }
    }
    Ok(())
}

/// Names each difference; for changed rows it asks which columns differ.
pub(super) async fn describe(
    sides: Sides<'_>,
    shape: &Shape,
    different: Vec<Different>,
) -> Result<Vec<Difference>, CatalogError> {
    let changed: Vec<&RowId> = different
        .iter()
        .filter(|one| one.kind == Kind::Changed)
        .map(|one| &one.id)
        .collect();
    let mut columns = HashMap::new();
    if !changed.is_empty() {
        let (source, target) = try_join(
            column_hashes(sides.source, shape, &changed),
            column_hashes(sides.target, shape, &changed),
        )
        .await?;
        for (number, id) in changed.iter().enumerate() {
            if let (Some(here), Some(there)) = (source.get(&number), target.get(&number)) {
                let pairs = here.iter().zip(there).zip(&shape.columns);
                let names = pairs
                    .filter(|((a, b), _)| a != b)
                    .map(|(_, column)| column.name.clone());
                columns.insert((*id).clone(), names.collect::<Vec<_>>());
            }
        }
    }
    let difference = |one: Different| Difference {
        table: shape.display(),
        kind: one.kind,
        row: shape.describe(&one.id),
        columns: columns.remove(&one.id).unwrap_or_default(),
    };
    Ok(different.into_iter().map(difference).collect())
}

async fn column_hashes(
    backend: &Backend,
    shape: &Shape,
    ids: &[&RowId],
) -> Result<HashMap<usize, Vec<i64>>, CatalogError> {
    let (from, on) = named_rows(shape);
    let hashes: Vec<String> = shape
        .columns
        .iter()
        .map(|column| {
            format!(
                "hashtextextended(ROW(r.{})::text COLLATE \"C\", 0)",
                ident(&column.name)
            )
        })
        .collect();
    let sql = format!(
        "SELECT c.n, ARRAY[{}] FROM {from} JOIN {} AS r ON {on} WHERE ({})",
        hashes.join(", "),
        shape.table(),
        shape.subject.predicate,
    );
    let arrays = arrays(shape, ids);
    let rows = backend
        .query(&sql, &parameters(&arrays))
        .await
        .map_err(|error| backend.err(&error))?;
    let hashes = |row: &Row| {
        (
            usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or_default(),
            row.get(1),
        )
    };
    Ok(rows.iter().map(hashes).collect())
}
