//! Sets of sharding keys as expressions over constants and parameters.
//!
//! A set is an upper bound: it may have more keys than rows can match, never fewer. "Every key" has no value of its
//! own; it is `None` wherever a set is optional.

use crate::decision::Param;
use crate::value::{self, Parsed};
use shardgate_shard_map::{Key, KeyType};
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeySet {
    /// Exactly these; no items: the empty set.
    Items(Vec<Item>),
    /// What is in all of them.
    And(Vec<Arc<KeySet>>),
    /// What is in any of them.
    Or(Vec<Arc<KeySet>>),
    /// Keys between two ends, each with "the end itself belongs to it".
    Interval {
        low: Option<(Item, bool)>,
        high: Option<(Item, bool)>,
    },
    /// The keys of the shard that runs a part of a statement, whichever that is.
    Own,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Key(Key),
    /// A constant that Postgres certainly refuses: the statement fails wherever it runs.
    Fails,
    /// The key of a new row is the constant NULL.
    Null,
    Param(ParamItem),
}

/// A parameter that is a key, or an array of keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParamItem {
    /// From 1.
    pub(crate) number: u16,
    /// The type in which Postgres reads it: the declared one, else that of the column beside it.
    pub(crate) ty: KeyType,
    pub(crate) array: bool,
    pub(crate) null: NullMeans,
    /// Set if the value is assigned to a column: its type and modifier.
    pub(crate) assigned: Option<(KeyType, i32)>,
    /// Undeclared: the uses of the parameter must agree on its type.
    pub(crate) inferred: bool,
}

/// What a NULL in the place of a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NullMeans {
    /// It equals nothing.
    Nothing,
    /// It may match rows of any key.
    Anything,
    /// The key of a new row may not be NULL.
    Error,
}

/// A piece of an evaluated set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Point(Key),
    Between(Option<(Key, bool)>, Option<(Key, bool)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Postgres raises an error wherever the statement goes.
    Fails,
    /// A new row's key is NULL.
    NullKey,
}

impl KeySet {
    pub(crate) fn empty() -> KeySet {
        KeySet::Items(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, KeySet::Items(items) if items.is_empty())
    }

