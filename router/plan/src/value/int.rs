//! Integers, as `int8in` and the lexer's number constants read them.

use super::Parsed;
use shardgate_shard_map::Key;

/// Blanks, a sign, digits, blanks (numutils.c). Later versions of Postgres also read `0x10` and `1_000`, so these are
/// unknown and not errors.
pub(super) fn parse(text: &str) -> Parsed {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return match trimmed.parse::<i64>() {
            Ok(value) => Parsed::Key(Key::Int(value)),
            Err(_) => Parsed::Fails,
        };
    }
    let modern = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && digits
            .bytes()
            .any(|b| matches!(b, b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B'));
    if modern {
        Parsed::Unknown
    } else {
        Parsed::Fails
    }
}

pub(super) fn plain(number: &str) -> Option<i64> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

/// The exponent is bounded: what is far out of int8 is not integral for our purpose.
const EXPONENT_MAX: i32 = 40;

pub(super) fn integral(number: &str) -> Option<i64> {
    let (negative, unsigned) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fits = whole.len() + fraction.len() <= 60 && exponent.abs() <= EXPONENT_MAX;
    if !fits || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let scale = i32::try_from(fraction.len()).ok()? - exponent;
    if scale < 0 {
        digits.extend(std::iter::repeat_n('0', usize::try_from(-scale).ok()?));
    } else {
        for _ in 0..scale {
            match digits.pop() {
                None | Some('0') => {}
                Some(_) => return None,
            }
        }
    }
    let digits = digits.trim_start_matches('0');
    let signed = if digits.is_empty() {
        "0".to_owned()
    } else {
        format!("{}{digits}", if negative { "-" } else { "" })
    };
    signed.parse().ok()
}
