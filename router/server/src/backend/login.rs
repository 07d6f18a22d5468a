//! Opening a connection and logging in as a client's own role.
//!
//! Nothing of a client's start-up packet is sent: user, database and the router's application name, and nothing else. A
//! server is asked for a proof of its own in SCRAM; passwords are never sent in clear or as MD5.

use super::LinkInfo;
use super::raw::{Message, Socket};
use crate::health::Endpoint;
use shardgate_session::ClientKeys;
use shardgate_wire::backend::{
    Authentication, ErrorFields, backend_key, data_row, parameter_status,
};
use shardgate_wire::frontend::put;
use shardgate_wire::scram::{ClientExchange, Credentials, MECHANISM};
use shardgate_wire::{DecodeError, PgError};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;

/// Where to, and as whom.
pub struct Target<'a> {
    pub endpoint: &'a Endpoint,
    pub user: &'a str,
    pub database: &'a str,
    pub credentials: Option<Credentials>,
    /// What is said first, a Query with one value as its answer: see `fence.rs`.
    pub enter: Option<&'a str>,
    /// Over everything.
    pub timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached, or broke the connection off. Another server may be the primary now.
    #[error("{0}")]
    Network(String),
    /// The server has refused; the error is its own.
    #[error("{0}")]
    Server(PgError),
    /// The server is not one that the router can work with, or the login cannot be done.
    #[error("{0}")]
    Unfit(PgError),
}

/// What a login yields.
pub struct Opened {
    pub stream: TcpStream,
    pub info: LinkInfo,
    pub params: BTreeMap<String, String>,
    /// What `enter` has answered; 0 if it was not asked.
    pub fence: u64,
}

impl From<DecodeError> for ConnectError {
    fn from(error: DecodeError) -> Self {
        ConnectError::Network(format!("the server's answer is malformed: {error}"))
    }
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        ConnectError::Network(error.to_string())
    }
}

/// Credentials for the login: the keys of the client, if it has proven who it is with a password.
pub fn credentials_of(keys: &ClientKeys) -> Credentials {
    Credentials::Keys {
        client_key: keys.client_key.clone(),
        verifier: keys.verifier.clone(),
    }
}

