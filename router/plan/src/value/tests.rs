//! Inputs against what Postgres 15 answers.

use super::*;

fn check(ty: KeyType, text: &str, expect: Parsed) {
    assert_eq!(
        from_text(ty, text),
        expect,
        "{} input of {text:?}",
        ty.name()
    );
}

fn int(value: i64) -> Parsed {
    Parsed::Key(Key::Int(value))
}

fn bytes(value: &[u8]) -> Parsed {
    Parsed::Key(Key::Bytea(value.into()))
}

#[test]
fn integers() {
    check(KeyType::Int8, "42", int(42));
    check(KeyType::Int8, " \t-7\n", int(-7));
    check(KeyType::Int8, "+7", int(7));
    check(KeyType::Int8, "9223372036854775807", int(i64::MAX));
    check(KeyType::Int8, "-9223372036854775808", int(i64::MIN));
    check(KeyType::Int8, "9223372036854775808", Parsed::Fails);
    for text in ["", " ", "-", "abc", "1 2", "5.0", "1e3", "--1", "1,000"] {
        check(KeyType::Int4, text, Parsed::Fails);
    }
    // Postgres 16 reads these.
    for text in ["0x10", "1_000", "0b1", "0o7"] {
        check(KeyType::Int4, text, Parsed::Unknown);
    }
}

#[test]
fn number_literals() {
    let long = format!("2.{}", "0".repeat(70));
    for (text, expect) in [
        ("42", Integral::Is(42)),
        ("-1", Integral::Is(-1)),
        ("5.0", Integral::Is(5)),
        ("5.", Integral::Is(5)),
        (".5e1", Integral::Is(5)),
        ("1e3", Integral::Is(1000)),
        ("1.5e1", Integral::Is(15)),
        ("1500e-2", Integral::Is(15)),
        ("-0.0", Integral::Is(0)),
        ("-9223372036854775808", Integral::Is(i64::MIN)),
        ("1.5", Integral::Not),
        ("0.1", Integral::Not),
        ("9223372036854775808", Integral::Not),
        ("1e40", Integral::Not),
        ("1e41", Integral::Unknown),
        ("1e999999999999", Integral::Unknown),
        (
            "0.00000000000000000000000000000000000000000000002e47",
            Integral::Unknown,
        ),
        (long.as_str(), Integral::Unknown),
    ] {
        assert_eq!(integral(text), expect, "{text}");
    }
    assert_eq!(plain_integer("5.0"), None);
    assert_eq!(plain_integer("-12"), Some(-12));
}

#[test]
fn uuids() {
    let expect = Parsed::Key(Key::Uuid(
        0x550e8400_e29b_41d4_a716_446655440000_u128.to_be_bytes(),
    ));
    for text in [
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "550e8400e29b41d4a716446655440000",
        "550e-8400-e29b-41d4-a716-4466-5544-0000",
    ] {
        check(KeyType::Uuid, text, expect.clone());
    }
    for text in [
        "",
        "550e8400-e29b-41d4-a716-44665544000",
        "550e8400-e29b-41d4-a716-4466554400000",
        "{550e8400-e29b-41d4-a716-446655440000",
        " 550e8400-e29b-41d4-a716-446655440000",
        "55-0e8400-e29b-41d4-a716-446655440000",
        "550e8400-e29b-41d4-a716-44665544000g",
    ] {
        check(KeyType::Uuid, text, Parsed::Fails);
    }
}

#[test]
fn byteas() {
    check(
        KeyType::Bytea,
        "\\xDEad be\nef",
        bytes(&[0xde, 0xad, 0xbe, 0xef]),
    );
    check(KeyType::Bytea, "\\x", bytes(b""));
    check(KeyType::Bytea, "\\xd", Parsed::Fails);
    check(KeyType::Bytea, "\\xd e", Parsed::Fails);
    check(KeyType::Bytea, "a\\\\b\\001\\377", bytes(b"a\\b\x01\xff"));
    check(KeyType::Bytea, "a\\b", Parsed::Fails);
    check(KeyType::Bytea, "\\400", Parsed::Fails);
}

