//! Durations and sizes as people write them: a number in the setting's own unit, or a number with a unit.
//!
//! Names of units are Postgres's (`ms`, `s`, `min`, `h`, `d`; `B`, `kB`, `MB`, `GB` in steps of 1024, and the IEC names of
//! the same sizes). A number in quotes without a unit is refused: it is the usual sign of a mistake.

use std::time::Duration;

/// Nanoseconds in each unit of time.
const TIMES: &[(&str, u64)] = &[
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Bytes in each unit of size.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1 << 10),
    ("KiB", 1 << 10),
    ("MB", 1 << 20),
    ("MiB", 1 << 20),
    ("GB", 1 << 30),
    ("GiB", 1 << 30),
];

/// Why a text is no quantity.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Nothing that begins with a whole number.
    Number,
    /// A number alone.
    NoUnit(u64),
    /// A unit that does not exist; the text is what stands there.
    Unit(String),
    TooLarge,
}

pub(super) fn duration(text: &str) -> Result<Duration, Malformed> {
    quantity(text, TIMES).map(Duration::from_nanos)
}

pub(super) fn size(text: &str) -> Result<u64, Malformed> {
    quantity(text, SIZES)
}

/// The names of the units, for messages.
pub(super) fn time_units() -> String {
    names(TIMES)
}

pub(super) fn size_units() -> String {
    names(SIZES)
}

fn names(units: &[(&str, u64)]) -> String {
    units.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, Malformed> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Malformed::Number);
    }
    let number: u64 = number.parse().map_err(|_| Malformed::TooLarge)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(Malformed::NoUnit(number));
    }
    if !unit.starts_with(|c: char| c.is_alphabetic()) {
        return Err(Malformed::Number);
    }
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| Malformed::Unit(unit.to_owned()))?;
    number.checked_mul(factor).ok_or(Malformed::TooLarge)
}

/// The shortest exact text: `0`, `50ms`, `90s`.
pub(super) fn show_duration(value: Duration) -> String {
    let nanos = value.as_nanos();
    if nanos == 0 {
        return "0".to_owned();
    }
    for (name, factor) in [("s", 1_000_000_000), ("ms", 1_000_000)] {
        if nanos.is_multiple_of(factor) {
            return format!("{}{name}", nanos / factor);
        }
    }
    format!("{}us", nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expect: Result<Duration, Malformed>| {
            assert_eq!(duration(text), expect, "{text:?}");
        };
        check("60s", Ok(Duration::from_secs(60)));
        check(" 5 min ", Ok(Duration::from_secs(300)));
        check("50ms", Ok(Duration::from_millis(50)));
        check("250us", Ok(Duration::from_micros(250)));
        check("2h", Ok(Duration::from_secs(7200)));
        check("1d", Ok(Duration::from_secs(86400)));
        check("60", Err(Malformed::NoUnit(60)));
        check("", Err(Malformed::Number));
        check("s", Err(Malformed::Number));
        check("-1s", Err(Malformed::Number));
        check("1.5s", Err(Malformed::Number));
        check("5m", Err(Malformed::Unit("m".into())));
        check("5 minutes", Err(Malformed::Unit("minutes".into())));
        check("99999999999999999999s", Err(Malformed::TooLarge));
        check("99999999999999999d", Err(Malformed::TooLarge));
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expect: Result<u64, Malformed>| {
            assert_eq!(size(text), expect, "{text:?}");
        };
        check("64MiB", Ok(67_108_864));
        check("64MB", Ok(67_108_864));
        check("1kB", Ok(1024));
        check("1KiB", Ok(1024));
        check("12 B", Ok(12));
        check("1GB", Ok(1 << 30));
        check("1KB", Err(Malformed::Unit("KB".into())));
        check("1024", Err(Malformed::NoUnit(1024)));
        check("18446744073709551615GB", Err(Malformed::TooLarge));
    }

    #[test]
    fn durations_are_shown_exactly() {
        let check = |value: Duration, expect: &str| assert_eq!(show_duration(value), expect);
        check(Duration::ZERO, "0");
        check(Duration::from_secs(90), "90s");
        check(Duration::from_millis(1500), "1500ms");
        check(Duration::from_micros(250), "250us");
    }
}
