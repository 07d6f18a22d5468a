//! `shard-admin map show`: which shard owns which part of a distribution.

use crate::cli::Shared;
use crate::failure::Failure;
use crate::output::{Report, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shardgate_plan::snapshot::{Distribution, Placement, Shard, Snapshot};
use shardgate_shard_map::{Key, Method, ShardId};
use std::collections::HashMap;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show which shard owns which buckets, ranges or values
    Show(Show),
}

#[derive(Debug, Args)]
pub struct Show {
    /// A distribution, or a table of it
    name: String,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    let Verb::Show(args) = verb;
    let (_, snapshot) = shared.snapshot().await?;
    let distribution = find(&snapshot, &args.name)?;
    show(&snapshot, distribution).print(shared.output);
    Ok(())
}

/// By the name of the distribution, else by `table` or `schema.table`.
fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Distribution, Failure> {
    if let Some(found) = snapshot
        .distributions
        .values()
        .find(|distribution| distribution.name == name)
    {
        return Ok(found);
    }
    let (schema, table) = name.split_once('.').unwrap_or(("public", name));
    let placement = snapshot
        .relation(schema, table)
        .map(|relation| &relation.placement);
    match placement {
        Some(Placement::Distributed { distribution, .. }) => {
            snapshot.distributions.get(distribution).ok_or_else(|| {
                Failure::new(format!(
                    "the distribution of \"{name}\" is missing in the catalog"
                ))
            })
        }
        Some(Placement::Reference) => Err(Failure::new(format!("\"{name}\" is a reference table"))
            .detail("Every shard has all its rows.")),
        Some(Placement::Home) => Err(Failure::new(format!("\"{name}\" is a home table"))
            .detail("The home shard has all its rows.")),
        None => Err(
            Failure::new(format!("there is no distribution or table \"{name}\""))
                .hint("See \"shard-admin distribution list\" and \"shard-admin table list\"."),
        ),
    }
}

fn show(snapshot: &Snapshot, distribution: &Distribution) -> Report {
    let (headings, mut rows) = match &distribution.map.method {
        Method::Hash { owners } => hash_rows(snapshot, owners),
        Method::Range { bounds, owners } => range_rows(snapshot, bounds, owners),
        Method::List { values, default } => list_rows(snapshot, values, *default),
    };
    let mut pins: Vec<_> = distribution.map.pins.iter().collect();
    pins.sort();
    for (key, owner) in pins {
        let mut row = vec![shard_name(snapshot, *owner), format!("{key} (pinned)")];
        row.resize(headings.len(), String::new());
        rows.push(row);
    }
    let document = json!({
        "distribution": distribution.name,
        "method": method_name(&distribution.map.method),
        "parts": parts(&headings, &rows),
    });
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(|cell| shortened(&cell)));
    Report::new(table(&headings, rows), document)
}

type TableRows = (Vec<&'static str>, Vec<Vec<String>>);

/// One row for each shard: buckets are many and lie scattered.
fn hash_rows(snapshot: &Snapshot, owners: &[ShardId]) -> TableRows {
    let runs = runs(owners);
    let row = |shard: &Shard| {
        let own = runs.iter().filter(|(_, _, owner)| *owner == shard.id);
        let count: usize = own.clone().map(|(first, last, _)| last - first + 1).sum();
        let list: Vec<String> = own
            .map(|(first, last, _)| run_text(*first, *last))
            .collect();
        vec![shard.name.clone(), count.to_string(), list.join(",")]
    };
    (
        vec!["shard", "count", "buckets"],
        snapshot.shards.iter().map(row).collect(),
    )
}

fn run_text(first: usize, last: usize) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn range_rows(snapshot: &Snapshot, bounds: &[Key], owners: &[ShardId]) -> TableRows {
    let bound = |i: Option<usize>| {
        i.and_then(|i| bounds.get(i))
            .map_or(String::new(), ToString::to_string)
    };
    let row = |(i, owner): (usize, &ShardId)| {
        vec![
            shard_name(snapshot, *owner),
            bound(i.checked_sub(1)),
            bound(Some(i)),
        ]
    };
    (
        vec!["shard", "from (inclusive)", "to (exclusive)"],
        owners.iter().enumerate().map(row).collect(),
    )
}

fn list_rows(
    snapshot: &Snapshot,
    values: &HashMap<Key, ShardId>,
    default: Option<ShardId>,
) -> TableRows {
    let mut values: Vec<_> = values.iter().collect();
    values.sort();
    let rows = values
        .into_iter()
        .map(|(value, owner)| vec![shard_name(snapshot, *owner), value.to_string()]);
    let default = default.map(|owner| vec![shard_name(snapshot, owner), "(all others)".to_owned()]);
    (vec!["shard", "value"], rows.chain(default).collect())
}

/// A cell that fits on a screen; programs get the whole.
fn shortened(cell: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    if cell.chars().count() <= CHARACTERS_MAX {
        return cell.to_owned();
    }
    let start: String = cell.chars().take(CHARACTERS_MAX).collect();
    format!("{start} ..")
}

/// The rows as objects; the keys are the headings' first words.
fn parts(headings: &[&str], rows: &[Vec<String>]) -> Vec<Value> {
    let key = |heading: &&str| {
        heading
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let object = |row: &Vec<String>| {
        let fields = headings
            .iter()
            .map(key)
            .zip(row.iter().map(|cell| Value::String(cell.clone())));
        Value::Object(fields.collect())
    };
    rows.iter().map(object).collect()
}

/// The word for a method in messages and in `create_distributed_table`.
pub fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Hash { .. } => "hash",
        Method::Range { .. } => "range",
        Method::List { .. } => "list",
    }
}

pub fn shard_name(snapshot: &Snapshot, id: ShardId) -> String {
    snapshot
        .shard(id)
        .map_or_else(|| format!("shard {}", id.0), |shard| shard.name.clone())
}

/// Consecutive buckets of one owner: first, last, owner.
fn runs(owners: &[ShardId]) -> Vec<(usize, usize, ShardId)> {
    let mut runs: Vec<(usize, usize, ShardId)> = Vec::new();
    for (bucket, owner) in owners.iter().enumerate() {
        match runs.last_mut() {
            Some((_, last, known)) if known == owner => *last = bucket,
            Some(_) | None => runs.push((bucket, bucket, *owner)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_joined_to_runs() {
        let check = |owners: &[u16], expect: &[(usize, usize, u16)]| {
            let owners: Vec<ShardId> = owners.iter().copied().map(ShardId).collect();
            let found: Vec<_> = runs(&owners)
                .into_iter()
                .map(|(a, b, s)| (a, b, s.0))
                .collect();
            assert_eq!(found, expect);
        };
        check(&[], &[]);
        check(&[1, 1, 2, 2, 2, 1], &[(0, 1, 1), (2, 4, 2), (5, 5, 1)]);
    }
}
