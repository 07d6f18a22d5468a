use super::*;
use crate::frame::{Limits, peek};
use bytes::BytesMut;
use proptest::prelude::*;

/// The body of the one message that `write` makes, whose header must be right.
fn body(tag: u8, write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut buf = BytesMut::from(&b"before"[..]);
    write(&mut buf);
    let message = &buf[6..];
    let limits = if tag == b'p' {
        Limits::login()
    } else {
        Limits::frontend(1 << 20)
    };
    let frame = peek(message, &limits).unwrap().unwrap();
    assert_eq!((frame.tag, frame.len), (tag, message.len()));
    message[5..].to_vec()
}

#[test]
fn what_is_written_is_read_again() {
    let bytes = body(b'P', |buf| put::parse(buf, b"s1", b"select $1", &[23, 0]));
    assert_eq!(
        Parse::parse(&bytes),
        Ok(Parse {
            name: b"s1",
            sql: b"select $1",
            types: vec![23, 0]
        })
    );
    let bytes = body(b'D', |buf| put::describe(buf, b'P', b"c"));
    assert_eq!(
        Describe::parse(&bytes),
        Ok(Describe {
            kind: b'P',
            name: b"c"
        })
    );
    let bytes = body(b'C', |buf| put::close(buf, b'S', b""));
    assert_eq!(
        Close::parse(&bytes),
        Ok(Close {
            kind: b'S',
            name: b""
        })
    );
    let bytes = body(b'E', |buf| put::execute(buf, b"c", -7));
    assert_eq!(
        Execute::parse(&bytes),
        Ok(Execute {
            portal: b"c",
            max_rows: -7
        })
    );
    let bytes = body(b'Q', |buf| put::query(buf, b"select 1; select 2"));
    assert_eq!(
        Query::parse(&bytes),
        Ok(Query {
            sql: b"select 1; select 2"
        })
    );
    let bytes = body(b'f', |buf| put::copy_fail(buf, "no"));
    assert_eq!(copy_fail(&bytes), Ok(&b"no"[..]));
    let bytes = body(b'p', |buf| put::password(buf, b"secret"));
    assert!(Password::parse(&bytes) == Ok(Password(b"secret")));
    let bytes = body(b'p', |buf| put::sasl_initial(buf, "SCRAM-SHA-256", b"n,,"));
    assert_eq!(
        SaslInitial::parse(&bytes),
        Ok(SaslInitial {
            mechanism: "SCRAM-SHA-256",
            data: Some(b"n,,")
        })
    );
    assert_eq!(
        body(b'p', |buf| put::sasl_response(buf, b"c=biws")),
        b"c=biws"
    );
    assert_eq!(body(b'S', put::sync), b"");
    assert_eq!(body(b'H', put::flush), b"");
    assert_eq!(body(b'X', put::terminate), b"");
}

#[test]
fn a_nul_cannot_begin_another_field() {
    let bytes = body(b'P', |buf| put::parse(buf, b"s", b"select 1\0\0\0", &[]));
    let parse = Parse::parse(&bytes).unwrap();
    assert_eq!(parse.sql, b"select 1\xff\xff\xff");
    let bytes = body(b'Q', |buf| put::query(buf, b"a\0b"));
    assert_eq!(Query::parse(&bytes).unwrap().sql, b"a\xffb");
}

