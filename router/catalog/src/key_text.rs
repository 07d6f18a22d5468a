//! Key values between the catalog's form and `Key`: the binary form that Postgres itself makes (`int8send`, ..).
//!
//! Text is never read here: Postgres turns text into the binary form. Types that hash and order alike share a family,
//! named by the type that holds all of their values.

use shardgate_shard_map::{Key, KeyType};

/// The name under which a type's maps are stored: `int8` for all integers, `text` for varchar.
pub(crate) fn family(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => "int8",
        KeyType::Text | KeyType::Varchar => "text",
        KeyType::Uuid => "uuid",
        KeyType::Bytea => "bytea",
        KeyType::Date => "date",
        KeyType::Timestamp => "timestamp",
        KeyType::Timestamptz => "timestamptz",
    }
}

/// A type by its name in pg_catalog.
pub(crate) fn key_type(name: &str) -> Option<KeyType> {
    match name {
        "int2" => Some(KeyType::Int2),
        "int4" => Some(KeyType::Int4),
        "int8" => Some(KeyType::Int8),
        "text" => Some(KeyType::Text),
        "varchar" => Some(KeyType::Varchar),
        "uuid" => Some(KeyType::Uuid),
        "bytea" => Some(KeyType::Bytea),
        "date" => Some(KeyType::Date),
        "timestamp" => Some(KeyType::Timestamp),
        "timestamptz" => Some(KeyType::Timestamptz),
        _ => None,
    }
}

/// A type by its id in pg_catalog, which is the same in every Postgres.
pub(crate) fn key_type_of(oid: u32) -> Option<KeyType> {
    match oid {
        21 => Some(KeyType::Int2),
        23 => Some(KeyType::Int4),
        20 => Some(KeyType::Int8),
        25 => Some(KeyType::Text),
        1043 => Some(KeyType::Varchar),
        2950 => Some(KeyType::Uuid),
        17 => Some(KeyType::Bytea),
        1082 => Some(KeyType::Date),
        1114 => Some(KeyType::Timestamp),
        1184 => Some(KeyType::Timestamptz),
        _ => None,
    }
}

/// A value of a family's type from the hex of its binary form.
pub(crate) fn from_binary(key_type: KeyType, hex: &str) -> Option<Key> {
    let bytes = bytes(hex)?;
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => {
            Some(Key::Int(i64::from_be_bytes(bytes.try_into().ok()?)))
        }
        KeyType::Text | KeyType::Varchar => {
            Some(Key::Text(String::from_utf8(bytes).ok()?.into_boxed_str()))
        }
        KeyType::Uuid => Some(Key::Uuid(bytes.try_into().ok()?)),
        KeyType::Bytea => Some(Key::Bytea(bytes.into_boxed_slice())),
        KeyType::Date => Some(Key::Date(i32::from_be_bytes(bytes.try_into().ok()?))),
        KeyType::Timestamp | KeyType::Timestamptz => {
            Some(Key::Timestamp(i64::from_be_bytes(bytes.try_into().ok()?)))
        }
    }
}

/// The bytes of a uuid's text.
pub(crate) fn uuid(text: &str) -> Option<[u8; 16]> {
    bytes(&text.replace('-', ""))?.try_into().ok()
}

pub(crate) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            // A sign would pass the parser.
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                None
            } else {
                u8::from_str_radix(text, 16).ok()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_forms() {
        let check = |ty: KeyType, hex: &str, expect: Option<Key>| {
            assert_eq!(from_binary(ty, hex), expect, "{ty:?} {hex}")
        };
        check(KeyType::Int8, "fffffffffffffffe", Some(Key::Int(-2)));
        check(KeyType::Int8, "fffe", None);
        check(KeyType::Text, "c3a9", Some(Key::Text("é".into())));
        check(KeyType::Text, "c3", None);
        check(KeyType::Date, "80000000", Some(Key::Date(i32::MIN)));
        check(KeyType::Bytea, "00ff", Some(Key::Bytea([0, 255].into())));
        check(KeyType::Bytea, "0", None);
        check(KeyType::Bytea, "+1", None);
        assert_eq!(
            uuid("00000000-0000-0000-0000-0000000000ff").map(|id| id[15]),
            Some(255)
        );
        assert_eq!(uuid("00"), None);
    }
}
