//! One client from its first byte to its last: login, then its session or the console.

use crate::admin::{self, Console};
use crate::config::AuthMethod;
use crate::drive::{Drive, terminated};
use crate::lanes::{Lane, Lanes};
use crate::listener::{Counted, Stranger};
use crate::mailbox::Signals;
use crate::registry::{Registered, Shown};
use crate::shared::Shared;
use bytes::BytesMut;
use shardgate_session::{LoggedIn, Login, LoginAction, LoginConfig, Method, Options, Session};
use shardgate_wire::PgError;
use shardgate_wire::backend::put;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that was accepted.
pub struct Arrival {
    pub stream: TcpStream,
    /// Where the client is served, and its socket registered.
    pub lane: Lane,
    pub address: SocketAddr,
    pub accepted: Instant,
    /// There are as many clients as are allowed; only the console is served.
    pub crowded: bool,
}

/// A client that has proven who it is, what it has sent behind that, and what is still to be sent to it.
struct Guest {
    who: LoggedIn,
    input: BytesMut,
    output: BytesMut,
}

/// Serves one connection to its login, or to its end if it is refused; what comes behind the login is a task of its own.
/// Dropping the future closes the connection and all that belongs to it.
pub async fn serve(
    shared: Arc<Shared>,
    mut arrival: Arrival,
    stranger: Stranger,
    counted: Counted,
) {
    let lane = arrival.lane;
    let deadline = arrival.accepted + shared.config.listen.client_login_timeout;
    // What is over is boxed, so that it costs nothing while the session lasts.
    let login = Box::pin(log_in(&shared, &mut arrival.stream));
    // A stranger that takes too long is closed without a word, as it may be one that does not even speak the protocol.
    let guest = tokio::time::timeout_at(deadline.into(), login).await;
    let Ok(Ok(Some(guest))) = guest else { return };
    drop(stranger);
    let refused = match welcome(&shared, arrival, guest).await {
        Ok(Some((drive, registered))) => {
            let lanes = shared.lanes.clone();
            lanes.spawn_on(lane, stay(lanes.clone(), drive, registered, counted));
            return;
        }
        Ok(None) => return,
        Err(refused) => refused,
    };
    let (mut stream, mut output, error) = *refused;
    shared.metrics.errors_own.increment();
    put::error(&mut output, &error.fatal());
    let farewell = Box::pin(async {
        stream.write_all_buf(&mut output).await?;
        stream.shutdown().await
    });
    // A client that does not take its error is closed all the same.
    let _ = tokio::time::timeout(shared.config.listen.client_login_timeout, farewell).await;
}

/// Drives a session to its end, on one lane after the other. Dropping the future closes everything.
fn stay(
    lanes: Lanes,
    drive: Box<Drive>,
    registered: Registered,
    counted: Counted,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        match drive.run().await {
            Some((drive, lane)) => {
                let there = lanes.clone();
                lanes.spawn_on(lane, stay(there, drive, registered, counted));
            }
            None => drop((registered, counted)),
        }
    })
}

/// The stream with what is still to be sent, and why the client is not served.
type Refused = (TcpStream, BytesMut, PgError);

/// The session of a client that is let in; None: it has left the console.
async fn welcome(
    shared: &Arc<Shared>,
    arrival: Arrival,
    guest: Guest,
) -> Result<Option<(Box<Drive>, Registered)>, Box<Refused>> {
    let Guest { who, input, output } = guest;
    let console = who.database == admin::DATABASE;
    let local = arrival.stream.local_addr().ok();
    let refuse = |stream, output, error| Err(Box::new((stream, output, error)));
    let allowed = if console {
        admin::admit(&shared.config, &who.user, Some(arrival.address))
    } else if arrival.crowded {
        Err(PgError::error("53300", "sorry, too many clients already"))
    } else if who.database != shared.config.database.name {
        Err(PgError::error(
            "3D000",
            format!("database \"{}\" does not exist", who.database),
        ))
    } else {
        // Boxed, since its room would be a part of every idle client's task.
        Box::pin(shared.may_log_in(&who.user)).await
    };
    if let Err(error) = allowed {
        return refuse(arrival.stream, output, error);
    }
    let user: Arc<str> = who.user.as_str().into();
    let database: Arc<str> = who.database.as_str().into();
    let addresses = (arrival.address, local);
    let registered = shared.clients.register(
        crate::random::secret(),
        addresses,
        Arc::clone(&user),
        database,
    );
    let Some(registered) = registered else {
        return refuse(
            arrival.stream,
            output,
            PgError::error("53300", "sorry, too many clients already"),
        );
    };
    // Whoever comes in while the router drains has missed the signal to all.
    if shared.is_draining() && !console {
        return refuse(
            arrival.stream,
            output,
            PgError::error("57P03", "the router is shutting down"),
        );
    }
    if console {
        // It runs no statements.
        shared.clients.set_drained(registered.client(), u64::MAX);
        Box::pin(talk(shared, arrival.stream, input, output, &registered)).await;
        return Ok(None);
    }
    let role = shared.pools.of_role(&user, who.keys);
    let options = options(shared, &registered, who.user, who.database, who.settings);
    let session = Session::new(
        options,
        shared.follower.snapshot(),
        Arc::clone(&shared.planner),
    );
    let client = Arc::clone(registered.client());
    let drive = Drive::new(
        Arc::clone(shared),
        client,
        role,
        session,
        arrival,
        (input, output),
    );
    Ok(Some((drive, registered)))
}

