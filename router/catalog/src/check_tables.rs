//! Compares the tables of one shard with the home shard's definitions and with the maps.

use crate::check::Finding;
use crate::connect::Backend;
use crate::error::CatalogError;
use crate::guard::{self, GUARD};
use crate::quote::qualified;
use crate::shard::ShardRow;
use shardgate_plan::snapshot::{Placement, Relation, RelationKind, Snapshot};
use shardgate_shard_map::ShardId;
use std::collections::BTreeMap;

/// Parts of a table's definition, each with its text: `column "a"` -> `integer NOT NULL`.
type Parts = BTreeMap<String, String>;

/// The home shard's definitions of all tables that other shards have, by schema and name.
pub(crate) type Definitions = BTreeMap<(String, String), Parts>;

/// Defaults that draw from a sequence are told apart from their stand-ins by nothing; the guard is compared by itself.
const PARTS: &str = "SELECT what, how FROM (
    SELECT format('column \"%s\"', a.attname) AS what, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'NOT NULL' END, nullif(a.attgenerated::text, ''),
            (SELECT l.collname FROM pg_collation l WHERE l.oid = a.attcollation),
            CASE WHEN a.attidentity <> '' OR e LIKE '%nextval(%' OR e LIKE 'shardgate.drawn_on_home(%' THEN 'drawn on home'
                 ELSE 'DEFAULT ' || e END) AS how
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        CROSS JOIN LATERAL pg_get_expr(d.adbin, d.adrelid) AS e
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT format('constraint \"%s\"', conname), pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = $1 AND contype <> 't' AND conname <> 'shardgate_owns'
    UNION ALL SELECT format('index \"%s\"', c.relname), pg_get_indexdef(c.oid) FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1
    UNION ALL SELECT format('trigger \"%s\"', tgname), pg_get_triggerdef(oid) FROM pg_trigger
        WHERE tgrelid = $1 AND NOT tgisinternal AND NOT starts_with(tgname::text, '~shardgate_gate_')
    UNION ALL SELECT 'owner', pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = $1
    UNION ALL SELECT 'row security', relrowsecurity::text FROM pg_class WHERE oid = $1) AS parts";

pub(crate) async fn definitions(
    home: &Backend,
    snapshot: &Snapshot,
) -> Result<Definitions, CatalogError> {
    let mut all = Definitions::new();
    for relation in spread(snapshot) {
        let parts = parts(home, relation.oid).await?;
        all.insert((relation.schema.clone(), relation.name.clone()), parts);
    }
    Ok(all)
}

/// Everything about tables on one shard.
pub(crate) async fn check(
    backend: &Backend,
    row: &ShardRow,
    snapshot: &Snapshot,
    definitions: &Definitions,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = Vec::new();
    for relation in spread(snapshot) {
        let object = format!(
            "table {}.{} on shard {}",
            relation.schema, relation.name, row.name
        );
        let oid = find(backend, relation).await?;
        let Some(oid) = oid else {
            let hint = "Was it dropped past the router, or the database replaced? Undistribute and distribute it again if it is empty.";
            findings.push(Finding::error(
                "table_missing",
                object,
                "the table is missing",
                hint,
            ));
            continue;
        };
        let there = parts(backend, oid).await?;
        if let Some(wanted) = definitions.get(&(relation.schema.clone(), relation.name.clone())) {
            findings.extend(differences(&object, wanted, &there));
        }
        if let Some((trigger, _)) = there.iter().find(|(what, _)| what.starts_with("trigger ")) {
            let hint = "It runs on this shard, where home tables are missing: drop it.";
            findings.push(Finding::error(
                "trigger",
                object.clone(),
                format!("the table has the {trigger}"),
                hint,
            ));
        }
        findings.extend(check_guard(backend, row, snapshot, relation, object).await?);
    }
    if !row.home {
        findings.extend(strays(backend, row, snapshot).await?);
    }
    findings.extend(copied_guards(backend, row, snapshot).await?);
    Ok(findings)
}

fn spread(snapshot: &Snapshot) -> impl Iterator<Item = &Relation> {
    let mut all: Vec<&Relation> = snapshot
        .relations
        .values()
        .flat_map(|relations| relations.values())
        .map(AsRef::as_ref)
        .filter(|relation| {
            relation.placement != Placement::Home && relation.kind != RelationKind::Index
        })
        .collect();
    all.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    all.into_iter()
}

async fn find(backend: &Backend, relation: &Relation) -> Result<Option<u32>, CatalogError> {
    let row = backend
        .query_opt(
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r'",
            &[&relation.schema, &relation.name],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row.map(|row| row.get(0)))
}

async fn parts(backend: &Backend, oid: u32) -> Result<Parts, CatalogError> {
    let rows = backend
        .query(PARTS, &[&oid])
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                row.get::<_, Option<String>>(1).unwrap_or_default(),
            )
        })
        .collect())
}

fn differences(object: &str, wanted: &Parts, there: &Parts) -> Vec<Finding> {
    let hint =
        "Change tables through the router only; make the shard's table as the home shard's is.";
    let drift = |message: String| Finding::error("drift", object.to_owned(), message, hint);
    let mut findings = Vec::new();
    for (what, how) in wanted {
        match there.get(what) {
            None => findings.push(drift(format!("{what} is missing: {how}"))),
            Some(other) if other != how => {
                findings.push(drift(format!("{what} is {other} instead of {how}")))
            }
            Some(_) => {}
        }
    }
    findings.extend(
        there
            .keys()
            .filter(|what| !wanted.contains_key(*what))
            .map(|what| drift(format!("{what} is not on the home shard"))),
    );
    findings
}

