//! `shard-admin map show`: which shard owns which part of a distribution.

use crate::cli::Shared;
use crate::cli::distribution::key_type_name;
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
    /// A distribution, or a table of it [default: all distributions]
    name: Option<String>,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    let Verb::Show(args) = verb;
    let (_, _, snapshot) = shared.snapshot().await?;
    match &args.name {
        Some(name) => show(&snapshot, find(&snapshot, name)?).print(shared.output),
        None => show_all(&snapshot).print(shared.output),
    }
    Ok(())
}

/// One after the other, under their names; for programs a list.
fn show_all(snapshot: &Snapshot) -> Report {
    let mut all: Vec<&Distribution> = snapshot.distributions.values().collect();
    all.sort_by_key(|distribution| distribution.id);
    if all.is_empty() {
        return Report::new(
            "There is no distribution: no table is distributed.",
            json!([]),
        );
    }
    let reports: Vec<(String, Report)> =
        all.iter().map(|d| (title(d), show(snapshot, d))).collect();
    let text: Vec<String> = reports
        .iter()
        .map(|(title, report)| format!("{title}\n{}", report.text))
        .collect();
    let documents = reports.into_iter().map(|(_, report)| report.json).collect();
    Report::new(text.join("\n\n"), Value::Array(documents))
}

fn title(distribution: &Distribution) -> String {
    let map = &distribution.map;
    format!(
        "{} ({} of {})",
        distribution.name,
        method_name(&map.method),
        key_type_name(map.key_type)
    )
}

/// By the name of the distribution, else by `table` or `schema.table`.
pub fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Distribution, Failure> {
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

/// One line of a map, for people and for programs.
struct Part {
    cells: Vec<String>,
    json: Value,
}

fn show(snapshot: &Snapshot, distribution: &Distribution) -> Report {
    let (headings, mut parts) = match &distribution.map.method {
        Method::Hash { owners } => hash_parts(snapshot, owners),
        Method::Range { bounds, owners } => range_parts(snapshot, bounds, owners),
        Method::List { values, default } => list_parts(snapshot, values, *default),
    };
    let mut pins: Vec<_> = distribution.map.pins.iter().collect();
    pins.sort();
    for (key, owner) in pins {
        let shard = shard_name(snapshot, *owner);
        let mut cells = vec![shard.clone(), format!("{key} (pinned)")];
        cells.resize(headings.len(), String::new());
        parts.push(Part {
            cells,
            json: json!({ "shard": shard, "pinned": key.to_string() }),
        });
    }
    let document = json!({
        "distribution": distribution.name,
        "method": method_name(&distribution.map.method),
        "parts": parts.iter().map(|part| part.json.clone()).collect::<Vec<_>>(),
    });
    let rows = parts
        .into_iter()
        .map(|part| part.cells.into_iter().map(|cell| shortened(&cell)));
    Report::new(table(&headings, rows), document)
}

/// One part for each shard: buckets are many and lie scattered.
fn hash_parts(snapshot: &Snapshot, owners: &[ShardId]) -> (Vec<&'static str>, Vec<Part>) {
    let runs = runs(owners);
    let part = |shard: &Shard| {
        let own = runs.iter().filter(|(_, _, owner)| *owner == shard.id);
        let count: usize = own.clone().map(|(first, last, _)| last - first + 1).sum();
        let list: Vec<String> = own
            .map(|(first, last, _)| run_text(*first, *last))
            .collect();
        let buckets = list.join(",");
        let json = json!({ "shard": shard.name, "count": count, "buckets": buckets });
        Part {
            cells: vec![shard.name.clone(), count.to_string(), buckets],
            json,
        }
    };
    (
        vec!["shard", "count", "buckets"],
        snapshot.shards.iter().map(part).collect(),
    )
}

fn run_text(first: usize, last: usize) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// A range without a lower or upper bound has null there.
fn range_parts(
    snapshot: &Snapshot,
    bounds: &[Key],
    owners: &[ShardId],
) -> (Vec<&'static str>, Vec<Part>) {
    let part = |(i, owner): (usize, &ShardId)| {
        let shard = shard_name(snapshot, *owner);
        let from = i
            .checked_sub(1)
            .and_then(|i| bounds.get(i))
            .map(ToString::to_string);
        let to = bounds.get(i).map(ToString::to_string);
        let json = json!({ "shard": shard, "from": from, "to": to });
        Part {
            cells: vec![shard, from.unwrap_or_default(), to.unwrap_or_default()],
            json,
        }
    };
    (
        vec!["shard", "from (inclusive)", "to (exclusive)"],
        owners.iter().enumerate().map(part).collect(),
    )
}

/// The default has the value null.
fn list_parts(
    snapshot: &Snapshot,
    values: &HashMap<Key, ShardId>,
    default: Option<ShardId>,
) -> (Vec<&'static str>, Vec<Part>) {
    let mut values: Vec<_> = values.iter().collect();
    values.sort();
    let part = |value: Option<String>, owner: ShardId| {
        let shard = shard_name(snapshot, owner);
        let json = json!({ "shard": shard, "value": value });
        Part {
            cells: vec![shard, value.unwrap_or("(all others)".to_owned())],
            json,
        }
    };
    let named = values
        .into_iter()
        .map(|(value, owner)| part(Some(value.to_string()), *owner));
    let parts = named
        .chain(default.map(|owner| part(None, owner)))
        .collect();
    (vec!["shard", "value"], parts)
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
