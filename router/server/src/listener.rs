//! Who gets in: the listening sockets, and the limits on connections in all and for each address before login.

use crate::client::{self, Arrival};
use crate::lanes::move_here;
use crate::shared::Shared;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Beyond the limit of clients, so many more may log in: the console is to be reached, and others are told why not.
const RESERVE: usize = 64;
/// Connections of one address that have not logged in yet.
const STRANGERS_PER_ADDRESS_MAX: usize = 1024;
/// After a failed accept (no file descriptors, most often).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All connections of clients.
#[derive(Default)]
pub struct Connections {
    count: AtomicUsize,
    strangers: Mutex<HashMap<IpAddr, usize>>,
    empty: Notify,
}

/// Counts a connection while it lives.
pub struct Counted(Arc<Connections>);

/// Counts a connection before its login.
pub struct Stranger {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there is none.
    pub async fn wait_empty(&self) {
        loop {
            let empty = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }

    fn stranger(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let address = address.to_canonical();
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = strangers.entry(address).or_default();
        if *count >= STRANGERS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Stranger {
            connections: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = self
            .connections
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

/// Listens on all addresses that the name stands for; `*` is every address of the machine.
///
/// # Errors
/// The name is unknown, or an address is in use.
pub async fn bind(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    if host == "*" {
        let any = listen(SocketAddr::from(([0u16; 8], port)));
        // A machine without IPv6 has the other one.
        return Ok(vec![
            any.or_else(|_| listen(SocketAddr::from(([0u8; 4], port))))?,
        ]);
    }
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.into_iter().map(listen).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Connections of the last run that linger must not keep a restarted router from its port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the future is dropped; clients that are connected then go on.
pub async fn serve(shared: Arc<Shared>, listeners: Vec<TcpListener>) {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(Arc::clone(&shared), listener));
    }
    shared.set_accepting(true);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a listener has ended: {error}");
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => take(&shared, stream, address),
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts a client's task, or closes its connection without a word when there are far too many.
fn take(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    let connections = &shared.connections;
    let before = connections.count.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(Arc::clone(connections));
    let limit = shared.config.listen.max_client_conn;
    let stranger = if before >= limit + RESERVE {
        None
    } else {
        connections.stranger(address.ip())
    };
    let Some(stranger) = stranger else {
        shared.metrics.clients_refused.increment();
        return;
    };
    shared.metrics.clients_accepted.increment();
    if let Err(error) = crate::backend::tune(&stream) {
        tracing::debug!("a client's socket cannot be set up: {error}");
        return;
    }
    let (accepted, crowded) = (Instant::now(), before >= limit);
    if crowded {
        shared.metrics.clients_refused.increment();
    }
    let client = Arc::clone(shared);
    shared.lanes.spawn(|lane| async move {
        match move_here(stream) {
            Ok(stream) => {
                let arrival = Arrival {
                    stream,
                    lane,
                    address,
                    accepted,
                    crowded,
                };
                client::serve(client, arrival, stranger, counted).await;
            }
            Err(error) => tracing::warn!("a client's socket cannot be registered: {error}"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_by_address() {
        let connections = Arc::new(Connections::default());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let mut all: Vec<Stranger> = (0..STRANGERS_PER_ADDRESS_MAX)
            .map(|_| connections.stranger(one).unwrap())
            .collect();
        assert!(connections.stranger(one).is_none());
        assert!(connections.stranger(mapped).is_none());
        assert!(connections.stranger("192.0.2.2".parse().unwrap()).is_some());
        all.pop();
        assert!(connections.stranger(mapped).is_some());
        all.clear();
        assert!(connections.strangers.lock().unwrap().is_empty());
    }
}
