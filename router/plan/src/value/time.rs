//! Dates and timestamps in the ISO forms that every DateStyle reads alike. Whatever else Postgres accepts (`today`,
//! month names, other orders, time zone names) is unknown here.

use super::Parsed;
use shardgate_shard_map::Key;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `YYYY-MM-DD`, `infinity`, `-infinity`.
pub(super) fn date(text: &str) -> Parsed {
    match text {
        "infinity" => Parsed::Key(Key::Date(i32::MAX)),
        "-infinity" => Parsed::Key(Key::Date(i32::MIN)),
        _ => match day(text) {
            Some(Ok(days)) => Parsed::Key(Key::Date(days)),
            Some(Err(NoSuchDay)) => Parsed::Fails,
            None => Parsed::Unknown,
        },
    }
}

/// `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS[.ffffff]` with a blank or `T`. A time zone is ignored by Postgres, which is
/// surprising enough to leave it to Postgres.
pub(super) fn timestamp(text: &str) -> Parsed {
    if let Some(infinite) = infinity(text) {
        return infinite;
    }
    if text.len() == 10 {
        return match day(text) {
            Some(Ok(days)) => Parsed::Key(Key::Timestamp(i64::from(days) * MICROS_PER_DAY)),
            Some(Err(NoSuchDay)) => Parsed::Fails,
            None => Parsed::Unknown,
        };
    }
    match moment(text) {
        Some((Ok(micros), "")) => Parsed::Key(Key::Timestamp(micros)),
        Some((Err(NoSuchDay), "")) => Parsed::Fails,
        Some(_) | None => Parsed::Unknown,
    }
}

/// As `timestamp`, with an explicit numeric offset or `Z` behind: without one the session's time zone would decide.
pub(super) fn timestamptz(text: &str) -> Parsed {
    if let Some(infinite) = infinity(text) {
        return infinite;
    }
    let Some((day, rest)) = moment(text) else {
        return Parsed::Unknown;
    };
    let Some(offset) = offset_seconds(rest) else {
        return Parsed::Unknown;
    };
    match day {
        Ok(micros) => Parsed::Key(Key::Timestamp(micros - offset * 1_000_000)),
        Err(NoSuchDay) => Parsed::Fails,
    }
}

fn infinity(text: &str) -> Option<Parsed> {
    match text {
        "infinity" => Some(Parsed::Key(Key::Timestamp(i64::MAX))),
        "-infinity" => Some(Parsed::Key(Key::Timestamp(i64::MIN))),
        _ => None,
    }
}

/// The form is right and the calendar has no such day: "date/time field value out of range".
struct NoSuchDay;

/// Days since 2000-01-01. None: another form.
fn day(text: &str) -> Option<Result<i32, NoSuchDay>> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2])?;
    let day = number(&[d1, d2])?;
    if year == 0 {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return Some(Err(NoSuchDay));
    }
    Some(Ok(days_since_2000(year, month, day)))
}

/// The microseconds of `YYYY-MM-DD HH:MM:SS[.ffffff]`, and what follows.
fn moment(text: &str) -> Option<(Result<i64, NoSuchDay>, &str)> {
    let day = day(text.get(..10)?)?;
    let clock = text.get(10..19)?.as_bytes();
    let [b' ' | b'T', h1, h2, b':', m1, m2, b':', s1, s2] = *clock else {
        return None;
    };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = fraction(text.get(19..)?)?;
    let of_day = i64::from((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction;
    Some((
        day.map(|days| i64::from(days) * MICROS_PER_DAY + of_day),
        rest,
    ))
}

/// Up to six digits behind a point; a seventh would be rounded.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(after) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let length = after.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=6).contains(&length) {
        return None;
    }
    let digits: i64 = after.get(..length)?.parse().ok()?;
    let scale = 10_i64.pow(6 - u32::try_from(length).ok()?);
    Some((digits * scale, after.get(length..)?))
}

/// `Z`, `+HH`, `+HH:MM`, `+HHMM`, `+HH:MM:SS`: seconds east of Greenwich.
fn offset_seconds(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes, seconds) = match *rest {
        [a, b] => (number(&[a, b])?, 0, 0),
        [a, b, b':', c, d] | [a, b, c, d] => (number(&[a, b])?, number(&[c, d])?, 0),
        [a, b, b':', c, d, b':', e, f] => (number(&[a, b])?, number(&[c, d])?, number(&[e, f])?),
        _ => return None,
    };
    (hours <= 15 && minutes <= 59 && seconds <= 59)
        .then(|| sign * i64::from((hours * 60 + minutes) * 60 + seconds))
}

fn number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0_i32, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i32::from(digit - b'0'))
    })
}

fn days_in(year: i32, month: i32) -> i32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The civil calendar as eras of 400 years that begin on the first of March.
fn days_since_2000(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 730_425 days lie between 0000-03-01 and 2000-01-01.
    era * 146_097 + day_of_era - 730_425
}