#[test]
fn dates_and_times() {
    check(KeyType::Date, "2000-01-01", Parsed::Key(Key::Date(0)));
    check(KeyType::Date, "1970-01-01", Parsed::Key(Key::Date(-10957)));
    check(KeyType::Date, "2026-11-24", Parsed::Key(Key::Date(9824)));
    check(
        KeyType::Date,
        "0001-01-01",
        Parsed::Key(Key::Date(-730_119)),
    );
    check(KeyType::Date, "2024-02-29", Parsed::Key(Key::Date(8825)));
    check(KeyType::Date, "2023-02-29", Parsed::Fails);
    check(KeyType::Date, "2023-13-01", Parsed::Fails);
    check(KeyType::Date, "infinity", Parsed::Key(Key::Date(i32::MAX)));
    for text in [
        "today",
        "now",
        "01/02/2020",
        "2020-1-2",
        "Jan 1 2020",
        "20200101",
        "2020-01-01 BC",
        "",
    ] {
        check(KeyType::Date, text, Parsed::Unknown);
    }
    check(
        KeyType::Timestamp,
        "2000-01-01 00:00:01.5",
        Parsed::Key(Key::Timestamp(1_500_000)),
    );
    check(
        KeyType::Timestamp,
        "2000-01-02",
        Parsed::Key(Key::Timestamp(MICROS)),
    );
    check(
        KeyType::Timestamp,
        "1999-12-31T23:59:59.999999",
        Parsed::Key(Key::Timestamp(-1)),
    );
    for text in [
        "2000-01-01 00:00:00+02",
        "2000-01-01 00:00",
        "2000-01-01 24:00:00",
        "2000-01-01 00:00:00.1234567",
    ] {
        check(KeyType::Timestamp, text, Parsed::Unknown);
    }
    check(
        KeyType::Timestamptz,
        "2000-01-01 02:00:00+02",
        Parsed::Key(Key::Timestamp(0)),
    );
    check(
        KeyType::Timestamptz,
        "1999-12-31T18:30:00-05:30",
        Parsed::Key(Key::Timestamp(0)),
    );
    check(
        KeyType::Timestamptz,
        "2000-01-01T00:00:00Z",
        Parsed::Key(Key::Timestamp(0)),
    );
    for text in [
        "2000-01-01 00:00:00",
        "2000-01-01",
        "2000-01-01 00:00:00 Europe/Berlin",
        "2000-01-01 00:00:00+99",
    ] {
        check(KeyType::Timestamptz, text, Parsed::Unknown);
    }
}

const MICROS: i64 = 86_400_000_000;

#[test]
fn binary_forms() {
    assert_eq!(from_binary(KeyType::Int8, &5_i64.to_be_bytes()), int(5));
    assert_eq!(from_binary(KeyType::Int8, &(-5_i32).to_be_bytes()), int(-5));
    assert_eq!(from_binary(KeyType::Int2, &7_i16.to_be_bytes()), int(7));
    assert_eq!(from_binary(KeyType::Int8, &[1, 2, 3]), Parsed::Fails);
    // It may be a text in another encoding.
    assert_eq!(from_binary(KeyType::Text, b"\xff"), Parsed::Unknown);
    assert_eq!(from_binary(KeyType::Text, b"a\0"), Parsed::Fails);
    assert_eq!(
        from_binary(KeyType::Date, &3_i32.to_be_bytes()),
        Parsed::Key(Key::Date(3))
    );
    assert_eq!(from_binary(KeyType::Uuid, &[0; 15]), Parsed::Fails);
}

#[test]
fn assignment() {
    let text = |s: &str| Key::Text(s.into());
    assert_eq!(
        assigned(text("äöü"), KeyType::Varchar, 7),
        Parsed::Key(text("äöü"))
    );
    assert_eq!(assigned(text("abcd"), KeyType::Varchar, 7), Parsed::Fails);
    assert_eq!(assigned(text("abc "), KeyType::Varchar, 7), Parsed::Unknown);
    assert_eq!(
        assigned(text("abcd"), KeyType::Varchar, -1),
        Parsed::Key(text("abcd"))
    );
    assert_eq!(assigned(Key::Int(40_000), KeyType::Int2, -1), Parsed::Fails);
    assert_eq!(
        assigned(Key::Timestamp(1_500_000), KeyType::Timestamp, 0),
        Parsed::Unknown
    );
    assert_eq!(
        assigned(Key::Timestamp(1_500_000), KeyType::Timestamp, 1),
        Parsed::Key(Key::Timestamp(1_500_000))
    );
}

#[test]
fn arrays() {
    let list = |items: &[Option<&str>]| {
        Some(
            items
                .iter()
                .map(|i| i.map(str::to_owned))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(elements_from_text("{}"), list(&[]));
    assert_eq!(
        elements_from_text("{1, 2,NULL}"),
        list(&[Some("1"), Some("2"), None])
    );
    assert_eq!(
        elements_from_text(r#"{"a,b","c\"d","NULL"}"#),
        list(&[Some("a,b"), Some("c\"d"), Some("NULL")])
    );
    for text in [
        "",
        "{1,,2}",
        "{{1},{2}}",
        "[1:2]={1,2}",
        "{1",
        "{\"a}",
        "{1,}",
    ] {
        assert_eq!(elements_from_text(text), None, "{text}");
    }
    let mut binary = Vec::new();
    for word in [1_i32, 1, 23, 2, 1, 4, 7, -1] {
        binary.extend(word.to_be_bytes());
    }
    assert_eq!(
        elements_from_binary(&binary),
        Some(vec![Some(&7_i32.to_be_bytes()[..]), None])
    );
    binary.push(0);
    assert_eq!(elements_from_binary(&binary), None);
    assert_eq!(elements_from_binary(&[0; 12]), Some(vec![]));
    assert_eq!(elements_from_binary(&[0xff; 20]), None);
}
