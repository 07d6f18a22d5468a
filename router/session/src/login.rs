//! From a client's first byte to AuthenticationOk: start-up packet, its settings, and the proof of who the client is.
//!
//! Everything here comes from strangers: what is not on the list of allowed things is refused, and errors say nothing of
//! shards, hosts or which users exist. Nothing of the start-up bytes is ever passed on; what the client asks for becomes
//! a list of settings, which the session applies as any SET. It has no socket, no clock and no randomness.

use bytes::{Buf, BytesMut};
use shardgate_wire::backend::put;
use shardgate_wire::frame::HEADER_BYTES;
use shardgate_wire::frontend::{SaslInitial, Startup, StartupError, peek_startup};
use shardgate_wire::scram::{ClientKey, MECHANISM, ScramError, ServerExchange, Verifier};
use shardgate_wire::{FrameError, Limits, PgError, frame};

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Everybody is who they say.
    Trust,
    ScramSha256,
}

/// What one login needs to be given.
#[derive(Clone)]
pub struct LoginConfig {
    pub method: Method,
    /// The server's part of the nonce: at least 18 random bytes in base64, drawn for this login alone.
    pub nonce: String,
    /// Makes up salts for users that do not exist; the same on all routers of a cluster.
    pub mock_secret: Vec<u8>,
}

/// What the look-up of a role has found.
#[derive(Clone, Debug)]
pub struct Credential {
    pub verifier: Verifier,
    /// False for roles without LOGIN; said only after a right proof.
    pub can_login: bool,
    /// VALID UNTIL has passed: no proof is right any more.
    pub expired: bool,
}

/// What logs in to the shards as the client's own role, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeys {
    pub client_key: ClientKey,
    pub verifier: Verifier,
}

/// A client that has proven who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    pub user: String,
    pub database: String,
    /// Name and value; those of `options` first, because a key of its own beats them. No name comes twice as a key.
    pub settings: Vec<(String, String)>,
    /// None with trust.
    pub keys: Option<ClientKeys>,
}

/// What the caller has to do next. `out` is to be written first, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginAction {
    /// Read on.
    More,
    /// Look the user up and call `on_verifier`.
    LookUp { user: String, database: String },
    /// Pass the cancel request on, then close without a word.
    Cancel { pid: u32, secret: Vec<u8> },
    /// AuthenticationOk is in `out`; what is left in the input are the first messages of the session.
    Done(Box<LoggedIn>),
    /// The error, if strangers get to read one, is in `out`.
    Close,
}

/// The state machine of one login. No input is read beyond one start-up packet (10000 bytes) or one answer (65535 bytes).
pub struct Login {
    config: LoginConfig,
    state: State,
    ssl_asked: bool,
    gss_asked: bool,
}

/// Who the client says that it is.
#[derive(Clone)]
struct Claim {
    user: String,
    database: String,
    settings: Vec<(String, String)>,
}

enum State {
    Startup,
    LookUp(Claim),
    First(Claim, Credential),
    Final(Claim, Credential, ServerExchange),
    Over,
}

/// Postgres's own numbers for a user without a verifier: whatever differs from most real users stands out.
const MOCK_ITERATIONS: u32 = 4096;
const MOCK_SALT_BYTES: usize = 16;

impl Login {
    pub fn new(config: LoginConfig) -> Self {
        Login {
            config,
            state: State::Startup,
            ssl_asked: false,
            gss_asked: false,
        }
    }

