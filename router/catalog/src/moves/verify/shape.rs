//! The shape of a compared table: its columns, what tells its rows apart, and the pieces of SQL that follow from both.

use super::{Sides, Subject};
use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::quote::{ident, qualified};

/// So many characters of a row without a key are read and shown.
pub(super) const ROW_CHARACTERS_MAX: usize = 160;

/// What names a row on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowId {
    /// The texts of the identity's columns.
    Key(Vec<String>),
    /// In a table without a key: all rows that look like this. The texts are the distribution's key and the row's beginning.
    Content {
        key: String,
        row: String,
        hash: (i64, i64),
    },
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    /// Qualified and quoted, without a length.
    pub type_sql: String,
}

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub subject: Subject,
    pub columns: Vec<Column>,
    /// The columns of a primary key or of another unique key without NULLs; none: rows are told apart by their contents.
    pub identity: Vec<Column>,
    pub key: Column,
    /// What the servers think how many rows the table has.
    pub rows_estimate: u64,
}

impl Shape {
    pub(super) async fn read(sides: Sides<'_>, subject: &Subject) -> Result<Shape, CatalogError> {
        let columns = columns(sides.source, subject).await?;
        let there = columns_by_name(&columns);
        let here = columns_by_name(&self::columns(sides.target, subject).await?);
        if here != there {
            let name = format!("{}.{}", subject.schema, subject.name);
            return Err(PgError::new(
                "55000",
                format!("table \"{name}\" has other columns on the target"),
            )
            .detail(format!(
                "There: {}. On the source: {}.",
                here.join(", "),
                there.join(", ")
            ))
            .hint("See `shard-admin check`.")
            .into());
        }
        let identity = identity(sides.source, subject).await?;
        let named = |name: &String| {
            let column = columns.iter().find(|column| column.name == *name).cloned();
            column.ok_or_else(|| CatalogError::Damaged {
                what: format!(
                    "column \"{name}\" of table \"{}.{}\" is missing",
                    subject.schema, subject.name
                ),
            })
        };
        let identity = identity.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let key = named(&subject.key)?;
        let rows_estimate = estimate(sides.source, subject)
            .await?
            .max(estimate(sides.target, subject).await?);
        Ok(Shape {
            subject: subject.clone(),
            columns,
            identity,
            key,
            rows_estimate,
        })
    }

    /// `schema.table`, for people.
    pub(super) fn display(&self) -> String {
        format!("{}.{}", self.subject.schema, self.subject.name)
    }

    pub(super) fn table(&self) -> String {
        qualified(&self.subject.schema, &self.subject.name)
    }

    pub(super) fn has_key(&self) -> bool {
        !self.identity.is_empty()
    }

    /// The whole row as one text, of the columns of `alias`.
    pub(super) fn row_text(&self, alias: &str) -> String {
        record(&self.columns, alias)
    }

    /// What tells the row apart as one text.
    pub(super) fn identity_text(&self, alias: &str) -> String {
        match self.has_key() {
            true => record(&self.identity, alias),
            false => self.row_text(alias),
        }
    }

    /// The moved rows, under the name `r`, with the row's text as `x` and what tells it apart as `i`. The subquery is not
    /// pulled up, so each text is made once for each row.
    pub(super) fn moved(&self, more_columns: &str, condition: &str) -> String {
        format!(
            "(SELECT {} AS x, {} AS i{more_columns} FROM {} AS r WHERE ({}){condition} OFFSET 0)",
            self.row_text("r"),
            self.identity_text("r"),
            self.table(),
            self.subject.predicate,
        )
    }

    /// A row's name for people.
    pub(super) fn describe(&self, id: &RowId) -> String {
        match id {
            RowId::Key(values) => {
                let names: Vec<&str> = self
                    .identity
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect();
                format!("({})=({})", names.join(", "), values.join(", "))
            }
            RowId::Content { row, .. } => row.clone(),
        }
    }
}

/// A record's text: NULL and the empty text differ in it, and values cannot run into each other.
fn record(columns: &[Column], alias: &str) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|column| format!("{alias}.{}", ident(&column.name)))
        .collect();
    format!("(ROW({})::pg_catalog.text COLLATE \"C\")", list.join(", "))
}

fn columns_by_name(columns: &[Column]) -> Vec<String> {
    let mut all: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.type_sql))
        .collect();
    all.sort();
    all
}

async fn columns(backend: &Backend, subject: &Subject) -> Result<Vec<Column>, CatalogError> {
    let rows = backend
        .query(
            "SELECT a.attname::text, quote_ident(tn.nspname) || '.' || quote_ident(t.typname) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
             JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped \
             ORDER BY a.attnum",
            &[&subject.schema, &subject.name],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    if rows.is_empty() {
        let message = format!(
            "{}: table \"{}.{}\" does not exist",
            backend.whom(),
            subject.schema,
            subject.name
        );
        return Err(PgError::new("42P01", message)
            .hint("See `shard-admin check`.")
            .into());
    }
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        type_sql: row.get(1),
    };
    Ok(rows.iter().map(column).collect())
}

/// The primary key, else the first unique key whose columns are all NOT NULL.
async fn identity(backend: &Backend, subject: &Subject) -> Result<Vec<String>, CatalogError> {
    let row = backend
        .query_opt(
            "SELECT (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indrelid = c.oid \
             JOIN pg_class ic ON ic.oid = i.indexrelid \
             WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indimmediate AND i.indisvalid \
             AND i.indpred IS NULL AND i.indexprs IS NULL \
             AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                 WHERE k.n <= i.indnkeyatts AND NOT a.attnotnull) \
             ORDER BY i.indisprimary DESC, ic.relname LIMIT 1",
            &[&subject.schema, &subject.name],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row.map(|row| row.get(0)).unwrap_or_default())
}

async fn estimate(backend: &Backend, subject: &Subject) -> Result<u64, CatalogError> {
    let row = backend
        .query_opt(
            "SELECT greatest(c.reltuples, pg_relation_size(c.oid) / 200.0, 0)::int8 FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            &[&subject.schema, &subject.name],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let rows: i64 = row.map(|row| row.get(0)).unwrap_or_default();
    Ok(u64::try_from(rows).unwrap_or_default())
}
