//! Views that every shard can have once a table is there: the router sends a view's name as it is, so the view must
//! exist where its tables do.
//!
//! A view goes along if all that it reads, through other views too, is on every shard, and it uses nothing else that the
//! user made. Any other view stays on the home shard.

use crate::error::CatalogError;
use crate::quote::{ident, qualified};
use crate::raw::RawTable;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Transaction;

struct View {
    schema: String,
    name: String,
    owner: String,
    schema_owner: String,
    options: Vec<String>,
    definition: String,
    /// `GRANT .. TO ..`, complete.
    grants: Vec<String>,
    reads: Vec<u32>,
    /// It uses functions, operators, types or collations of the user.
    uses_code: bool,
}

/// Statements that make the views on another shard, in order, and the views' ids. `table` is about to be there, `others`
/// are.
pub(crate) async fn create(
    tx: &Transaction<'_>,
    whom: &str,
    table: u32,
    others: &[RawTable],
) -> Result<(Vec<String>, Vec<u32>), CatalogError> {
    let waiting = read(tx, table)
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let mut there: BTreeSet<u32> = others.iter().map(|other| other.relation).collect();
    there.insert(table);
    let (mut out, mut made) = (Vec::new(), Vec::new());
    for (oid, view) in in_order(waiting, there) {
        if view.uses_code {
            continue;
        }
        out.extend(statements(&view));
        made.push(oid);
    }
    Ok((out, made))
}

/// A view that a new shard is to have, and how it is made there.
pub(crate) struct ViewCopy {
    pub oid: u32,
    /// `schema.name`
    pub name: String,
    pub statements: Vec<String>,
}

/// The views over all of these tables that a shard with the tables can have, in order: those that use nothing else of
/// the user's, and those that every shard has by now (`everywhere`).
pub(crate) async fn create_all(
    tx: &Transaction<'_>,
    whom: &str,
    tables: &[RawTable],
    everywhere: &BTreeSet<u32>,
) -> Result<Vec<ViewCopy>, CatalogError> {
    let mut waiting = BTreeMap::new();
    for table in tables {
        let views = read(tx, table.relation).await;
        waiting.extend(views.map_err(|error| CatalogError::of(whom, &error))?);
    }
    let there = tables.iter().map(|table| table.relation).collect();
    let views = in_order(waiting, there)
        .into_iter()
        .filter(|(oid, view)| !view.uses_code || everywhere.contains(oid));
    let copy = |(oid, view): (u32, View)| ViewCopy {
        oid,
        name: format!("{}.{}", view.schema, view.name),
        statements: statements(&view),
    };
    Ok(views.map(copy).collect())
}

/// Views whose relations are all there, each behind those that it reads. One that uses code of the user is never taken
/// for being there by those that read it, unless they use code as well.
fn in_order(mut waiting: BTreeMap<u32, View>, mut there: BTreeSet<u32>) -> Vec<(u32, View)> {
    let mut out: Vec<(u32, View)> = Vec::new();
    let mut with_code: BTreeSet<u32> = BTreeSet::new();
    loop {
        let can = |view: &View| {
            let reads = |oid: &u32| there.contains(oid) || with_code.contains(oid);
            view.reads.iter().all(reads)
        };
        let next = waiting
            .iter()
            .find(|(_, view)| can(view))
            .map(|(oid, _)| *oid);
        let Some((oid, mut view)) = next.and_then(|oid| waiting.remove_entry(&oid)) else {
            return out;
        };
        view.uses_code |= view.reads.iter().any(|oid| with_code.contains(oid));
        if view.uses_code {
            with_code.insert(oid);
        } else {
            there.insert(oid);
        }
        out.push((oid, view));
    }
}

fn statements(view: &View) -> Vec<String> {
    let name = qualified(&view.schema, &view.name);
    let options = if view.options.is_empty() {
        String::new()
    } else {
        format!(" WITH ({})", view.options.join(", "))
    };
    let definition = view.definition.trim_end().trim_end_matches(';');
    let mut out = vec![
        format!(
            "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
            ident(&view.schema),
            ident(&view.schema_owner)
        ),
        format!("CREATE VIEW {name}{options} AS {definition}"),
        format!("ALTER VIEW {name} OWNER TO {}", ident(&view.owner)),
    ];
    out.extend(view.grants.iter().cloned());
    out
}

/// The views over a table, direct and indirect.
async fn read(
    tx: &Transaction<'_>,
    table: u32,
) -> Result<BTreeMap<u32, View>, tokio_postgres::Error> {
    let rows = tx
        .query(
            "WITH RECURSIVE over (oid) AS (SELECT $1::oid UNION \
                 SELECT r.ev_class FROM over JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass \
                 AND d.refobjid = over.oid AND d.classid = 'pg_rewrite'::regclass \
                 JOIN pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN') \
             SELECT c.oid, n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text, \
             pg_get_userbyid(n.nspowner)::text, coalesce(c.reloptions, '{}'), pg_get_viewdef(c.oid), \
             coalesce((SELECT array_agg(format('GRANT %s ON %I.%I TO %s%s', e.privilege_type, n.nspname, c.relname, \
                 coalesce(quote_ident(g.rolname), 'PUBLIC'), CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)) \
                 FROM aclexplode(c.relacl) AS e LEFT JOIN pg_roles g ON g.oid = e.grantee), '{}'), \
             coalesce((SELECT array_agg(DISTINCT d.refobjid) FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass \
                 AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid), '{}'), \
             EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
                 AND d.refclassid <> 'pg_class'::regclass) \
             FROM over JOIN pg_class c ON c.oid = over.oid AND c.relkind = 'v' \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'",
            &[&table],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let view = View {
                schema: row.get(1),
                name: row.get(2),
                owner: row.get(3),
                schema_owner: row.get(4),
                options: row.get(5),
                definition: row.get(6),
                grants: row.get(7),
                reads: row.get(8),
                uses_code: row.get(9),
            };
            (row.get(0), view)
        })
        .collect())
}
