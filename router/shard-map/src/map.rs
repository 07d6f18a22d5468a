//! Shard maps: which shard owns a key.

use crate::hash;
use crate::key::{Key, KeyType};
use std::collections::{BTreeSet, HashMap};

/// A shard's id in the catalog; small, stable, never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// The number of a bucket of a hash distribution, `0..buckets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(pub u32);

/// The most buckets that a hash distribution can have.
pub const BUCKETS_MAX: u32 = 65_536;

/// The whole map of one distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    pub key_type: KeyType,
    pub method: Method,
    /// Single keys that live on a shard of their own choice, whatever the method says.
    pub pins: HashMap<Key, ShardId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `owners[bucket]`; the length is a power of two from 1 to 65536.
    Hash { owners: Vec<ShardId> },
    /// `bounds` is strictly ascending and `owners` has one entry more: the range `i` is `bounds[i-1] <= key < bounds[i]`.
    Range {
        bounds: Vec<Key>,
        owners: Vec<ShardId>,
    },
    List {
        values: HashMap<Key, ShardId>,
        default: Option<ShardId>,
    },
}

/// Why a key has no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A list map without a default does not name the key. Postgres says 23514 for such a row of a partitioned table.
    #[error("no shard holds the key {0}")]
    NoShard(Key),
    /// The caller's fault: a value of another type than the map's.
    #[error("the key {key} is not of the type {key_type}")]
    WrongType { key: Key, key_type: KeyType },
    /// The map was not validated.
    #[error("the shard map is incomplete")]
    Incomplete,
}

impl ShardMap {
    /// The shard of a key: a pin if there is one, else what the method says.
    pub fn route(&self, key: &Key) -> Result<ShardId, RouteError> {
        if !self.key_type.takes(key) {
            return Err(RouteError::WrongType {
                key: key.clone(),
                key_type: self.key_type,
            });
        }
        if !self.pins.is_empty()
            && let Some(shard) = self.pins.get(key)
        {
            return Ok(*shard);
        }
        self.method.route(key)
    }

    /// The bucket of a key in a hash map; None in others. A pinned key has one too.
    pub fn bucket(&self, key: &Key) -> Option<Bucket> {
        self.buckets().map(|buckets| hash::bucket(key, buckets))
    }

    /// How many buckets a hash map has; None for others.
    pub fn buckets(&self) -> Option<u32> {
        match &self.method {
            Method::Hash { owners } => u32::try_from(owners.len()).ok(),
            Method::Range { .. } | Method::List { .. } => None,
        }
    }

    /// Every shard that can own a key, ascending.
    pub fn shards(&self) -> BTreeSet<ShardId> {
        let mut shards: BTreeSet<ShardId> = self.pins.values().copied().collect();
        match &self.method {
            Method::Hash { owners } | Method::Range { owners, .. } => shards.extend(owners),
            Method::List { values, default } => {
                shards.extend(values.values());
                shards.extend(default);
            }
        }
        shards
    }
}

