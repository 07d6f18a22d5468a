//! Which moves a cluster needs: to even the load out after shards came or got other weights, or to empty a shard.
//!
//! It looks and computes, and changes nothing; what it answers is started move by move.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::load::load;
use crate::moves::balance::{Unit, balance};
use crate::moves::measure::{Load, counted, estimated, units};
use crate::moves::spec::PartsSpec;
use crate::moves::table::of_distribution;
use crate::shard::{self, ShardRow};
use serde::Serialize;
use shardgate_plan::snapshot::Distribution;
use shardgate_shard_map::{Method, Parts, ShardId, ShardMap, Unpinned, rebalance};
use std::collections::BTreeMap;

/// By what the shards' shares are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number of buckets, ranges or values: nothing is read.
    #[default]
    Buckets,
    /// Rows, counted.
    Rows,
    /// Bytes of rows, counted.
    Bytes,
}

/// What is to be planned.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// The distribution's name; None: all of them.
    pub distribution: Option<String>,
    pub measure: Measure,
    /// Names of shards that are to have nothing.
    pub drain: Vec<String>,
    /// Only what the drained shards have is moved; the others keep what they have.
    pub only_drain: bool,
}

/// One distribution's plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub distribution: String,
    /// Of every shard, ascending by id.
    pub shards: Vec<Share>,
    /// In the order in which they are to be made.
    pub moves: Vec<PlannedMove>,
}

/// What one shard has, and will have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    pub shard: String,
    pub weight: u32,
    pub before: Load,
    pub after: Load,
}

/// One move, as `start` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedMove {
    pub from: String,
    pub to: String,
    #[serde(skip)]
    pub parts: PartsSpec,
    /// The parts for people: `buckets 12-40, 77`.
    pub text: String,
    /// What is moved: counted or estimated.
    pub load: Load,
}

/// Plans every distribution that was asked for.
///
/// # Errors
/// 42704 for names that are not there, 22023 if no shard would be left with a weight, 08006 if a shard that has to be
/// asked cannot be reached.
pub async fn plan(home: &mut Backend, request: &PlanRequest) -> Result<Vec<Plan>, CatalogError> {
    let snapshot = load(home, None).await?.build()?;
    let base = home.config().clone();
    let shards = shard::all(&**home, &base, home.whom()).await?;
    if let Some(name) = request
        .drain
        .iter()
        .find(|name| !shards.iter().any(|shard| shard.name == **name))
    {
        return Err(PgError::new("42704", format!("shard \"{name}\" does not exist")).into());
    }
    let mut all: Vec<&Distribution> = snapshot.distributions.values().collect();
    all.sort_by_key(|distribution| distribution.id);
    if let Some(name) = &request.distribution {
        all.retain(|distribution| distribution.name == *name);
        if all.is_empty() {
            return Err(
                PgError::new("42704", format!("distribution \"{name}\" does not exist")).into(),
            );
        }
    }
    let mut plans = Vec::new();
    for distribution in all {
        plans.push(of_one(home, distribution, &shards, request).await?);
    }
    Ok(plans)
}

async fn of_one(
    home: &Backend,
    distribution: &Distribution,
    shards: &[ShardRow],
    request: &PlanRequest,
) -> Result<Plan, CatalogError> {
    let map = &distribution.map;
    let units = units(map);
    let loads = loads(home, distribution, shards, &units, request.measure).await?;
    let weights: BTreeMap<ShardId, u32> = shards
        .iter()
        .map(|shard| {
            let drained = request.drain.contains(&shard.name);
            (shard.shard_id(), if drained { 0 } else { shard.weight })
        })
        .collect();
    let owners = owners(map, &units, &loads, &weights, request)?;
    let mut moved: BTreeMap<(ShardId, ShardId), (Vec<Parts>, Load)> = BTreeMap::new();
    let mut shares: BTreeMap<ShardId, (Load, Load)> = shards
        .iter()
        .map(|shard| (shard.shard_id(), Default::default()))
        .collect();
    for (((unit, from), load), to) in units.iter().zip(&loads).zip(&owners) {
        shares.entry(*from).or_default().0.add(*load);
        shares.entry(*to).or_default().1.add(*load);
        if from != to {
            let (parts, sum) = moved.entry((*from, *to)).or_default();
            parts.push(unit.clone());
            sum.add(*load);
        }
    }
    let name = |id: ShardId| {
        let found = shards.iter().find(|shard| shard.shard_id() == id);
        found.map_or_else(|| format!("shard {}", id.0), |shard| shard.name.clone())
    };
    let mut moves = Vec::new();
    for ((from, to), (parts, load)) in moved {
        let (from, to) = (name(from), name(to));
        moves.extend(specs(&parts).into_iter().map(|(parts, share)| PlannedMove {
            from: from.clone(),
            to: to.clone(),
            text: text(&parts),
            parts,
            load: part_of(load, share),
        }));
    }
    let shares = shards.iter().map(|shard| {
        let (before, after) = shares.get(&shard.shard_id()).copied().unwrap_or_default();
        let weight = weights.get(&shard.shard_id()).copied().unwrap_or_default();
        Share {
            shard: shard.name.clone(),
            weight,
            before,
            after,
        }
    });
    Ok(Plan {
        distribution: distribution.name.clone(),
        shards: shares.collect(),
        moves,
    })
}

