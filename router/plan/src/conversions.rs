//! Types by what their conversions depend on: which of them every server carries out alike, whatever its settings are.

use crate::snapshot::Oid;

/// What a value is, as far as its conversions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A string constant or NULL, whose type is not told yet.
    Open,
    Number,
    /// Its text depends on a setting.
    Float,
    Bool,
    Text,
    Uuid,
    Json,
    /// Binary strings and bit strings.
    Bytes,
    /// Its text depends on a setting, as do those below.
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    /// Network addresses and geometry.
    Plain,
    /// Of the user, money, object identifiers, arrays as values: no conversion is known.
    Other,
}

/// Names and numbers of the types that are known.
#[rustfmt::skip]
pub(crate) const TYPES: &[(Class, &[(&str, Oid)])] = &[
    (Class::Number, &[("int2", 21), ("smallint", 21), ("int4", 23), ("int", 23), ("integer", 23), ("int8", 20), ("bigint", 20),
        ("numeric", 1700), ("decimal", 1700)]),
    (Class::Float, &[("float4", 700), ("real", 700), ("float8", 701)]),
    (Class::Bool, &[("bool", 16), ("boolean", 16)]),
    (Class::Text, &[("text", 25), ("varchar", 1043), ("bpchar", 1042), ("char", 18), ("name", 19)]),
    (Class::Uuid, &[("uuid", 2950)]),
    (Class::Json, &[("json", 114), ("jsonb", 3802)]),
    (Class::Bytes, &[("bytea", 17), ("bit", 1560), ("varbit", 1562)]),
    (Class::Date, &[("date", 1082)]),
    (Class::Time, &[("time", 1083)]),
    (Class::TimeTz, &[("timetz", 1266)]),
    (Class::Timestamp, &[("timestamp", 1114)]),
    (Class::TimestampTz, &[("timestamptz", 1184)]),
    (Class::Interval, &[("interval", 1186)]),
    (Class::Plain, &[("inet", 869), ("cidr", 650), ("macaddr", 829), ("macaddr8", 774), ("point", 600), ("box", 603)]),
];

/// Words that a date or time is read from by the clock.
pub(crate) const CLOCK: &[&str] = &["now", "today", "tomorrow", "yesterday", "allballs"];

/// What the column is, or the type by its number.
pub(crate) fn class_of_oid(oid: Oid) -> Class {
    let is = |(_, names): &&(Class, &[(&str, Oid)])| names.iter().any(|(_, number)| *number == oid);
    TYPES
        .iter()
        .find(is)
        .map_or(Class::Other, |(class, _)| *class)
}

/// `yyyy-mm-dd[( |T)hh:mm[:ss[.f]]]` is read alike by every DateStyle; what stands behind it.
pub(crate) fn iso(text: &str) -> Option<&str> {
    let digits = |from: usize, count: usize| {
        text.get(from..from + count)
            .is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is = |at: usize, chars: &str| text.get(at..at + 1).is_some_and(|c| chars.contains(c));
    if !(digits(0, 4) && is(4, "-") && digits(5, 2) && is(7, "-") && digits(8, 2)) {
        return None;
    }
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some("");
    }
    if !(is(10, " t") && digits(11, 2) && is(13, ":")) {
        return None;
    }
    let time = text.get(11..)?;
    let end = time.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'));
    Some(end.and_then(|end| time.get(end..)).unwrap_or(""))
}

/// `+02`, `-03:30`, `z`, ` utc`.
pub(crate) fn is_zone(text: &str) -> bool {
    let text = text.trim();
    let offset = text.strip_prefix(['+', '-']);
    matches!(text, "z" | "utc")
        || offset.is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == ':')
        })
}

/// An assignment from one class to the other depends on no setting.
pub(crate) fn converts(from: Class, to: Class) -> bool {
    match (from, to) {
        (Class::Other, _) | (_, Class::Other) | (Class::Open, _) => false,
        (Class::Number | Class::Float, Class::Number | Class::Float) => true,
        (Class::Number | Class::Bool | Class::Uuid | Class::Json | Class::Text, Class::Text) => {
            true
        }
        (Class::Date | Class::Timestamp, Class::Date | Class::Timestamp) => true,
        (Class::Timestamp, Class::Time) => true,
        (Class::Time, Class::Interval) => true,
        _ => from == to,
    }
}
