//! From a client's first byte to AuthenticationOk: start-up packet, its settings, and the proof of who the client is.
//!
//! Everything here comes from strangers: what is not on the list of allowed things is refused, and errors say nothing of
//! shards, hosts or which users exist. Nothing of the start-up bytes is ever passed on; what the client asks for becomes
//! a list of settings, which the session applies as any SET. It has no socket, no clock and no randomness.

mod options;

use bytes::{Buf, BytesMut};
use options::{is_false, read_options, setting_name};
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

#[cfg(test)]
mod tests;
