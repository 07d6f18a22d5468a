use super::*;
use proptest::prelude::*;

/// The exchange of RFC 7677, section 3.
const RFC_CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_SALT: &[u8] = &[
    0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81,
];
const RFC_SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_verifier() -> Verifier {
    make_verifier(b"pencil", RFC_SALT, 4096)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("our messages are ASCII")
}

#[test]
fn rfc_7677_from_the_client() {
    let password = Credentials::Password(b"pencil".to_vec());
    let (exchange, first) = ClientExchange::start(password, "user", RFC_CLIENT_NONCE).unwrap();
    assert_eq!(text(&first), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let (expect, last) = exchange.respond(RFC_SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(text(&last), RFC_CLIENT_FINAL);
    expect.verify(RFC_SERVER_FINAL.as_bytes()).unwrap();
}

#[test]
fn rfc_7677_from_the_server() {
    let (exchange, first) = ServerExchange::start(
        &rfc_verifier(),
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        RFC_SERVER_NONCE,
    )
    .unwrap();
    assert_eq!(text(&first), RFC_SERVER_FIRST);
    let (last, _key) = exchange.finish(RFC_CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(text(&last), RFC_SERVER_FINAL);
}

/// A verifier that Postgres 15 has made of the password `pencil`.
#[test]
fn verifier_of_postgres() {
    let stored = "SCRAM-SHA-256$4096:izer3Ku8Xfu1FhZN/B3Pbw==$ECjaY/25GwStJzK5OtcO0+YhuJMRfQ3AS3Mlf/rQ+wM=:\
                  C0hIen2ehUGNieLEjwgoMJJk6RMmSCXRElPJ+6Bg9lE=";
    let verifier = Verifier::parse(stored).unwrap();
    assert_eq!(verifier.to_string(), stored);
    assert_eq!(make_verifier(b"pencil", verifier.salt(), 4096), verifier);
    assert_ne!(make_verifier(b"pencil ", verifier.salt(), 4096), verifier);
}

#[test]
fn texts_that_are_no_verifier() {
    let good = rfc_verifier().to_string();
    assert!(Verifier::parse(&good).is_ok());
    let long = format!("{good}A");
    for bad in [
        "",
        "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        &good.replace("4096", "0"),
        &good.replace("4096", "-1"),
        &good.replace("4096", "+4096"),
        &good.replace("4096", ""),
        &good.replace("4096", "4294967296"),
        &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22Z*"),
        &good.replace("SHA-256", "SHA-1"),
        good.get(..good.len() - 1).unwrap(),
        &long,
    ] {
        assert_eq!(Verifier::parse(bad), Err(NotAVerifier), "{bad:?}");
    }
}

/// Both sides against each other; gives the key that the server side has recovered.
fn login(credentials: Credentials, verifier: &Verifier) -> Result<ClientKey, ScramError> {
    let (client, first) = ClientExchange::start(credentials, "", "clientnonce")?;
    let (server, challenge) = ServerExchange::start(verifier, &first, "servernonce")?;
    let (expect, proof) = client.respond(&challenge)?;
    let (last, key) = server.finish(&proof)?;
    expect.verify(&last)?;
    Ok(key)
}

#[test]
fn a_recovered_key_logs_in_where_the_verifier_is_the_same() {
    let verifier = make_verifier(b"secret", b"0123456789abcdef", 4096);
    let client_key = login(Credentials::Password(b"secret".to_vec()), &verifier).unwrap();
    let keys = |verifier: &Verifier| Credentials::Keys {
        client_key: client_key.clone(),
        verifier: verifier.clone(),
    };
    let again = login(keys(&verifier), &verifier).unwrap();
    assert_eq!(again, client_key);

    // The same password under another salt, or other iterations, is another verifier.
    for other in [
        make_verifier(b"secret", b"fedcba9876543210", 4096),
        make_verifier(b"secret", b"0123456789abcdef", 4097),
    ] {
        let refused = login(keys(&verifier), &other).unwrap_err();
        assert!(matches!(refused, ScramError::Backend(_)), "{refused:?}");
        // Even when the router holds the other verifier, the key does not fit it.
        assert_eq!(
            login(keys(&other), &other).unwrap_err(),
            ScramError::WrongProof
        );
    }
    let wrong = Credentials::Password(b"Secret".to_vec());
    assert_eq!(login(wrong, &verifier).unwrap_err(), ScramError::WrongProof);
}

#[test]
fn a_false_server_is_found_out() {
    let honest = make_verifier(b"secret", b"0123456789abcdef", 4096);
    let mut false_one = honest.clone();
    false_one.server_key = [7; 32];
    let login = login(Credentials::Password(b"secret".to_vec()), &false_one);
    assert!(matches!(login.unwrap_err(), ScramError::Backend(_)));
}

#[test]
fn mock_verifiers_are_stable_and_accept_nobody() {
    let mock = |secret: &[u8], user: &str, bytes| Verifier::mock(secret, user, 4096, bytes);
    assert_eq!(mock(b"s", "joe", 16), mock(b"s", "joe", 16));
    assert_ne!(mock(b"s", "joe", 16).salt(), mock(b"s", "jim", 16).salt());
    assert_ne!(mock(b"s", "joe", 16).salt(), mock(b"t", "joe", 16).salt());
    for bytes in [1, 16, 32, 33, 100] {
        assert_eq!(mock(b"s", "joe", bytes).salt().len(), bytes);
    }
    // A stranger sees the same exchange as for a real user, up to the answer to the proof.
    let password = Credentials::Password(b"anything".to_vec());
    let refused = login(password, &mock(b"s", "joe", 16)).unwrap_err();
    assert_eq!(refused, ScramError::WrongProof);
    // Not even a right proof helps, should somebody learn the secret and find the key.
    let mut known = make_verifier(b"anything", b"0123456789abcdef", 4096);
    known.mock = true;
    let password = Credentials::Password(b"anything".to_vec());
    assert_eq!(login(password, &known).unwrap_err(), ScramError::WrongProof);
}

#[test]
fn client_first_messages() {
    let check = |message: &str, expect: &str| {
        let got = match ServerExchange::start(&rfc_verifier(), message.as_bytes(), "server") {
            Ok(_) => "ok".into(),
            Err(error) => error.to_error("joe").to_string(),
        };
        assert_eq!(got, expect, "{message:?}");
    };
    let malformed = "FATAL: malformed SCRAM message (08P01)";
    check("n,,n=,r=abc", "ok");
    check("y,,n=joe,r=abc", "ok");
    check("n,,n=joe,r=abc,x=ignored", "ok");
    check(
        "p=tls-server-end-point,,n=,r=abc",
        "FATAL: channel binding is not supported on this connection (0A000)",
    );
    check(
        "n,a=admin,n=,r=abc",
        "FATAL: client uses authorization identity, but it is not supported (0A000)",
    );
    check(
        "n,,m=x,n=,r=abc",
        "FATAL: client requires an unsupported SCRAM extension (0A000)",
    );
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "n,,n=joe",
        "n,,n=joe,r=",
        "n,,r=abc,n=joe",
        "n,,n=joe,r=a\u{7f}c",
        "n,,n=joe,r=a c",
        "n,,n=joe,r=grün",
        "nn,n=joe,r=abc",
    ] {
        check(bad, malformed);
    }
    let not_utf8 = ServerExchange::start(&rfc_verifier(), b"n,,n=\xff,r=abc", "server");
    assert!(matches!(not_utf8, Err(ScramError::Malformed(_))));
}

#[test]
fn client_final_messages() {
    let check = |message: &str, expect: Result<(), ScramError>| {
        let (exchange, _) = ServerExchange::start(
            &rfc_verifier(),
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            RFC_SERVER_NONCE,
        )
        .unwrap();
        assert_eq!(
            exchange.finish(message.as_bytes()).map(|_| ()),
            expect,
            "{message:?}"
        );
    };
    let malformed = |detail| Err(ScramError::Malformed(detail));
    let good = RFC_CLIENT_FINAL;
    check(good, Ok(()));
    check(
        &good.replace("p=dHzb", "p=aHzb"),
        Err(ScramError::WrongProof),
    );
    // An extension changes what is signed, so the proof is wrong; its form is not.
    check(&good.replace(",p=", ",x=1,p="), Err(ScramError::WrongProof));
    check(
        &good.replace("$k0", "$k1"),
        malformed("nonce does not match"),
    );
    check(&good.replace("$k0", ""), malformed("nonce does not match"));
    let binding = malformed("unexpected SCRAM channel-binding attribute");
    check(&good.replace("biws", "eSws"), binding.clone());
    check(&good.replace("biws", ""), binding);
    check(&good.replace("dHzb", "!"), malformed("malformed proof"));
    check(
        &good.replace("ndVQ=", "ndVQ=="),
        malformed("malformed proof"),
    );
    check(&format!("{good},x=1"), malformed("malformed proof"));
    check("", malformed("attribute p expected"));
    check("p=", malformed("attribute p expected"));
    check("r=abc,p=AAAA", malformed("attribute c expected"));
    check("c=biws,p=AAAA", malformed("attribute r expected"));
}

#[test]
fn server_messages_that_a_client_refuses() {
    let start = || {
        let password = Credentials::Password(b"pencil".to_vec());
        ClientExchange::start(password, "user", RFC_CLIENT_NONCE)
            .unwrap()
            .0
    };
    let check = |message: &str, expect: &str| {
        let got = start()
            .respond(message.as_bytes())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(got.contains(expect), "{message:?}: {got}");
    };
    let good = RFC_SERVER_FIRST;
    check(&good.replace("rOpr", "rOps"), "does not extend");
    check(&good.replace(RFC_SERVER_NONCE, ""), "does not extend");
    check(&good.replace("4096", "1"), "asks for 1 iterations");
    check(&good.replace("4096", "4095"), "asks for 4095 iterations");
    check(
        &good.replace("4096", "1000001"),
        "asks for 1000001 iterations",
    );
    for count in ["", "-1", "+4096", "4294967296", "4096 ", "4096,x=1"] {
        check(&good.replace("4096", count), "malformed SCRAM message");
    }
    check(
        &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "?"),
        "malformed salt",
    );
    check(
        &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        "malformed salt",
    );
    check("", "attribute r expected");
    check("m=x,r=abc", "attribute r expected");

    let last = |message: &str| {
        let (expect, _) = start().respond(good.as_bytes()).unwrap();
        expect.verify(message.as_bytes())
    };
    last(RFC_SERVER_FINAL).unwrap();
    assert_eq!(
        last("e=invalid-proof"),
        Err(ScramError::Refused("invalid-proof".into()))
    );
    assert!(matches!(
        last(&RFC_SERVER_FINAL.replace("6rri", "7rri")),
        Err(ScramError::Backend(_))
    ));
    for bad in ["", "v=", "v=AAAA", &format!("{RFC_SERVER_FINAL},x=1")] {
        assert!(
            matches!(last(bad), Err(ScramError::Malformed(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn secrets_are_not_printed() {
    let verifier = rfc_verifier();
    let key = login(Credentials::Password(b"pencil".to_vec()), &verifier).unwrap();
    let keys = Credentials::Keys {
        client_key: key.clone(),
        verifier: verifier.clone(),
    };
    let printed = format!("{verifier:?} {key:?} {keys:?}");
    assert_eq!(
        printed,
        "Verifier { iterations: 4096, .. } ClientKey(..) Keys(..)"
    );
    assert!(!format!("{:?}", Credentials::Password(b"pencil".to_vec())).contains("pencil"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_message_makes_an_exchange_panic(
        raw in proptest::collection::vec(any::<u8>(), 0..80),
        likely in "([nypcrsivme]=?|,|=|abc|biws|AAAA|[0-9]{1,11}|é){0,20}",
    ) {
        for message in [raw.as_slice(), likely.as_bytes()] {
            let _ = ServerExchange::start(&rfc_mock(), message, "server");
            let (server, _) =
                ServerExchange::start(&rfc_mock(), b"n,,n=,r=abc", "server").unwrap();
            prop_assert!(server.finish(message).is_err());
            let keys = Credentials::Keys {
                client_key: crypto::ClientKey([1; 32]),
                verifier: rfc_mock(),
            };
            let (client, _) = ClientExchange::start(keys, "", "abc").unwrap();
            if let Ok((expect, _)) = client.respond(message) {
                prop_assert!(expect.verify(message).is_err());
            }
            if let Ok(text) = std::str::from_utf8(message) {
                let _ = Verifier::parse(text);
            }
        }
    }
}

fn rfc_mock() -> Verifier {
    Verifier::mock(b"secret", "joe", 4096, 16)
}
