//! Code of sessions' temporary schemas that is there already when a table stops being a home table: nobody knows what it
//! reads, and the sessions go on using it.

use crate::error::{CatalogError, PgError};
use tokio_postgres::Transaction;

/// Functions, domains with expressions, views and rules, and triggers and policies of temporary tables. Those of sessions
/// that have ended without tidying up count too, until the next session with that schema clears it.
const FIND: &str = "SELECT what FROM (
    SELECT 'function ' || p.oid::regprocedure::text, p.pronamespace FROM pg_proc p
    UNION ALL SELECT 'domain ' || t.typname, t.typnamespace FROM pg_type t WHERE t.typtype = 'd' AND (t.typdefaultbin IS NOT NULL
        OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = t.oid))
    UNION ALL SELECT 'view or rule on ' || c.relname, c.relnamespace FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    UNION ALL SELECT 'trigger on ' || c.relname, c.relnamespace FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
        WHERE NOT g.tgisinternal
    UNION ALL SELECT 'policy on ' || c.relname, c.relnamespace FROM pg_policy o JOIN pg_class c ON c.oid = o.polrelid
    UNION ALL SELECT 'default or check of ' || c.relname, c.relnamespace FROM pg_depend d JOIN pg_class c ON c.oid =
        coalesce((SELECT adrelid FROM pg_attrdef a WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid),
            (SELECT conrelid FROM pg_constraint k WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid))
        WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid >= 16384) AS code (what, schema)
    JOIN pg_namespace n ON n.oid = schema WHERE n.nspname ~ '^pg_temp_' ORDER BY what LIMIT 1";

/// # Errors
/// 55006 if there is such code.
pub(crate) async fn refuse(tx: &Transaction<'_>, whom: &str) -> Result<(), CatalogError> {
    let found = tx
        .query_opt(FIND, &[])
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let Some(row) = found else { return Ok(()) };
    let what: String = row.get(0);
    Err(
        PgError::new("55006", format!("a session has a temporary {what}"))
            .detail("What it reads is not known, and it would see only a part of the table's rows.")
            .hint("End the session that made it, or drop it, and try again.")
            .into(),
    )
}
