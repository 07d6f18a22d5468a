//! Integers, as `int8in` and the lexer's number constants read them.

use super::Parsed;
use shardgate_shard_map::Key;

/// Blanks, a sign, digits, blanks (numutils.c). Later versions of Postgres also read `0x10` and `1_000`, so these are
/// unknown and not errors.
pub(super) fn parse(text: &str) -> Parsed {
    if let Some(value) = few_digits(text) {
        return Parsed::Key(Key::Int(value));
    }
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

/// Digits alone, and so few that they fit.
fn few_digits(text: &str) -> Option<i64> {
    const FIT: usize = 18;
    if text.is_empty() || text.len() > FIT {
        return None;
    }
    text.bytes().try_fold(0i64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

pub(super) fn plain(number: &str) -> Option<i64> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

/// A number constant as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integral {
    Is(i64),
    /// It has a fraction or is out of int8: no integer key equals it.
    Not,
    /// It is too long to be computed here.
    Unknown,
}

/// Exponents and digits are bounded: nobody writes longer keys.
const EXPONENT_MAX: i32 = 40;
const DIGITS_MAX: usize = 60;

pub(super) fn integral(number: &str) -> Integral {
    scaled(number).map_or(Integral::Unknown, |digits| match digits {
        None => Integral::Not,
        Some(digits) => digits.parse().map_or(Integral::Not, Integral::Is),
    })
}

/// The digits of an integral number, with its sign. The inner None: it has a fraction. The outer None: not computed.
fn scaled(number: &str) -> Option<Option<String>> {
    let (sign, unsigned) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let length = whole.len() + fraction.len();
    let fits = (1..=DIGITS_MAX).contains(&length)
        && exponent.unsigned_abs() <= EXPONENT_MAX.unsigned_abs();
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
                Some(_) => return Some(None),
            }
        }
    }
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    Some(Some(format!("{sign}{digits}")))
}
