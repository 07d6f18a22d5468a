//! bytea input (varlena.c, `byteain`; encode.c, `hex_decode`): `\x` and hex digits in pairs with blanks between the
//! pairs, or the escape form with `\\` and `\ooo`.

use super::{Parsed, uuid::hex};
use shardgate_shard_map::Key;

pub(super) fn parse(text: &str) -> Parsed {
    let bytes = match text.as_bytes().strip_prefix(b"\\x") {
        Some(digits) => hex_form(digits),
        None => escape_form(text.as_bytes()),
    };
    bytes.map_or(Parsed::Fails, |bytes| Parsed::Key(Key::Bytea(bytes.into())))
}

fn hex_form(digits: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut rest = digits.iter().copied();
    while let Some(first) = rest.next() {
        if matches!(first, b' ' | b'\n' | b'\t' | b'\r') {
            continue;
        }
        bytes.push(hex(first)? << 4 | hex(rest.next()?)?);
    }
    Some(bytes)
}

fn escape_form(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match after {
            [b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(bytes)
}