/// The texts are those of Postgres 15 for the same bytes.
#[test]
fn bodies_that_are_refused() {
    fn check<T: std::fmt::Debug>(got: Result<T, DecodeError>, expect: &str) {
        assert_eq!(
            got.unwrap_err().to_error().to_string(),
            format!("ERROR: {expect}")
        );
    }
    let short = "insufficient data left in message (08P01)";
    let open = "invalid string in message (08P01)";
    let residue = "invalid message format (08P01)";
    check(Query::parse(b""), open);
    check(Query::parse(b"select 1"), open);
    check(Query::parse(b"select 1\0x"), residue);
    check(Query::parse(b"select 1\0Q\0\0\0\x05\0"), residue);
    check(Parse::parse(b""), open);
    check(Parse::parse(b"\0select 1"), open);
    check(Parse::parse(b"\0select 1\0"), short);
    check(Parse::parse(b"\0select 1\0\0"), short);
    check(Parse::parse(b"\0select 1\0\0\x01\0\0\0"), short);
    check(Parse::parse(b"\0select 1\0\xff\xff"), short);
    check(Parse::parse(b"\0select 1\0\0\0x"), residue);
    check(Describe::parse(b""), "no data left in message (08P01)");
    check(Describe::parse(b"S"), open);
    check(Describe::parse(b"S\0\0"), residue);
    check(
        Describe::parse(b"X\0"),
        "invalid DESCRIBE message subtype 88 (08P01)",
    );
    check(
        Close::parse(b"X\0"),
        "invalid CLOSE message subtype 88 (08P01)",
    );
    check(Execute::parse(b"\0\0\0\0"), short);
    check(Execute::parse(b"\0\0\0\0\0\0"), residue);
    check(empty(b"x"), residue);
    check(copy_fail(b""), open);
    check(
        SaslInitial::parse(b"\xff\0\0\0\0\0"),
        "invalid text in message (08P01)",
    );
    check(SaslInitial::parse(b"SCRAM-SHA-256\0\0\0\0\x05n,,"), short);
    check(
        SaslInitial::parse(b"SCRAM-SHA-256\0\xff\xff\xff\xfe"),
        short,
    );
    check(
        SaslInitial::parse(b"SCRAM-SHA-256\0\xff\xff\xff\xffx"),
        residue,
    );
    assert!(Password::parse(b"secret\0x").is_err());
    assert!(Password::parse(b"").is_err());
}

/// A Bind of the unnamed statement and portal with these lists.
fn bind(formats: &[i16], values: &[Option<&[u8]>], result_formats: &[i16]) -> Vec<u8> {
    let mut bytes = b"\0\0".to_vec();
    let put_codes = |bytes: &mut Vec<u8>, codes: &[i16]| {
        bytes.extend((codes.len() as u16).to_be_bytes());
        codes
            .iter()
            .for_each(|code| bytes.extend(code.to_be_bytes()));
    };
    put_codes(&mut bytes, formats);
    bytes.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => bytes.extend((-1i32).to_be_bytes()),
            Some(value) => {
                bytes.extend((value.len() as i32).to_be_bytes());
                bytes.extend(*value);
            }
        }
    }
    put_codes(&mut bytes, result_formats);
    bytes
}

#[test]
fn bind_formats() {
    let values: &[Option<&[u8]>] = &[Some(b"1"), None, Some(b"")];
    let check = |formats: &[i16], expect: [bool; 3]| {
        let bytes = bind(formats, values, &[]);
        let bind = Bind::parse(&bytes).unwrap();
        let expect: Vec<_> = expect
            .into_iter()
            .zip(values)
            .map(|(binary, value)| Param {
                binary,
                value: *value,
            })
            .collect();
        assert_eq!(bind.params().len(), 3);
        assert_eq!(bind.params().collect::<Vec<_>>(), expect, "{formats:?}");
        for n in 1..=3u16 {
            assert_eq!(bind.param(n), expect.get(usize::from(n) - 1).copied());
        }
        assert_eq!((bind.param(0), bind.param(4)), (None, None));
    };
    check(&[], [false, false, false]);
    check(&[0], [false, false, false]);
    check(&[1], [true, true, true]);
    check(&[0, 0, 1], [false, false, true]);
    check(&[1, 0, 0], [true, false, false]);
    check(&[0, 1, 1], [false, true, true]);
}

#[test]
fn bind_result_formats() {
    let check = |codes: &[i16], expect: [bool; 3], any: bool| {
        let bytes = bind(&[], &[], codes);
        let formats = Bind::parse(&bytes).unwrap().result_formats();
        assert_eq!([0, 1, 2].map(|n| formats.is_binary(n)), expect, "{codes:?}");
        assert_eq!(
            (formats.len(), formats.is_empty()),
            (codes.len(), codes.is_empty())
        );
        assert_eq!(formats.any_binary(), any);
    };
    check(&[], [false, false, false], false);
    check(&[1], [true, true, true], true);
    check(&[0, 1], [false, true, false], true);
    check(&[0, 0, 1], [false, false, true], true);
    check(&[7, 256, 257], [false, false, false], false);
}

