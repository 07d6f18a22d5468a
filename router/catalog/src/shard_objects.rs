//! What is on every shard besides tables and views: schemas, extensions, types and functions. A new shard gets those of
//! the home shard, since statements that go there may name them.
//!
//! Tables that are not home tables use none of it, so what cannot be made there is a warning and no failure.

use crate::connect::Backend;
use crate::error::CatalogError;
use tokio_postgres::Transaction;

/// An object of the home shard: what it is for people, and the statements that make it.
struct Object {
    what: String,
    statements: Vec<String>,
}

/// Objects that users made: not those of extensions, nor those of schemas that are not the user's.
const OURS: &str = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'shardgate') \
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = o.oid AND e.deptype = 'e')";

/// The grants of an object with the access list `o.{1}`, as `GRANT .. ON {0} <name> TO ..`.
fn grants(kind: &str, name: &str, acl: &str) -> String {
    format!(
        "CASE WHEN o.{acl} IS NULL THEN '{{}}' ELSE array_prepend('REVOKE ALL ON {kind} ' || {name} || ' FROM PUBLIC', \
         (SELECT array_agg(format('GRANT %s ON {kind} %s TO %s%s', e.privilege_type, {name}, coalesce(quote_ident(g.rolname), \
         'PUBLIC'), CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)) FROM aclexplode(o.{acl}) AS e \
         LEFT JOIN pg_roles g ON g.oid = e.grantee)) END"
    )
}

/// What, and statements; in an order that mostly works.
fn listing() -> String {
    let schema = "SELECT 1, o.nspname::text, format('schema %s', o.nspname), ARRAY[format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', \
         o.nspname, pg_get_userbyid(o.nspowner))] || coalesce((SELECT array_agg(format('GRANT %s ON SCHEMA %I TO %s%s', \
         e.privilege_type, o.nspname, coalesce(quote_ident(g.rolname), 'PUBLIC'), CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' \
         ELSE '' END)) FROM aclexplode(o.nspacl) AS e LEFT JOIN pg_roles g ON g.oid = e.grantee), '{}') \
         FROM pg_namespace o JOIN pg_namespace n ON n.oid = o.oid"
        .to_owned()
        + " WHERE " + OURS;
    let extension = "SELECT 2, o.extname::text, format('extension %s', o.extname), ARRAY[format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I VERSION %L', \
         o.extname, n.nspname, o.extversion)] FROM pg_extension o JOIN pg_namespace n ON n.oid = o.extnamespace WHERE o.extname <> 'plpgsql'";
    let name = "format('%I.%I', n.nspname, o.typname)";
    let owner = format!("format('ALTER TYPE %s OWNER TO %I', {name}, pg_get_userbyid(o.typowner))");
    let types = |ordinal: u8, made: &str, from: &str, condition: &str| {
        format!(
            "SELECT {ordinal}, o.typname::text, 'type ' || {name}, ARRAY[{made}, {owner}] || {} FROM pg_type o \
             JOIN pg_namespace n ON n.oid = o.typnamespace {from} WHERE {OURS} AND {condition}",
            grants("TYPE", name, "typacl")
        )
    };
    let enums = types(
        3,
        &format!(
            "format('CREATE TYPE %s AS ENUM (%s)', {name}, (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) \
             FROM pg_enum WHERE enumtypid = o.oid))"
        ),
        "",
        "o.typtype = 'e'",
    );
    let composite = types(
        4,
        &format!(
            "format('CREATE TYPE %s AS (%s)', {name}, (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' \
             ORDER BY attnum) FROM pg_attribute WHERE attrelid = o.typrelid AND attnum > 0 AND NOT attisdropped))"
        ),
        "JOIN pg_class c ON c.oid = o.typrelid",
        "o.typtype = 'c' AND c.relkind = 'c'",
    );
    let domains = types(
        5,
        &format!(
            "format('CREATE DOMAIN %s AS %s%s%s %s', {name}, format_type(o.typbasetype, o.typtypmod), \
             coalesce(' DEFAULT ' || o.typdefault, ''), CASE WHEN o.typnotnull THEN ' NOT NULL' ELSE '' END, \
             (SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), ' ' ORDER BY conname) \
             FROM pg_constraint WHERE contypid = o.oid AND contype = 'c'))"
        ),
        "",
        "o.typtype = 'd'",
    );
    let signature =
        "format('%I.%I(%s)', n.nspname, o.proname, pg_get_function_identity_arguments(o.oid))";
    let functions = format!(
        "SELECT 6, o.proname::text, 'function ' || {signature}, ARRAY[pg_get_functiondef(o.oid), format('ALTER ROUTINE %s OWNER TO %I', {signature}, \
         pg_get_userbyid(o.proowner))] || {} FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace \
         WHERE {OURS} AND o.prokind IN ('f', 'p')",
        grants("ROUTINE", signature, "proacl")
    );
    let parts = [
        schema,
        extension.to_owned(),
        enums,
        composite,
        domains,
        functions,
    ];
    format!("{} ORDER BY 1, 2", parts.join(" UNION ALL "))
}