    /// The keys for one execution; None: every key is possible.
    pub(crate) fn evaluate(&self, params: &[Param<'_>]) -> Result<Option<Vec<Part>>, Trouble> {
        match self {
            KeySet::Items(items) => evaluate_items(items, params),
            KeySet::And(sets) => {
                let mut all: Option<Vec<Part>> = None;
                for set in sets {
                    all = match (all, set.evaluate(params)?) {
                        (Some(left), Some(right)) => Some(intersect(left, right)),
                        (left, right) => left.or(right),
                    };
                }
                Ok(all)
            }
            KeySet::Or(sets) => {
                let mut any = Some(Vec::new());
                for set in sets {
                    let more = set.evaluate(params)?;
                    any = any.and_then(|mut parts: Vec<Part>| {
                        parts.extend(more?);
                        Some(parts)
                    });
                }
                Ok(any)
            }
            KeySet::Interval { low, high } => {
                evaluate_interval(low.as_ref(), high.as_ref(), params)
            }
            KeySet::Own => Ok(None),
        }
    }

    /// The only key, where the set is that of one parameter and its value is a key: as `evaluate` finds it, without lists.
    pub(crate) fn one_key(&self, params: &[Param<'_>]) -> Option<Key> {
        let KeySet::Items(items) = self else {
            return None;
        };
        let [Item::Param(item)] = items.as_slice() else {
            return None;
        };
        let param = params.get(usize::from(item.number).wrapping_sub(1))?;
        if item.array {
            return None;
        }
        match item.parse(param.value?, param.binary) {
            Parsed::Key(key) => Some(key),
            Parsed::Fails | Parsed::Unknown => None,
        }
    }

    /// The set without parameters whose type is not certain; None: every key.
    pub(crate) fn settle(
        self: &Arc<KeySet>,
        certain: &dyn Fn(&ParamItem) -> bool,
    ) -> Option<Arc<KeySet>> {
        let known = |item: &Item| match item {
            Item::Param(param) => certain(param),
            Item::Key(_) | Item::Fails | Item::Null => true,
        };
        match self.as_ref() {
            KeySet::Items(items) => items.iter().all(known).then(|| self.clone()),
            KeySet::And(sets) => {
                let mut left: Vec<Arc<KeySet>> =
                    sets.iter().filter_map(|set| set.settle(certain)).collect();
                match left.len() {
                    0 => None,
                    1 => left.pop(),
                    _ => Some(Arc::new(KeySet::And(left))),
                }
            }
            KeySet::Or(sets) => {
                let settled: Option<Vec<Arc<KeySet>>> =
                    sets.iter().map(|set| set.settle(certain)).collect();
                settled.map(|sets| Arc::new(KeySet::Or(sets)))
            }
            KeySet::Interval { low, high } => {
                let ends = [low, high];
                ends.iter()
                    .all(|end| end.as_ref().is_none_or(|(item, _)| known(item)))
                    .then(|| self.clone())
            }
            KeySet::Own => Some(self.clone()),
        }
    }

    /// It has no keys of other shards than the one that runs the part.
    pub(crate) fn is_own(&self) -> bool {
        match self {
            KeySet::Own => true,
            KeySet::Items(items) => items.is_empty(),
            KeySet::And(sets) => sets.iter().any(|set| set.is_own()),
            KeySet::Or(sets) => sets.iter().all(|set| set.is_own()),
            KeySet::Interval { .. } => false,
        }
    }

    /// It has one key at most, whatever the parameters.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            KeySet::Items(items) => match items.as_slice() {
                [] | [Item::Key(_) | Item::Fails | Item::Null] => true,
                [Item::Param(param)] => !param.array,
                [_, _, ..] => false,
            },
            KeySet::And(sets) => sets.iter().any(|set| set.is_single()),
            KeySet::Or(_) | KeySet::Interval { .. } | KeySet::Own => false,
        }
    }

    /// It depends on parameters.
    pub(crate) fn has_params(&self) -> bool {
        let param = |item: &Item| matches!(item, Item::Param(_));
        match self {
            KeySet::Items(items) => items.iter().any(param),
            KeySet::And(sets) | KeySet::Or(sets) => sets.iter().any(|set| set.has_params()),
            KeySet::Interval { low, high } => [low, high]
                .iter()
                .any(|end| end.as_ref().is_some_and(|(item, _)| param(item))),
            KeySet::Own => false,
        }
    }
}

fn evaluate_items(items: &[Item], params: &[Param<'_>]) -> Result<Option<Vec<Part>>, Trouble> {
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        match evaluate_item(item, params)? {
            Some(keys) => parts.extend(keys.into_iter().map(Part::Point)),
            None => return Ok(None),
        }
    }
    Ok(Some(parts))
}

