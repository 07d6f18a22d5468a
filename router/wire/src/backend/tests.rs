use super::*;
use crate::error::{PgError, Severity};
use crate::frame::{Limits, peek};
use bytes::BytesMut;
use proptest::prelude::*;
use put::ColumnDesc;

/// The body of the one message that `write` makes, whose header must be right.
fn body(tag: u8, write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut buf = BytesMut::from(&b"before"[..]);
    write(&mut buf);
    let message = &buf[6..];
    let frame = peek(message, &Limits::backend()).unwrap().unwrap();
    assert_eq!((frame.tag, frame.len), (tag, message.len()));
    message[5..].to_vec()
}

#[test]
fn what_is_written_is_read_again() {
    use Authentication as A;
    assert_eq!(A::parse(&body(b'R', put::auth_ok)), Ok(A::Ok));
    let bytes = body(b'R', |buf| put::auth_sasl(buf, &["SCRAM-SHA-256", "X"]));
    assert_eq!(
        A::parse(&bytes),
        Ok(A::Sasl {
            mechanisms: vec!["SCRAM-SHA-256", "X"]
        })
    );
    let bytes = body(b'R', |buf| put::auth_sasl_continue(buf, b"r=abc"));
    assert_eq!(A::parse(&bytes), Ok(A::SaslContinue(b"r=abc")));
    let bytes = body(b'R', |buf| put::auth_sasl_final(buf, b"v=abc"));
    assert_eq!(A::parse(&bytes), Ok(A::SaslFinal(b"v=abc")));
    let bytes = body(b'S', |buf| put::parameter_status(buf, "TimeZone", "UTC"));
    assert_eq!(parameter_status(&bytes), Ok(("TimeZone", "UTC")));
    let bytes = body(b'K', |buf| put::backend_key(buf, 7, b"abcd"));
    assert_eq!(backend_key(&bytes), Ok((7, &b"abcd"[..])));
    for status in [TxStatus::Idle, TxStatus::InTransaction, TxStatus::Failed] {
        assert_eq!(
            ready_status(&body(b'Z', |buf| put::ready(buf, status))),
            Ok(status)
        );
    }
    let bytes = body(b'C', |buf| put::command_complete(buf, "INSERT 0 1"));
    assert_eq!(command_tag(&bytes), Ok("INSERT 0 1"));
    let bytes = body(b't', |buf| put::parameter_description(buf, &[23, 25]));
    assert_eq!(parameter_description(&bytes), Ok(vec![23, 25]));
    let bytes = body(b'v', |buf| put::negotiate_version(buf, 2, &["_pq_.x"]));
    assert_eq!(negotiate_version(&bytes), Ok((2, vec!["_pq_.x"])));
    assert_eq!(body(b'1', put::parse_complete), b"");
    assert_eq!(body(b'2', put::bind_complete), b"");
    assert_eq!(body(b'3', put::close_complete), b"");
    assert_eq!(body(b'n', put::no_data), b"");
    assert_eq!(body(b's', put::portal_suspended), b"");
    assert_eq!(body(b'I', put::empty_query), b"");
}

/// What Postgres 15 answers to a startup packet of protocol 3.9 with the option `_pq_.x`.
#[test]
fn negotiated_version_is_the_whole_number() {
    let bytes = body(b'v', |buf| put::negotiate_version(buf, 0, &["_pq_.x"]));
    assert_eq!(bytes, b"\0\x03\0\0\0\0\0\x01_pq_.x\0");
}

#[test]
fn rows() {
    let columns = [
        ColumnDesc {
            name: "id",
            type_oid: 20,
            size: 8,
        },
        ColumnDesc {
            name: "grün\0",
            type_oid: 25,
            size: -1,
        },
    ];
    let bytes = body(b'T', |buf| put::row_description(buf, &columns));
    let fields = row_description(&bytes).unwrap();
    let field = |name, type_oid, size| Field {
        name,
        table_oid: 0,
        attnum: 0,
        type_oid,
        size,
        modifier: -1,
        format: 0,
    };
    assert_eq!(
        fields,
        [field(b"id", 20, 8), field("grün?".as_bytes(), 25, -1)]
    );

    let values: [Option<&[u8]>; 4] = [Some(b"1"), None, Some(b""), Some(b"\0\xff")];
    let bytes = body(b'D', |buf| put::data_row(buf, &values));
    let row = data_row(&bytes).unwrap();
    assert_eq!(row.len(), 4);
    assert!(row.eq(values));
}

