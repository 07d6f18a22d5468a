//! Which key types compare by one equality, and the types that parameters may be declared with.

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

/// The object id of the array type (pg_type.dat), which is the same on every server.
fn array_oid(ty: KeyType) -> u32 {
    match ty {
        KeyType::Int2 => 1005,
        KeyType::Int4 => 1007,
        KeyType::Int8 => 1016,
        KeyType::Text => 1009,
        KeyType::Varchar => 1015,
        KeyType::Uuid => 2951,
        KeyType::Bytea => 1001,
        KeyType::Date => 1182,
        KeyType::Timestamp => 1115,
        KeyType::Timestamptz => 1185,
    }
}

/// A declared parameter type: the key type, and whether it is an array of it.
pub(crate) fn parameter_type(oid: u32) -> Option<(KeyType, bool)> {
    let array = KeyType::ALL.into_iter().find(|ty| array_oid(*ty) == oid);
    KeyType::from_oid(oid)
        .map(|ty| (ty, false))
        .or(array.map(|ty| (ty, true)))
}