/// Connects and logs in. Cancel-safe: a dropped attempt closes its socket.
pub async fn connect(target: Target<'_>) -> Result<Opened, ConnectError> {
    let timeout = target.timeout;
    let timed_out = || ConnectError::Network(format!("no answer in {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, attempt(target))
        .await
        .unwrap_or_else(|_| Err(timed_out()))
}

async fn attempt(target: Target<'_>) -> Result<Opened, ConnectError> {
    let endpoint = target.endpoint;
    let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await?;
    tune(&stream)?;
    let peer = stream.peer_addr()?;
    let local = stream.local_addr().ok();
    let mut socket = Socket::new(stream);
    let params = [
        ("user", target.user),
        ("database", target.database),
        ("client_encoding", "UTF8"),
    ];
    put::startup(&mut socket.output, &params);
    socket.flush().await?;
    authenticate(&mut socket, target.credentials, target.user).await?;
    if let Some(sql) = target.enter {
        // Behind the login, and before the server has said that it is ready: that saves a round trip.
        put::query(&mut socket.output, sql.as_bytes());
        socket.flush().await?;
    }
    let ready = wait_ready(&mut socket).await?;
    let fence = match target.enter {
        Some(_) => entered(&mut socket).await?,
        None => 0,
    };
    let (pid, secret) = ready.key.unwrap_or_default();
    let params = ready.params;
    check_server(&params)?;
    let info = LinkInfo {
        pid,
        secret,
        peer,
        local,
        connected: SystemTime::now(),
        standby: params
            .get("in_hot_standby")
            .is_some_and(|value| value == "on"),
        client: AtomicU32::new(0),
    };
    let stream = socket.into_stream()?;
    Ok(Opened {
        stream,
        info,
        params,
        fence,
    })
}

/// Small messages go out at once; a peer that is gone is noticed although nobody sends.
pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn authenticate(
    socket: &mut Socket,
    credentials: Option<Credentials>,
    user: &str,
) -> Result<(), ConnectError> {
    let mut credentials = credentials;
    loop {
        let message = socket.message().await?;
        if message.tag != b'R' {
            refuse_or_skip(&message)?;
            continue;
        }
        match Authentication::parse(&message.body)? {
            Authentication::Ok => return Ok(()),
            Authentication::Sasl { mechanisms } if mechanisms.contains(&MECHANISM) => {
                let credentials = credentials.take().ok_or_else(|| no_credentials(user))?;
                return scram(socket, credentials, user).await;
            }
            Authentication::Sasl { .. }
            | Authentication::Cleartext
            | Authentication::Md5 { .. }
            | Authentication::SaslContinue(_)
            | Authentication::SaslFinal(_)
            | Authentication::Other(_) => return Err(other_method(user)),
        }
    }
}

async fn scram(
    socket: &mut Socket,
    credentials: Credentials,
    user: &str,
) -> Result<(), ConnectError> {
    let failed =
        |error: shardgate_wire::scram::ScramError| ConnectError::Unfit(scram_failed(user, &error));
    let nonce = crate::random::nonce();
    let (exchange, first) = ClientExchange::start(credentials, "", &nonce).map_err(failed)?;
    put::sasl_initial(&mut socket.output, MECHANISM, &first);
    socket.flush().await?;
    let challenge = socket.expect(b'R').await?;
    let Authentication::SaslContinue(data) = Authentication::parse(&challenge.body)? else {
        return Err(other_method(user));
    };
    // With a password it costs thousands of hashes, so it is not done on a thread that serves clients.
    let data = data.to_vec();
    let responded = tokio::task::spawn_blocking(move || exchange.respond(&data))
        .await
        .map_err(|_| ConnectError::Network("the login was broken off".to_owned()))?;
    let (expect, proof) = responded.map_err(failed)?;
    put::sasl_response(&mut socket.output, &proof);
    socket.flush().await?;
    let last = socket.expect(b'R').await?;
    let Authentication::SaslFinal(data) = Authentication::parse(&last.body)? else {
        return Err(other_method(user));
    };
    expect.verify(data).map_err(failed)?;
    let done = socket.expect(b'R').await?;
    match Authentication::parse(&done.body)? {
        Authentication::Ok => Ok(()),
        Authentication::Sasl { .. }
        | Authentication::Cleartext
        | Authentication::Md5 { .. }
        | Authentication::SaslContinue(_)
        | Authentication::SaslFinal(_)
        | Authentication::Other(_) => Err(other_method(user)),
    }
}

fn no_credentials(user: &str) -> ConnectError {
    let message =
        format!("the server asks for a password of role \"{user}\", and the router has none");
    ConnectError::Unfit(
        PgError::error("28000", message)
            .detail("The client was let in without a password (auth.method = \"trust\").")
            .hint("Set auth.method = \"scram-sha-256\", or let the server trust the router's address."),
    )
}

fn other_method(user: &str) -> ConnectError {
    let message = format!("the server asks role \"{user}\" for something other than SCRAM-SHA-256");
    ConnectError::Unfit(
        PgError::error("28000", message).hint(
            "Use scram-sha-256 (or trust) for the router's address in the server's pg_hba.conf.",
        ),
    )
}

fn scram_failed(user: &str, error: &shardgate_wire::scram::ScramError) -> PgError {
    PgError::error(
        "28P01",
        format!("login to a server as role \"{user}\" has failed"),
    )
    .detail(error.to_string())
    .hint("The role must have the same password verifier (pg_authid.rolpassword) on all shards.")
}

struct Ready {
    params: BTreeMap<String, String>,
    key: Option<(u32, Vec<u8>)>,
}

async fn wait_ready(socket: &mut Socket) -> Result<Ready, ConnectError> {
    let mut ready = Ready {
        params: BTreeMap::new(),
        key: None,
    };
    loop {
        let message = socket.message().await?;
        match message.tag {
            b'S' => {
                let (name, value) = parameter_status(&message.body)?;
                ready.params.insert(name.to_owned(), value.to_owned());
            }
            b'K' => {
                let (pid, secret) = backend_key(&message.body)?;
                ready.key = Some((pid, secret.to_vec()));
            }
            b'Z' => return Ok(ready),
            _ => refuse_or_skip(&message)?,
        }
    }
}

/// The answer to `Target::enter`.
async fn entered(socket: &mut Socket) -> Result<u64, ConnectError> {
    let mut fence = None;
    loop {
        let message = socket.message().await?;
        match message.tag {
            b'D' => {
                let value = data_row(&message.body)?.next().flatten();
                fence = value
                    .and_then(|value| std::str::from_utf8(value).ok())
                    .and_then(|value| value.parse().ok());
            }
            b'T' | b'C' | b'S' => {}
            b'Z' => {
                return fence.ok_or_else(|| {
                    ConnectError::Network("the server did not say its fence".to_owned())
                });
            }
            _ => refuse_or_skip(&message)?,
        }
    }
}

/// An error ends the attempt, a notice does nothing, and everything else has no business here.
pub(super) fn refuse_or_skip(message: &Message) -> Result<(), ConnectError> {
    match message.tag {
        b'E' => Err(ConnectError::Server(
            ErrorFields::parse(&message.body)?.to_error(),
        )),
        b'N' | b'v' => Ok(()),
        tag => Err(ConnectError::Network(format!(
            "the server has sent message type {tag} during login"
        ))),
    }
}

/// Text is hashed and compared as UTF-8, and literals are read with standard strings.
fn check_server(params: &BTreeMap<String, String>) -> Result<(), ConnectError> {
    let value = |name: &str| params.get(name).map_or("", String::as_str);
    let wrong = |name: &str, want: &str| {
        let message = format!(
            "the server has {name} = \"{}\", and the router needs \"{want}\"",
            value(name)
        );
        ConnectError::Unfit(PgError::error("55000", message))
    };
    if value("server_encoding") != "UTF8" {
        return Err(wrong("server_encoding", "UTF8"));
    }
    if value("standard_conforming_strings") != "on" {
        return Err(wrong("standard_conforming_strings", "on"));
    }
    Ok(())
}
