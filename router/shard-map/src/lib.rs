//! Key -> bucket -> shard: hash, range and list maps, the difference of two maps, and placement.
//!
//! Pure: it knows no Postgres, no socket, no clock. The hash is bit for bit that of Postgres's hash partitioning.

mod key;
mod map;

pub use key::{Key, KeyType};
pub use map::{Bucket, Method, ShardId, ShardMap};