/// What there is of each unit. Measured by buckets, nothing is counted: a shard's rows are spread over its units evenly.
async fn loads(
    home: &Backend,
    distribution: &Distribution,
    shards: &[ShardRow],
    units: &[(Parts, ShardId)],
    measure: Measure,
) -> Result<Vec<Load>, CatalogError> {
    let id = i32::try_from(distribution.id.0).unwrap_or_default();
    let tables = of_distribution(home, id).await?;
    let mut loads = vec![
        Load {
            units: 1,
            ..Load::default()
        };
        units.len()
    ];
    for shard in shards {
        let own: Vec<usize> = (0..units.len())
            .filter(|number| {
                units
                    .get(*number)
                    .is_some_and(|(_, owner)| *owner == shard.shard_id())
            })
            .collect();
        if own.is_empty() || tables.is_empty() {
            continue;
        }
        let found = match measure {
            Measure::Buckets => {
                let all = estimated(shard, &tables).await?;
                let count = u64::try_from(own.len()).unwrap_or(u64::MAX);
                (0..count)
                    .map(|number| nth_share(all, number, count))
                    .collect()
            }
            Measure::Rows | Measure::Bytes => {
                let parts: Vec<Parts> = own
                    .iter()
                    .filter_map(|number| units.get(*number).map(|(parts, _)| parts.clone()))
                    .collect();
                counted(shard, &tables, &distribution.map, &parts).await?
            }
        };
        for (number, load) in own.into_iter().zip(found) {
            if let Some(slot) = loads.get_mut(number) {
                *slot = load;
            }
        }
    }
    Ok(loads)
}

/// So that the shares sum up to the whole.
fn nth_share(all: Load, number: u64, count: u64) -> Load {
    let nth = |whole: u64| whole / count + u64::from(number < whole % count);
    Load {
        units: 1,
        rows: nth(all.rows),
        bytes: nth(all.bytes),
    }
}

fn owners(
    map: &ShardMap,
    units: &[(Parts, ShardId)],
    loads: &[Load],
    weights: &BTreeMap<ShardId, u32>,
    request: &PlanRequest,
) -> Result<Vec<ShardId>, CatalogError> {
    let nobody = || {
        PgError::new("22023", "no shard would be left to take the data")
            .hint("Give another shard a weight above zero.")
    };
    let keeps = |owner: &ShardId| weights.get(owner).is_some_and(|weight| *weight > 0);
    let measured = |load: &Load| match request.measure {
        Measure::Buckets => 1,
        Measure::Rows => load.rows,
        Measure::Bytes => load.bytes,
    };
    // A key that is pinned stays where somebody has put it, unless its shard is emptied.
    let free = |(parts, owner): &(Parts, ShardId)| {
        parts.pins.is_empty() && !(request.only_drain && keeps(owner))
    };
    let shares = if request.only_drain {
        lacking(units, loads, weights, &measured)
    } else {
        weights.clone()
    };
    let mut owners: Vec<ShardId> = units.iter().map(|(_, owner)| *owner).collect();
    let chosen: Vec<usize> = (0..units.len())
        .filter(|n| {
            units
                .get(*n)
                .is_some_and(|unit| free(unit) || !keeps(&unit.1))
        })
        .collect();
    if chosen.is_empty() {
        return Ok(owners);
    }
    let by_buckets = request.measure == Measure::Buckets && !request.only_drain;
    if let (true, Method::Hash { owners: old }) = (by_buckets, &map.method) {
        let list: Vec<(ShardId, u32)> = weights.iter().map(|(id, weight)| (*id, *weight)).collect();
        let new = rebalance(old, &list).map_err(|_| nobody())?;
        // Buckets come first among the units.
        for (slot, owner) in owners.iter_mut().zip(new) {
            *slot = owner;
        }
    }
    let unit = |n: &usize| {
        let (owner, load) = (owners.get(*n).copied(), loads.get(*n));
        Unit {
            owner: owner.unwrap_or(ShardId(0)),
            load: load.map(&measured).unwrap_or_default(),
        }
    };
    let list: Vec<Unit> = chosen.iter().map(unit).collect();
    let left = match (by_buckets, &map.method) {
        // Only pinned keys of emptied shards are without an owner yet.
        (true, Method::Hash { .. }) => list.iter().any(|unit| !keeps(&unit.owner)),
        (_, Method::Hash { .. } | Method::Range { .. } | Method::List { .. }) => true,
    };
    if left {
        let new = balance(&list, &shares).ok_or_else(nobody)?;
        for (number, owner) in chosen.iter().zip(new) {
            if let Some(slot) = owners.get_mut(*number) {
                *slot = owner;
            }
        }
    }
    Ok(owners)
}

