//! Texts and bytes -> keys, exactly as Postgres's input and receive functions read them, or not at all.
//!
//! Each parser knows three answers: the key, "Postgres certainly refuses this input", and "do not know". Only the first
//! two may decide a route.

mod array;
mod bytea;
mod int;
mod time;
mod types;
mod uuid;

#[cfg(test)]
mod tests;

pub(crate) use array::{elements_from_binary, elements_from_text};
pub(crate) use int::Integral;
pub(crate) use types::{Family, family, parameter_type};

use shardgate_shard_map::{Key, KeyType};

/// What an input says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Key(Key),
    /// Postgres raises an error for this input, on any shard and before any row is touched.
    Fails,
    /// Postgres may accept it, and how it reads it is not reproduced here.
    Unknown,
}

/// The type's input function.
///
/// Integers are read in the range of int8 whatever the type: a value out of the type's own range is an error of
/// Postgres's, on the shard of that value as well as on any other.
pub(crate) fn from_text(ty: KeyType, text: &str) -> Parsed {
    match ty {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => int::parse(text),
        KeyType::Text | KeyType::Varchar => Parsed::Key(Key::Text(text.into())),
        KeyType::Uuid => uuid::parse(text),
        KeyType::Bytea => bytea::parse(text),
        KeyType::Date => time::date(text),
        KeyType::Timestamp => time::timestamp(text),
        KeyType::Timestamptz => time::timestamptz(text),
    }
}

/// The type's receive function (binary parameters). An integer's width is taken from its bytes: the wrong width is an
/// error of Postgres's on any shard.
pub(crate) fn from_binary(ty: KeyType, bytes: &[u8]) -> Parsed {
    let key = match ty {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => binary_int(bytes).map(Key::Int),
        KeyType::Text | KeyType::Varchar => match std::str::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => None,
            Ok(text) => Some(Key::Text(text.into())),
            // The bytes may be of another encoding, which the server converts.
            Err(_) => return Parsed::Unknown,
        },
        KeyType::Uuid => bytes.try_into().ok().map(Key::Uuid),
        KeyType::Bytea => Some(Key::Bytea(bytes.into())),
        KeyType::Date => bytes
            .try_into()
            .ok()
            .map(|b| Key::Date(i32::from_be_bytes(b))),
        KeyType::Timestamp | KeyType::Timestamptz => bytes
            .try_into()
            .ok()
            .map(|b| Key::Timestamp(i64::from_be_bytes(b))),
    };
    key.map_or(Parsed::Fails, Parsed::Key)
}

fn binary_int(bytes: &[u8]) -> Option<i64> {
    if let Ok(two) = <[u8; 2]>::try_from(bytes) {
        return Some(i64::from(i16::from_be_bytes(two)));
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(i64::from(i32::from_be_bytes(four)));
    }
    <[u8; 8]>::try_from(bytes).ok().map(i64::from_be_bytes)
}

/// A number literal as an integer: `42`, `-1`, `5.0`, `1e3`.
pub(crate) fn integral(number: &str) -> Integral {
    int::integral(number)
}

/// A number literal that Postgres types as int4 or int8: digits only, within int8.
pub(crate) fn plain_integer(number: &str) -> Option<i64> {
    int::plain(number)
}

/// The key that is stored when `key` is assigned to a column of `ty` with the modifier of pg_attribute.
pub(crate) fn assigned(key: Key, ty: KeyType, modifier: i32) -> Parsed {
    match (&key, ty) {
        (Key::Int(value), KeyType::Int2) if i16::try_from(*value).is_err() => Parsed::Fails,
        (Key::Int(value), KeyType::Int4) if i32::try_from(*value).is_err() => Parsed::Fails,
        (Key::Text(text), KeyType::Varchar) if modifier >= 4 => varchar(text, modifier - 4),
        (Key::Timestamp(micros), KeyType::Timestamp | KeyType::Timestamptz)
            if (0..6).contains(&modifier) =>
        {
            let unit = 10_i64.pow(6_u32.saturating_sub(modifier.unsigned_abs()));
            let infinite = *micros == i64::MAX || *micros == i64::MIN;
            if infinite || micros % unit == 0 {
                Parsed::Key(key)
            } else {
                Parsed::Unknown
            }
        }
        _ => Parsed::Key(key),
    }
}

/// varchar(n): what is longer is an error, unless the excess is blanks, which are cut off; that is left to Postgres.
fn varchar(text: &str, limit: i32) -> Parsed {
    let limit = usize::try_from(limit).unwrap_or(0);
    match text.char_indices().nth(limit) {
        None => Parsed::Key(Key::Text(text.into())),
        Some((at, _))
            if text
                .get(at..)
                .is_some_and(|rest| rest.chars().all(|c| c == ' ')) =>
        {
            Parsed::Unknown
        }
        Some(_) => Parsed::Fails,
    }
}