    /// Reads what has come. Complete packets are consumed, the rest is left; bytes behind the last message of the login
    /// stay for the session.
    pub fn on_client(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> LoginAction {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Over) {
                State::Startup => self.startup(input, out),
                State::First(claim, credential) => self.first(claim, credential, input, out),
                State::Final(claim, credential, exchange) => {
                    self.last(claim, credential, exchange, input, out)
                }
                State::LookUp(claim) => {
                    self.state = State::LookUp(claim);
                    return LoginAction::More;
                }
                State::Over => return LoginAction::Close,
            };
            match step {
                Ok(Some(action)) => return action,
                Ok(None) => {}
                Err(error) => return self.refuse(error, out),
            }
        }
    }

    /// The answer to `LookUp`; None when there is no such user, or when it has no SCRAM verifier.
    pub fn on_verifier(&mut self, found: Option<Credential>, out: &mut BytesMut) -> LoginAction {
        match std::mem::replace(&mut self.state, State::Over) {
            State::LookUp(claim) => {
                let credential = found.unwrap_or_else(|| Credential {
                    verifier: Verifier::mock(
                        &self.config.mock_secret,
                        &claim.user,
                        MOCK_ITERATIONS,
                        MOCK_SALT_BYTES,
                    ),
                    can_login: true,
                    expired: false,
                });
                put::auth_sasl(out, &[MECHANISM]);
                self.state = State::First(claim, credential);
                LoginAction::More
            }
            other => {
                self.state = other;
                LoginAction::More
            }
        }
    }

    fn refuse(&mut self, error: Option<PgError>, out: &mut BytesMut) -> LoginAction {
        self.state = State::Over;
        if let Some(error) = error {
            put::error(out, &error.fatal());
        }
        LoginAction::Close
    }

    fn startup(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step {
        let whole = |error: &StartupError| error.to_error();
        let length = match peek_startup(input).map_err(|error| whole(&error))? {
            Some(length) if input.len() >= length => length,
            Some(_) | None => {
                self.state = State::Startup;
                return Ok(Some(LoginAction::More));
            }
        };
        let packet = input.split_to(length);
        match Startup::parse(&packet).map_err(|error| whole(&error))? {
            Startup::Ssl => {
                no_encryption(&mut self.ssl_asked, 5679, "SSL", input, out)?;
                self.state = State::Startup;
                Ok(Some(LoginAction::More))
            }
            Startup::Gss => {
                no_encryption(&mut self.gss_asked, 5680, "GSSAPI encryption", input, out)?;
                self.state = State::Startup;
                Ok(Some(LoginAction::More))
            }
            Startup::Cancel { pid, secret } => Ok(Some(LoginAction::Cancel {
                pid,
                secret: secret.to_vec(),
            })),
            Startup::Params { minor, params } => self.params(minor, &params, out).map(Some),
        }
    }

    fn params(
        &mut self,
        minor: u16,
        params: &[(&str, &str)],
        out: &mut BytesMut,
    ) -> Result<LoginAction, Refused> {
        let (claim, unknown) = Claim::read(params).map_err(Some)?;
        if minor > 0 || !unknown.is_empty() {
            put::negotiate_version(out, 0, &unknown);
        }
        match self.config.method {
            Method::Trust => {
                put::auth_ok(out);
                Ok(LoginAction::Done(Box::new(claim.logged_in(None))))
            }
            Method::ScramSha256 => {
                let action = LoginAction::LookUp {
                    user: claim.user.clone(),
                    database: claim.database.clone(),
                };
                self.state = State::LookUp(claim);
                Ok(action)
            }
        }
    }

    fn first(
        &mut self,
        claim: Claim,
        credential: Credential,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Step {
        let Some(body) = sasl_frame(input)? else {
            self.state = State::First(claim, credential);
            return Ok(Some(LoginAction::More));
        };
        let initial = SaslInitial::parse(&body).map_err(|error| Some(error.to_error()))?;
        if initial.mechanism != MECHANISM {
            let message = "client selected an invalid SASL authentication mechanism";
            return Err(Some(PgError::error("08P01", message)));
        }
        let started = ServerExchange::start(
            &credential.verifier,
            initial.data.unwrap_or_default(),
            &self.config.nonce,
        );
        let (exchange, challenge) = started.map_err(|error| Some(error.to_error(&claim.user)))?;
        put::auth_sasl_continue(out, &challenge);
        self.state = State::Final(claim, credential, exchange);
        Ok(None)
    }

    fn last(
        &mut self,
        claim: Claim,
        credential: Credential,
        exchange: ServerExchange,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Step {
        let Some(body) = sasl_frame(input)? else {
            self.state = State::Final(claim, credential, exchange);
            return Ok(Some(LoginAction::More));
        };
        let proven = exchange.finish(&body).and_then(|proven| {
            if credential.expired {
                Err(ScramError::WrongProof)
            } else {
                Ok(proven)
            }
        });
        let (answer, client_key) = proven.map_err(|error| Some(error.to_error(&claim.user)))?;
        if !credential.can_login {
            let message = format!("role \"{}\" is not permitted to log in", claim.user);
            return Err(Some(PgError::error("28000", message)));
        }
        put::auth_sasl_final(out, &answer);
        put::auth_ok(out);
        let keys = ClientKeys {
            client_key,
            verifier: credential.verifier,
        };
        Ok(Some(LoginAction::Done(Box::new(
            claim.logged_in(Some(keys)),
        ))))
    }
}

/// None: closed in silence.
type Refused = Option<PgError>;
/// Ok(None): go on with the new state.
type Step = Result<Option<LoginAction>, Refused>;

/// Answers a request for encryption with `N`. Each may come once, and nothing may lie behind it: bytes that were sent in
/// clear must not be taken for such that came through a protected channel.
fn no_encryption(
    asked: &mut bool,
    code: u16,
    what: &str,
    input: &BytesMut,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    if std::mem::replace(asked, true) {
        return Err(StartupError::Version {
            major: 1234,
            minor: code,
        }
        .to_error());
    }
    if !input.is_empty() {
        let error = PgError::error(
            "08P01",
            format!("received unencrypted data after {what} request"),
        );
        return Err(Some(error.detail(
            "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
        )));
    }
    out.extend_from_slice(b"N");
    Ok(())
}

/// The body of one `p` message; None when it is not complete.
fn sasl_frame(input: &mut BytesMut) -> Result<Option<BytesMut>, Refused> {
    match frame::peek(input, &Limits::login()) {
        Ok(Some(frame)) if input.len() >= frame.len => {
            let mut whole = input.split_to(frame.len);
            whole.advance(HEADER_BYTES);
            Ok(Some(whole))
        }
        Ok(_) => Ok(None),
        Err(FrameError::UnknownType { tag, .. }) => Err(Some(PgError::error(
            "08P01",
            format!("expected SASL response, got message type {tag}"),
        ))),
        Err(error @ (FrameError::TooShort { .. } | FrameError::TooLong { .. })) => {
            Err(Some(error.to_error()))
        }
    }
}

impl Claim {
    /// Sorts the parameters; also gives the `_pq_.` options, none of which is known.
    fn read<'a>(params: &[(&'a str, &'a str)]) -> Result<(Claim, Vec<&'a str>), PgError> {
        let (mut user, mut database, mut options) = ("", "", "");
        let mut keys = Vec::new();
        let mut unknown = Vec::new();
        for (name, value) in params {
            match *name {
                "user" => user = value,
                "database" => database = value,
                "options" => options = value,
                "replication" if is_false(value) => {}
                "replication" => {
                    return Err(PgError::error(
                        "0A000",
                        "replication connections are not supported",
                    )
                    .hint("Connect to the server itself."));
                }
                name if name.starts_with("_pq_.") => unknown.push(name),
                name => keys.push((setting_name(name)?, (*value).to_owned())),
            }
        }
        if user.is_empty() {
            return Err(PgError::error(
                "28000",
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        let mut settings = read_options(options)?;
        settings.append(&mut keys);
        let database = if database.is_empty() { user } else { database };
        let claim = Claim {
            user: user.to_owned(),
            database: database.to_owned(),
            settings,
        };
        Ok((claim, unknown))
    }

    fn logged_in(self, keys: Option<ClientKeys>) -> LoggedIn {
        LoggedIn {
            user: self.user,
            database: self.database,
            settings: self.settings,
            keys,
        }
    }
}

fn is_false(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "false" | "off" | "no" | "0" | "f" | "n"
    )
}

/// Letters, digits, `_`, `$` and dots, as Postgres allows it for a setting; anything else is not passed on as a name.
fn setting_name(name: &str) -> Result<String, PgError> {
    let legal = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    if name.split('.').all(legal) {
        Ok(name.to_owned())
    } else {
        Err(PgError::error(
            "42704",
            format!("unrecognized configuration parameter \"{name}\""),
        ))
    }
}

/// Takes the start-up parameter `options` apart: `-c name=value`, `-cname=value` and `--name=value`. Every other switch
/// of the server's command line changes what a connection is (`-W 2` makes each login wait), so it is refused.
fn read_options(options: &str) -> Result<Vec<(String, String)>, PgError> {
    let mut words = split_options(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let (setting, shown) = if word == "-c" {
            (words.next().unwrap_or_default(), "-c ")
        } else if let Some(rest) = word.strip_prefix("--") {
            (rest.to_owned(), "--")
        } else if let Some(rest) = word.strip_prefix("-c") {
            (rest.to_owned(), "-c ")
        } else {
            return Err(PgError::error(
                "0A000",
                format!("command-line option \"{word}\" is not supported"),
            )
            .hint("In \"options\", only -c name=value and --name=value are supported."));
        };
        let Some((name, value)) = setting.split_once('=') else {
            return Err(PgError::error(
                "42601",
                format!("{shown}{setting} requires a value"),
            ));
        };
        settings.push((setting_name(&name.replace('-', "_"))?, value.to_owned()));
    }
    Ok(settings)
}

/// Words are separated by white space; a backslash takes the next character as it is (pg_split_opts).
fn split_options(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() || c == '\x0b' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
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
            ClientExchange::start(Credentials::Password(b"pw".to_vec()), "", "clientnonce")
                .unwrap();
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
}
