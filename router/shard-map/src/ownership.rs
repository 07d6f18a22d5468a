//! What a shard owns, and what a set of keys holds, as SQL over the key column.
//!
//! Used in CHECK constraints, publication row filters, conditions of triggers and the ownership predicates of reads. The
//! text follows from the map alone, is made of built-in immutable functions, and every name in it is qualified, so that
//! no search_path changes its meaning. It must not know who evaluates it.

use crate::guard::bucket_sql;
use crate::key::{Key, KeyType};
use crate::map::{Method, ShardId, ShardMap};
use std::collections::BTreeSet;
use std::fmt::Write;

impl ShardMap {
    /// An SQL expression of type boolean that is true for the keys of `shard`. `column` is the key column as it stands in
    /// SQL: quoted, and qualified where that is needed.
    ///
    /// For NULL it may be anything: a guard asks for NOT NULL beside it.
    pub fn ownership_sql(&self, column: &str, shard: ShardId) -> String {
        let key = compared(self.key_type, column);
        let by_method = match &self.method {
            Method::Hash { owners } => {
                let bitmap = self.guard_bitmap(shard).unwrap_or_default();
                bitmap_sql(
                    column,
                    &bitmap,
                    u32::try_from(owners.len()).unwrap_or(u32::MAX),
                )
            }
            Method::Range { bounds, owners } => {
                ranges_sql(&key, self.key_type, &ranges_of(bounds, owners, shard))
            }
            Method::List { values, default } => {
                let own = |is_own: bool| {
                    values
                        .iter()
                        .filter(move |(_, owner)| (**owner == shard) == is_own)
                        .map(|(value, _)| value)
                };
                if *default == Some(shard) {
                    format!("NOT {}", any_of(&key, self.key_type, own(false)))
                } else {
                    any_of(&key, self.key_type, own(true))
                }
            }
        };
        let pinned = |here: bool| {
            let keys = self
                .pins
                .iter()
                .filter(move |(_, owner)| (**owner == shard) == here)
                .map(|(value, _)| value);
            any_of(&key, self.key_type, keys)
        };
        if self.pins.is_empty() {
            by_method
        } else {
            format!(
                "({by_method} AND NOT {}) OR {}",
                pinned(false),
                pinned(true)
            )
        }
    }
}

/// The column as it is compared: text by its bytes, whatever the column's collation.
pub(crate) fn compared(ty: KeyType, column: &str) -> String {
    match ty {
        KeyType::Text | KeyType::Varchar => {
            format!("({column}::pg_catalog.text COLLATE pg_catalog.\"C\")")
        }
        KeyType::Int2
        | KeyType::Int4
        | KeyType::Int8
        | KeyType::Uuid
        | KeyType::Bytea
        | KeyType::Date
        | KeyType::Timestamp
        | KeyType::Timestamptz => column.to_owned(),
    }
}

/// True for the buckets whose bit is set: see `guard_bitmap` for the order of the bits.
pub(crate) fn bitmap_sql(column: &str, bitmap: &[u8], buckets: u32) -> String {
    format!(
        "pg_catalog.get_bit(E'\\\\x{}'::pg_catalog.bytea, {}) OPERATOR(pg_catalog.=) 1",
        hex(bitmap),
        bucket_sql(column, buckets)
    )
}

/// A range of keys, `low <= key < high`; None: no bound on that side.
pub(crate) type Range<'a> = (Option<&'a Key>, Option<&'a Key>);

/// The ranges of one shard; neighbours are joined.
pub(crate) fn ranges_of<'a>(
    bounds: &'a [Key],
    owners: &[ShardId],
    shard: ShardId,
) -> Vec<Range<'a>> {
    let mut ranges = Vec::new();
    let mut open: Option<Option<&Key>> = None;
    for (position, owner) in owners.iter().enumerate() {
        let lower = position.checked_sub(1).and_then(|i| bounds.get(i));
        if *owner == shard {
            open.get_or_insert(lower);
        } else if let Some(from) = open.take() {
            ranges.push((from, lower));
        }
    }
    if let Some(from) = open {
        ranges.push((from, None));
    }
    ranges
}

