//! Which units (buckets, ranges, values) change their shard so that every shard's load comes near to its share, with as
//! little moved as that takes. A pure function.

use shardgate_shard_map::ShardId;
use std::collections::BTreeMap;

/// A shard within this part of its share is left alone.
const NEAR: f64 = 0.02;

/// What a move must bring both shards nearer to their shares, as a part of what is moved; 2 is the most.
const WORTH: f64 = 0.5;

/// A unit: whose it is, and its load in any measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub owner: ShardId,
    pub load: u64,
}

/// The units' new owners, in the order of the units. A shard that has weight 0 or is not named keeps nothing.
///
/// None: no shard has a weight above zero.
pub(crate) fn balance(units: &[Unit], weights: &BTreeMap<ShardId, u32>) -> Option<Vec<ShardId>> {
    let total: u64 = units.iter().map(|unit| unit.load).sum();
    let sum: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    if sum == 0 {
        return None;
    }
    // What each shard lacks of its share; negative: it has more.
    let mut lacks: BTreeMap<ShardId, f64> = weights
        .iter()
        .filter(|(_, weight)| **weight > 0)
        .map(|(shard, weight)| (*shard, float(total) * f64::from(*weight) / float(sum)))
        .collect();
    let shares = lacks.clone();
    let mut owners: Vec<ShardId> = units.iter().map(|unit| unit.owner).collect();
    let mut homeless = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        match lacks.get_mut(&unit.owner) {
            Some(lack) => *lack -= float(unit.load),
            None => homeless.push(number),
        }
    }
    // The large ones first: the small ones then fill what is left.
    homeless.sort_by_key(|number| std::cmp::Reverse(load(units, *number)));
    for number in homeless {
        let to = most_lacking(&lacks)?;
        give(&mut owners, &mut lacks, units, number, to);
    }
    // Each unit is moved once at most, so this ends.
    let mut moved = vec![false; units.len()];
    while let Some((number, to)) = best_step(units, &owners, &lacks, &shares, &moved) {
        give(&mut owners, &mut lacks, units, number, to);
        if let Some(flag) = moved.get_mut(number) {
            *flag = true;
        }
    }
    Some(owners)
}

/// The unit and its new shard: from the shard that has most too much to one that lacks, the largest unit that makes
/// neither of them worse than it helps the other.
fn best_step(
    units: &[Unit],
    owners: &[ShardId],
    lacks: &BTreeMap<ShardId, f64>,
    shares: &BTreeMap<ShardId, f64>,
    moved: &[bool],
) -> Option<(usize, ShardId)> {
    let to = most_lacking(lacks)?;
    let lack = lacks.get(&to).copied().unwrap_or_default();
    let far = |shard: &ShardId, by: f64| by > shares.get(shard).copied().unwrap_or_default() * NEAR;
    let mut full: Vec<(&ShardId, f64)> = lacks
        .iter()
        .map(|(shard, lack)| (shard, -lack))
        .filter(|(shard, surplus)| *surplus > 0.0 && (far(shard, *surplus) || far(&to, lack)))
        .collect();
    full.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    full.iter().find_map(|(from, surplus)| {
        let candidates = owners
            .iter()
            .enumerate()
            .filter(|(number, owner)| *owner == *from && !moved.get(*number).unwrap_or(&true));
        candidates
            .filter_map(|(number, _)| {
                let load = float(load(units, number));
                let gain = surplus + lack - (surplus - load).abs() - (lack - load).abs();
                (load > 0.0 && gain >= load * WORTH).then_some((number, load, gain))
            })
            // Most gained for what is moved, then the fewest moves.
            .max_by(|a, b| {
                let rate = |step: &(usize, f64, f64)| step.2 / step.1;
                rate(a)
                    .total_cmp(&rate(b))
                    .then(a.1.total_cmp(&b.1))
                    .then(b.0.cmp(&a.0))
            })
            .map(|(number, _, _)| (number, to))
    })
}

fn most_lacking(lacks: &BTreeMap<ShardId, f64>) -> Option<ShardId> {
    let mut all: Vec<(&ShardId, &f64)> = lacks.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    all.first().map(|(shard, _)| **shard)
}

