//! Everything about one table that distributing it depends on, read on the home shard in the change's transaction.
//!
//! It reads; `table_checks` judges and `table_ddl` writes it down for another shard.

use crate::error::CatalogError;
use crate::expression;
use crate::raw::RawExpression;
use tokio_postgres::{Row, Transaction};

/// A table as the home shard has it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub owner: String,
    /// relkind
    pub kind: String,
    /// relpersistence
    pub persistence: String,
    pub row_security: bool,
    pub inherits: bool,
    pub typed: bool,
    pub access_method: String,
    /// reloptions, `name=value`
    pub options: Vec<String>,
    /// relreplident
    pub replica_identity: String,
    pub columns: Vec<TableColumn>,
    pub constraints: Vec<Constraint>,
    pub foreign_keys: Vec<ForeignKey>,
    pub indexes: Vec<Index>,
    /// User triggers, rules, policies: what and name.
    pub code: Vec<(String, String)>,
    pub materialized_views: Vec<String>,
    /// `CREATE STATISTICS ..` without its name's shard.
    pub statistics: Vec<String>,
    pub grants: Vec<Grant>,
    pub schema_owner: String,
    pub schema_grants: Vec<Grant>,
    /// Privileges of the table were ever granted or revoked.
    pub has_acl: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    pub attnum: i16,
    pub name: String,
    pub dropped: bool,
    /// As format_type prints it.
    pub type_sql: String,
    /// Name in pg_catalog; None: a type of the user.
    pub type_name: Option<String>,
    pub not_null: bool,
    /// Qualified, if it is not the type's own.
    pub collation: Option<String>,
    pub user_collation: bool,
    pub deterministic: bool,
    pub default_sql: Option<String>,
    pub default: RawExpression,
    pub generated: bool,
    /// attidentity: '', 'a' or 'd'.
    pub identity: String,
    /// attstorage, if it is not the type's own.
    pub storage: Option<String>,
    /// attcompression
    pub compression: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub name: String,
    /// contype: c, p, u, x
    pub kind: String,
    /// As pg_get_constraintdef prints it.
    pub definition: String,
    pub columns: Vec<i16>,
    pub expression: RawExpression,
}

#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub name: String,
    pub definition: String,
    /// The table refers to the other one; else the other one refers to it.
    pub outgoing: bool,
    pub other: u32,
    pub other_name: String,
    pub columns: Vec<i16>,
    pub other_columns: Vec<i16>,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub name: String,
    pub definition: String,
    pub unique: bool,
    /// Key columns; 0 stands for an expression.
    pub columns: Vec<i16>,
    /// It belongs to a constraint, which makes it.
    pub of_constraint: bool,
    pub replica_identity: bool,
    pub expression: RawExpression,
}

#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub column: Option<String>,
    /// None: PUBLIC.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

impl Table {
    /// Reads it. The caller holds a lock that keeps it as it is.
    pub(crate) async fn read(
        tx: &Transaction<'_>,
        whom: &str,
        oid: u32,
    ) -> Result<Table, CatalogError> {
        read(tx, oid)
            .await
            .map_err(|error| CatalogError::of(whom, &error))
    }

    pub(crate) fn column(&self, attnum: i16) -> Option<&TableColumn> {
        self.columns
            .iter()
            .find(|column| column.attnum == attnum && !column.dropped)
    }

