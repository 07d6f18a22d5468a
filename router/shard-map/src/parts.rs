//! Parts: a set of keys of one distribution that change hands together.
//!
//! It says which keys these are, alone and as SQL, and what a map becomes when they have another owner. A key that the
//! map pins belongs to the parts only if they name it, wherever its bucket, range or value is. While the parts are on
//! their way nothing but they changes in the map, so the set is the same before and after they have changed hands.

use crate::key::Key;
use crate::map::{Method, ShardId, ShardMap};
use crate::ownership::{any_of, bitmap_sql, compared, ranges_sql};
use std::collections::BTreeSet;

/// A set of keys of one distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Keys that the map does not pin.
    pub unpinned: Unpinned,
    /// Keys that live on a shard of their own choice, or will when they have moved.
    pub pins: BTreeSet<Key>,
}

/// Keys that a map does not pin, in the terms of its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// None of them.
    None,
    /// Numbers of buckets.
    Buckets(BTreeSet<u32>),
    /// `low <= key < high`; None: no bound on that side. They do not overlap.
    Ranges(Vec<(Option<Key>, Option<Key>)>),
    /// Values of a list map, and all that the map does not name.
    Values {
        values: BTreeSet<Key>,
        default: bool,
    },
}

/// Why parts do not fit a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    #[error("a {method} distribution is not moved by {parts}")]
    Method {
        method: &'static str,
        parts: &'static str,
    },
    #[error("bucket {0} is not in the map")]
    NoBucket(u32),
    #[error("the value {0} is not of the key type of the map")]
    WrongType(Key),
    #[error("a range ends before it begins, or two of them overlap")]
    BadRange,
    #[error("the map has no default shard")]
    NoDefault,
    #[error("nothing is to be moved")]
    Empty,
}

impl Parts {
    /// Buckets and nothing else.
    pub fn of_buckets(buckets: impl IntoIterator<Item = u32>) -> Parts {
        Parts {
            unpinned: Unpinned::Buckets(buckets.into_iter().collect()),
            pins: BTreeSet::new(),
        }
    }

    /// Single keys and nothing else.
    pub fn of_pins(pins: impl IntoIterator<Item = Key>) -> Parts {
        Parts {
            unpinned: Unpinned::None,
            pins: pins.into_iter().collect(),
        }
    }

