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

impl KeyType {
    pub const ALL: [KeyType; 10] = [
        KeyType::Int2,
        KeyType::Int4,
        KeyType::Int8,
        KeyType::Text,
        KeyType::Varchar,
        KeyType::Uuid,
        KeyType::Bytea,
        KeyType::Date,
        KeyType::Timestamp,
        KeyType::Timestamptz,
    ];

    /// The name in `pg_type.typname`.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Int2 => "int2",
            KeyType::Int4 => "int4",
            KeyType::Int8 => "int8",
            KeyType::Text => "text",
            KeyType::Varchar => "varchar",
            KeyType::Uuid => "uuid",
            KeyType::Bytea => "bytea",
            KeyType::Date => "date",
            KeyType::Timestamp => "timestamp",
            KeyType::Timestamptz => "timestamptz",
        }
    }

    /// The type with this `pg_type.typname`.
    pub fn from_name(name: &str) -> Option<Self> {
        KeyType::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// The type's OID, which is the same on every server.
    pub fn oid(self) -> u32 {
        match self {
            KeyType::Int2 => 21,
            KeyType::Int4 => 23,
            KeyType::Int8 => 20,
            KeyType::Text => 25,
            KeyType::Varchar => 1043,
            KeyType::Uuid => 2950,
            KeyType::Bytea => 17,
            KeyType::Date => 1082,
            KeyType::Timestamp => 1114,
            KeyType::Timestamptz => 1184,
        }
    }

    /// None: a type that no sharding key may have.
    pub fn from_oid(oid: u32) -> Option<Self> {
        KeyType::ALL.into_iter().find(|ty| ty.oid() == oid)
    }

    /// The value is of the variant that stands for this type. An integer may still be too large for int2 or int4: then no
    /// row has it.
    pub fn takes(self, key: &Key) -> bool {
        match (self, key) {
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Key::Int(_))
            | (KeyType::Text | KeyType::Varchar, Key::Text(_))
            | (KeyType::Uuid, Key::Uuid(_))
            | (KeyType::Bytea, Key::Bytea(_))
            | (KeyType::Date, Key::Date(_))
            | (KeyType::Timestamp | KeyType::Timestamptz, Key::Timestamp(_)) => true,
            (
                _,
                Key::Int(_)
                | Key::Text(_)
                | Key::Uuid(_)
                | Key::Bytea(_)
                | Key::Date(_)
                | Key::Timestamp(_),
            ) => false,
        }
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