#[test]
fn errors_round_trip() {
    let error = PgError::error("23514", "new row violates \"shardgate_owns\"")
        .detail("Failing row contains (1).")
        .hint("Read the manual.")
        .position(17)
        .fatal();
    let bytes = body(b'E', |buf| put::error(buf, &error));
    let fields = ErrorFields::parse(&bytes).unwrap();
    assert_eq!(fields.to_error(), error);
    assert_eq!(fields.severity_v(), Some("FATAL"));
    assert_eq!(fields.sqlstate(), Some("23514"));
    assert!(fields.is_fatal());
    let notice = PgError::notice("00000", "a\0b");
    let bytes = body(b'N', |buf| put::notice(buf, &notice));
    let fields = ErrorFields::parse(&bytes).unwrap();
    assert_eq!(fields.message().as_deref(), Some("a?b"));
    assert_eq!(fields.to_error().severity, Severity::Notice);
    assert!(!fields.is_fatal());
}

#[test]
fn fields_of_a_guard_violation() {
    let body = b"SFEHLER\0VERROR\0C23514\0Mneue Zeile\0DDetail\0sshop\0tusers\0nshardgate_owns\0\
                 cid\0Fexecmain.c\0L2009\0RExecConstraints\0?new\0\0";
    let fields = ErrorFields::parse(body).unwrap();
    assert_eq!(fields.schema(), Some("shop"));
    assert_eq!(fields.table(), Some("users"));
    assert_eq!(fields.column(), Some("id"));
    assert_eq!(fields.constraint(), Some("shardgate_owns"));
    assert_eq!(fields.detail().as_deref(), Some("Detail"));
    assert_eq!(fields.hint(), None);
    assert_eq!(fields.to_error().severity, Severity::Error);
}

#[test]
fn no_field_is_needed() {
    let fields = ErrorFields::parse(b"\0").unwrap();
    assert_eq!(fields, ErrorFields::default());
    assert_eq!(fields.to_error(), PgError::error("XX000", ""));
    let check = |body: &[u8], fatal: bool| {
        assert_eq!(
            ErrorFields::parse(body).unwrap().is_fatal(),
            fatal,
            "{body:?}"
        );
    };
    check(b"SFATAL\0\0", true);
    check(b"VPANIC\0\0", true);
    check(b"SFATAL\0VERROR\0\0", false);
    check(b"SFATALER FEHLER\0VFATAL\0\0", true);
    // Text that is not UTF-8 is replaced where it is for logs, and left out where decisions rest on it.
    let latin = ErrorFields::parse(b"Mgr\xfcn\0t\xfc\0\0").unwrap();
    assert_eq!(latin.message().as_deref(), Some("gr\u{fffd}n"));
    assert_eq!(latin.table(), None);
    let twice = ErrorFields::parse(b"C42P01\0C00000\0\0").unwrap();
    assert_eq!(twice.sqlstate(), Some("42P01"));
}

#[test]
fn bodies_that_are_refused() {
    fn check<T: std::fmt::Debug>(got: Result<T, DecodeError>, expect: DecodeError) {
        assert_eq!(got.unwrap_err(), expect);
    }
    use DecodeError as E;
    check(ErrorFields::parse(b""), E::NoData);
    check(ErrorFields::parse(b"C42P01"), E::UnterminatedString);
    check(ErrorFields::parse(b"C42P01\0"), E::NoData);
    check(ErrorFields::parse(b"C42P01\0\0x"), E::Residue);
    check(ready_status(b""), E::Insufficient);
    check(ready_status(b"II"), E::Residue);
    assert!(ready_status(b"X").is_err());
    check(parameter_status(b"a\0b\0c"), E::Residue);
    check(parameter_status(b"a\0b"), E::UnterminatedString);
    check(parameter_status(b"a\0\xff\0"), E::NotUtf8);
    check(backend_key(b"abc"), E::Insufficient);
    assert!(backend_key(b"\0\0\0\x01abc").is_err());
    assert!(backend_key(&[0; 261]).is_err());
    assert!(backend_key(&[0; 260]).is_ok());
    check(command_tag(b"SELECT 1\0\0"), E::Residue);
    check(Authentication::parse(b"\0\0\0\0x"), E::Residue);
    check(Authentication::parse(b"\0\0\0\x05abc"), E::Insufficient);
    check(
        Authentication::parse(b"\0\0\0\x0aSCRAM\0"),
        E::UnterminatedString,
    );
    check(Authentication::parse(b"\0\0\0\x0aSCRAM\0\0x"), E::Residue);
    assert_eq!(
        Authentication::parse(b"\0\0\0\x07"),
        Ok(Authentication::Other(7))
    );
    check(row_description(b"\xff\xff"), E::UnterminatedString);
    check(row_description(b"\0\x01a\0"), E::Insufficient);
    check(row_description(b"\0\0x"), E::Residue);
    check(data_row(b""), E::Insufficient);
    check(data_row(b"\0\x01"), E::Insufficient);
    check(data_row(b"\0\x01\0\0\0\x02a"), E::Insufficient);
    check(data_row(b"\0\x01\xff\xff\xff\xfe"), E::Insufficient);
    check(data_row(b"\0\x01\x7f\xff\xff\xff"), E::Insufficient);
    check(data_row(b"\0\x01\0\0\0\x01ab"), E::Residue);
    check(data_row(b"\xff\xff\xff\xff\xff\xff"), E::Insufficient);
    check(parameter_description(b"\xff\xff"), E::Insufficient);
    check(parameter_description(b"\0\0x"), E::Residue);
    check(
        negotiate_version(b"\0\0\0\0\xff\xff\xff\xff"),
        E::UnterminatedString,
    );
    check(CopyResponse::parse(b"\x02\0\0"), E::FormatCode(2));
    check(CopyResponse::parse(b"\0\0\x01\0"), E::Insufficient);
    check(CopyResponse::parse(b"\0\0\x01\0\0\0"), E::Residue);
    check(Notification::parse(b"\0\0\0\x01ch\0p\0x"), E::Residue);
}

