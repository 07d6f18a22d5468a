//! What changes hands between two maps of one distribution.

use crate::key::Key;
use crate::map::{Bucket, Method, ShardId, ShardMap};
use std::collections::{BTreeSet, HashMap};

/// A part of the key space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Bucket(Bucket),
    /// `low <= key < high`; None: no bound on that side.
    Range {
        low: Option<Key>,
        high: Option<Key>,
    },
    /// One value of a list map.
    Value(Key),
    /// All values that neither of the two list maps names.
    Default,
    /// One key that at least one of the two maps pins.
    Pin(Key),
}

/// A part with another owner than before. No owner: the map refuses such keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub part: Part,
    pub from: Option<ShardId>,
    pub to: Option<ShardId>,
}

/// The maps differ in method, key type or number of buckets: then everything is distributed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the maps differ in method, key type or number of buckets")]
pub struct NotComparable;

/// What changes hands from `old` to `new`, in the order of the key space, pins last.
///
/// Buckets, ranges and values speak of the keys that neither map pins; a pinned key is told by its own [`Part::Pin`].
pub fn diff(old: &ShardMap, new: &ShardMap) -> Result<Vec<Change>, NotComparable> {
    if old.key_type != new.key_type {
        return Err(NotComparable);
    }
    let mut changes = match (&old.method, &new.method) {
        (Method::Hash { owners: before }, Method::Hash { owners: after })
            if before.len() == after.len() =>
        {
            buckets(before, after)
        }
        (
            Method::Range {
                bounds: old_bounds, ..
            },
            Method::Range {
                bounds: new_bounds, ..
            },
        ) => ranges(old, new, old_bounds.iter().chain(new_bounds)),
        (
            Method::List {
                values: before,
                default: default_before,
            },
            Method::List {
                values: after,
                default: default_after,
            },
        ) => values((before, *default_before), (after, *default_after)),
        (
            Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
            Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
        ) => return Err(NotComparable),
    };
    let pinned: BTreeSet<&Key> = old.pins.keys().chain(new.pins.keys()).collect();
    for key in pinned {
        let (from, to) = (old.route(key).ok(), new.route(key).ok());
        push(&mut changes, Part::Pin(key.clone()), from, to);
    }
    Ok(changes)
}

fn push(changes: &mut Vec<Change>, part: Part, from: Option<ShardId>, to: Option<ShardId>) {
    if from != to {
        changes.push(Change { part, from, to });
    }
}

fn buckets(before: &[ShardId], after: &[ShardId]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (bucket, (from, to)) in (0u32..).zip(before.iter().zip(after)) {
        push(
            &mut changes,
            Part::Bucket(Bucket(bucket)),
            Some(*from),
            Some(*to),
        );
    }
    changes
}

/// Between two neighbouring bounds of either map both have one owner. Neighbours with the same change are joined.
fn ranges<'a>(
    old: &ShardMap,
    new: &ShardMap,
    bounds: impl Iterator<Item = &'a Key>,
) -> Vec<Change> {
    let bounds: BTreeSet<&Key> = bounds.collect();
    let lows = std::iter::once(None).chain(bounds.iter().copied().map(Some));
    let highs = bounds
        .iter()
        .copied()
        .map(Some)
        .chain(std::iter::once(None));
    let mut changes: Vec<Change> = Vec::new();
    for (low, high) in lows.zip(highs) {
        let (from, to) = (owner_from(old, low), owner_from(new, low));
        if let Some(Change {
            part: Part::Range { high: end, .. },
            from: f,
            to: t,
        }) = changes.last_mut()
            && end.as_ref() == low
            && (*f, *t) == (from, to)
        {
            *end = high.cloned();
            continue;
        }
        let part = Part::Range {
            low: low.cloned(),
            high: high.cloned(),
        };
        push(&mut changes, part, from, to);
    }
    changes
}

/// The owner of the range that begins at `low`, or of the first range.
fn owner_from(map: &ShardMap, low: Option<&Key>) -> Option<ShardId> {
    match &map.method {
        Method::Range { bounds, owners } => {
            let range = low.map_or(0, |low| bounds.partition_point(|bound| bound <= low));
            owners.get(range).copied()
        }
        Method::Hash { .. } | Method::List { .. } => None,
    }
}

type List<'a> = (&'a HashMap<Key, ShardId>, Option<ShardId>);