/// Kinds of objects that are not copied, with how many there are.
fn others() -> String {
    let kind = |what: &str, catalog: &str, schema: &str, condition: &str| {
        format!(
            "SELECT '{what}', count(*) FROM {catalog} o JOIN pg_namespace n ON n.oid = o.{schema} WHERE {OURS} AND {condition}"
        )
    };
    [
        kind(
            "aggregates",
            "pg_proc",
            "pronamespace",
            "o.prokind IN ('a', 'w')",
        ),
        kind("operators", "pg_operator", "oprnamespace", "true"),
        kind("collations", "pg_collation", "collnamespace", "true"),
        kind(
            "text search configurations",
            "pg_ts_config",
            "cfgnamespace",
            "true",
        ),
        kind("ranges", "pg_type", "typnamespace", "o.typtype = 'r'"),
        kind(
            "base types",
            "pg_type",
            "typnamespace",
            "o.typtype = 'b' AND o.typelem = 0",
        ),
    ]
    .join(" UNION ALL ")
}

/// Makes them in the open transaction of `shard`; answers what could not be made, and why.
pub(crate) async fn copy(
    tx: &Transaction<'_>,
    whom: &str,
    shard: &Backend,
) -> Result<Vec<String>, CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let rows = tx.query(&listing(), &[]).await.map_err(err)?;
    let object = |row: &tokio_postgres::Row| Object {
        what: row.get(2),
        statements: row.get(3),
    };
    let mut waiting: Vec<Object> = rows.iter().map(object).collect();
    // One may need another that comes later: as long as anything can be made, the others are tried again.
    let mut failures = Vec::new();
    loop {
        let before = waiting.len();
        let mut left = Vec::new();
        failures.clear();
        for object in waiting {
            match attempt(shard, &object.statements).await? {
                None => {}
                Some(why) => {
                    failures.push(format!("{} could not be made there: {why}", object.what));
                    left.push(object);
                }
            }
        }
        waiting = left;
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    for row in tx.query(&others(), &[]).await.map_err(err)? {
        let (what, count): (String, i64) = (row.get(0), row.get(1));
        if count > 0 {
            failures.push(format!(
                "{count} {what} of the home shard were not made there"
            ));
        }
    }
    Ok(failures)
}

/// Runs statements in the open transaction, all or none. What is there already is left as it is. Answers Postgres's
/// reason if it refuses them.
pub(crate) async fn attempt(
    shard: &Backend,
    statements: &[String],
) -> Result<Option<String>, CatalogError> {
    shard.run("SAVEPOINT shardgate_attempt").await?;
    let mut refused = None;
    for sql in statements {
        match shard.run(sql).await {
            Ok(()) => {}
            Err(CatalogError::Postgres { error, .. }) => {
                refused = Some(error);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        None => {
            shard.run("RELEASE SAVEPOINT shardgate_attempt").await?;
            Ok(None)
        }
        Some(error) => {
            shard.run("ROLLBACK TO SAVEPOINT shardgate_attempt").await?;
            // A type of this name: 42710.
            Ok((error.sqlstate != "42710").then_some(error.message))
        }
    }
}