    /// No key is in it.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
            && match &self.unpinned {
                Unpinned::None => true,
                Unpinned::Buckets(buckets) => buckets.is_empty(),
                Unpinned::Ranges(ranges) => ranges.is_empty(),
                Unpinned::Values { values, default } => values.is_empty() && !default,
            }
    }

    /// The key is one of them.
    pub fn contains(&self, key: &Key, map: &ShardMap) -> bool {
        if self.pins.contains(key) {
            return true;
        }
        if !map.pins.is_empty() && map.pins.contains_key(key) {
            return false;
        }
        match &self.unpinned {
            Unpinned::None => false,
            Unpinned::Buckets(buckets) => map
                .bucket(key)
                .is_some_and(|bucket| buckets.contains(&bucket.0)),
            Unpinned::Ranges(ranges) => ranges.iter().any(|(low, high)| {
                low.as_ref().is_none_or(|low| low <= key)
                    && high.as_ref().is_none_or(|high| key < high)
            }),
            Unpinned::Values { values, default } => {
                values.contains(key) || (*default && !is_named(map, key))
            }
        }
    }

    /// A key of `low <= key < high` (None: no bound on that side) may be one of them. It says so too often rather than
    /// too rarely: for buckets, which have no order, always.
    pub fn meets(&self, low: Option<&Key>, high: Option<&Key>) -> bool {
        let below = |key: &Key| high.is_none_or(|high| key < high);
        let above = |key: &Key| low.is_none_or(|low| low <= key);
        if self.pins.iter().any(|pin| below(pin) && above(pin)) {
            return true;
        }
        match &self.unpinned {
            Unpinned::None => false,
            Unpinned::Buckets(buckets) => !buckets.is_empty(),
            Unpinned::Ranges(ranges) => ranges.iter().any(|(from, to)| {
                from.as_ref().is_none_or(below)
                    && to.as_ref().is_none_or(|to| low.is_none_or(|low| low < to))
            }),
            Unpinned::Values { values, default } => {
                *default || values.iter().any(|value| below(value) && above(value))
            }
        }
    }

    /// An SQL expression of type boolean that is true for the keys that `contains` is true for. `column` is the key
    /// column as it stands in SQL. CHECK constraints, publication row filters and conditions of triggers take it.
    ///
    /// For NULL it may be anything.
    pub fn predicate_sql(&self, column: &str, map: &ShardMap) -> String {
        let ty = map.key_type;
        let key = compared(ty, column);
        let unpinned = match &self.unpinned {
            Unpinned::None => None,
            Unpinned::Buckets(buckets) => {
                let count = map.buckets().unwrap_or(1);
                Some(bitmap_sql(column, &bitmap(buckets, count), count))
            }
            Unpinned::Ranges(ranges) => {
                let ranges: Vec<_> = ranges
                    .iter()
                    .map(|(low, high)| (low.as_ref(), high.as_ref()))
                    .collect();
                Some(ranges_sql(&key, ty, &ranges))
            }
            Unpinned::Values { values, default } => Some(if *default {
                let others = named(map).filter(|value| !values.contains(value));
                format!("NOT {}", any_of(&key, ty, others))
            } else {
                any_of(&key, ty, values.iter())
            }),
        };
        // A key that is pinned elsewhere must not come along with its bucket.
        let others: Vec<&Key> = map
            .pins
            .keys()
            .filter(|pin| !self.pins.contains(pin))
            .collect();
        let unpinned = unpinned.map(|sql| {
            if others.is_empty() {
                format!("({sql})")
            } else {
                format!("(({sql}) AND NOT {})", any_of(&key, ty, others.into_iter()))
            }
        });
        let pins = (!self.pins.is_empty()).then(|| any_of(&key, ty, self.pins.iter()));
        match (unpinned, pins) {
            (Some(unpinned), Some(pins)) => format!("({unpinned} OR {pins})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "(false)".to_owned(),
        }
    }

    /// The map in which `owner` owns the parts, and everything else is as before.
    pub fn assigned(&self, map: &ShardMap, owner: ShardId) -> Result<ShardMap, PartsError> {
        self.validate(map)?;
        let mut new = map.clone();
        for pin in &self.pins {
            new.pins.insert(pin.clone(), owner);
        }
        match (&self.unpinned, &mut new.method) {
            (Unpinned::None, _) => {}
            (Unpinned::Buckets(buckets), Method::Hash { owners }) => {
                for bucket in buckets {
                    let place = usize::try_from(*bucket).ok();
                    if let Some(place) = place.and_then(|i| owners.get_mut(i)) {
                        *place = owner;
                    }
                }
            }
            (Unpinned::Ranges(ranges), Method::Range { bounds, owners }) => {
                for (low, high) in ranges {
                    assign_range(bounds, owners, low.as_ref(), high.as_ref(), owner);
                }
            }
            (
                Unpinned::Values {
                    values,
                    default: all,
                },
                Method::List {
                    values: known,
                    default,
                },
            ) => {
                for value in values {
                    known.insert(value.clone(), owner);
                }
                if *all {
                    *default = Some(owner);
                }
            }
            (
                Unpinned::Buckets(_) | Unpinned::Ranges(_) | Unpinned::Values { .. },
                Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
            ) => return Err(self.method_error(map)),
        }
        Ok(new)
    }

    /// Every shard that owns one of the keys, ascending. A single one is what a move needs.
    pub fn owners(&self, map: &ShardMap) -> Result<BTreeSet<ShardId>, PartsError> {
        self.validate(map)?;
        let mut found = BTreeSet::new();
        for pin in &self.pins {
            found.extend(map.route(pin).ok());
        }
        match (&self.unpinned, &map.method) {
            (Unpinned::None, _) => {}
            (Unpinned::Buckets(buckets), Method::Hash { owners }) => {
                let owner = |bucket: &u32| owners.get(usize::try_from(*bucket).ok()?);
                found.extend(buckets.iter().filter_map(owner));
            }
            (Unpinned::Ranges(ranges), Method::Range { bounds, owners }) => {
                for (low, high) in ranges {
                    let first = low
                        .as_ref()
                        .map_or(0, |low| bounds.partition_point(|bound| bound <= low));
                    let end = high.as_ref().map_or(owners.len(), |high| {
                        bounds.partition_point(|bound| bound < high) + 1
                    });
                    found.extend(owners.get(first..end).unwrap_or_default());
                }
            }
            (
                Unpinned::Values { values, default },
                Method::List {
                    default: default_shard,
                    ..
                },
            ) => {
                found.extend(values.iter().filter_map(|value| map.route(value).ok()));
                found.extend(default_shard.filter(|_| *default));
            }
            (
                Unpinned::Buckets(_) | Unpinned::Ranges(_) | Unpinned::Values { .. },
                Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
            ) => return Err(self.method_error(map)),
        }
        Ok(found)
    }

    /// At most `count` sets of about the same size that make these parts together. None of them is empty, unless this
    /// one is. Ranges and single keys are not cut.
    pub fn split(&self, count: usize) -> Vec<Parts> {
        enum Piece {
            Bucket(u32),
            Range((Option<Key>, Option<Key>)),
            Value(Key),
            Default,
            Pin(Key),
        }
        let mut pieces: Vec<Piece> = match &self.unpinned {
            Unpinned::None => Vec::new(),
            Unpinned::Buckets(buckets) => buckets.iter().copied().map(Piece::Bucket).collect(),
            Unpinned::Ranges(ranges) => ranges.iter().cloned().map(Piece::Range).collect(),
            Unpinned::Values { values, default } => {
                let values = values.iter().cloned().map(Piece::Value);
                values.chain(default.then_some(Piece::Default)).collect()
            }
        };
        // What the default holds depends on which values are named beside it, so those stay with it.
        if pieces.iter().any(|piece| matches!(piece, Piece::Default)) {
            return vec![self.clone()];
        }
        pieces.extend(self.pins.iter().cloned().map(Piece::Pin));
        let size = pieces.len().div_ceil(count.max(1)).max(1);
        let mut all = Vec::new();
        let mut left = pieces.into_iter().peekable();
        while left.peek().is_some() {
            let mut part = Parts {
                unpinned: Unpinned::None,
                pins: BTreeSet::new(),
            };
            for piece in left.by_ref().take(size) {
                match (piece, &mut part.unpinned) {
                    (Piece::Pin(key), _) => {
                        part.pins.insert(key);
                    }
                    (Piece::Bucket(bucket), Unpinned::Buckets(buckets)) => {
                        buckets.insert(bucket);
                    }
                    (Piece::Bucket(bucket), unpinned) => {
                        *unpinned = Unpinned::Buckets(BTreeSet::from([bucket]));
                    }
                    (Piece::Range(range), Unpinned::Ranges(ranges)) => ranges.push(range),
                    (Piece::Range(range), unpinned) => *unpinned = Unpinned::Ranges(vec![range]),
                    (Piece::Value(value), Unpinned::Values { values, .. }) => {
                        values.insert(value);
                    }
                    (Piece::Value(value), unpinned) => {
                        *unpinned = Unpinned::Values {
                            values: BTreeSet::from([value]),
                            default: false,
                        };
                    }
                    (Piece::Default, _) => {}
                }
            }
            all.push(part);
        }
        if all.is_empty() {
            all.push(self.clone());
        }
        all
    }

    /// Checks that the map can have such parts.
    pub fn validate(&self, map: &ShardMap) -> Result<(), PartsError> {
        if self.is_empty() {
            return Err(PartsError::Empty);
        }
        let typed = |key: &Key| {
            if map.key_type.takes(key) {
                Ok(())
            } else {
                Err(PartsError::WrongType(key.clone()))
            }
        };
        self.pins.iter().try_for_each(typed)?;
        match (&self.unpinned, &map.method) {
            (Unpinned::None, _) => Ok(()),
            (Unpinned::Buckets(buckets), Method::Hash { .. }) => {
                let count = map.buckets().unwrap_or_default();
                match buckets.iter().find(|bucket| **bucket >= count) {
                    Some(bucket) => Err(PartsError::NoBucket(*bucket)),
                    None => Ok(()),
                }
            }
            (Unpinned::Ranges(ranges), Method::Range { .. }) => {
                let ends = ranges.iter().flat_map(|(low, high)| [low, high]);
                ends.flatten().try_for_each(typed)?;
                validate_ranges(ranges)
            }
            (Unpinned::Values { values, default }, Method::List { default: known, .. }) => {
                values.iter().try_for_each(typed)?;
                if *default && known.is_none() {
                    Err(PartsError::NoDefault)
                } else {
                    Ok(())
                }
            }
            (
                Unpinned::Buckets(_) | Unpinned::Ranges(_) | Unpinned::Values { .. },
                Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
            ) => Err(self.method_error(map)),
        }
    }

    fn method_error(&self, map: &ShardMap) -> PartsError {
        PartsError::Method {
            method: map.method.name(),
            parts: match &self.unpinned {
                Unpinned::None => "nothing",
                Unpinned::Buckets(_) => "buckets",
                Unpinned::Ranges(_) => "ranges",
                Unpinned::Values { .. } => "values",
            },
        }
    }
}

