//! Durations and sizes as kinds of settings: plain numbers in the setting's own unit, or text with a unit.

use super::kinds::{Integer, Kind, Wrong, integer, wrong_type};
use super::units::{self, Malformed};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// The unit of a duration that is a plain number.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Second,
    Millisecond,
}

/// A duration of at least `min`, at most `max`; zero is allowed beside them if `zero` is set.
pub(super) struct Span {
    pub unit: Unit,
    pub min: Duration,
    pub max: Duration,
    pub zero: bool,
}

impl Span {
    fn plain(&self, number: i128) -> Result<Duration, Vec<Wrong>> {
        let factor = match self.unit {
            Unit::Second => 1000,
            Unit::Millisecond => 1,
        };
        let ms = number.checked_mul(factor).map(u64::try_from);
        match ms {
            Some(Ok(ms)) => self.check(Duration::from_millis(ms)),
            Some(Err(_)) | None => Err(self.out_of_range(&number.to_string())),
        }
    }

    fn check(&self, value: Duration) -> Result<Duration, Vec<Wrong>> {
        if self.zero && value.is_zero() || (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(self.out_of_range(&units::show_duration(value)))
    }

    fn out_of_range(&self, shown: &str) -> Vec<Wrong> {
        let zero = if self.zero { " or 0" } else { "" };
        Wrong::new(format!(
            "{shown} is out of range, it must be {} to {}{zero}",
            units::show_duration(self.min),
            units::show_duration(self.max)
        ))
    }

    fn unit_name(&self) -> &'static str {
        match self.unit {
            Unit::Second => "seconds",
            Unit::Millisecond => "milliseconds",
        }
    }
}

impl Kind for Span {
    type Value = Duration;

    fn toml(&self, value: &DeValue<'_>) -> Result<Duration, Vec<Wrong>> {
        match value {
            DeValue::Integer(_) => self.plain(integer(value)?),
            DeValue::String(text) => match units::duration(text) {
                Ok(value) => self.check(value),
                Err(wrong) => Err(malformed(
                    wrong,
                    text,
                    "duration",
                    "60s",
                    units::time_units(),
                )),
            },
            other => Err(wrong_type(
                &format!(
                    "a duration (a number of {}, or text like \"60s\")",
                    self.unit_name()
                ),
                other,
            )),
        }
    }

    fn variable(&self, text: &str) -> Result<Duration, Vec<Wrong>> {
        match units::duration(text) {
            Ok(value) => self.check(value),
            Err(Malformed::NoUnit(number)) => self.plain(number.into()),
            Err(wrong) => Err(malformed(
                wrong,
                text,
                "duration",
                "60s",
                units::time_units(),
            )),
        }
    }

    fn show(&self, value: &Duration) -> String {
        units::show_duration(*value)
    }
}

/// A size in bytes within a range; zero is allowed beside it if `zero` is set.
pub(super) struct Size {
    pub range: RangeInclusive<u64>,
    pub zero: bool,
}

impl Size {
    fn check(&self, value: i128) -> Result<u64, Vec<Wrong>> {
        match value {
            0 if self.zero => Ok(0),
            value => Integer(self.range.clone()).check(value),
        }
    }
}

impl Kind for Size {
    type Value = u64;

    fn toml(&self, value: &DeValue<'_>) -> Result<u64, Vec<Wrong>> {
        match value {
            DeValue::Integer(_) => self.check(integer(value)?),
            DeValue::String(text) => match units::size(text) {
                Ok(value) => self.check(value.into()),
                Err(wrong) => Err(malformed(wrong, text, "size", "64MiB", units::size_units())),
            },
            other => Err(wrong_type(
                "a size (a number of bytes, or text like \"64MiB\")",
                other,
            )),
        }
    }

    fn variable(&self, text: &str) -> Result<u64, Vec<Wrong>> {
        match units::size(text) {
            Ok(value) => self.check(value.into()),
            Err(Malformed::NoUnit(number)) => self.check(number.into()),
            Err(wrong) => Err(malformed(wrong, text, "size", "64MiB", units::size_units())),
        }
    }

    fn show(&self, value: &u64) -> String {
        value.to_string()
    }
}

fn malformed(wrong: Malformed, text: &str, what: &str, example: &str, units: String) -> Vec<Wrong> {
    let shown = text.escape_debug();
    match wrong {
        Malformed::Number => Wrong::helped(
            format!("`{shown}` is not a {what}"),
            format!("write a whole number and a unit, as in \"{example}\""),
        ),
        Malformed::NoUnit(number) => Wrong::helped(
            format!("the {what} \"{shown}\" has no unit"),
            format!("write {number} without the quotes, or add one of {units}"),
        ),
        Malformed::Unit(unit) => Wrong::helped(
            format!("unknown unit `{}`", unit.escape_debug()),
            format!("the units are {units}"),
        ),
        Malformed::TooLarge => Wrong::new(format!("`{shown}` is out of range")),
    }
}
