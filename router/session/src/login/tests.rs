//! Logins as scripts of bytes.

use super::*;
use shardgate_wire::frontend::put as send;
use shardgate_wire::scram::{ClientExchange, Credentials, make_verifier};

fn login(method: Method) -> Login {
    Login::new(LoginConfig {
        method,
        nonce: "servernonce".into(),
        mock_secret: b"mock".to_vec(),
    })
}

fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &code.to_be_bytes()[..], rest].concat()
}

fn startup(params: &[(&str, &str)]) -> Vec<u8> {
    let mut buf = BytesMut::new();
    send::startup(&mut buf, params);
    buf.to_vec()
}

const SSL: u32 = (1234 << 16) | 5679;
const GSS: u32 = (1234 << 16) | 5680;

/// What was answered, with bytes that are not printable as dots.
fn text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| {
            if b.is_ascii_graphic() || *b == b' ' {
                char::from(*b)
            } else {
                '.'
            }
        })
        .collect()
}

/// One line for an action and what was written before.
fn show(action: &LoginAction, out: &[u8]) -> String {
    let action = match action {
        LoginAction::More => "more".to_owned(),
        LoginAction::LookUp { user, database } => format!("look up {user}@{database}"),
        LoginAction::Cancel { pid, secret } => format!("cancel {pid} {secret:?}"),
        LoginAction::Done(who) => format!("{}@{} {:?}", who.user, who.database, who.settings),
        LoginAction::Close => "close".to_owned(),
    };
    if out.is_empty() {
        action
    } else {
        format!("[{}] {action}", text(out))
    }
}

#[test]
fn first_packets() {
    let check = |bytes: &[u8], expect: &str| {
        let mut out = BytesMut::new();
        let action = login(Method::Trust).on_client(&mut BytesMut::from(bytes), &mut out);
        let got = show(&action, &out);
        assert!(got.contains(expect), "{}: {got}", text(bytes));
    };
    check(b"", "more");
    check(b"\0\0\0", "more");
    check(&packet(SSL, b""), "[N] more");
    check(&packet(GSS, b""), "[N] more");
    check(
        &[packet(SSL, b""), vec![0]].concat(),
        "received unencrypted data after SSL request",
    );
    check(
        &[packet(GSS, b""), packet(SSL, b"")].concat(),
        "unencrypted data after GSSAPI encryption request",
    );
    check(
        &packet((1234 << 16) | 5678, b"\0\0\0\x07abcd"),
        "cancel 7 [97, 98, 99, 100]",
    );
    // What is no start-up packet gets no answer.
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x07",
        b"\xff\xff\xff\xff",
        &packet(2 << 16, b"x\0\0"),
    ] {
        check(garbage, "close");
        assert!(!garbage.is_empty());
    }
    check(&packet(4 << 16, b"user\0a\0\0"), "C0A000");
    check(&packet(3 << 16, b"user\0a\0"), "C08P01");
    check(
        &packet(3 << 16, b"user\0a\0user\0b\0\0"),
        "more than one value for parameter",
    );
    check(
        &packet(3 << 16, b"database\0a\0\0"),
        "no PostgreSQL user name specified",
    );
    check(
        &packet((3 << 16) | 2, b"user\0a\0_pq_.x\x001\0\0"),
        "[v............_pq_.x.R........] a@a []",
    );
    check(&packet(3 << 16, b"user\0a\0\0"), "[R........] a@a []");
    let long = "x".repeat(64);
    check(&startup(&[("user", &long)]), "longer than 63 bytes");
    check(
        &startup(&[("user", "a"), ("database", "d"), ("replication", "off")]),
        "a@d []",
    );
    check(
        &startup(&[("user", "a"), ("replication", "database")]),
        "C0A000",
    );
    check(&startup(&[("user", "a"), ("a\"b", "1")]), "C42704");
}