/// Ascending, not empty, and without overlap, whatever their order.
fn validate_ranges(ranges: &[(Option<Key>, Option<Key>)]) -> Result<(), PartsError> {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let fits = sorted.iter().all(|(low, high)| match (low, high) {
        (Some(low), Some(high)) => low < high,
        (None, _) | (_, None) => true,
    });
    let apart = sorted.windows(2).all(|pair| match pair {
        [(_, Some(end)), (Some(start), _)] => end <= start,
        _ => false,
    });
    if fits && apart {
        Ok(())
    } else {
        Err(PartsError::BadRange)
    }
}

/// Cuts the ranges of a map at both ends, and gives what lies between to the owner. Ranges are not joined.
fn assign_range(
    bounds: &mut Vec<Key>,
    owners: &mut Vec<ShardId>,
    low: Option<&Key>,
    high: Option<&Key>,
    owner: ShardId,
) {
    for bound in [low, high].into_iter().flatten() {
        if let Err(place) = bounds.binary_search(bound)
            && let Some(cut) = owners.get(place).copied()
        {
            bounds.insert(place, bound.clone());
            owners.insert(place, cut);
        }
    }
    let first = low.map_or(0, |low| bounds.partition_point(|bound| bound <= low));
    let end = high.map_or(owners.len(), |high| {
        bounds.partition_point(|bound| bound < high) + 1
    });
    for place in owners.get_mut(first..end).unwrap_or_default() {
        *place = owner;
    }
}

/// The values that a list map names; none for others.
fn named(map: &ShardMap) -> impl Iterator<Item = &Key> {
    let values = match &map.method {
        Method::List { values, .. } => Some(values.keys()),
        Method::Hash { .. } | Method::Range { .. } => None,
    };
    values.into_iter().flatten()
}

fn is_named(map: &ShardMap, key: &Key) -> bool {
    match &map.method {
        Method::List { values, .. } => values.contains_key(key),
        Method::Hash { .. } | Method::Range { .. } => false,
    }
}

/// In the order of bits that `get_bit` of Postgres reads: see `guard_bitmap`.
fn bitmap(buckets: &BTreeSet<u32>, count: u32) -> Vec<u8> {
    let bytes = usize::try_from(count.div_ceil(8)).unwrap_or_default();
    let mut bitmap = vec![0u8; bytes];
    for bucket in buckets {
        let place = usize::try_from(bucket / 8).ok();
        if let Some(byte) = place.and_then(|place| bitmap.get_mut(place)) {
            *byte |= 1 << (bucket % 8);
        }
    }
    bitmap
}

#[cfg(test)]
mod tests;
