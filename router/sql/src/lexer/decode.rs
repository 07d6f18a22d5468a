//! The values of identifier and string tokens: folding, doubled quotes, backslash and Unicode escapes.
//!
//! What cannot be decoded for certain is None; the server then gives its own error for it.

use super::Kind;

/// Identifiers are cut to this many bytes, at a character's boundary (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;

/// The name that an identifier token stands for.
pub(super) fn name(kind: Kind, raw: &str) -> Option<String> {
    let name = match kind {
        // Postgres folds ASCII letters only, if the server's encoding has characters of several bytes.
        Kind::Word => raw.to_ascii_lowercase(),
        Kind::QuotedIdent => undouble(raw.strip_prefix('"')?.strip_suffix('"')?, '"'),
        Kind::UnicodeIdent(escape) => {
            let body = raw.get(3..)?;
            unicode(
                &undouble(body.get(..end_of_identifier(body)?)?, '"'),
                escape,
            )?
        }
        _ => return None,
    };
    Some(cut(name))
}

/// Cuts a name as Postgres does.
pub(crate) fn cut(mut name: String) -> String {
    if name.len() > NAME_BYTES_MAX {
        let mut end = NAME_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// The characters of a plain string constant.
pub(super) fn string(kind: Kind, raw: &str) -> Option<String> {
    match kind {
        Kind::String => joined(raw.get(1..)?, false, |part| Some(undouble(part, '\''))),
        Kind::EscapeString => joined(raw.get(2..)?, true, escaped),
        Kind::UnicodeString(escape) => {
            // An escape does not reach over the end of a part, but a surrogate pair may.
            let whole = joined(raw.get(3..)?, false, |part| Some(undouble(part, '\'')))?;
            unicode(&whole, escape)
        }
        Kind::DollarString => {
            let tag = raw.get(1..)?.find('$')? + 2;
            raw.get(tag..raw.len().checked_sub(tag)?).map(str::to_owned)
        }
        _ => None,
    }
}

fn undouble(body: &str, quote: char) -> String {
    let mut out = String::with_capacity(body.len());
    let mut skip = false;
    for c in body.chars() {
        if c == quote && skip {
            skip = false;
            continue;
        }
        skip = c == quote;
        out.push(c);
    }
    out
}

/// The byte at which the quote that ends an identifier stands.
fn end_of_identifier(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'"', Some(b'"')) => at += 2,
            (b'"', _) => return Some(at),
            _ => at += 1,
        }
    }
}

/// Decodes each part of a string and joins them. `rest` begins behind the first quote; what follows the last part
/// (a UESCAPE clause) is left out.
fn joined(rest: &str, backslash: bool, decode: impl Fn(&str) -> Option<String>) -> Option<String> {
    let bytes = rest.as_bytes();
    let mut out = String::new();
    let mut start = 0;
    loop {
        let mut at = start;
        loop {
            match (bytes.get(at)?, bytes.get(at + 1)) {
                (b'\'', Some(b'\'')) => at += 2,
                (b'\'', _) => break,
                (b'\\', _) if backslash => at += 2,
                _ => at += 1,
            }
        }
        out.push_str(&decode(rest.get(start..at)?)?);
        // The scanner has seen that only blanks with a newline lie between two parts.
        match next_part(bytes, at + 1) {
            Some(next) => start = next,
            None => return Some(out),
        }
    }
}

/// The byte behind the quote that opens the next part of a continued string, if there is one.
fn next_part(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'\'' => return Some(at + 1),
            b'-' => {
                while bytes.get(at).is_some_and(|b| *b != b'\n' && *b != b'\r') {
                    at += 1;
                }
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => at += 1,
            _ => return None,
        }
    }
}

/// The body of an `E''` string. Escapes name bytes, which must be UTF-8 in the end.
fn escaped(body: &str) -> Option<String> {
    let mut out = Vec::with_capacity(body.len());
    let mut high = None;
    let mut rest = body.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\'' {
            // A doubled quote; the scanner found them in pairs.
            rest = rest.get(1..)?;
        }
        if byte != b'\\' {
            if high.is_some() {
                return None;
            }
            out.push(byte);
            continue;
        }
        let (&letter, tail) = rest.split_first()?;
        rest = tail;
        if let b'u' | b'U' = letter {
            let length = if letter == b'u' { 4 } else { 8 };
            let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
            rest = rest.get(length..)?;
            if let Some(c) = surrogates(&mut high, hex(digits)?)? {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            continue;
        }
        if high.is_some() {
            return None;
        }
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'0'..=b'7' => {
                let mut value = u32::from(letter - b'0');
                let mut digits = 1;
                while let (Some(&next @ b'0'..=b'7'), 1 | 2) = (rest.first(), digits) {
                    value = value * 8 + u32::from(next - b'0');
                    rest = rest.get(1..)?;
                    digits += 1;
                }
                // Postgres keeps the low eight bits of \777.
                out.push(u8::try_from(value & 0xff).ok()?);
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let digits = rest
                    .iter()
                    .take(2)
                    .take_while(|b| b.is_ascii_hexdigit())
                    .count();
                let value = hex(std::str::from_utf8(rest.get(..digits)?).ok()?)?;
                rest = rest.get(digits..)?;
                out.push(u8::try_from(value).ok()?);
            }
            other => out.push(other),
        }
    }
    if high.is_some() || out.contains(&0) {
        return None;
    }
    String::from_utf8(out).ok()
}

/// `\0041` and `\+000041` with the given escape character; a doubled one stands for itself.
fn unicode(body: &str, escape: char) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut high = None;
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        if c != escape {
            if high.is_some() {
                return None;
            }
            out.push(c);
        } else if rest.starts_with(escape) {
            if high.is_some() {
                return None;
            }
            rest = rest.get(escape.len_utf8()..)?;
            out.push(escape);
        } else {
            let (from, length) = if rest.starts_with('+') {
                (1, 6)
            } else {
                (0, 4)
            };
            let value = hex(rest.get(from..from + length)?)?;
            rest = rest.get(from + length..)?;
            if let Some(c) = surrogates(&mut high, value)? {
                out.push(c);
            }
        }
    }
    if high.is_some() {
        return None;
    }
    Some(out)
}

/// Joins the two halves of a surrogate pair. The outer None is an error, the inner one says that a half is pending.
fn surrogates(high: &mut Option<u32>, value: u32) -> Option<Option<char>> {
    match (high.take(), value) {
        (None, 0xd800..=0xdbff) => {
            *high = Some(value);
            Some(None)
        }
        (Some(first), 0xdc00..=0xdfff) => {
            char::from_u32(0x10000 + ((first - 0xd800) << 10) + (value - 0xdc00)).map(Some)
        }
        (Some(_), _) | (None, 0) => None,
        (None, _) => char::from_u32(value).map(Some),
    }
}

fn hex(digits: &str) -> Option<u32> {
    if digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}
