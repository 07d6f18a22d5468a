//! Reading what statements may call or name besides relations: functions, operators, types, schemas, search paths.

use crate::function_body;
use crate::function_reach;
use crate::load_relations::domain_checks;
use crate::raw::{
    RawBody, RawCast, RawEventTrigger, RawFunction, RawOperator, RawPathSetting, RawSystemFunction,
    RawType,
};
use std::collections::BTreeSet;
use tokio_postgres::Transaction;

type PgResult<T> = Result<T, tokio_postgres::Error>;

pub(crate) async fn functions(tx: &Transaction<'_>) -> PgResult<Vec<RawFunction>> {
    let rows = tx
        .query(
            "SELECT p.oid, n.nspname::text, p.proname::text, l.lanname::text, p.prosecdef, p.proconfig IS NOT NULL, \
             coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc, '') \
                 || ' ' || coalesce(pg_catalog.pg_get_expr(p.proargdefaults, 0), ''), \
             f.class, p.prokind = 'f', \
             CASE WHEN p.prokind <> 'a' THEN coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc, '') \
                 ELSE (SELECT concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, \
                     a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid) END, \
             coalesce(pg_catalog.pg_get_expr(p.proargdefaults, 0), ''), \
             p.pronargs > 0 AND p.pronargs - p.pronargdefaults <= 1 AND EXISTS (SELECT FROM pg_catalog.pg_type t \
                 WHERE t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'd', 'p')), \
             p.prokind = 'a', \
             (SELECT e.extname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
                 WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
                 AND d.refclassid = 'pg_catalog.pg_extension'::regclass), p.provolatile = 'i' OR 'pg_catalog.internal'::regtype = ANY (p.proargtypes) \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             LEFT JOIN shardgate.function_class f ON f.function::oid = p.oid \
             WHERE (n.nspname NOT IN ('pg_catalog', 'information_schema') OR p.oid >= 16384) \
             AND n.nspname !~ '^pg_(toast_)?temp_' ORDER BY p.oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let body = if row.get(8) {
                function_body::read(row.get(3), row.get(4), row.get(5), row.get(6))
            } else {
                RawBody::Opaque("it is a procedure, an aggregate or a window function".to_owned())
            };
            let name: String = row.get(2);
            let text: String = row.get(9);
            let reach = function_reach::read(&function_reach::Source {
                language: if row.get(12) { "sql" } else { row.get(3) },
                name: &name,
                text: &text,
                defaults: row.get(10),
                extension: row.get(13),
                computes: row.get(14),
            });
            RawFunction {
                oid: row.get(0),
                schema: row.get(1),
                name,
                declared: row.get(7),
                body,
                reach,
                of_row: row.get(11),
                extension: row.get::<_, Option<&str>>(13).is_some(),
            }
        })
        .collect())
}

/// The functions of pg_catalog that expressions call by id, and those whose name a function's text calls.
pub(crate) async fn system_functions(
    tx: &Transaction<'_>,
    called: &BTreeSet<u32>,
    functions: &[RawFunction],
) -> PgResult<Vec<RawSystemFunction>> {
    let ids: Vec<u32> = called.iter().copied().collect();
    let names: BTreeSet<&str> = functions
        .iter()
        .flat_map(|function| match &function.body {
            RawBody::Opaque(_) => &[],
            RawBody::Read { calls, .. } => calls.as_slice(),
        })
        .map(String::as_str)
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    let rows = tx
        .query(
            "SELECT oid, proname::text, provolatile::text FROM pg_catalog.pg_proc \
             WHERE (oid = ANY($1) OR proname = ANY($2)) AND pronamespace = 'pg_catalog'::regnamespace ORDER BY oid",
            &[&ids, &names],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawSystemFunction {
            oid: row.get(0),
            name: row.get(1),
            volatility: row.get::<_, String>(2).chars().next().unwrap_or('v'),
        })
        .collect())
}

pub(crate) async fn operators(tx: &Transaction<'_>) -> PgResult<Vec<RawOperator>> {
    let rows = tx
        .query(
            "SELECT o.oprname::text, o.oprleft, o.oprright, o.oprcode::oid, EXISTS (SELECT FROM pg_catalog.pg_depend d \
                 WHERE d.classid = 'pg_catalog.pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e') \
             FROM pg_catalog.pg_operator o WHERE o.oid >= 16384 ORDER BY o.oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawOperator {
            name: row.get(0),
            left: row.get(1),
            right: row.get(2),
            function: row.get(3),
            extension: row.get(4),
        })
        .collect())
}

pub(crate) async fn types(tx: &Transaction<'_>) -> PgResult<Vec<RawType>> {
    let mut checks = domain_checks(tx).await?;
    let rows = tx
        .query(
            "SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, \
             t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc, \
             CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, \
             ARRAY(SELECT c.castfunc FROM pg_catalog.pg_cast c \
                 WHERE c.castfunc <> 0 AND t.oid IN (c.castsource, c.casttarget) ORDER BY 1), \
             ARRAY(SELECT f.id FROM unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, \
                     t.typmodout]::oid[]) AS f (id) WHERE f.id >= 16384 \
                 UNION SELECT s.amproc::oid FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_amproc s ON s.amprocfamily = o.opcfamily \
                     WHERE o.opcdefault AND o.opcintype = t.oid AND s.amproc::oid >= 16384 \
                 UNION SELECT f.id FROM pg_catalog.pg_range r CROSS JOIN LATERAL unnest(ARRAY[r.rngcanonical, r.rngsubdiff]::oid[] \
                     || ARRAY(SELECT s.amproc::oid FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_amproc s \
                         ON s.amprocfamily = o.opcfamily WHERE o.oid = r.rngsubopc)) AS f (id) \
                     WHERE t.oid IN (r.rngtypid, r.rngmultitypid) AND f.id >= 16384 ORDER BY 1), t.typrelid, \
             EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::regclass \
                 AND d.objid = t.oid AND d.deptype = 'e') \
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
             AND n.nspname !~ '^pg_(toast_)?temp_' ORDER BY t.oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawType {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            kind: row.get::<_, String>(3).chars().next().unwrap_or('?'),
            array: row.get(4),
            base: row.get(5),
            checks: checks.remove(&row.get(0)).unwrap_or_default(),
            casts: row.get(6),
            support: row.get(7),
            row_of: row.get(8),
            extension: row.get(9),
        })
        .collect())
}

