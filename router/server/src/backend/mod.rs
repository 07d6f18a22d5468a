//! One connection of ours to a server: its socket, and what belongs to it beside the protocol state.
//!
//! A link is either in its pool or with one client's task, never in two places; dropping it closes the connection and
//! gives its place in the pool free, whoever drops it and why.

mod login;
mod look;
mod raw;

pub(crate) use login::tune;
pub use login::{ConnectError, Opened, Target, connect, credentials_of};

use crate::lanes::{Lane, move_here};
use crate::pool::Place;
use shardgate_session::Backend;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};
use tokio::net::TcpStream;

/// A connection that is logged in.
pub struct Link {
    pub stream: TcpStream,
    /// Where the socket is registered.
    pub lane: Lane,
    /// The protocol state; None while a session has it.
    pub state: Option<Box<Backend>>,
    pub info: Arc<LinkInfo>,
    pub opened: Instant,
    /// Since when it is idle, for those in the pool.
    pub idle_since: Instant,
    /// Its place in its pool.
    pub place: Place,
}

/// What does not change, and who uses it: shared with the pool for SHOW SERVERS.
#[derive(Debug)]
pub struct LinkInfo {
    /// Process id on the server.
    pub pid: u32,
    /// The server's cancel key; empty if it has sent none.
    pub secret: Vec<u8>,
    /// The address that was connected to: a cancel request must go to this very server.
    pub peer: SocketAddr,
    pub local: Option<SocketAddr>,
    pub connected: SystemTime,
    /// The server was a standby when it said so last.
    pub standby: bool,
    client: AtomicU32,
}

impl Link {
    /// Registers the socket with the caller's runtime, which is that of the lane. None: that is not possible, and the
    /// connection is closed.
    pub fn move_to(self: Box<Self>, lane: Lane) -> Option<Box<Self>> {
        if self.lane == lane {
            return Some(self);
        }
        let Link {
            stream,
            lane: _,
            state,
            info,
            opened,
            idle_since,
            place,
        } = *self;
        match move_here(stream) {
            Ok(stream) => Some(Box::new(Link {
                stream,
                lane,
                state,
                info,
                opened,
                idle_since,
                place,
            })),
            Err(error) => {
                tracing::warn!(server = %info.peer, "a connection could not be moved to another thread: {error}");
                None
            }
        }
    }
}

impl LinkInfo {
    /// The client that uses the link now.
    pub fn client(&self) -> Option<u32> {
        Some(self.client.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// `pid` 0: nobody.
    pub fn set_client(&self, pid: u32) {
        self.client.store(pid, Ordering::Relaxed);
    }
}
