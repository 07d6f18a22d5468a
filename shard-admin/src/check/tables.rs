//! Compares the shards' tables with the home shard's, which has the definition of each.

use crate::check::Finding;
use crate::check::survey::{Answer, Survey, SurveyedShard};
use crate::failure::Failure;
use shardgate_catalog::GUARD;
use shardgate_plan::snapshot::{Placement, Relation, RelationKind, Snapshot};
use std::collections::BTreeMap;

/// A table as one shard has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    /// One text for each column: name, type, NOT NULL.
    columns: Vec<String>,
    guarded: bool,
}

/// `schema.table` -> what it is like there.
type Tables = BTreeMap<(String, String), Table>;

pub async fn compare(survey: &Survey, snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut home = None;
    let mut others = Vec::new();
    for shard in &survey.shards {
        // A shard without a primary is a finding already.
        let Some((_, answer)) = shard.primaries().next() else {
            continue;
        };
        match read(answer).await {
            Ok(tables) if shard.home => home = Some((shard, tables)),
            Ok(tables) => others.push((shard, tables)),
            Err(error) => findings.push(Finding::error(
                &shard.name,
                format!("its tables cannot be read: {}", Failure::from(error)),
                "Connect as a role that may read the system catalogs.",
            )),
        }
    }
    let Some((home, definitions)) = home else {
        return findings;
    };
    guards(home, &definitions, snapshot, &mut findings);
    for (shard, tables) in &others {
        definitions_there(shard, &definitions, tables, snapshot, &mut findings);
        guards(shard, tables, snapshot, &mut findings);
        home_tables_there(shard, tables, snapshot, &mut findings);
    }
    findings
}

async fn read(answer: &Answer) -> Result<Tables, tokio_postgres::Error> {
    let rows = answer
        .connection
        .client
        .query(
            "SELECT n.nspname::text, c.relname::text, \
             array(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) \
                   || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END \
                   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                   ORDER BY a.attnum), \
             EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conname = $1) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' \
             AND n.nspname NOT IN ('information_schema', 'shardgate')",
            &[&GUARD],
        )
        .await?;
    let table = |row: &tokio_postgres::Row| {
        let name: (String, String) = (row.get(0), row.get(1));
        (
            name,
            Table {
                columns: row.get(2),
                guarded: row.get(3),
            },
        )
    };
    Ok(rows.iter().map(table).collect())
}

/// Tables that are on every shard.
fn spread(snapshot: &Snapshot) -> impl Iterator<Item = &Relation> {
    let all = snapshot
        .relations
        .values()
        .flat_map(|tables| tables.values());
    all.map(AsRef::as_ref)
        .filter(|relation| relation.placement != Placement::Home && is_table(relation))
}

fn is_table(relation: &Relation) -> bool {
    matches!(
        relation.kind,
        RelationKind::Table | RelationKind::PartitionedTable
    )
}

fn definitions_there(
    shard: &SurveyedShard,
    definitions: &Tables,
    tables: &Tables,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) {
    for relation in spread(snapshot) {
        let name = (relation.schema.clone(), relation.name.clone());
        // The schema may have changed after the catalog was read; the next check will see it.
        let Some(wanted) = definitions.get(&name) else {
            continue;
        };
        let Some(there) = tables.get(&name) else {
            findings.push(Finding::error(
                &shard.name,
                format!("table {}.{} is missing", relation.schema, relation.name),
                "Its rows there cannot be reached. Was it dropped past the router, or the database restored?",
            ));
            continue;
        };
        if wanted.columns != there.columns {
            findings.push(Finding::error(
                &shard.name,
                format!(
                    "table {}.{} differs from the home shard's: {}",
                    relation.schema,
                    relation.name,
                    difference(&wanted.columns, &there.columns)
                ),
                "Change it as on the home shard; change tables through the router only.",
            ));
        }
    }
}

/// The first column that differs.
fn difference(wanted: &[String], there: &[String]) -> String {
    let length = wanted.len().max(there.len());
    let text = |columns: &[String], i: usize| {
        columns
            .get(i)
            .map_or("no column".to_owned(), |c| format!("\"{c}\""))
    };
    (0..length)
        .find(|i| wanted.get(*i) != there.get(*i))
        .map(|i| {
            format!(
                "column {} is {} instead of {}",
                i + 1,
                text(there, i),
                text(wanted, i)
            )
        })
        .unwrap_or_default()
}

fn guards(
    shard: &SurveyedShard,
    tables: &Tables,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) {
    for relation in
        spread(snapshot).filter(|r| matches!(r.placement, Placement::Distributed { .. }))
    {
        let there = tables.get(&(relation.schema.clone(), relation.name.clone()));
        if there.is_some_and(|table| !table.guarded) {
            findings.push(Finding::error(
                &shard.name,
                format!("table {}.{} has no constraint {GUARD}", relation.schema, relation.name),
                "Without it the shard accepts rows that belong to other shards, where nobody will find them.",
            ));
        }
    }
}

/// A trigger or a function on the shard would read or write such a copy, silently, in place of the table.
fn home_tables_there(
    shard: &SurveyedShard,
    tables: &Tables,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) {
    for (schema, name) in tables.keys() {
        let placement = snapshot
            .relation(schema, name)
            .map(|relation| &relation.placement);
        if placement == Some(&Placement::Home) {
            findings.push(Finding::error(
                &shard.name,
                format!("home table {schema}.{name} exists there as well"),
                "Its rows there are seen by nobody but functions and triggers of that shard: rename or drop it.",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let check = |wanted: &[&str], there: &[&str], expect: &str| {
            let own =
                |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
            assert_eq!(difference(&own(wanted), &own(there)), expect);
        };
        check(&["a int"], &["a int"], "");
        check(
            &["a int", "b text"],
            &["a int"],
            "column 2 is no column instead of \"b text\"",
        );
        check(
            &["a int"],
            &["a bigint"],
            "column 1 is \"a bigint\" instead of \"a int\"",
        );
    }
}
