//! The guard: a CHECK constraint on each shard that a row is this shard's own.
//!
//! Its text follows from the map and the shard alone, so it can be written anew and compared at any time. The form for
//! hash maps is a bitmap, since a list of buckets would cost three times as much per row. `IS TRUE` refuses NULL keys,
//! which a plain CHECK would let pass; apply workers of a move write with the replica role and pass.

use crate::quote::ident;
use shardgate_shard_map::{ShardId, ShardMap};

/// The constraint's name on every table.
pub const GUARD: &str = "shardgate_owns";

/// The expression of the guard of `shard` on the column `column`.
pub(crate) fn expression(map: &ShardMap, column: &str, shard: ShardId) -> String {
    let key = ident(column);
    let owned = map.ownership_sql(&key, shard);
    format!(
        "({key} IS NOT NULL AND ({owned})) IS TRUE OR current_setting('session_replication_role') = 'replica'"
    )
}

/// `ADD CONSTRAINT ..`, for ALTER TABLE.
pub(crate) fn add(map: &ShardMap, column: &str, shard: ShardId) -> String {
    format!(
        "ADD CONSTRAINT {GUARD} CHECK ({}) NOT VALID",
        expression(map, column, shard)
    )
}