fn give(
    owners: &mut [ShardId],
    lacks: &mut BTreeMap<ShardId, f64>,
    units: &[Unit],
    number: usize,
    to: ShardId,
) {
    let Some(owner) = owners.get_mut(number) else {
        return;
    };
    let load = float(load(units, number));
    if let Some(lack) = lacks.get_mut(owner) {
        *lack += load;
    }
    if let Some(lack) = lacks.get_mut(&to) {
        *lack -= load;
    }
    *owner = to;
}

fn load(units: &[Unit], number: usize) -> u64 {
    units.get(number).map(|unit| unit.load).unwrap_or_default()
}

/// Shares are fractions; loads beyond 2^53 bytes only lose their last digits.
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owners and loads as `1:10 2:5`, weights as `1:100 2:100`, and the owners that come of it.
    fn check(units: &str, weights: &str, expect: &str) {
        let pairs = |text: &str| -> Vec<(u16, u64)> {
            let pair = |word: &str| {
                let (a, b) = word.split_once(':').unwrap();
                (a.parse().unwrap(), b.parse().unwrap())
            };
            text.split_whitespace().map(pair).collect()
        };
        let unit = |(owner, load): (u16, u64)| Unit {
            owner: ShardId(owner),
            load,
        };
        let units: Vec<Unit> = pairs(units).into_iter().map(unit).collect();
        let weights = pairs(weights)
            .into_iter()
            .map(|(shard, weight)| (ShardId(shard), u32::try_from(weight).unwrap()))
            .collect();
        let owners = balance(&units, &weights).map(|owners| {
            let owners: Vec<String> = owners.iter().map(|owner| owner.0.to_string()).collect();
            owners.join(" ")
        });
        assert_eq!(owners.as_deref().unwrap_or("none"), expect);
    }

    #[test]
    fn as_little_as_it_takes_is_moved() {
        check("", "1:1", "");
        check("1:5", "1:0", "none");
        check("1:10 1:10 2:10 2:10", "1:1 2:1", "1 1 2 2");
        // A new shard gets its third.
        check("1:1 1:1 1:1 2:1 2:1 2:1", "1:1 2:1 3:1", "3 1 1 3 2 2");
        // One that is drained, or not named at all.
        check("1:3 1:3 2:3 2:3", "1:1 2:0", "1 1 1 1");
        check("1:3 2:4 3:7", "1:1 2:1", "2 2 1");
        // Two that fit rather than one that is too large; one that fits rather than two.
        check("1:10 1:4 1:6 2:0", "1:1 2:1", "2 1 1 2");
        check("1:12 1:1 1:7", "1:3 2:1", "1 2 1");
        // Weights, and a remainder that cannot be shared.
        check("1:1 1:1 1:1 1:1", "1:3 2:1", "2 1 1 1");
        check("1:1 1:1 2:1 3:1", "1:1 2:1 3:1", "1 1 2 3");
        check("1:0 1:0", "1:1 2:1", "1 1");
    }

    #[test]
    fn every_shard_comes_near_to_its_share() {
        for seed in 1u64..200 {
            let mut state = seed;
            let mut random = |below: u64| {
                // xorshift64
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let units: Vec<Unit> = (0..256)
                .map(|_| Unit {
                    owner: ShardId(u16::try_from(random(3)).unwrap() + 1),
                    load: random(1000),
                })
                .collect();
            let weights = BTreeMap::from([(ShardId(1), 100), (ShardId(2), 50), (ShardId(4), 100)]);
            let owners = balance(&units, &weights).unwrap();
            let total: u64 = units.iter().map(|unit| unit.load).sum();
            let mut moved = 0;
            for (shard, weight) in &weights {
                let of = |owned: &dyn Fn(usize) -> bool| -> u64 {
                    let own = units.iter().enumerate().filter(|(n, _)| owned(*n));
                    own.map(|(_, unit)| unit.load).sum()
                };
                let (now, before) = (
                    of(&|n| owners[n] == *shard),
                    of(&|n| units[n].owner == *shard),
                );
                let share = total * u64::from(*weight) / 250;
                assert!(
                    now.abs_diff(share) <= share / 25,
                    "seed {seed}: {shard:?} has {now} of {share}"
                );
                moved += now.saturating_sub(before);
            }
            let went: u64 = (0..units.len())
                .filter(|n| owners[*n] != units[*n].owner)
                .map(|n| units[n].load)
                .sum();
            // What came is what went: nothing was moved to and fro.
            assert!(
                went <= moved + total / 50,
                "seed {seed}: {went} moved for {moved}"
            );
        }
    }
}
