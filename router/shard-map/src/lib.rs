//! Key -> bucket -> shard: hash, range and list maps, the difference of two maps, and placement.
//!
//! Pure: it knows no Postgres, no socket, no clock. The hash is bit for bit that of Postgres's hash partitioning.

mod diff;
mod display;
mod guard;
mod hash;
mod key;
mod map;
mod ownership;
mod parts;
mod placement;
mod validate;

pub use diff::{Change, NotComparable, Part, diff};
pub use guard::bucket_sql;
pub use hash::{bucket, partition_hash};
pub use key::{Key, KeyType};
pub use map::{BUCKETS_MAX, Bucket, Method, RouteError, ShardId, ShardMap};
pub use ownership::constant;
pub use parts::{Parts, PartsError, Unpinned};
pub use placement::{PlacementError, initial, rebalance};
pub use validate::MapError;