impl Method {
    /// `hash`, `range` or `list`.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Hash { .. } => "hash",
            Method::Range { .. } => "range",
            Method::List { .. } => "list",
        }
    }

    fn route(&self, key: &Key) -> Result<ShardId, RouteError> {
        match self {
            Method::Hash { owners } => {
                let buckets = u32::try_from(owners.len()).map_err(|_| RouteError::Incomplete)?;
                let bucket = usize::try_from(hash::bucket(key, buckets).0)
                    .map_err(|_| RouteError::Incomplete)?;
                owners.get(bucket).copied().ok_or(RouteError::Incomplete)
            }
            Method::Range { bounds, owners } => {
                // The number of bounds that are not above the key is the number of its range.
                let range = bounds.partition_point(|bound| bound <= key);
                owners.get(range).copied().ok_or(RouteError::Incomplete)
            }
            Method::List { values, default } => values
                .get(key)
                .copied()
                .or(*default)
                .ok_or_else(|| RouteError::NoShard(key.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ShardId = ShardId(1);
    const TWO: ShardId = ShardId(2);
    const THREE: ShardId = ShardId(3);

    fn map(key_type: KeyType, method: Method) -> ShardMap {
        ShardMap {
            key_type,
            method,
            pins: HashMap::new(),
        }
    }

    fn text(value: &str) -> Key {
        Key::Text(value.into())
    }

    #[test]
    fn hash_maps_follow_the_bucket() {
        let owners: Vec<_> = (0..16).map(ShardId).collect();
        let map = map(KeyType::Int8, Method::Hash { owners });
        assert_eq!(map.buckets(), Some(16));
        for value in -100..100 {
            let key = Key::Int(value);
            let Bucket(bucket) = map.bucket(&key).unwrap();
            assert_eq!(map.route(&key).map(|shard| u32::from(shard.0)), Ok(bucket));
        }
        assert_eq!(map.shards().len(), 16);
    }

    #[test]
    fn ranges_include_their_lower_bound() {
        let bounds = vec![Key::Int(10), Key::Int(20)];
        let map = map(
            KeyType::Int4,
            Method::Range {
                bounds,
                owners: vec![ONE, TWO, THREE],
            },
        );
        let check = |value, shard| assert_eq!(map.route(&Key::Int(value)), Ok(shard), "{value}");
        check(i64::MIN, ONE);
        check(9, ONE);
        check(10, TWO);
        check(19, TWO);
        check(20, THREE);
        check(i64::MAX, THREE);
        assert_eq!(map.buckets(), None);
    }

    #[test]
    fn text_ranges_compare_bytes() {
        let bounds = vec![text("B"), text("a"), text("é")];
        let owners = vec![ONE, TWO, THREE, ONE];
        let map = map(KeyType::Text, Method::Range { bounds, owners });
        let check = |value, shard| assert_eq!(map.route(&text(value)), Ok(shard), "{value}");
        check("", ONE);
        check("A", ONE);
        check("B", TWO);
        check("Z", TWO);
        check("a", THREE);
        check("z", THREE);
        check("é", ONE);
        check("日", ONE);
    }

    #[test]
    fn infinite_dates_lie_at_the_ends() {
        let bounds = vec![Key::Date(0)];
        let map = map(
            KeyType::Date,
            Method::Range {
                bounds,
                owners: vec![ONE, TWO],
            },
        );
        assert_eq!(map.route(&Key::Date(i32::MIN)), Ok(ONE));
        assert_eq!(map.route(&Key::Date(i32::MAX)), Ok(TWO));
    }

    #[test]
    fn lists_may_have_no_shard() {
        let values = HashMap::from([(text("de"), ONE), (text("fr"), TWO)]);
        let mut map = map(
            KeyType::Varchar,
            Method::List {
                values,
                default: None,
            },
        );
        assert_eq!(map.route(&text("de")), Ok(ONE));
        let refused = map.route(&text("it")).unwrap_err();
        assert_eq!(refused, RouteError::NoShard(text("it")));
        assert_eq!(refused.to_string(), "no shard holds the key it");
        assert_eq!(map.shards(), BTreeSet::from([ONE, TWO]));
        map.pins.insert(text("it"), THREE);
        assert_eq!(map.route(&text("it")), Ok(THREE));
        let values = HashMap::from([(text("de"), ONE)]);
        map.method = Method::List {
            values,
            default: Some(TWO),
        };
        assert_eq!(map.route(&text("es")), Ok(TWO));
        assert_eq!(map.shards(), BTreeSet::from([ONE, TWO, THREE]));
    }

    #[test]
    fn pins_come_first() {
        let mut map = map(KeyType::Int8, Method::Hash { owners: vec![ONE] });
        map.pins.insert(Key::Int(7), TWO);
        assert_eq!(map.route(&Key::Int(7)), Ok(TWO));
        assert_eq!(map.route(&Key::Int(8)), Ok(ONE));
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let map = map(KeyType::Int8, Method::Hash { owners: vec![ONE] });
        let refused = map.route(&text("1")).unwrap_err();
        assert_eq!(refused.to_string(), "the key 1 is not of the type int8");
        assert!(map.route(&Key::Timestamp(1)).is_err());
        assert!(map.route(&Key::Date(1)).is_err());
    }

    #[test]
    fn names_and_oids_are_unique() {
        for ty in KeyType::ALL {
            assert_eq!(KeyType::from_oid(ty.oid()), Some(ty));
            assert_eq!(KeyType::from_name(ty.name()), Some(ty));
        }
        assert_eq!(KeyType::from_oid(1700), None);
        assert_eq!(KeyType::from_name("numeric"), None);
    }
}