#[test]
fn settings_of_options_come_before_keys() {
    let check = |options: &str, expect: &str| {
        let bytes = startup(&[("TimeZone", "UTC"), ("user", "a"), ("options", options)]);
        let mut out = BytesMut::new();
        let action = login(Method::Trust).on_client(&mut BytesMut::from(&bytes[..]), &mut out);
        let got = show(
            &action,
            if action == LoginAction::Close {
                &out
            } else {
                b""
            },
        );
        assert!(got.contains(expect), "{options:?}: {got}");
    };
    check("", r#"a@a [("TimeZone", "UTC")]"#);
    check("-c a=1", r#"[("a", "1"), ("TimeZone", "UTC")]"#);
    check(
        " -ca=1  --b-c=2 ",
        r#"[("a", "1"), ("b_c", "2"), ("TimeZone", "UTC")]"#,
    );
    check(r"-c search_path=a\ b\\c", r#"("search_path", "a b\\c")"#);
    check("-c a.b=x=y", r#"("a.b", "x=y")"#);
    check("-W 2", "C0A000");
    check("-fs", "C0A000");
    check("a=1", "C0A000");
    check("-c", "-c  requires a value");
    check("-c a", "-c a requires a value");
    check("--a", "--a requires a value");
    check("-c a;b=1", "C42704");
    check("-c =1", "C42704");
}

#[test]
fn a_packet_may_come_byte_by_byte_and_the_rest_is_left() {
    let mut login = login(Method::Trust);
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let bytes = [
        packet(SSL, b""),
        packet(GSS, b""),
        startup(&[("user", "a")]),
    ]
    .concat();
    let (last, before) = bytes.split_last().unwrap();
    for byte in before {
        input.extend_from_slice(&[*byte]);
        assert_eq!(login.on_client(&mut input, &mut out), LoginAction::More);
    }
    input.extend_from_slice(&[*last]);
    input.extend_from_slice(b"Qnext");
    assert!(matches!(
        login.on_client(&mut input, &mut out),
        LoginAction::Done(_)
    ));
    assert_eq!(&input[..], b"Qnext");
    assert_eq!(text(&out), "NNR........");
}

#[test]
fn encryption_is_asked_for_once() {
    let mut login = login(Method::Trust);
    let mut out = BytesMut::new();
    let ssl = packet(SSL, b"");
    assert_eq!(
        login.on_client(&mut BytesMut::from(&ssl[..]), &mut out),
        LoginAction::More
    );
    assert_eq!(
        login.on_client(&mut BytesMut::from(&ssl[..]), &mut out),
        LoginAction::Close
    );
    assert!(text(&out).contains("unsupported frontend protocol 1234.5679"));
}

/// Drives a whole SCRAM login of user `joe` with the password `pw`.
fn scram(found: Option<Credential>) -> (LoginAction, String) {
    let mut login = login(Method::ScramSha256);
    let mut out = BytesMut::new();
    let asked = login.on_client(
        &mut BytesMut::from(&startup(&[("user", "joe")])[..]),
        &mut out,
    );
    assert_eq!(show(&asked, &out), "look up joe@joe");
    // What comes while the user is looked up is not touched.
    let mut early = BytesMut::from(&b"p"[..]);
    assert_eq!(login.on_client(&mut early, &mut out), LoginAction::More);
    assert_eq!(early.len(), 1);
    assert_eq!(login.on_verifier(found, &mut out), LoginAction::More);
    assert_eq!(text(&out.split()), "R........SCRAM-SHA-256..");

    let (client, first) =
        ClientExchange::start(Credentials::Password(b"pw".to_vec()), "", "clientnonce").unwrap();
    let mut input = BytesMut::new();
    send::sasl_initial(&mut input, MECHANISM, &first);
    assert_eq!(login.on_client(&mut input, &mut out), LoginAction::More);
    let (expect, proof) = client.respond(&out.split()[9..]).unwrap();
    send::sasl_response(&mut input, &proof);
    let action = login.on_client(&mut input, &mut out);
    if matches!(action, LoginAction::Done(_)) {
        let length = out.len() - 9;
        expect.verify(&out[9..length]).unwrap();
    }
    (action, text(&out))
}

#[test]
fn scram_gives_the_keys_or_one_and_the_same_refusal() {
    let real = |password: &[u8]| Credential {
        verifier: make_verifier(password, b"0123456789abcdef", 4096),
        can_login: true,
        expired: false,
    };
    let (action, _) = scram(Some(real(b"pw")));
    let LoginAction::Done(who) = action else {
        panic!("{action:?}")
    };
    assert_eq!(who.keys.unwrap().verifier, real(b"pw").verifier);

    let (wrong, unknown) = (scram(Some(real(b"no"))), scram(None));
    let expired = scram(Some(Credential {
        expired: true,
        ..real(b"pw")
    }));
    assert_eq!(wrong.0, LoginAction::Close);
    assert!(
        wrong
            .1
            .contains("C28P01.Mpassword authentication failed for user \"joe\"")
    );
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, expired);
    let (_, refused) = scram(Some(Credential {
        can_login: false,
        ..real(b"pw")
    }));
    assert!(
        refused.contains("role \"joe\" is not permitted to log in"),
        "{refused}"
    );
    // Without the right proof nobody learns that.
    assert_eq!(
        wrong,
        scram(Some(Credential {
            can_login: false,
            ..real(b"no")
        }))
    );
}

#[test]
fn while_authenticating_only_answers_are_taken() {
    let check = |bytes: &[u8], expect: &str| {
        let mut login = login(Method::ScramSha256);
        let mut out = BytesMut::new();
        login.on_client(
            &mut BytesMut::from(&startup(&[("user", "joe")])[..]),
            &mut out,
        );
        login.on_verifier(None, &mut out);
        out.clear();
        let action = login.on_client(&mut BytesMut::from(bytes), &mut out);
        let got = show(&action, &out);
        assert!(got.contains(expect), "{}: {got}", text(bytes));
    };
    check(b"p\0", "more");
    check(b"p\0\0\xff\xff", "more");
    check(b"p\0\x01\0\0", "C08P01");
    check(b"p\0\0\0\0", "C08P01");
    check(b"p\0\0\0\x04", "C08P01");
    check(
        b"Q\x23\xc3\x46\0",
        "expected SASL response, got message type 81",
    );
    check(b"X\0\0\0\x04", "expected SASL response");
    let mut plus = BytesMut::new();
    send::sasl_initial(&mut plus, "SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=,r=abc");
    check(&plus, "invalid SASL authentication mechanism");
    let mut bare = BytesMut::new();
    send::sasl_initial(&mut bare, MECHANISM, b"");
    check(&bare, "malformed SCRAM message");
}
