//! Shard maps: which shard owns a key.

use crate::key::{Key, KeyType};
use std::collections::HashMap;

/// A shard's id in the catalog; small, stable, never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// The number of a bucket of a hash distribution, `0..buckets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(pub u32);

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
    Range { bounds: Vec<Key>, owners: Vec<ShardId> },
    List { values: HashMap<Key, ShardId>, default: Option<ShardId> },
}
