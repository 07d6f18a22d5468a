use super::*;
use crate::frontend::put;
use bytes::BytesMut;
use proptest::prelude::*;

fn packet(major: u16, minor: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = (8 + rest.len() as u32).to_be_bytes().to_vec();
    bytes.extend(major.to_be_bytes());
    bytes.extend(minor.to_be_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn startup_packets() {
    let check = |bytes: &[u8], expect: Result<Startup<'_>, StartupError>| {
        assert_eq!(Startup::parse(bytes), expect, "{bytes:?}");
    };
    let params = |minor, params: &[(&'static str, &'static str)]| {
        Ok(Startup::Params {
            minor,
            params: params.to_vec(),
        })
    };
    check(&packet(1234, 5679, b""), Ok(Startup::Ssl));
    check(&packet(1234, 5680, b""), Ok(Startup::Gss));
    check(
        &packet(1234, 5678, b"\0\0\0\x07abcd"),
        Ok(Startup::Cancel {
            pid: 7,
            secret: b"abcd",
        }),
    );
    check(
        &packet(3, 0, b"user\0joe\0database\0shop\0\0"),
        params(0, &[("user", "joe"), ("database", "shop")]),
    );
    check(&packet(3, 2, b"user\0\0\0"), params(2, &[("user", "")]));
    check(&packet(3, 9999, b"\0"), params(9999, &[]));

    let garbage = || Err(StartupError::Garbage);
    check(&packet(1234, 5679, b"x"), garbage());
    check(&packet(1234, 5680, b"x"), garbage());
    check(&packet(1234, 5678, b"\0\0\0\x07abc"), garbage());
    check(&packet(1234, 5678, b"\0\0\0"), garbage());
    check(&packet(1234, 5678, &[1; 261]), garbage());
    check(&packet(2, 0, b"user"), garbage());
    check(&packet(0, 0, b""), garbage());
    check(b"", garbage());
    check(b"\0\0\0\x08\0\x03\0", garbage());
    check(b"GET / HTTP/1.1\r\n", garbage());
    let mut with_more = packet(3, 0, b"\0");
    with_more.push(0);
    check(&with_more, garbage());

    let version = |major, minor| Err(StartupError::Version { major, minor });
    check(&packet(4, 0, b""), version(4, 0));
    check(&packet(1234, 1, b""), version(1234, 1));

    let layout = |text| Err(StartupError::Layout(text));
    let terminator = "expected terminator as last byte";
    check(&packet(3, 0, b""), layout(terminator));
    check(&packet(3, 0, b"user\0joe\0"), layout(terminator));
    check(&packet(3, 0, b"user\0joe"), layout(terminator));
    check(&packet(3, 0, b"user\0\0x"), layout(terminator));
    check(&packet(3, 0, b"user\0joe\0\0x"), layout(terminator));
    check(
        &packet(3, 0, b"user\0\xff\0\0"),
        layout("a name or value is not UTF-8"),
    );
    check(
        &packet(3, 0, b"\xff\0a\0\0"),
        layout("a name or value is not UTF-8"),
    );
    for twice in [&b"user\0a\0user\0b\0\0"[..], b"user\0a\0x\0y\0user\0a\0\0"] {
        check(
            &packet(3, 0, twice),
            Err(StartupError::Duplicate("user".into())),
        );
    }
}

#[test]
fn startup_names_have_postgres_length() {
    for key in ["user", "database"] {
        let of = |length| {
            packet(
                3,
                0,
                format!("{key}\0{}\0\0", "x".repeat(length)).as_bytes(),
            )
        };
        assert!(Startup::parse(&of(63)).is_ok());
        assert!(matches!(
            Startup::parse(&of(64)),
            Err(StartupError::TooLong(_))
        ));
    }
    let long_key = packet(3, 0, format!("{}\0v\0\0", "x".repeat(64)).as_bytes());
    assert!(matches!(
        Startup::parse(&long_key),
        Err(StartupError::TooLong(_))
    ));
}

#[test]
fn startup_lengths() {
    let check = |length: u32, expect: Result<Option<usize>, StartupError>| {
        assert_eq!(peek_startup(&length.to_be_bytes()), expect, "{length}");
    };
    check(8, Ok(Some(8)));
    check(10_004, Ok(Some(10_004)));
    for bad in [0, 4, 7, 10_005, 0x8000_0000, u32::MAX] {
        check(bad, Err(StartupError::Garbage));
    }
    // A TLS client that does not ask first.
    assert_eq!(
        peek_startup(b"\x16\x03\x01\x02"),
        Err(StartupError::Garbage)
    );
    assert_eq!(peek_startup(b"\0\0\0"), Ok(None));
}

#[test]
fn startup_errors_say_what_postgres_says() {
    let check = |error: StartupError, expect: Option<&str>| {
        assert_eq!(error.to_error().map(|e| e.to_string()).as_deref(), expect);
    };
    check(StartupError::Garbage, None);
    check(
        StartupError::Version { major: 4, minor: 0 },
        Some("FATAL: unsupported frontend protocol 4.0: server supports 3.0 to 3.2 (0A000)"),
    );
    check(
        StartupError::Layout("expected terminator as last byte"),
        Some("FATAL: invalid startup packet layout: expected terminator as last byte (08P01)"),
    );
}

#[test]
fn startup_packets_that_the_router_sends() {
    let mut buf = BytesMut::new();
    put::startup(&mut buf, &[("user", "joe"), ("database", "shop")]);
    let params = vec![("user", "joe"), ("database", "shop")];
    assert_eq!(
        Startup::parse(&buf),
        Ok(Startup::Params { minor: 0, params })
    );
    buf.clear();
    put::cancel(&mut buf, 77, b"\0\x01\x02\x03");
    assert_eq!(
        Startup::parse(&buf),
        Ok(Startup::Cancel {
            pid: 77,
            secret: b"\0\x01\x02\x03"
        })
    );
    buf.clear();
    put::ssl_request(&mut buf);
    assert_eq!(Startup::parse(&buf), Ok(Startup::Ssl));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn no_startup_packet_makes_a_decoder_panic(
        code in prop_oneof![Just((1234, 5678)), Just((3, 0)), any::<(u16, u16)>()],
        rest in proptest::collection::vec("[uda\\x00-\\x02é]{0,3}\\x00?", 0..9),
    ) {
        let rest = rest.concat();
        if let Ok(Startup::Params { params, .. }) = Startup::parse(&packet(code.0, code.1, rest.as_bytes())) {
            let bytes: usize = params.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            prop_assert_eq!(bytes + 1, rest.len());
        }
    }
}
