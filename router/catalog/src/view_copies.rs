//! Which views every shard has, as the home shard has them: only those may be named in a statement that goes elsewhere.
//!
//! The router makes a view on all shards, but one that somebody made or replaced on the home shard alone is missing
//! elsewhere, or is another one. So each copy is compared once, after a change of the schema, and what was found to be
//! equal is written down. What changes on another shard alone afterwards is not noticed here; `check` finds it.

use crate::connect::Backend;
use crate::epoch;
use crate::error::CatalogError;
use crate::shard;
use std::collections::HashMap;
use tokio_postgres::Transaction;
use tracing::debug;

/// A view's text, owner and options in short. The view is `c`, the session's search_path has no schema of users.
pub(crate) const FINGERPRINT: &str = "md5(concat_ws(E'\\n', pg_catalog.pg_get_viewdef(c.oid), \
    pg_catalog.pg_get_userbyid(c.relowner), c.reloptions::text))";

struct View {
    oid: u32,
    schema: String,
    name: String,
    fingerprint: String,
}

/// Compares the views that are not known to be everywhere, and makes an epoch if some are. A shard that cannot be asked
/// has none. Answers the number of the epoch, if there is a new one.
pub(crate) async fn level(home: &mut Backend) -> Result<Option<i64>, CatalogError> {
    let views = over_tables(home, false).await?;
    if views.is_empty() {
        return Ok(None);
    }
    let base = home.config().clone();
    let shards = shard::all(&**home, &base, home.whom()).await?;
    let mut equal: Vec<&View> = views.iter().collect();
    for shard in shards.iter().filter(|shard| !shard.home) {
        let asked = match shard.connect().await {
            Ok(backend) => copies(&backend, &equal).await,
            Err(error) => Err(error),
        };
        let there = match asked {
            Ok(there) => there,
            Err(error) => {
                debug!(%error, "views were not compared");
                return Ok(None);
            }
        };
        equal.retain(|view| {
            let copy = there.get(&(view.schema.clone(), view.name.clone()));
            copy == Some(&view.fingerprint)
        });
    }
    if equal.is_empty() {
        return Ok(None);
    }
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let oids: Vec<u32> = equal.iter().map(|view| view.oid).collect();
    let (tx, next) = epoch::begin_change(home).await?;
    let compared: Vec<&str> = equal.iter().map(|view| view.fingerprint.as_str()).collect();
    write_down(&tx, &oids, Some(&compared)).await.map_err(err)?;
    epoch::finish(&tx, &next, "views that every shard has")
        .await
        .map_err(err)?;
    tx.commit().await.map_err(err)?;
    Ok(Some(next.number))
}

/// Notes that every shard has these views as they are on the home shard in this transaction; with `compared`, only those
/// that still have one of these fingerprints.
pub(crate) async fn write_down(
    tx: &Transaction<'_>,
    views: &[u32],
    compared: Option<&[&str]>,
) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "INSERT INTO shardgate.view_copy (view, fingerprint) SELECT c.oid::regclass, {FINGERPRINT} FROM pg_class c \
         WHERE c.oid = ANY ($1) AND ($2::text[] IS NULL OR {FINGERPRINT} = ANY ($2)) ON CONFLICT (view) DO UPDATE SET fingerprint = excluded.fingerprint"
    );
    tx.execute(&sql, &[&views, &compared]).await?;
    Ok(())
}

/// Names of views that a shard has in another form than the home shard.
pub(crate) async fn differing(
    home: &Backend,
    shard: &Backend,
) -> Result<Vec<String>, CatalogError> {
    let views = over_tables(home, true).await?;
    let all: Vec<&View> = views.iter().collect();
    let there = copies(shard, &all).await?;
    let differs = |view: &&View| {
        let copy = there.get(&(view.schema.clone(), view.name.clone()));
        copy.is_some_and(|copy| *copy != view.fingerprint)
    };
    let names = views.iter().filter(differs);
    Ok(names.map(|v| format!("{}.{}", v.schema, v.name)).collect())
}

/// Views over tables that are not home tables, directly or through other views: all, or those that are not written down
/// as they are.
async fn over_tables(home: &Backend, all: bool) -> Result<Vec<View>, CatalogError> {
    let rows = home
        .query(
            &format!(
                "WITH RECURSIVE over (oid) AS (SELECT relation::oid FROM shardgate.distributed_table UNION \
                 SELECT r.ev_class FROM over JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass \
                 AND d.refobjid = over.oid AND d.classid = 'pg_rewrite'::regclass \
                 JOIN pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN'), \
                 view AS (SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, {FINGERPRINT} AS fingerprint \
                 FROM over JOIN pg_class c ON c.oid = over.oid AND c.relkind = 'v' AND c.relpersistence <> 't' \
                 JOIN pg_namespace n ON n.oid = c.relnamespace) \
                 SELECT v.oid, v.schema, v.name, v.fingerprint FROM view v WHERE $1 OR NOT EXISTS (SELECT FROM shardgate.view_copy k \
                 WHERE k.view::oid = v.oid AND k.fingerprint = v.fingerprint)"
            ),
            &[&all],
        )
        .await
        .map_err(|error| home.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| View {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            fingerprint: row.get(3),
        })
        .collect())
}

/// The fingerprints of views of these names on a shard.
async fn copies(
    backend: &Backend,
    views: &[&View],
) -> Result<HashMap<(String, String), String>, CatalogError> {
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let rows = backend
        .query(
            &format!(
                "SELECT n.nspname::text, c.relname::text, {FINGERPRINT} FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND c.relname = ANY ($1)"
            ),
            &[&names],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect())
}
