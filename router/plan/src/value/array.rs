//! One-dimensional arrays, in text and binary form, as lists of their elements.
//!
//! Further dimensions and explicit bounds are left to Postgres: `= ANY` flattens them, but nobody sends them.

/// What array input skips (arrayfuncs.c, `array_isspace`): these, and no other blanks of Unicode.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];

/// The elements of `{1,2,NULL,"a b"}`; None for NULL. The outer None: another form.
pub(crate) fn elements_from_text(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text
        .trim_matches(BLANKS)
        .strip_prefix('{')?
        .strip_suffix('}')?;
    if inner.trim_matches(BLANKS).is_empty() {
        return Some(Vec::new());
    }
    let mut elements = Vec::new();
    let mut rest = inner;
    loop {
        let (element, after) = one(rest.trim_start_matches(BLANKS))?;
        elements.push(element);
        match after.trim_start_matches(BLANKS) {
            "" => return Some(elements),
            more => rest = more.strip_prefix(',')?,
        }
    }
}

/// One element, and what follows it.
fn one(text: &str) -> Option<(Option<String>, &str)> {
    match text.strip_prefix('"') {
        Some(body) => quoted(body),
        None => bare(text),
    }
}

fn quoted(body: &str) -> Option<(Option<String>, &str)> {
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Some(value), body.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn bare(text: &str) -> Option<(Option<String>, &str)> {
    let end = text.find(',').unwrap_or(text.len());
    let value = text.get(..end)?.trim_end_matches(BLANKS);
    if value.is_empty() || value.contains(['{', '}', '"', '\\']) {
        return None;
    }
    let element = (!value.eq_ignore_ascii_case("null")).then(|| value.to_owned());
    Some((element, text.get(end..)?))
}

/// The elements of the binary form (arrayfuncs.c, `array_recv`): dimensions, a null flag, the element type, then for
/// each dimension its size and lower bound, then the elements. None: malformed or of more than one dimension.
pub(crate) fn elements_from_binary(bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (dimensions, rest) = word(bytes)?;
    let (_has_nulls, rest) = word(rest)?;
    let (_element_type, rest) = word(rest)?;
    if dimensions == 0 {
        return rest.is_empty().then(Vec::new);
    }
    if dimensions != 1 {
        return None;
    }
    let (count, rest) = word(rest)?;
    let (_lower_bound, mut rest) = word(rest)?;
    let count = usize::try_from(count).ok()?;
    let mut elements = Vec::with_capacity(count.min(rest.len() / 4));
    for _ in 0..count {
        let (length, after) = word(rest)?;
        if length == -1 {
            elements.push(None);
            rest = after;
            continue;
        }
        let length = usize::try_from(length).ok()?;
        elements.push(Some(after.get(..length)?));
        rest = after.get(length..)?;
    }
    rest.is_empty().then_some(elements)
}

fn word(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*word), rest))
}