fn values(old: List<'_>, new: List<'_>) -> Vec<Change> {
    let owner = |(values, default): List<'_>, key: &Key| values.get(key).copied().or(default);
    let named: BTreeSet<&Key> = old.0.keys().chain(new.0.keys()).collect();
    let mut changes = Vec::new();
    for key in named {
        push(
            &mut changes,
            Part::Value(key.clone()),
            owner(old, key),
            owner(new, key),
        );
    }
    push(&mut changes, Part::Default, old.1, new.1);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;
    use proptest::prelude::*;

    fn map(method: Method) -> ShardMap {
        ShardMap {
            key_type: KeyType::Int8,
            method,
            pins: HashMap::new(),
        }
    }

    fn hash(owners: &[u16]) -> ShardMap {
        map(Method::Hash {
            owners: owners.iter().copied().map(ShardId).collect(),
        })
    }

    fn range(bounds: &[i64], owners: &[u16]) -> ShardMap {
        map(Method::Range {
            bounds: bounds.iter().copied().map(Key::Int).collect(),
            owners: owners.iter().copied().map(ShardId).collect(),
        })
    }

    fn list(values: &[(i64, u16)], default: Option<u16>) -> ShardMap {
        map(Method::List {
            values: values
                .iter()
                .map(|(value, shard)| (Key::Int(*value), ShardId(*shard)))
                .collect(),
            default: default.map(ShardId),
        })
    }

    /// One word for each change: `part:from>to`.
    fn check(old: &ShardMap, new: &ShardMap, expect: &str) {
        let shard = |id: Option<ShardId>| id.map_or("-".into(), |id| id.0.to_string());
        let bound = |key: Option<Key>| key.map_or(String::new(), |key| key.to_string());
        let words: Vec<String> = diff(old, new)
            .unwrap()
            .into_iter()
            .map(|change| {
                let part = match change.part {
                    Part::Bucket(bucket) => bucket.0.to_string(),
                    Part::Range { low, high } => format!("{}..{}", bound(low), bound(high)),
                    Part::Value(key) => key.to_string(),
                    Part::Default => "default".into(),
                    Part::Pin(key) => format!("pin {key}"),
                };
                format!("{part}:{}>{}", shard(change.from), shard(change.to))
            })
            .collect();
        assert_eq!(words.join(", "), expect);
    }

    #[test]
    fn buckets_ranges_values_and_pins() {
        check(&hash(&[1, 1, 2, 2]), &hash(&[1, 3, 2, 3]), "1:1>3, 3:2>3");
        check(&hash(&[1, 2]), &hash(&[1, 2]), "");

        check(&range(&[10], &[1, 2]), &range(&[10], &[1, 2]), "");
        check(
            &range(&[10], &[1, 2]),
            &range(&[10, 20], &[1, 2, 3]),
            "20..:2>3",
        );
        check(&range(&[10], &[1, 2]), &range(&[5], &[1, 2]), "5..10:1>2");
        check(&range(&[10], &[1, 2]), &range(&[], &[1]), "10..:2>1");
        check(
            &range(&[10, 20], &[1, 1, 1]),
            &range(&[15], &[2, 2]),
            "..:1>2",
        );
        check(
            &range(&[10, 20], &[1, 2, 1]),
            &range(&[], &[3]),
            "..10:1>3, 10..20:2>3, 20..:1>3",
        );

        check(
            &list(&[(1, 1)], None),
            &list(&[(1, 2), (7, 2)], None),
            "1:1>2, 7:->2",
        );
        check(
            &list(&[(1, 1), (2, 2)], Some(1)),
            &list(&[(2, 2)], Some(1)),
            "",
        );
        check(
            &list(&[(1, 1)], Some(1)),
            &list(&[(1, 1)], Some(2)),
            "default:1>2",
        );
        check(
            &list(&[(1, 1)], Some(2)),
            &list(&[], None),
            "1:1>-, default:2>-",
        );

        let mut pinned = hash(&[1, 1]);
        pinned.pins.insert(Key::Int(7), ShardId(2));
        check(&hash(&[1, 1]), &pinned, "pin 7:1>2");
        check(&pinned, &hash(&[1, 1]), "pin 7:2>1");
        check(&pinned, &pinned.clone(), "");
        check(&pinned, &hash(&[2, 2]), "0:1>2, 1:1>2");
    }

    #[test]
    fn maps_of_another_kind() {
        assert_eq!(
            diff(&hash(&[1, 1]), &hash(&[1, 1, 1, 1])),
            Err(NotComparable)
        );
        assert_eq!(diff(&hash(&[1]), &range(&[], &[1])), Err(NotComparable));
        let mut text = range(&[], &[1]);
        text.key_type = KeyType::Text;
        assert_eq!(diff(&range(&[], &[1]), &text), Err(NotComparable));
    }

    fn any_range() -> impl Strategy<Value = ShardMap> {
        proptest::collection::btree_set(-20i64..20, 0..6).prop_flat_map(|bounds| {
            let bounds: Vec<i64> = bounds.into_iter().collect();
            let owners = proptest::collection::vec(1u16..4, bounds.len() + 1);
            owners.prop_map(move |owners| range(&bounds, &owners))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A key is in a changed range if and only if the two maps route it differently.
        #[test]
        fn changed_ranges_are_where_the_maps_differ(old in any_range(), new in any_range()) {
            let changes = diff(&old, &new).unwrap();
            for value in -25..25 {
                let key = Key::Int(value);
                let (from, to) = (old.route(&key).ok(), new.route(&key).ok());
                let of_key: Vec<_> = changes.iter().filter(|change| match &change.part {
                    Part::Range { low, high } => {
                        low.as_ref().is_none_or(|low| *low <= key)
                            && high.as_ref().is_none_or(|high| key < *high)
                    }
                    Part::Bucket(_) | Part::Value(_) | Part::Default | Part::Pin(_) => false,
                }).collect();
                match of_key.as_slice() {
                    [] => prop_assert_eq!(from, to),
                    [change] => {
                        prop_assert_eq!((change.from, change.to), (from, to));
                        prop_assert_ne!(from, to);
                    }
                    [_, _, ..] => prop_assert!(false, "{} lies in two changes", value),
                }
            }
        }
    }
}
