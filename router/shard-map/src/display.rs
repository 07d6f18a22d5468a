//! Key values as text, for messages: what psql would show with DateStyle ISO (timestamps with time zone in UTC, without
//! the zone).

use crate::key::Key;
use std::fmt;

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Int(value) => write!(f, "{value}"),
            Key::Text(text) => f.write_str(text),
            Key::Uuid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
            Key::Bytea(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Key::Date(i32::MAX) | Key::Timestamp(i64::MAX) => f.write_str("infinity"),
            Key::Date(i32::MIN) | Key::Timestamp(i64::MIN) => f.write_str("-infinity"),
            Key::Date(days) => {
                let date = Civil::from_days(i64::from(*days));
                write!(f, "{date}{}", date.era())
            }
            Key::Timestamp(microseconds) => {
                let date = Civil::from_days(microseconds.div_euclid(MICROSECONDS_PER_DAY));
                let in_day = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
                let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                write!(f, "{date} {hours:02}:{minutes:02}:{:02}", seconds % 60)?;
                if fraction != 0 {
                    let digits = format!("{fraction:06}");
                    write!(f, ".{}", digits.trim_end_matches('0'))?;
                }
                f.write_str(date.era())
            }
        }
    }
}

/// A day of the proleptic Gregorian calendar. The year 0 is 1 BC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
}

impl Civil {
    /// From days since 2000-01-01.
    ///
    /// Years are counted from March, so that the leap day is the last of its year; 400 years have 146097 days, and the
    /// 153 days of five months from March (or August) repeat.
    fn from_days(days: i64) -> Self {
        // From 2000-01-01 back to 0000-03-01.
        let days = days + 730_425;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Civil { year, month, day }
    }

    fn era(&self) -> &'static str {
        if self.year <= 0 { " BC" } else { "" }
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = if self.year <= 0 {
            1 - self.year
        } else {
            self.year
        };
        write!(f, "{year:04}-{:02}-{:02}", self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: Key, expect: &str) {
        assert_eq!(key.to_string(), expect);
    }

    #[test]
    fn keys_as_psql_shows_them() {
        check(Key::Int(-7), "-7");
        check(Key::Text("grün".into()), "grün");
        check(
            Key::Uuid(0x550e8400_e29b_41d4_a716_446655440000_u128.to_be_bytes()),
            "550e8400-e29b-41d4-a716-446655440000",
        );
        check(Key::Bytea(Box::from(*b"\x00\xff")), "\\x00ff");
        check(Key::Bytea(Box::from(*b"")), "\\x");
    }

    /// The expected texts are Postgres's: `select date '2000-01-01' + n`, and `timestamp '2000-01-01' + n * '1 us'`.
    #[test]
    fn dates_and_timestamps_as_postgres_shows_them() {
        check(Key::Date(0), "2000-01-01");
        check(Key::Date(59), "2000-02-29");
        check(Key::Date(60), "2000-03-01");
        check(Key::Date(-1), "1999-12-31");
        check(Key::Date(9862), "2027-01-01");
        check(Key::Date(-730_119), "0001-01-01");
        check(Key::Date(-730_120), "0001-12-31 BC");
        check(Key::Date(-730_485), "0001-01-01 BC");
        check(Key::Date(-730_486), "0002-12-31 BC");
        check(Key::Date(2_145_031_948), "5874897-12-31");
        check(Key::Date(-2_451_545), "4714-11-24 BC");
        check(Key::Date(i32::MAX), "infinity");
        check(Key::Date(i32::MIN), "-infinity");
        check(Key::Timestamp(0), "2000-01-01 00:00:00");
        check(Key::Timestamp(-1), "1999-12-31 23:59:59.999999");
        check(Key::Timestamp(86_399_500_000), "2000-01-01 23:59:59.5");
        check(Key::Timestamp(i64::MAX), "infinity");
        check(Key::Timestamp(i64::MIN), "-infinity");
        check(
            Key::Timestamp(-211_813_488_000_000_000),
            "4714-11-24 00:00:00 BC",
        );
    }
}
