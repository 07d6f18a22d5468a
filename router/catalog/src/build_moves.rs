//! The rows of a move -> what planning knows of it, or what is wrong with them.

use crate::build::damaged;
use crate::error::CatalogError;
use crate::key_text;
use crate::raw::{RawMove, RawParts};
use shardgate_plan::snapshot::{Distribution, DistributionId, Move};
use shardgate_shard_map::{BUCKETS_MAX, Key, Parts, ShardId, ShardMap, Unpinned};
use std::collections::{BTreeSet, HashMap, HashSet};

/// One move, checked against the shards and the map of its distribution.
pub(crate) fn build_move(
    raw: &RawMove,
    known: &HashSet<u16>,
    distributions: &HashMap<DistributionId, Distribution>,
) -> Result<Move, CatalogError> {
    let wrong = |what: String| damaged(&format!("move {} {what}", raw.id));
    let distribution = DistributionId(raw.distribution);
    let Some(of) = distributions.get(&distribution) else {
        return Err(wrong("is of a distribution that is not there".to_owned()));
    };
    for shard in [raw.source, raw.target] {
        if !known.contains(&shard) {
            return Err(wrong(format!("names shard {shard}, which is not there")));
        }
    }
    Ok(Move {
        id: raw.id,
        distribution,
        parts: build_parts(&raw.parts, &of.map).map_err(wrong)?,
        shards: [ShardId(raw.source), ShardId(raw.target)],
        losing: ShardId(if raw.backwards {
            raw.target
        } else {
            raw.source
        }),
        holding: raw.holding,
        since: raw.since,
    })
}

/// The parts, checked against the map. The error says what is wrong with them.
pub(crate) fn build_parts(raw: &RawParts, map: &ShardMap) -> Result<Parts, String> {
    let key = |hex: &String| {
        key_text::from_binary(map.key_type, hex)
            .ok_or_else(|| format!("has a value that is no {}", map.key_type))
    };
    let optional = |hex: &Option<String>| hex.as_ref().map(key).transpose();
    let keys = |list: &[String]| list.iter().map(key).collect::<Result<BTreeSet<Key>, _>>();
    let unpinned = if !raw.buckets.is_empty() {
        let mut buckets = BTreeSet::new();
        for (first, last) in &raw.buckets {
            if last < first || *last >= BUCKETS_MAX {
                return Err(format!("has the buckets {first} to {last}"));
            }
            buckets.extend(*first..=*last);
        }
        Unpinned::Buckets(buckets)
    } else if !raw.ranges.is_empty() {
        let ranges = raw
            .ranges
            .iter()
            .map(|(low, high)| Ok((optional(low)?, optional(high)?)))
            .collect::<Result<Vec<_>, String>>()?;
        Unpinned::Ranges(ranges)
    } else if raw.default || !raw.values.is_empty() {
        Unpinned::Values {
            values: keys(&raw.values)?,
            default: raw.default,
        }
    } else {
        Unpinned::None
    };
    let parts = Parts {
        unpinned,
        pins: keys(&raw.pins)?,
    };
    parts.validate(map).map_err(|error| error.to_string())?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shardgate_shard_map::{KeyType, Method};

    fn check(raw: &RawParts, expect: Result<&[i64], &str>) {
        let map = ShardMap {
            key_type: KeyType::Int8,
            method: Method::Range {
                bounds: vec![Key::Int(10)],
                owners: vec![ShardId(1), ShardId(2)],
            },
            pins: HashMap::new(),
        };
        let built = build_parts(raw, &map).map(|parts| {
            let keys = (0..20).filter(|key| parts.contains(&Key::Int(*key), &map));
            keys.collect::<Vec<i64>>()
        });
        assert_eq!(built, expect.map(<[i64]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn rows_become_parts() {
        let hex = |value: i64| format!("{value:016x}");
        let parts = RawParts::default;
        check(
            &RawParts {
                ranges: vec![(Some(hex(3)), Some(hex(5))), (Some(hex(19)), None)],
                pins: vec![hex(7)],
                ..parts()
            },
            Ok(&[3, 4, 7, 19]),
        );
        check(&parts(), Err("nothing is to be moved"));
        check(
            &RawParts {
                pins: vec!["00".to_owned()],
                ..parts()
            },
            Err("has a value that is no int8"),
        );
        check(
            &RawParts {
                buckets: vec![(3, 2)],
                ..parts()
            },
            Err("has the buckets 3 to 2"),
        );
        check(
            &RawParts {
                buckets: vec![(0, u32::MAX)],
                ..parts()
            },
            Err("has the buckets 0 to 4294967295"),
        );
        check(
            &RawParts {
                buckets: vec![(1, 2)],
                ..parts()
            },
            Err("a range distribution is not moved by buckets"),
        );
    }
}