/// Casts that the user made.
pub(crate) async fn casts(tx: &Transaction<'_>) -> PgResult<Vec<RawCast>> {
    let rows = tx
        .query(
            "SELECT c.castsource, c.casttarget, pg_catalog.format('cast (%s AS %s)', \
                 pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)), c.castfunc, \
             NOT EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                 WHERE t.oid IN (c.castsource, c.casttarget) AND t.oid >= 16384 AND n.nspname !~ '^pg_(toast_)?temp_') \
             FROM pg_catalog.pg_cast c WHERE c.oid >= 16384 ORDER BY c.oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawCast {
            source: row.get(0),
            target: row.get(1),
            what: row.get(2),
            function: row.get(3),
            unnamed: row.get(4),
        })
        .collect())
}

pub(crate) async fn event_triggers(tx: &Transaction<'_>) -> PgResult<Vec<RawEventTrigger>> {
    let rows = tx
        .query(
            "SELECT evtname::text, evtfoid FROM pg_catalog.pg_event_trigger \
             WHERE evtenabled <> 'D' AND evtname !~ '^~?shardgate_' ORDER BY oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawEventTrigger {
            name: row.get(0),
            function: row.get(1),
        })
        .collect())
}

/// Schemas that a search_path may name; those of temporary objects are the session's own matter.
pub(crate) async fn schemas(tx: &Transaction<'_>) -> PgResult<Vec<String>> {
    let rows = tx
        .query(
            "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Settings of search_path for roles and databases, and the server's own.
///
/// The server's value shows only in a session to which no role's or database's setting applies; otherwise Postgres's
/// built-in value is taken, which matters only if postgresql.conf says something else.
pub(crate) async fn path_settings(tx: &Transaction<'_>) -> PgResult<(Vec<RawPathSetting>, String)> {
    let rows = tx
        .query(
            "SELECT r.rolname::text, s.setdatabase <> 0, substr(c.item, length('search_path=') + 1), \
             coalesce(r.rolname = session_user, true) \
             FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             CROSS JOIN LATERAL unnest(s.setconfig) AS c (item) \
             WHERE c.item LIKE 'search\\_path=%' AND (s.setrole = 0 OR r.oid IS NOT NULL) AND (s.setdatabase = 0 \
             OR s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
             ORDER BY 1 NULLS FIRST, 2",
            &[],
        )
        .await?;
    let applies_to_us = rows.iter().any(|row| row.get::<_, bool>(3));
    let column = if applies_to_us {
        "boot_val"
    } else {
        "reset_val"
    };
    let server = tx
        .query_one(
            &format!("SELECT {column} FROM pg_catalog.pg_settings WHERE name = 'search_path'"),
            &[],
        )
        .await?;
    let settings = rows
        .iter()
        .map(|row| RawPathSetting {
            role: row.get(0),
            in_database: row.get(1),
            value: row.get(2),
        })
        .collect();
    Ok((settings, server.get(0)))
}

/// Roles in whose sessions transactions are serializable by default: see `Snapshot::serializable`.
pub(crate) async fn serializable(tx: &Transaction<'_>) -> PgResult<Vec<Option<String>>> {
    let rows = tx
        .query(
            "WITH by_setting AS (SELECT DISTINCT s.setrole FROM pg_catalog.pg_db_role_setting s \
                 CROSS JOIN LATERAL unnest(s.setconfig) AS c (item) \
                 WHERE lower(c.item) = 'default_transaction_isolation=serializable' AND (s.setdatabase = 0 OR s.setdatabase \
                 = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))) \
             SELECT NULL::text FROM by_setting WHERE setrole = 0 \
             UNION SELECT NULL FROM pg_catalog.pg_settings \
             WHERE name = 'default_transaction_isolation' AND reset_val = 'serializable' \
             UNION SELECT r.rolname::text FROM by_setting b JOIN pg_catalog.pg_roles l ON l.oid = b.setrole \
             JOIN pg_catalog.pg_roles r ON pg_catalog.pg_has_role(l.oid, r.oid, 'MEMBER') ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What ALTER ROLE and ALTER DATABASE have set, one text for each role and database.
pub(crate) async fn login_settings(tx: &Transaction<'_>) -> PgResult<Vec<String>> {
    let sql = "SELECT format('%L %s %s', r.rolname, s.setdatabase <> 0, s.setconfig) \
         FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
         WHERE (s.setrole = 0 OR r.oid IS NOT NULL) AND (s.setdatabase = 0 \
         OR s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         ORDER BY 1";
    let rows = tx.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// All roles, and whether they may log in.
pub(crate) async fn logins(tx: &Transaction<'_>) -> PgResult<Vec<(String, bool)>> {
    let sql = "SELECT rolname::text, rolcanlogin FROM pg_catalog.pg_roles ORDER BY 1";
    let rows = tx.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
