//! What a shard needs to know of a hash map, in Postgres's terms: a key's bucket as an SQL expression, and the buckets
//! that are its own as a bit string.

use crate::hash::{COMBINE, PARTITION_SEED};
use crate::map::{Method, ShardId, ShardMap};

/// An SQL expression of type bigint that gives the bucket of `column`, a column name or expression as it stands in SQL.
///
/// The same for every key type, made of built-in immutable functions, so CHECK constraints and publication row filters
/// take it. `hash_array_extended` of one element is 31 + the element's hash, and the sum of two bigints must not overflow:
/// hence the constant is reduced to the bits that count. `buckets` is a power of two.
///
/// For NULL it gives a bucket as well, so a guard must ask for NOT NULL beside it.
pub fn bucket_sql(column: &str, buckets: u32) -> String {
    let mask = u64::from(buckets.max(1)) - 1;
    let add = COMBINE.wrapping_sub(31) & mask;
    let and = "OPERATOR(pg_catalog.&)";
    format!(
        "((pg_catalog.hash_array_extended(ARRAY[{column}], {PARTITION_SEED}::pg_catalog.int8) {and} {mask}::pg_catalog.int8) \
         OPERATOR(pg_catalog.+) {add}::pg_catalog.int8) {and} {mask}::pg_catalog.int8"
    )
}

impl ShardMap {
    /// The buckets of `shard` as a bytea: `get_bit(bitmap, bucket)` of Postgres is 1 for its own. Bit `n` is the bit
    /// `n % 8`, counted from the lowest, of the byte `n / 8`. None when the map is no hash map.
    ///
    /// Pins are not in it: a key that is pinned to another shard has its bucket here all the same.
    pub fn guard_bitmap(&self, shard: ShardId) -> Option<Vec<u8>> {
        match &self.method {
            Method::Hash { owners } => Some(
                owners
                    .chunks(8)
                    .map(|eight| {
                        eight.iter().enumerate().fold(0u8, |byte, (bit, owner)| {
                            byte | (u8::from(*owner == shard) << bit)
                        })
                    })
                    .collect(),
            ),
            Method::Range { .. } | Method::List { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;
    use std::collections::HashMap;

    #[test]
    fn the_constant_is_reduced() {
        assert_eq!(
            bucket_sql("id", 4096),
            "((pg_catalog.hash_array_extended(ARRAY[id], 8816678312871386365::pg_catalog.int8) \
             OPERATOR(pg_catalog.&) 4095::pg_catalog.int8) OPERATOR(pg_catalog.+) 2244::pg_catalog.int8) \
             OPERATOR(pg_catalog.&) 4095::pg_catalog.int8"
        );
        assert!(bucket_sql("id", 1).contains("+) 0::"));
    }

    #[test]
    fn bits_lie_where_get_bit_looks() {
        let owned = [0, 3, 8, 9, 15];
        let owners = (0..16)
            .map(|bucket| ShardId(if owned.contains(&bucket) { 2 } else { 1 }))
            .collect();
        let map = ShardMap {
            key_type: KeyType::Int8,
            method: Method::Hash { owners },
            pins: HashMap::new(),
        };
        assert_eq!(
            map.guard_bitmap(ShardId(2)),
            Some(vec![0b0000_1001, 0b1000_0011])
        );
        assert_eq!(
            map.guard_bitmap(ShardId(1)),
            Some(vec![0b1111_0110, 0b0111_1100])
        );
        assert_eq!(map.guard_bitmap(ShardId(3)), Some(vec![0, 0]));
    }

    #[test]
    fn few_buckets_still_make_a_byte() {
        let map = ShardMap {
            key_type: KeyType::Text,
            method: Method::Hash {
                owners: vec![ShardId(1)],
            },
            pins: HashMap::new(),
        };
        assert_eq!(map.guard_bitmap(ShardId(1)), Some(vec![1]));
    }
}