    /// `schema.name`, for messages.
    pub(crate) fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

type PgResult<T> = Result<T, tokio_postgres::Error>;

async fn read(tx: &Transaction<'_>, oid: u32) -> PgResult<Table> {
    let row = tx
        .query_one(
            "SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text, c.relkind::text, \
             c.relpersistence::text, c.relrowsecurity, c.relispartition OR EXISTS (SELECT FROM pg_inherits \
                 WHERE inhrelid = c.oid OR inhparent = c.oid), c.reloftype <> 0, coalesce(am.amname::text, ''), \
             coalesce(c.reloptions, '{}'), c.relreplident::text, c.relacl IS NOT NULL, pg_get_userbyid(n.nspowner)::text \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam \
             WHERE c.oid = $1",
            &[&oid],
        )
        .await?;
    Ok(Table {
        oid,
        schema: row.get(0),
        name: row.get(1),
        owner: row.get(2),
        kind: row.get(3),
        persistence: row.get(4),
        row_security: row.get(5),
        inherits: row.get(6),
        typed: row.get(7),
        access_method: row.get(8),
        options: row.get(9),
        replica_identity: row.get(10),
        has_acl: row.get(11),
        columns: columns(tx, oid).await?,
        constraints: constraints(tx, oid).await?,
        foreign_keys: foreign_keys(tx, oid).await?,
        indexes: indexes(tx, oid).await?,
        code: code(tx, oid).await?,
        materialized_views: materialized_views(tx, oid).await?,
        statistics: statistics(tx, oid).await?,
        grants: grants(tx, oid).await?,
        schema_owner: row.get(12),
        schema_grants: schema_grants(tx, oid).await?,
    })
}

async fn columns(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<TableColumn>> {
    let rows = tx
        .query(
            "SELECT a.attnum, a.attname::text, a.attisdropped, \
             CASE WHEN NOT a.attisdropped THEN format_type(a.atttypid, a.atttypmod) ELSE '' END, \
             CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text END, a.attnotnull, \
             CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation \
                 THEN quote_ident(cn.nspname) || '.' || quote_ident(l.collname) END, \
             coalesce(cn.nspname <> 'pg_catalog', false), coalesce(l.collisdeterministic, true), \
             pg_get_expr(d.adbin, d.adrelid), d.adbin::text, a.attgenerated <> '', a.attidentity::text, \
             CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END, a.attcompression::text \
             FROM pg_attribute a LEFT JOIN pg_type t ON t.oid = a.atttypid \
             LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = l.collnamespace \
             LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = $1 AND a.attnum > 0 ORDER BY a.attnum",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(column).collect())
}

fn column(row: &Row) -> TableColumn {
    TableColumn {
        attnum: row.get(0),
        name: row.get(1),
        dropped: row.get(2),
        type_sql: row.get(3),
        type_name: row.get(4),
        not_null: row.get(5),
        collation: row.get(6),
        user_collation: row.get(7),
        deterministic: row.get(8),
        default_sql: row.get(9),
        default: row
            .get::<_, Option<String>>(10)
            .map(|tree| expression::read(&tree))
            .unwrap_or_default(),
        generated: row.get(11),
        identity: text(row, 12),
        storage: row.get(13),
        compression: text(row, 14),
    }
}

/// A value of the type "char": its zero byte is printed as an empty text.
fn text(row: &Row, column: usize) -> String {
    row.get::<_, String>(column).trim_matches('\0').to_owned()
}

async fn constraints(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<Constraint>> {
    let rows = tx
        .query(
            "SELECT conname::text, contype::text, pg_get_constraintdef(oid), coalesce(conkey, '{}'), conbin::text \
             FROM pg_constraint WHERE conrelid = $1 AND contype IN ('c', 'p', 'u', 'x') AND conname <> 'shardgate_owns' \
             ORDER BY contype DESC, conname",
            &[&oid],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Constraint {
            name: row.get(0),
            kind: row.get(1),
            definition: row.get(2),
            columns: row.get(3),
            expression: row
                .get::<_, Option<String>>(4)
                .map(|tree| expression::read(&tree))
                .unwrap_or_default(),
        })
        .collect())
}

async fn foreign_keys(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<ForeignKey>> {
    let rows = tx
        .query(
            "SELECT k.conname::text, pg_get_constraintdef(k.oid), k.conrelid = $1, \
             CASE WHEN k.conrelid = $1 THEN k.confrelid ELSE k.conrelid END, \
             CASE WHEN k.conrelid = $1 THEN k.confrelid ELSE k.conrelid END::regclass::text, \
             CASE WHEN k.conrelid = $1 THEN k.conkey ELSE k.confkey END, \
             CASE WHEN k.conrelid = $1 THEN k.confkey ELSE k.conkey END \
             FROM pg_constraint k WHERE k.contype = 'f' AND (k.conrelid = $1 OR k.confrelid = $1) ORDER BY k.conname",
            &[&oid],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey {
            name: row.get(0),
            definition: row.get(1),
            outgoing: row.get(2),
            other: row.get(3),
            other_name: row.get(4),
            columns: row.get(5),
            other_columns: row.get(6),
        })
        .collect())
}

async fn indexes(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<Index>> {
    let rows = tx
        .query(
            "SELECT c.relname::text, pg_get_indexdef(i.indexrelid), i.indisunique, \
             (i.indkey::int2[])[0:i.indnkeyatts - 1], \
             EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid \
                 AND k.contype IN ('p', 'u', 'x')), \
             i.indisreplident, concat(i.indexprs::text, ' ', i.indpred::text) \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1 AND i.indislive ORDER BY 1",
            &[&oid],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Index {
            name: row.get(0),
            definition: row.get(1),
            unique: row.get(2),
            columns: row.get(3),
            of_constraint: row.get(4),
            replica_identity: row.get(5),
            expression: expression::read(row.get(6)),
        })
        .collect())
}

async fn code(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<(String, String)>> {
    let rows = tx
        .query(
            "SELECT 'trigger', tgname::text FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal \
             UNION ALL SELECT 'rule', rulename::text FROM pg_rewrite WHERE ev_class = $1 AND rulename <> '_RETURN' \
             UNION ALL SELECT 'policy', polname::text FROM pg_policy WHERE polrelid = $1 ORDER BY 1, 2",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Materialized views over the table, also through views.
async fn materialized_views(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<String>> {
    let rows = tx
        .query(
            "WITH RECURSIVE over (oid) AS (SELECT $1::oid UNION \
             SELECT r.ev_class FROM over JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = over.oid \
             AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite r ON r.oid = d.objid) \
             SELECT c.oid::regclass::text FROM over JOIN pg_class c ON c.oid = over.oid WHERE c.relkind = 'm' ORDER BY 1",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn statistics(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<String>> {
    let rows = tx
        .query("SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = $1 ORDER BY stxname", &[&oid])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn schema_grants(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<Grant>> {
    let rows = tx
        .query(
            "SELECT NULL::text, g.rolname::text, e.privilege_type, e.is_grantable FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(n.nspacl) AS e \
             LEFT JOIN pg_roles g ON g.oid = e.grantee WHERE c.oid = $1 ORDER BY 2, 3",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(grant).collect())
}

fn grant(row: &Row) -> Grant {
    Grant {
        column: row.get(0),
        grantee: row.get(1),
        privilege: row.get(2),
        grantable: row.get(3),
    }
}

async fn grants(tx: &Transaction<'_>, oid: u32) -> PgResult<Vec<Grant>> {
    let rows = tx
        .query(
            "SELECT a.attname, g.rolname::text, e.privilege_type, e.is_grantable FROM \
             (SELECT NULL::text AS attname, relacl AS acl FROM pg_class WHERE oid = $1 AND relacl IS NOT NULL \
              UNION ALL SELECT attname::text, attacl FROM pg_attribute WHERE attrelid = $1 AND attacl IS NOT NULL) AS a \
             CROSS JOIN LATERAL aclexplode(a.acl) AS e LEFT JOIN pg_roles g ON g.oid = e.grantee ORDER BY 1, 2, 3",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(grant).collect())
}