/// When only some shards are emptied, the others get what comes in proportion to what they lack, and keep what they have.
fn lacking(
    units: &[(Parts, ShardId)],
    loads: &[Load],
    weights: &BTreeMap<ShardId, u32>,
    measured: &impl Fn(&Load) -> u64,
) -> BTreeMap<ShardId, u32> {
    let total: u64 = loads.iter().map(measured).sum();
    let sum: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    let lack = |shard: &ShardId, weight: u32| {
        let own = units
            .iter()
            .zip(loads)
            .filter(|((_, owner), _)| owner == shard);
        let has: u64 = own.map(|(_, load)| measured(load)).sum();
        let share = u128::from(total) * u128::from(weight) / u128::from(sum.max(1));
        let lack = share.saturating_sub(u128::from(has));
        // In millionths of the whole; never 0, so that there is always somebody.
        let part = lack * 1_000_000 / u128::from(total.max(1));
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    };
    weights
        .iter()
        .filter(|(_, weight)| **weight > 0)
        .map(|(shard, weight)| (*shard, lack(shard, *weight)))
        .collect()
}

/// Units of one pair of shards as `start` takes them, each with the part of the units that are in it: keys of their own
/// are moved by themselves.
fn specs(units: &[Parts]) -> Vec<(PartsSpec, (usize, usize))> {
    let mut buckets: Vec<u32> = Vec::new();
    let mut ranges = Vec::new();
    let (mut values, mut default) = (Vec::new(), false);
    let mut keys = Vec::new();
    for unit in units {
        keys.extend(unit.pins.iter().map(ToString::to_string));
        match &unit.unpinned {
            Unpinned::None => {}
            Unpinned::Buckets(more) => buckets.extend(more),
            Unpinned::Ranges(more) => {
                let text =
                    |key: &Option<shardgate_shard_map::Key>| key.as_ref().map(ToString::to_string);
                ranges.extend(more.iter().map(|(low, high)| (text(low), text(high))));
            }
            Unpinned::Values {
                values: more,
                default: rest,
            } => {
                values.extend(more.iter().map(ToString::to_string));
                default |= rest;
            }
        }
    }
    let all = units.len();
    let mut out = Vec::new();
    if !buckets.is_empty() {
        out.push((PartsSpec::Buckets(runs(&buckets)), (buckets.len(), all)));
    }
    if !ranges.is_empty() {
        let count = ranges.len();
        out.push((PartsSpec::Ranges(ranges), (count, all)));
    }
    if !values.is_empty() || default {
        let count = values.len() + usize::from(default);
        out.push((PartsSpec::Values { values, default }, (count, all)));
    }
    if !keys.is_empty() {
        let count = keys.len();
        out.push((PartsSpec::Keys(keys), (count, all)));
    }
    out
}

/// First and last of each run of an ascending list.
fn runs(buckets: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for bucket in buckets {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *bucket => *last = *bucket,
            Some(_) | None => runs.push((*bucket, *bucket)),
        }
    }
    runs
}

fn part_of(load: Load, (part, all): (usize, usize)) -> Load {
    let of = |whole: u64| {
        let part = u128::from(whole) * (part as u128) / (all.max(1) as u128);
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    Load {
        units: of(load.units),
        rows: of(load.rows),
        bytes: of(load.bytes),
    }
}

/// For people.
pub fn text(parts: &PartsSpec) -> String {
    match parts {
        PartsSpec::Buckets(runs) => {
            let run = |(first, last): &(u32, u32)| {
                if first == last {
                    first.to_string()
                } else {
                    format!("{first}-{last}")
                }
            };
            let list: Vec<String> = runs.iter().map(run).collect();
            format!("buckets {}", list.join(","))
        }
        PartsSpec::Ranges(ranges) => {
            let bound = |bound: &Option<String>| bound.clone().unwrap_or("-".to_owned());
            let range = |(low, high): &(Option<String>, Option<String>)| {
                format!("[{}, {})", bound(low), bound(high))
            };
            let list: Vec<String> = ranges.iter().map(range).collect();
            format!("range {}", list.join(", "))
        }
        PartsSpec::Values { values, default } => {
            let mut list = values.clone();
            list.extend(default.then(|| "(all others)".to_owned()));
            format!("values {}", list.join(", "))
        }
        PartsSpec::Keys(keys) => format!("keys {}", keys.join(", ")),
    }
}