#[test]
fn copy_responses_and_notifications() {
    assert_eq!(
        CopyResponse::parse(b"\x01\0\x02\0\x01\0\x01"),
        Ok(CopyResponse {
            binary: true,
            column_formats: vec![1, 1]
        })
    );
    assert_eq!(
        Notification::parse(b"\0\0\0\x07shardgate\0epoch 3\0"),
        Ok(Notification {
            pid: 7,
            channel: b"shardgate",
            payload: b"epoch 3"
        })
    );
}

fn decode_all(body: &[u8]) {
    if let Ok(row) = data_row(body) {
        let count = row.len();
        assert_eq!(row.clone().count(), count);
        let bytes: usize = row.map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
        assert_eq!(bytes + 2, body.len());
    }
    if let Ok(fields) = row_description(body) {
        let bytes: usize = fields.iter().map(|field| field.name.len() + 19).sum();
        assert_eq!(bytes + 2, body.len());
    }
    if let Ok(fields) = ErrorFields::parse(body) {
        let _ = fields.to_error();
    }
    if let Ok(tag) = command_tag(body) {
        assert_eq!(tag.len() + 1, body.len());
    }
    if let Ok((name, value)) = parameter_status(body) {
        assert_eq!(name.len() + value.len() + 2, body.len());
    }
    if let Ok(types) = parameter_description(body) {
        assert_eq!(types.len() * 4 + 2, body.len());
    }
    if let Ok(copy) = CopyResponse::parse(body) {
        assert_eq!(copy.column_formats.len() * 2 + 3, body.len());
    }
    if let Ok(Authentication::Sasl { mechanisms }) = Authentication::parse(body) {
        let bytes: usize = mechanisms.iter().map(|name| name.len() + 1).sum();
        assert_eq!(bytes + 5, body.len());
    }
    let _ = ready_status(body);
    let _ = backend_key(body);
    let _ = negotiate_version(body);
    let _ = Notification::parse(body);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn no_body_makes_a_decoder_panic(
        raw in proptest::collection::vec(any::<u8>(), 0..64),
        pieces in proptest::collection::vec(
            prop_oneof![
                any::<u8>().prop_map(|b| vec![b]),
                (0u16..4).prop_map(|n| n.to_be_bytes().to_vec()),
                prop_oneof![-2i32..13, Just(i32::MAX)].prop_map(|n| n.to_be_bytes().to_vec()),
                "[SVCMDa-z]{0,4}".prop_map(|s| [s.as_bytes(), b"\0"].concat()),
            ],
            0..12,
        ),
    ) {
        decode_all(&raw);
        decode_all(&pieces.concat());
    }

    #[test]
    fn rows_round_trip(
        values in proptest::collection::vec(
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
            0..9,
        ),
    ) {
        let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
        let bytes = body(b'D', |buf| put::data_row(buf, &values));
        prop_assert!(data_row(&bytes).unwrap().eq(values.iter().copied()));
        for end in 0..bytes.len() {
            prop_assert!(data_row(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn any_error_reaches_the_client_whole(
        message in ".{0,20}", detail in proptest::option::of(".{0,20}"), state in "[0-9A-Z]{5}",
    ) {
        let mut error = PgError::error(state.as_str(), message.replace('\0', "?"));
        error.detail = detail.map(|text| text.replace('\0', "?"));
        let bytes = body(b'E', |buf| put::error(buf, &error));
        prop_assert_eq!(ErrorFields::parse(&bytes).unwrap().to_error(), error);
    }
}
