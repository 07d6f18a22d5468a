//! Object ids and names of the types that a key may have, and which of them compare by one equality.

use shardgate_shard_map::KeyType;

/// Types whose values are compared by the equality operators of one hash operator family, by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Int,
    Text,
    Uuid,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
}

pub(crate) fn family(ty: KeyType) -> Family {
    match ty {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Family::Int,
        KeyType::Text | KeyType::Varchar => Family::Text,
        KeyType::Uuid => Family::Uuid,
        KeyType::Bytea => Family::Bytea,
        KeyType::Date => Family::Date,
        KeyType::Timestamp => Family::Timestamp,
        KeyType::Timestamptz => Family::Timestamptz,
    }
}

/// name, type, oid, oid of its array type (pg_type.dat).
const TYPES: &[(&str, KeyType, u32, u32)] = &[
    ("int2", KeyType::Int2, 21, 1005),
    ("int4", KeyType::Int4, 23, 1007),
    ("int8", KeyType::Int8, 20, 1016),
    ("text", KeyType::Text, 25, 1009),
    ("varchar", KeyType::Varchar, 1043, 1015),
    ("uuid", KeyType::Uuid, 2950, 2951),
    ("bytea", KeyType::Bytea, 17, 1001),
    ("date", KeyType::Date, 1082, 1182),
    ("timestamp", KeyType::Timestamp, 1114, 1115),
    ("timestamptz", KeyType::Timestamptz, 1184, 1185),
];

/// The key type with this object id.
pub(crate) fn key_type(oid: u32) -> Option<KeyType> {
    TYPES
        .iter()
        .find(|entry| entry.2 == oid)
        .map(|entry| entry.1)
}

/// The key type with this name in pg_catalog.
pub(crate) fn key_type_named(name: &str) -> Option<KeyType> {
    TYPES
        .iter()
        .find(|entry| entry.0 == name)
        .map(|entry| entry.1)
}

pub(crate) fn key_type_name(ty: KeyType) -> &'static str {
    TYPES
        .iter()
        .find(|entry| entry.1 == ty)
        .map_or("unknown", |entry| entry.0)
}

/// A declared parameter type: the key type, and whether it is an array of it.
pub(crate) fn parameter_type(oid: u32) -> Option<(KeyType, bool)> {
    TYPES.iter().find_map(|entry| match oid {
        _ if entry.2 == oid => Some((entry.1, false)),
        _ if entry.3 == oid => Some((entry.1, true)),
        _ => None,
    })
}