fn options(
    shared: &Shared,
    registered: &Registered,
    user: String,
    database: String,
    startup: Vec<(String, String)>,
) -> Options {
    Options {
        user,
        database,
        startup,
        pid: registered.client().pid,
        secret: registered.client().secret.to_be_bytes().to_vec(),
        common: Arc::clone(&shared.sessions),
    }
}

/// The console, which ends when the client leaves, is killed, or the router shuts down.
async fn talk(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    input: BytesMut,
    mut output: BytesMut,
    me: &Registered,
) {
    let client = me.client();
    client.show(Shown {
        state: "active",
        application_name: String::new(),
        slots: Vec::new(),
        waiting_since: None,
        requested: SystemTime::now(),
    });
    let secret = client.secret.to_be_bytes();
    let served = async {
        stream.write_all_buf(&mut output).await?;
        Console::new(shared.admin_context())
            .serve(&mut stream, input, client.pid, &secret)
            .await
    };
    let ended = std::future::poll_fn(|context| {
        client.mailbox.register(context.waker());
        let signals = client.mailbox.take();
        if signals.has(Signals::KILL) || shared.is_draining() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    tokio::select! {
        // The client's own failures are its own business.
        _ = served => {}
        () = ended => {
            let mut error = BytesMut::new();
            put::error(&mut error, &terminated().fatal());
            let _ = stream.try_write(&error);
        }
    }
}

/// Everything up to AuthenticationOk; None when there is nobody to serve.
async fn log_in(shared: &Shared, stream: &mut TcpStream) -> std::io::Result<Option<Guest>> {
    let mut login = Login::new(LoginConfig {
        method: match shared.config.auth.method {
            AuthMethod::Trust => Method::Trust,
            AuthMethod::ScramSha256 => Method::ScramSha256,
        },
        nonce: crate::random::nonce(),
        mock_secret: shared.follower.mock_auth_secret(),
    });
    let (mut input, mut output) = (BytesMut::with_capacity(1024), BytesMut::new());
    let mut asked = false;
    loop {
        match login.on_client(&mut input, &mut output) {
            LoginAction::More => {
                stream.write_all_buf(&mut output).await?;
                // At most one packet's length is ever waited for, so this is bounded by the packets' limits.
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(None);
                }
            }
            LoginAction::LookUp { user, .. } => {
                asked = true;
                match shared.verifiers.find(&user).await {
                    Ok(found) => {
                        login.on_verifier(found, &mut output);
                    }
                    Err(error) => {
                        tracing::error!("clients cannot log in: {error}");
                        let told = PgError::error(
                            "57P03",
                            "the router cannot authenticate clients at the moment",
                        );
                        put::error(&mut output, &told.fatal());
                        close(stream, output).await?;
                        return Ok(None);
                    }
                }
            }
            LoginAction::Cancel { pid, secret } => {
                let known = shared.clients.cancel(pid, &secret);
                let counter = if known {
                    &shared.metrics.cancels
                } else {
                    &shared.metrics.cancels_unknown
                };
                counter.increment();
                return Ok(None);
            }
            LoginAction::Done(who) => {
                return Ok(Some(Guest {
                    who: *who,
                    input,
                    output,
                }));
            }
            LoginAction::Close => {
                let counter = if asked {
                    &shared.metrics.logins_failed
                } else {
                    &shared.metrics.protocol_violations
                };
                counter.increment();
                close(stream, output).await?;
                return Ok(None);
            }
        }
    }
}

/// Sends the last words and closes.
async fn close(stream: &mut TcpStream, mut output: BytesMut) -> std::io::Result<()> {
    stream.write_all_buf(&mut output).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl Fn(Box<Drive>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn an_idle_clients_task_is_small() {
        let bytes = size_of_future(Drive::run);
        assert!(bytes < 256, "{bytes} bytes");
    }
}
