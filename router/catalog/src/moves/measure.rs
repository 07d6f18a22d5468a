//! How much there is of each unit of a distribution, asked of the shards: counted, or estimated from what they know.

use crate::error::CatalogError;
use crate::moves::table::MoveTable;
use crate::quote::ident;
use crate::shard::ShardRow;
use serde::Serialize;
use shardgate_shard_map::{Method, Parts, ShardId, ShardMap, Unpinned, bucket_sql};
use std::collections::{BTreeMap, BTreeSet};

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Buckets, ranges, values, pinned keys.
    pub units: u64,
    pub rows: u64,
    /// Of the rows, without indexes.
    pub bytes: u64,
}

impl Load {
    pub(crate) fn add(&mut self, other: Load) {
        self.units += other.units;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// Rows and bytes of units that one shard owns, counted by reading the tables. `units` are sets of keys that do not
/// overlap.
pub(crate) async fn counted(
    row: &ShardRow,
    tables: &[MoveTable],
    map: &ShardMap,
    units: &[Parts],
) -> Result<Vec<Load>, CatalogError> {
    let mut loads = vec![
        Load {
            units: 1,
            ..Load::default()
        };
        units.len()
    ];
    if units.is_empty() {
        return Ok(loads);
    }
    let backend = row.connect().await?;
    for table in tables {
        let key = format!("r.{}", ident(&table.key));
        let sql = format!(
            "SELECT unit::int8, count(*), coalesce(sum(size), 0)::int8 FROM (SELECT {} AS unit, pg_column_size(r.*) AS size \
             FROM {} AS r OFFSET 0) AS u WHERE unit IS NOT NULL GROUP BY unit",
            unit_sql(&key, map, units),
            table.sql(),
        );
        let rows = backend
            .query(&sql, &[])
            .await
            .map_err(|error| backend.err(&error))?;
        for found in &rows {
            let number = usize::try_from(found.get::<_, i64>(0)).ok();
            if let Some(load) = number.and_then(|number| loads.get_mut(number)) {
                load.rows += unsigned(found.get(1));
                load.bytes += unsigned(found.get(2));
            }
        }
    }
    Ok(loads)
}

/// The number of the unit that a row's key belongs to; NULL: of none.
fn unit_sql(key: &str, map: &ShardMap, units: &[Parts]) -> String {
    // Buckets are many: their numbers are translated by an array.
    let mut by_bucket: BTreeMap<u32, usize> = BTreeMap::new();
    let mut cases = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        match &unit.unpinned {
            Unpinned::Buckets(buckets) if unit.pins.is_empty() => {
                by_bucket.extend(buckets.iter().map(|bucket| (*bucket, number)));
            }
            Unpinned::None
            | Unpinned::Buckets(_)
            | Unpinned::Ranges(_)
            | Unpinned::Values { .. } => {
                cases.push(format!(
                    "WHEN {} THEN {number}",
                    unit.predicate_sql(key, map)
                ));
            }
        }
    }
    let rest = match (&map.method, map.buckets()) {
        (Method::Hash { .. }, Some(count)) if !by_bucket.is_empty() => {
            let all = Parts::of_buckets(by_bucket.keys().copied());
            let number = |bucket| {
                by_bucket
                    .get(&bucket)
                    .map_or("NULL".to_owned(), ToString::to_string)
            };
            let list: Vec<String> = (0..count).map(number).collect();
            let bucket = bucket_sql(key, count);
            format!(
                "WHEN {} THEN (ARRAY[{}]::int4[])[1 + ({bucket})::int4]",
                all.predicate_sql(key, map),
                list.join(",")
            )
        }
        _ => String::new(),
    };
    format!("CASE {} {rest} END", cases.join(" "))
}

/// Rows and bytes of all units of one shard together, without reading them.
pub(crate) async fn estimated(row: &ShardRow, tables: &[MoveTable]) -> Result<Load, CatalogError> {
    let backend = row.connect().await?;
    let mut load = Load::default();
    for table in tables {
        let found = backend
            .query_one(
                "SELECT greatest(reltuples, 0)::int8, pg_table_size(oid), reltuples < 0 FROM pg_class WHERE oid = $1::text::regclass",
                &[&table.sql()],
            )
            .await
            .map_err(|error| backend.err(&error))?;
        let (mut rows, bytes): (i64, i64) = (found.get(0), found.get(1));
        if found.get(2) && bytes > 0 {
            // Nobody has analysed it yet.
            let sql = format!("SELECT count(*) FROM {}", table.sql());
            let counted = backend.query_one(&sql, &[]).await;
            rows = counted.map_err(|error| backend.err(&error))?.get(0);
        }
        load.rows += unsigned(rows);
        load.bytes += unsigned(bytes);
    }
    Ok(load)
}

/// The units of a map, each with its owner: single buckets, ranges, values, and keys that are pinned.
pub(crate) fn units(map: &ShardMap) -> Vec<(Parts, ShardId)> {
    let of = |unpinned| Parts {
        unpinned,
        pins: BTreeSet::new(),
    };
    let mut all: Vec<(Parts, ShardId)> = match &map.method {
        Method::Hash { owners } => (0u32..)
            .zip(owners)
            .map(|(bucket, owner)| (Parts::of_buckets([bucket]), *owner))
            .collect(),
        Method::Range { bounds, owners } => owners
            .iter()
            .enumerate()
            .map(|(number, owner)| {
                let low = number.checked_sub(1).and_then(|n| bounds.get(n)).cloned();
                let range = (low, bounds.get(number).cloned());
                (of(Unpinned::Ranges(vec![range])), *owner)
            })
            .collect(),
        Method::List { values, default } => {
            let mut sorted: Vec<_> = values.iter().collect();
            sorted.sort();
            let value = |values, default| of(Unpinned::Values { values, default });
            let named = sorted
                .into_iter()
                .map(|(key, owner)| (value(BTreeSet::from([key.clone()]), false), *owner));
            let rest = default.map(|owner| (value(BTreeSet::new(), true), owner));
            named.chain(rest).collect()
        }
    };
    let mut pins: Vec<_> = map.pins.iter().collect();
    pins.sort();
    all.extend(
        pins.into_iter()
            .map(|(key, owner)| (Parts::of_pins([key.clone()]), *owner)),
    );
    all
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