#[test]
fn format_codes_that_do_not_exist_are_left_to_the_server() {
    for codes in [&[7][..], &[-1], &[0, 7]] {
        let bytes = bind(codes, &[None, Some(b"1")], &[9]);
        assert!(
            Bind::parse(&bytes)
                .unwrap()
                .params()
                .all(|param| !param.binary)
        );
    }
    let head = BindHead::parse(b"p\0s\0rest").unwrap();
    let parts: [&[u8]; 3] = [head.portal, head.statement, head.rest];
    assert_eq!(parts, [&b"p"[..], b"s", b"rest"]);
    assert!(BindHead::parse(b"p\0s").is_err());
}

#[test]
fn binds_that_are_refused() {
    let check = |bytes: &[u8], expect: &str| {
        let error = Bind::parse(bytes).unwrap_err().to_error();
        assert_eq!(error.to_string(), format!("ERROR: {expect}"), "{bytes:?}");
    };
    check(
        &bind(&[0, 0, 0], &[None, None], &[]),
        "bind message has 3 parameter formats but 2 parameters (08P01)",
    );
    check(
        &bind(&[0, 0], &[None], &[]),
        "bind message has 2 parameter formats but 1 parameters (08P01)",
    );
    check(b"", "invalid string in message (08P01)");
    let good = bind(&[1], &[Some(b"abc")], &[1]);
    Bind::parse(&good).unwrap();
    for end in 2..good.len() {
        check(&good[..end], "insufficient data left in message (08P01)");
    }
    let longer = [good.as_slice(), b"x"].concat();
    check(&longer, "invalid message format (08P01)");
    let mut negative = bind(&[], &[None], &[]);
    negative[9] = 0xfe;
    check(&negative, "insufficient data left in message (08P01)");
}

#[test]
fn one_format_for_no_parameter_is_legal() {
    let bytes = bind(&[1], &[], &[]);
    assert_eq!(Bind::parse(&bytes).unwrap().params().count(), 0);
}

#[test]
fn bind_with_another_statement_name() {
    let bytes = bind(&[0, 1], &[Some(b"1"), Some(b"\0\0")], &[1]);
    let original = Bind::parse(&bytes).unwrap();
    let again = body(b'B', |buf| {
        put::bind_with(buf, b"p", b"sg_17", original.rest)
    });
    let again = Bind::parse(&again).unwrap();
    assert_eq!((again.portal, again.statement), (&b"p"[..], &b"sg_17"[..]));
    assert!(again.params().eq(original.params()));
    assert!(again.result_formats().is_binary(0));

    let params: [Option<&[u8]>; 3] = [Some(b"x"), None, Some(b"")];
    let text = body(b'B', |buf| put::bind_text(buf, b"", b"s", &params));
    let text = Bind::parse(&text).unwrap();
    assert_eq!(text.count(), 3);
    assert!(
        text.params()
            .map(|p| (p.binary, p.value))
            .eq(params.map(|value| (false, value)))
    );
}

