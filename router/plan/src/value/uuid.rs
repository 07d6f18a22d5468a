//! uuid input (uuid.c, `string_to_uuid`): hex digits in pairs, a hyphen allowed after every second pair, braces
//! around the whole.

use super::Parsed;
use shardgate_shard_map::Key;

pub(super) fn parse(text: &str) -> Parsed {
    read(text.as_bytes()).map_or(Parsed::Fails, |bytes| Parsed::Key(Key::Uuid(bytes)))
}

fn read(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text.strip_prefix(b"{") {
        Some(inner) => inner.strip_suffix(b"}")?,
        None => text,
    };
    let mut bytes = [0_u8; 16];
    for (i, byte) in bytes.iter_mut().enumerate() {
        let (high, after) = rest.split_first()?;
        let (low, after) = after.split_first()?;
        *byte = hex(*high)? << 4 | hex(*low)?;
        rest = if i % 2 == 1 && i < 15 {
            after.strip_prefix(b"-").unwrap_or(after)
        } else {
            after
        };
    }
    rest.is_empty().then_some(bytes)
}

/// The value of one hex digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