/// The guard must be what the map says. Postgres prints constraints in its own words, so the right one is made on an
/// empty temporary copy, in a transaction that is rolled back, and the two texts are compared.
async fn check_guard(
    backend: &Backend,
    row: &ShardRow,
    snapshot: &Snapshot,
    relation: &Relation,
    object: String,
) -> Result<Option<Finding>, CatalogError> {
    let Placement::Distributed { distribution, key } = &relation.placement else {
        return Ok(None);
    };
    let shard = ShardId(u16::try_from(row.id).unwrap_or_default());
    // The guard is wide while rows of a move come or go; what that leaves behind is found once the move is over.
    let moving = |one: &shardgate_plan::snapshot::Move| {
        one.distribution == *distribution && one.shards.contains(&shard)
    };
    if snapshot.moves.iter().any(moving) {
        return Ok(None);
    }
    let (Some(distribution), Some(column)) = (
        snapshot.distributions.get(distribution),
        relation.columns.get(*key),
    ) else {
        return Ok(None);
    };
    let name = qualified(&relation.schema, &relation.name);
    let definition = |table: &str| {
        format!(
            "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'c' AND conname = '{GUARD}' \
             AND conrelid = {}::regclass",
            crate::quote::literal(table)
        )
    };
    let hint = "Rows may lie on a shard that does not own them. Put the constraint back before anything is written.";
    let found = backend
        .query_opt(&definition(&name), &[])
        .await
        .map_err(|error| backend.err(&error))?;
    let Some(found) = found else {
        return Ok(Some(Finding::error(
            "guard_missing",
            object,
            format!("the constraint {GUARD} is missing"),
            hint,
        )));
    };
    let probe = format!(
        "BEGIN; CREATE TEMP TABLE shardgate_probe (LIKE {name}) ON COMMIT DROP; ALTER TABLE pg_temp.shardgate_probe {}",
        guard::add(&distribution.map, &column.name, shard)
    );
    let made = backend.run(&probe).await;
    let wanted = match made {
        Ok(()) => backend
            .query_one(&definition("pg_temp.shardgate_probe"), &[])
            .await
            .map_err(|error| backend.err(&error)),
        Err(error) => Err(error),
    };
    backend.run("ROLLBACK").await?;
    // A guard that was validated later is no other guard.
    let text = |row: &tokio_postgres::Row| {
        row.get::<_, String>(0)
            .trim_end_matches(" NOT VALID")
            .to_owned()
    };
    if text(&found) == text(&wanted?) {
        return Ok(None);
    }
    let message = format!("the constraint {GUARD} does not say what the map says");
    Ok(Some(Finding::error("guard_differs", object, message, hint)))
}

/// Tables that should be on the home shard alone. Code that runs on this shard would use them instead.
async fn strays(
    backend: &Backend,
    row: &ShardRow,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, CatalogError> {
    let rows = backend
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' \
             AND n.nspname NOT IN ('information_schema', 'shardgate') ORDER BY 1, 2",
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(rows
        .iter()
        .filter_map(|found| {
            let (schema, name): (String, String) = (found.get(0), found.get(1));
            let object = format!("table {schema}.{name} on shard {}", row.name);
            match snapshot.relation(&schema, &name) {
                Some(relation) if relation.placement != Placement::Home => None,
                Some(relation)
                    if matches!(
                        relation.kind,
                        RelationKind::Table | RelationKind::PartitionedTable
                    ) =>
                {
                    let hint = "Code on this shard would read and write it silently: drop it here.";
                    Some(Finding::error(
                        "home_table",
                        object,
                        "a table of this name is a home table",
                        hint,
                    ))
                }
                Some(_) | None => {
                    let hint = "The router does not know it; drop it if nobody needs it.";
                    Some(Finding::warning(
                        "stray_table",
                        object,
                        "the table is not on the home shard",
                        hint,
                    ))
                }
            }
        })
        .collect())
}

/// `CREATE TABLE .. (LIKE .. INCLUDING ALL)` and a restored dump carry the guard into tables that it does not belong to.
async fn copied_guards(
    backend: &Backend,
    row: &ShardRow,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, CatalogError> {
    let rows = backend
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.conname = $1 AND n.nspname !~ '^pg_' ORDER BY 1, 2",
            &[&GUARD],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let distributed = |schema: &str, name: &str| {
        let relation = snapshot.relation(schema, name);
        relation.is_some_and(|relation| matches!(relation.placement, Placement::Distributed { .. }))
    };
    let hint = "Drop the constraint there: it refuses rows that belong on other shards.";
    Ok(rows
        .iter()
        .map(|found| (found.get::<_, String>(0), found.get::<_, String>(1)))
        .filter(|(schema, name)| !distributed(schema, name))
        .map(|(schema, name)| {
            let object = format!("table {schema}.{name} on shard {}", row.name);
            Finding::error(
                "guard_copied",
                object,
                format!("the table is not distributed and has the constraint {GUARD}"),
                hint,
            )
        })
        .collect())
}
