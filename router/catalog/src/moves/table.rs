//! The tables of a move: what copying, following and comparing their rows depends on.
//!
//! Read on the home shard, which has every table's definition; definitions are the same on every shard.

use crate::connect::Backend;
use crate::error::CatalogError;
use crate::quote::{ident, qualified};

/// A table of the distribution that is moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTable {
    /// Its id on the home shard.
    pub relation: u32,
    pub schema: String,
    pub name: String,
    /// The sharding key column.
    pub key: String,
    /// In order of their numbers, dropped ones left out.
    pub columns: Vec<MoveColumn>,
    /// The columns of the primary key, in its order; empty: there is none.
    pub primary_key: Vec<String>,
    /// An index that may be a replica identity (unique, of columns that are never NULL, not deferred, not partial) and
    /// has the sharding key, for a table without a primary key.
    pub unique_index: Option<String>,
    /// Values may be stored outside of the row.
    pub toast: bool,
    pub unlogged: bool,
    /// Partitions, or inheritance.
    pub inherits: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveColumn {
    pub name: String,
    /// Computed from others, on each shard by itself.
    pub generated: bool,
    /// Its type has the same id on every server, so binary values mean the same everywhere.
    pub system_type: bool,
    /// `oid` or a domain over it: large objects may be meant, which do not move.
    pub is_oid: bool,
}

impl MoveTable {
    /// `"schema"."name"`
    pub fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// `schema.name`, for messages.
    pub fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The columns that are stored, quoted, with commas between them.
    pub fn stored_columns(&self) -> String {
        let stored = self.columns.iter().filter(|column| !column.generated);
        let names: Vec<String> = stored.map(|column| ident(&column.name)).collect();
        names.join(", ")
    }
}

/// The tables of a distribution, by schema and name.
pub(crate) async fn of_distribution(
    home: &Backend,
    distribution: i32,
) -> Result<Vec<MoveTable>, CatalogError> {
    let rows = home
        .query(
            "SELECT c.oid, n.nspname::text, c.relname::text, k.attname::text, c.reltoastrelid <> 0, \
             c.relpersistence = 'u', c.relkind <> 'r' OR c.relispartition OR EXISTS (SELECT FROM pg_inherits i \
                 WHERE i.inhrelid = c.oid OR i.inhparent = c.oid), \
             (SELECT array_agg(a.attname::text ORDER BY p.ord) FROM pg_constraint p0 \
                 CROSS JOIN LATERAL unnest(p0.conkey) WITH ORDINALITY AS p (attnum, ord) \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum \
                 WHERE p0.conrelid = c.oid AND p0.contype = 'p' AND NOT p0.condeferrable), \
             (SELECT min(x.relname::text) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
                 WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL \
                 AND i.indexprs IS NULL AND t.key_attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
                 AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attnotnull \
                     AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))) \
             FROM shardgate.distributed_table t JOIN pg_class c ON c.oid = t.relation::oid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = t.key_attnum \
             WHERE t.distribution_id = $1 ORDER BY 2, 3",
            &[&distribution],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let mut tables = Vec::new();
    for row in &rows {
        let relation: u32 = row.get(0);
        tables.push(MoveTable {
            relation,
            schema: row.get(1),
            name: row.get(2),
            key: row.get(3),
            columns: columns(home, relation).await?,
            primary_key: row.get::<_, Option<Vec<String>>>(7).unwrap_or_default(),
            unique_index: row.get(8),
            toast: row.get(4),
            unlogged: row.get(5),
            inherits: row.get(6),
        });
    }
    Ok(tables)
}

async fn columns(home: &Backend, relation: u32) -> Result<Vec<MoveColumn>, CatalogError> {
    let rows = home
        .query(
            "SELECT a.attname::text, a.attgenerated <> '', a.atttypid < 16384, \
             coalesce(nullif(t.typbasetype, 0), a.atttypid) = 'oid'::regtype \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&relation],
        )
        .await
        .map_err(|error| home.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| MoveColumn {
            name: row.get(0),
            generated: row.get(1),
            system_type: row.get(2),
            is_oid: row.get(3),
        })
        .collect())
}