/// Runs every decoder over a body. A decoder may refuse; it may not panic, and what it gives lies within the body.
fn decode_all(body: &[u8]) {
    let range = body.as_ptr_range();
    let within = |part: &[u8]| {
        let part = part.as_ptr_range();
        assert!(range.start <= part.start && part.end <= range.end);
    };
    if let Ok(parse) = Parse::parse(body) {
        within(parse.name);
        within(parse.sql);
        assert_eq!(
            parse.name.len() + parse.sql.len() + 4 + parse.types.len() * 4,
            body.len()
        );
    }
    if let Ok(bind) = Bind::parse(body) {
        within(bind.rest);
        assert_eq!(bind.params().count(), usize::from(bind.count()));
        let values: usize = bind
            .params()
            .map(|p| 4 + p.value.map_or(0, <[u8]>::len))
            .sum();
        let formats = usize::from(u16::from_be_bytes([bind.rest[0], bind.rest[1]]));
        assert_eq!(
            bind.rest.len(),
            6 + formats * 2 + values + bind.result_formats().len() * 2
        );
        bind.params().filter_map(|p| p.value).for_each(within);
    }
    if let Ok(describe) = Describe::parse(body) {
        assert_eq!(describe.name.len() + 2, body.len());
    }
    if let Ok(close) = Close::parse(body) {
        assert_eq!(close.name.len() + 2, body.len());
    }
    if let Ok(execute) = Execute::parse(body) {
        assert_eq!(execute.portal.len() + 5, body.len());
    }
    if let Ok(query) = Query::parse(body) {
        assert_eq!(query.sql.len() + 1, body.len());
    }
    if let Ok(reason) = copy_fail(body) {
        assert_eq!(reason.len() + 1, body.len());
    }
    if let Ok(initial) = SaslInitial::parse(body) {
        let data = initial.data.map_or(0, <[u8]>::len);
        assert_eq!(initial.mechanism.len() + 5 + data, body.len());
    }
    let _ = Password::parse(body);
    let _ = empty(body);
    let _ = peek_startup(body);
    let _ = Startup::parse(body);
    for limits in [
        Limits::frontend(1 << 20),
        Limits::login(),
        Limits::backend(),
    ] {
        if let Ok(Some(frame)) = peek(body, &limits) {
            assert!(frame.len >= 5);
        }
    }
}

/// Bytes that look like the pieces of messages: small counts, lengths, NULs, letters.
fn likely_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        (0u16..4).prop_map(|n| n.to_be_bytes().to_vec()),
        (-2i32..6).prop_map(|n| n.to_be_bytes().to_vec()),
        "[SPa-z]{0,4}".prop_map(|s| [s.as_bytes(), b"\0"].concat()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn no_body_makes_a_decoder_panic(
        raw in proptest::collection::vec(any::<u8>(), 0..64),
        likely in likely_body(),
    ) {
        decode_all(&raw);
        decode_all(&likely);
    }

    #[test]
    fn binds_round_trip(
        each_format in any::<bool>(),
        params in proptest::collection::vec(
            (any::<bool>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9))),
            0..9,
        ),
        results in proptest::collection::vec(0i16..2, 0..5),
        extra in any::<u8>(),
    ) {
        let formats: Vec<i16> = match params.first() {
            Some(_) if each_format => params.iter().map(|(binary, _)| i16::from(*binary)).collect(),
            Some((binary, _)) => vec![i16::from(*binary)],
            None => vec![],
        };
        let values: Vec<_> = params.iter().map(|(_, value)| value.as_deref()).collect();
        let bytes = bind(&formats, &values, &results);
        let view = Bind::parse(&bytes).unwrap();
        for (index, param) in view.params().enumerate() {
            let format = formats.get(index).or(formats.first()).copied().unwrap_or(0);
            prop_assert_eq!(param, Param { binary: format == 1, value: values[index] });
        }
        // Every shorter and every longer body is an error: the borders are exact.
        for end in 0..bytes.len() {
            prop_assert!(Bind::parse(&bytes[..end]).is_err());
        }
        let longer = [bytes.as_slice(), &[extra]].concat();
        prop_assert_eq!(Bind::parse(&longer).unwrap_err(), DecodeError::Residue);
    }

    #[test]
    fn parses_round_trip(
        name in "[a-z]{0,5}",
        sql in "[ -~]{0,20}",
        types in proptest::collection::vec(any::<u32>(), 0..5),
    ) {
        let bytes = body(b'P', |buf| put::parse(buf, name.as_bytes(), sql.as_bytes(), &types));
        let view = Parse::parse(&bytes).unwrap();
        prop_assert_eq!((view.name, view.sql, &view.types), (name.as_bytes(), sql.as_bytes(), &types));
        for end in 0..bytes.len() {
            prop_assert!(Parse::parse(&bytes[..end]).is_err());
        }
    }
}
