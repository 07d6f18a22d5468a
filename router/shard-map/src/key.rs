//! Sharding keys: their types and their values.
//!
//! A key value is what Postgres stores after the assignment cast to the column's type. This module knows nothing of
//! SQL text; how a literal or a parameter becomes a value is decided by `plan`.

/// The types that a sharding key may have. Every other type is refused by name when a table is distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    Int2,
    Int4,
    Int8,
    Text,
    Varchar,
    Uuid,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
}

/// One sharding key value, not NULL.
///
/// The derived order is the order of range maps: numbers by value, text and bytea by bytes.
/// Values of different variants are never compared in one map, because a map has one key type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// int2, int4 and int8 hash alike in Postgres.
    Int(i64),
    /// text and varchar: the bytes in the server encoding, which must be UTF8.
    Text(Box<str>),
    Uuid([u8; 16]),
    Bytea(Box<[u8]>),
    /// Days since 2000-01-01; `i32::MAX` and `i32::MIN` are infinity and -infinity.
    Date(i32),
    /// Microseconds since 2000-01-01 00:00:00; `i64::MAX` and `i64::MIN` are infinity and -infinity.
    /// The same variant serves timestamp and timestamptz (UTC).
    Timestamp(i64),
}