/// The keys that an item stands for; None: not known.
fn evaluate_item(item: &Item, params: &[Param<'_>]) -> Result<Option<Vec<Key>>, Trouble> {
    match item {
        Item::Key(key) => Ok(Some(vec![key.clone()])),
        Item::Fails => Err(Trouble::Fails),
        Item::Null => Err(Trouble::NullKey),
        Item::Param(param) => param.keys(params),
    }
}

fn evaluate_interval(
    low: Option<&(Item, bool)>,
    high: Option<&(Item, bool)>,
    params: &[Param<'_>],
) -> Result<Option<Vec<Part>>, Trouble> {
    let mut ends = [None, None];
    for (end, given) in ends.iter_mut().zip([low, high]) {
        let Some((item, inclusive)) = given else {
            continue;
        };
        match evaluate_item(item, params)? {
            // Nothing is less or greater than NULL.
            Some(keys) if keys.is_empty() => return Ok(Some(Vec::new())),
            Some(mut keys) => *end = keys.pop().map(|key| (key, *inclusive)),
            None => return Ok(None),
        }
    }
    let [low, high] = ends;
    Ok(Some(vec![Part::Between(low, high)]))
}

impl ParamItem {
    fn keys(&self, params: &[Param<'_>]) -> Result<Option<Vec<Key>>, Trouble> {
        // A parameter that was not sent is an error of the protocol, which Postgres reports.
        let Some(param) = params.get(usize::from(self.number).wrapping_sub(1)) else {
            return Err(Trouble::Fails);
        };
        let Some(bytes) = param.value else {
            return match self.null {
                NullMeans::Nothing => Ok(Some(Vec::new())),
                NullMeans::Anything => Ok(None),
                NullMeans::Error => Err(Trouble::NullKey),
            };
        };
        if self.array {
            return self.array_keys(bytes, param.binary);
        }
        match self.parse(bytes, param.binary) {
            Parsed::Key(key) => Ok(Some(vec![key])),
            Parsed::Fails => Err(Trouble::Fails),
            Parsed::Unknown => Ok(None),
        }
    }

    fn parse(&self, bytes: &[u8], binary: bool) -> Parsed {
        let parsed = match (binary, std::str::from_utf8(bytes)) {
            (true, _) => value::from_binary(self.ty, bytes),
            (false, Ok(text)) if text.contains('\0') => Parsed::Fails,
            (false, Ok(text)) => value::from_text(self.ty, text),
            // The bytes may be of another encoding, which the server converts.
            (false, Err(_)) => Parsed::Unknown,
        };
        match (parsed, self.assigned) {
            (Parsed::Key(key), Some((ty, modifier))) => value::assigned(key, ty, modifier),
            (parsed, _) => parsed,
        }
    }

    /// Elements that cannot be read make the whole unknown: an array is not worth a proof of failure.
    fn array_keys(&self, bytes: &[u8], binary: bool) -> Result<Option<Vec<Key>>, Trouble> {
        let elements: Option<Vec<Option<Vec<u8>>>> = if binary {
            value::elements_from_binary(bytes).map(|list| {
                list.into_iter()
                    .map(|element| element.map(<[u8]>::to_vec))
                    .collect()
            })
        } else {
            std::str::from_utf8(bytes)
                .ok()
                .and_then(value::elements_from_text)
                .map(|list| {
                    list.into_iter()
                        .map(|element| element.map(String::into_bytes))
                        .collect()
                })
        };
        let Some(elements) = elements else {
            return Ok(None);
        };
        let mut keys = Vec::with_capacity(elements.len());
        for element in elements.into_iter().flatten() {
            match self.parse(&element, binary) {
                Parsed::Key(key) => keys.push(key),
                Parsed::Fails | Parsed::Unknown => return Ok(None),
            }
        }
        Ok(Some(keys))
    }
}

fn intersect(left: Vec<Part>, right: Vec<Part>) -> Vec<Part> {
    let points = |parts: &[Part]| -> Option<HashSet<Key>> {
        parts
            .iter()
            .map(|part| match part {
                Part::Point(key) => Some(key.clone()),
                Part::Between(..) => None,
            })
            .collect()
    };
    if let (Some(left), Some(right)) = (points(&left), points(&right)) {
        return left
            .into_iter()
            .filter(|key| right.contains(key))
            .map(Part::Point)
            .collect();
    }
    let mut both = Vec::new();
    for one in &left {
        for other in &right {
            both.extend(meet(one, other));
        }
    }
    both
}

fn meet(one: &Part, other: &Part) -> Option<Part> {
    match (one, other) {
        (Part::Point(key), Part::Point(same)) => (key == same).then(|| one.clone()),
        (Part::Point(key), Part::Between(low, high))
        | (Part::Between(low, high), Part::Point(key)) => {
            within(key, low.as_ref(), high.as_ref()).then(|| Part::Point(key.clone()))
        }
        (Part::Between(low, high), Part::Between(low2, high2)) => {
            let low = tighter(low, low2, |a, b| a > b);
            let high = tighter(high, high2, |a, b| a < b);
            Some(Part::Between(low, high))
        }
    }
}

/// The end that excludes more.
fn tighter(
    one: &Option<(Key, bool)>,
    other: &Option<(Key, bool)>,
    beyond: fn(&Key, &Key) -> bool,
) -> Option<(Key, bool)> {
    match (one, other) {
        (Some(a), Some(b)) if a.0 == b.0 => Some((a.0.clone(), a.1 && b.1)),
        (Some(a), Some(b)) => Some(if beyond(&a.0, &b.0) {
            a.clone()
        } else {
            b.clone()
        }),
        (only, None) | (None, only) => only.clone(),
    }
}

pub(crate) fn within(key: &Key, low: Option<&(Key, bool)>, high: Option<&(Key, bool)>) -> bool {
    let above = low.is_none_or(|(end, inclusive)| key > end || (*inclusive && key == end));
    let below = high.is_none_or(|(end, inclusive)| key < end || (*inclusive && key == end));
    above && below
}