/// True for keys in one of the ranges.
pub(crate) fn ranges_sql(key: &str, ty: KeyType, ranges: &[Range<'_>]) -> String {
    if ranges.is_empty() {
        return "false".to_owned();
    }
    let parts: Vec<String> = ranges
        .iter()
        .map(|range| between(key, ty, *range))
        .collect();
    parts.join(" OR ")
}

fn between(key: &str, ty: KeyType, (from, to): Range<'_>) -> String {
    let above = |from| format!("{key} OPERATOR(pg_catalog.>=) {}", constant(ty, from));
    let below = |to| format!("{key} OPERATOR(pg_catalog.<) {}", constant(ty, to));
    match (from, to) {
        (None, None) => "true".to_owned(),
        (Some(from), None) => format!("({})", above(from)),
        (None, Some(to)) => format!("({})", below(to)),
        (Some(from), Some(to)) => format!("({} AND {})", above(from), below(to)),
    }
}

/// True for the values, which stand in their order, so that equal sets have equal texts.
pub(crate) fn any_of<'a>(key: &str, ty: KeyType, values: impl Iterator<Item = &'a Key>) -> String {
    let sorted: BTreeSet<&Key> = values.collect();
    if sorted.is_empty() {
        return "(false)".to_owned();
    }
    let list: Vec<String> = sorted
        .into_iter()
        .map(|value| constant(ty, value))
        .collect();
    format!(
        "({key} OPERATOR(pg_catalog.=) ANY (ARRAY[{}]))",
        list.join(", ")
    )
}

/// A key as a constant of a type that compares with its column. It means the same under every setting of a session.
pub fn constant(ty: KeyType, key: &Key) -> String {
    let mut text = key.to_string();
    if ty == KeyType::Timestamptz && !text.ends_with("infinity") {
        // Keys are printed in UTC without a zone; the era stands behind the zone.
        text = match text.strip_suffix(" BC") {
            Some(before) => format!("{before}+00 BC"),
            None => format!("{text}+00"),
        };
    }
    let (quoted, name) = match ty {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => (literal(&text), "int8"),
        KeyType::Text | KeyType::Varchar => (literal(&text), "text"),
        KeyType::Uuid | KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz => {
            (literal(&text), ty.name())
        }
        KeyType::Bytea => (literal(&text), "bytea"),
    };
    format!("{quoted}::pg_catalog.{name}")
}

/// `'text'`, in the `E''` form when a backslash stands in it: that means the same under either setting of
/// standard_conforming_strings.
fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
        let text = map.ownership_sql("k", ShardId(2));
        assert_eq!(
            text.replace("pg_catalog.", "").replace("OPERATOR", ""),
            expect
        );
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
            "(k (>=) '1'::int8 AND k (<) '9'::int8)",
        );
        check(
            range(&[2, 1, 2, 2]),
            KeyType::Int8,
            "(k (<) '1'::int8) OR (k (>=) '5'::int8)",
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
            "((k::text COLLATE \"C\") (=) ANY (ARRAY['a'::text, 'b'::text]))",
        );
        check(
            Method::List {
                values,
                default: Some(ShardId(2)),
            },
            KeyType::Text,
            "NOT ((k::text COLLATE \"C\") (=) ANY (ARRAY['c'''::text]))",
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
            let is =
                |key| format!("(k OPERATOR(pg_catalog.=) ANY (ARRAY['{key}'::pg_catalog.int8]))");
            let expect = format!("({own} AND NOT {}) OR {}", is(other.1), is(other.0));
            assert_eq!(map.ownership_sql("k", ShardId(shard)), expect);
        }
    }

    #[test]
    fn constants_need_no_setting() {
        let check = |ty, key: Key, expect: &str| assert_eq!(constant(ty, &key), expect);
        let at = |value| Key::Timestamp(value);
        let zoned = KeyType::Timestamptz;
        check(
            zoned,
            at(0),
            "'2000-01-01 00:00:00+00'::pg_catalog.timestamptz",
        );
        check(zoned, at(i64::MAX), "'infinity'::pg_catalog.timestamptz");
        check(
            zoned,
            at(-211_813_488_000_000_000),
            "'4714-11-24 00:00:00+00 BC'::pg_catalog.timestamptz",
        );
        check(
            KeyType::Timestamp,
            at(0),
            "'2000-01-01 00:00:00'::pg_catalog.timestamp",
        );
        check(
            KeyType::Text,
            Key::Text("a\\'".into()),
            "E'a\\\\'''::pg_catalog.text",
        );
        check(
            KeyType::Bytea,
            Key::Bytea([0, 255].into()),
            "E'\\\\x00ff'::pg_catalog.bytea",
        );
    }
}
