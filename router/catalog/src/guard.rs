//! The guard: a CHECK constraint on each shard that a row is this shard's own.
//!
//! Its text follows from the map and the shard alone, so it can be written anew and compared at any time. The form for
//! hash maps is a bitmap, since a list of buckets would cost three times as much per row. `IS TRUE` refuses NULL keys,
//! which a plain CHECK would let pass; apply workers of a move write with the replica role and pass.

use crate::quote::{ident, literal};
use shardgate_shard_map::{Key, KeyType, Method, ShardId, ShardMap, bucket_sql};
use std::collections::BTreeMap;

/// The constraint's name on every table.
pub const GUARD: &str = "shardgate_owns";

/// The expression of the guard of `shard` on the column `column`.
pub(crate) fn expression(map: &ShardMap, column: &str, shard: ShardId) -> String {
    let key = ident(column);
    let family = crate::key_text::family(map.key_type);
    // Text is compared by its bytes, whatever the column's collation.
    let compared = if family == "text" {
        format!("({key}::text COLLATE \"C\")")
    } else {
        key.clone()
    };
    let by_method = match &map.method {
        Method::Hash { owners } => {
            let hex: String = map
                .guard_bitmap(shard)
                .unwrap_or_default()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let buckets = u32::try_from(owners.len()).unwrap_or(1);
            format!(
                "get_bit('\\x{hex}'::bytea, {}) = 1",
                bucket_sql(&key, buckets)
            )
        }
        Method::Range { bounds, owners } => ranges(&compared, map.key_type, bounds, owners, shard),
        Method::List { values, default } => {
            let own = values
                .iter()
                .filter(|(_, owner)| **owner == shard)
                .map(|(value, _)| value);
            if *default == Some(shard) {
                let others = values
                    .iter()
                    .filter(|(_, owner)| **owner != shard)
                    .map(|(value, _)| value);
                format!("NOT {}", any_of(&compared, map.key_type, others))
            } else {
                any_of(&compared, map.key_type, own)
            }
        }
    };
    let pinned = |here: bool| {
        let keys = map
            .pins
            .iter()
            .filter(move |(_, owner)| (**owner == shard) == here)
            .map(|(value, _)| value);
        any_of(&compared, map.key_type, keys)
    };
    let owned = if map.pins.is_empty() {
        by_method
    } else {
        format!(
            "({by_method} AND NOT {}) OR {}",
            pinned(false),
            pinned(true)
        )
    };
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

/// The ranges of one shard; neighbours are joined.
fn ranges(key: &str, ty: KeyType, bounds: &[Key], owners: &[ShardId], shard: ShardId) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut open: Option<Option<&Key>> = None;
    for (position, owner) in owners.iter().enumerate() {
        let lower = position.checked_sub(1).and_then(|i| bounds.get(i));
        if *owner == shard {
            open.get_or_insert(lower);
        } else if let Some(from) = open.take() {
            parts.push(between(key, ty, from, lower));
        }
    }
    if let Some(from) = open {
        parts.push(between(key, ty, from, None));
    }
    if parts.is_empty() {
        "false".to_owned()
    } else {
        parts.join(" OR ")
    }
}

fn between(key: &str, ty: KeyType, from: Option<&Key>, to: Option<&Key>) -> String {
    match (from, to) {
        (None, None) => "true".to_owned(),
        (Some(from), None) => format!("({key} >= {})", constant(ty, from)),
        (None, Some(to)) => format!("({key} < {})", constant(ty, to)),
        (Some(from), Some(to)) => format!(
            "({key} >= {} AND {key} < {})",
            constant(ty, from),
            constant(ty, to)
        ),
    }
}

/// In the order of the values, so that equal maps have equal texts.
fn any_of<'a>(key: &str, ty: KeyType, values: impl Iterator<Item = &'a Key>) -> String {
    let sorted: BTreeMap<&Key, String> = values.map(|value| (value, constant(ty, value))).collect();
    if sorted.is_empty() {
        return "(false)".to_owned();
    }
    let list: Vec<String> = sorted.into_values().collect();
    format!("({key} = ANY (ARRAY[{}]))", list.join(", "))
}

/// A key as a constant of its family's type. Times are read under the session's time zone, which is UTC.
fn constant(ty: KeyType, key: &Key) -> String {
    format!(
        "{}::{}",
        literal(&key.to_string()),
        crate::key_text::family(ty)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn check(method: Method, key_type: KeyType, expect: &str) {
        let map = ShardMap {
            key_type,
            method,
            pins: HashMap::new(),
        };
        let text = expression(&map, "k", ShardId(2));
        let inner = text.strip_prefix("(\"k\" IS NOT NULL AND (").unwrap();
        let inner = inner
            .strip_suffix(")) IS TRUE OR current_setting('session_replication_role') = 'replica'")
            .unwrap();
        assert_eq!(inner, expect);
    }

    #[test]
    fn ranges_of_one_shard_are_joined_and_lists_sorted() {
        let owners = |ids: &[u16]| ids.iter().map(|id| ShardId(*id)).collect::<Vec<_>>();
        let bounds = vec![Key::Int(1), Key::Int(5), Key::Int(9)];
        let range = |ids: &[u16]| Method::Range {
            bounds: bounds.clone(),
            owners: owners(ids),
        };
        check(
            range(&[1, 2, 2, 1]),
            KeyType::Int8,
            "(\"k\" >= '1'::int8 AND \"k\" < '9'::int8)",
        );
        check(
            range(&[2, 1, 2, 2]),
            KeyType::Int8,
            "(\"k\" < '1'::int8) OR (\"k\" >= '5'::int8)",
        );
        check(range(&[1, 1, 1, 1]), KeyType::Int8, "false");
        check(range(&[2, 2, 2, 2]), KeyType::Int8, "true");
        let text = |value: &str, id| (Key::Text(value.into()), ShardId(id));
        let values = HashMap::from([text("b", 2), text("a", 2), text("c'", 1)]);
        check(
            Method::List {
                values: values.clone(),
                default: Some(ShardId(1)),
            },
            KeyType::Text,
            "((\"k\"::text COLLATE \"C\") = ANY (ARRAY['a'::text, 'b'::text]))",
        );
        check(
            Method::List {
                values,
                default: Some(ShardId(2)),
            },
            KeyType::Text,
            "NOT ((\"k\"::text COLLATE \"C\") = ANY (ARRAY['c'''::text]))",
        );
        check(
            Method::List {
                values: HashMap::new(),
                default: None,
            },
            KeyType::Text,
            "(false)",
        );
    }

    #[test]
    fn pins_stand_above_the_method() {
        let pins = HashMap::from([(Key::Int(7), ShardId(2)), (Key::Int(8), ShardId(1))]);
        let method = Method::Range {
            bounds: vec![],
            owners: vec![ShardId(1)],
        };
        let map = ShardMap {
            key_type: KeyType::Int8,
            method,
            pins,
        };
        for (shard, own, other) in [(1, "true", (8, 7)), (2, "false", (7, 8))] {
            let expect = format!(
                "(({own} AND NOT (\"k\" = ANY (ARRAY['{}'::int8]))) OR (\"k\" = ANY (ARRAY['{}'::int8]))",
                other.1, other.0
            );
            let text = expression(&map, "k", ShardId(shard));
            assert!(text.contains(&expect), "{text}");
        }
    }
}
