//! Who is connected: every client by the process id that it was told, and what the console shows of all of them.
//!
//! The id is the router's own id (10 bits) and a slot (21 bits, never zero), so it is positive, names the router that a
//! cancel request belongs to, and is what `pg_backend_pid()` says. Slots are reused as late as possible.

use crate::mailbox::{Letter, Mailbox, Signals};
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// How many clients a router can tell apart.
const SLOTS_MAX: usize = (1 << 21) - 1;
/// How long SHOW CLIENTS waits for the tasks of the clients.
const DESCRIBE_MS_MAX: u64 = 200;

/// One client that is logged in.
pub struct Client {
    pub pid: u32,
    pub secret: u32,
    pub address: SocketAddr,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub connected: SystemTime,
    pub mailbox: Mailbox,
}

/// One line of SHOW CLIENTS.
#[derive(Clone, Debug)]
pub struct ClientView {
    pub pid: u32,
    pub address: SocketAddr,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub connected: SystemTime,
    /// `idle`, `active`, `waiting`, `idle in transaction`, ..; `console` for the console's own clients; `unknown` for a
    /// task that did not answer in time.
    pub state: &'static str,
    pub application_name: String,
    /// Shards with an attached connection, and why the session is pinned to it.
    pub slots: Vec<(ShardId, Option<String>)>,
    /// How long the client has waited for a connection, if it does.
    pub waiting: Option<Duration>,
    /// When the client last sent something.
    pub requested: SystemTime,
}

/// One line of SHOW POOLS: the connections of one role to one server.
#[derive(Clone, Debug)]
pub struct PoolView {
    pub role: Arc<str>,
    pub database: Arc<str>,
    pub shard: ShardId,
    pub host: Arc<str>,
    pub port: u16,
    /// The server runs as a standby.
    pub standby: bool,
    /// The server is no longer used; its connections end when they are free.
    pub retired: bool,
    pub size: usize,
    pub in_use: usize,
    pub idle: usize,
    pub opening: usize,
    /// Clients that wait, and for how long the first of them does.
    pub waiting: usize,
    pub waiting_longest: Duration,
}

/// One line of SHOW SERVERS: one connection.
#[derive(Clone, Debug)]
pub struct ServerView {
    pub role: Arc<str>,
    pub database: Arc<str>,
    pub shard: ShardId,
    pub host: Arc<str>,
    pub port: u16,
    pub local: Option<SocketAddr>,
    /// Process id on the server.
    pub pid: u32,
    pub in_use: bool,
    pub connected: SystemTime,
    /// The client that uses it, if it is in use.
    pub client: Option<u32>,
}

/// All clients.
pub struct Clients {
    router: u32,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    /// `entries[i]` is slot `i + 1`.
    entries: Vec<Option<Arc<Client>>>,
    free: VecDeque<usize>,
    count: usize,
}

/// Takes a client off the list when it is dropped.
pub struct Registered {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl Registered {
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.clients.remove(self.client.pid);
    }
}

impl Clients {
    /// `router` is the router's id, 0..=1023.
    pub fn new(router: u16) -> Self {
        Clients { router: u32::from(router) & 0x3ff, slots: Mutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self, at: usize) -> u32 {
        let slot = u32::try_from(at + 1).unwrap_or(0);
        (self.router << 21) | slot
    }

    fn at(&self, pid: u32) -> Option<usize> {
        if pid >> 21 != self.router {
            return None;
        }
        usize::try_from(pid & 0x1f_ffff).ok()?.checked_sub(1)
    }

    /// None when all ids are taken. `secret` is random.
    pub fn register(
        self: &Arc<Self>,
        secret: u32,
        address: SocketAddr,
        user: Arc<str>,
        database: Arc<str>,
    ) -> Option<Registered> {
        let mut slots = self.slots();
        // A slot that was just freed is given out again only when there are many others.
        let at = if slots.free.len() > 1024 || slots.entries.len() >= SLOTS_MAX {
            slots.free.pop_front()?
        } else {
            slots.entries.push(None);
            slots.entries.len() - 1
        };
        let client = Arc::new(Client {
            pid: self.pid(at),
            secret,
            address,
            user,
            database,
            connected: SystemTime::now(),
            mailbox: Mailbox::default(),
        });
        if let Some(entry) = slots.entries.get_mut(at) {
            *entry = Some(Arc::clone(&client));
        }
        slots.count += 1;
        Some(Registered { clients: Arc::clone(self), client })
    }

    fn remove(&self, pid: u32) {
        let Some(at) = self.at(pid) else { return };
        let mut slots = self.slots();
        let entry = slots.entries.get_mut(at).and_then(Option::take);
        if entry.is_some() {
            slots.free.push_back(at);
            slots.count -= 1;
        }
    }

    /// How many are logged in.
    pub fn count(&self) -> usize {
        self.slots().count
    }

    pub fn find(&self, pid: u32) -> Option<Arc<Client>> {
        let at = self.at(pid)?;
        self.slots().entries.get(at)?.clone()
    }

    fn all(&self) -> Vec<Arc<Client>> {
        self.slots().entries.iter().flatten().cloned().collect()
    }

    /// Raises a signal for all clients.
    pub fn signal_all(&self, signals: Signals) {
        for client in self.slots().entries.iter().flatten() {
            client.mailbox.signal(signals);
        }
    }

    /// Tells those clients of time that passes that want to know.
    pub fn tick(&self) {
        for client in self.slots().entries.iter().flatten() {
            client.mailbox.tick();
        }
    }

    /// A cancel request. False (and nothing happens) when the key is wrong; whoever sent it is not told.
    pub fn cancel(&self, pid: u32, secret: &[u8]) -> bool {
        let Some(client) = self.find(pid) else { return false };
        let Ok(secret) = <[u8; 4]>::try_from(secret) else { return false };
        // One comparison of one machine word takes the same time whatever the bytes are.
        if u32::from_be_bytes(secret) != client.secret {
            return false;
        }
        client.mailbox.signal(Signals::CANCEL);
        true
    }

    /// Ends a client (KILL_CLIENT). False if there is none with this id.
    pub fn kill(&self, pid: u32) -> bool {
        match self.find(pid) {
            Some(client) => {
                client.mailbox.signal(Signals::KILL);
                true
            }
            None => false,
        }
    }

    /// All clients. Each one's own task is asked, because nobody else knows its state; one that does not answer within
    /// 200 ms is shown as `unknown`.
    pub async fn views(&self) -> Vec<ClientView> {
        let clients = self.all();
        let (answer, mut answers) = mpsc::unbounded_channel();
        for client in &clients {
            // A client that has ended meanwhile is not shown, or shown without its state.
            let _ = client.mailbox.send(Letter::Describe(answer.clone()));
        }
        drop(answer);
        let mut views: Vec<ClientView> = Vec::with_capacity(clients.len());
        let deadline = tokio::time::Instant::now() + Duration::from_millis(DESCRIBE_MS_MAX);
        while let Ok(Some(view)) = tokio::time::timeout_at(deadline, answers.recv()).await {
            views.push(view);
        }
        if views.len() < clients.len() {
            let known: std::collections::HashSet<u32> = views.iter().map(|view| view.pid).collect();
            let silent = clients.iter().filter(|client| !known.contains(&client.pid));
            views.extend(silent.map(|client| ClientView::of(client, "unknown")));
        }
        views.sort_by_key(|view| view.pid);
        views
    }
}

impl ClientView {
    /// What is known of a client without asking its task.
    pub fn of(client: &Client, state: &'static str) -> Self {
        ClientView {
            pid: client.pid,
            address: client.address,
            user: Arc::clone(&client.user),
            database: Arc::clone(&client.database),
            connected: client.connected,
            state,
            application_name: String::new(),
            slots: Vec::new(),
            waiting: None,
            requested: client.connected,
        }
    }
}

/// Wakes all clients whenever a new snapshot comes, until the sender ends.
pub async fn announce_snapshots(clients: Arc<Clients>, mut snapshots: tokio::sync::watch::Receiver<Arc<Snapshot>>) {
    while snapshots.changed().await.is_ok() {
        clients.signal_all(Signals::SNAPSHOT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Arc<Clients> {
        Arc::new(Clients::new(5))
    }

    fn add(clients: &Arc<Clients>, secret: u32) -> Registered {
        clients.register(secret, "127.0.0.1:1".parse().unwrap(), "u".into(), "d".into()).unwrap()
    }

    #[test]
    fn ids_name_the_router_and_are_reused_late() {
        let clients = clients();
        let first = add(&clients, 1);
        let pid = first.client().pid;
        assert_eq!(pid, (5 << 21) | 1);
        drop(first);
        assert!(clients.find(pid).is_none());
        assert_eq!(clients.count(), 0);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(add(&clients, 1).client().pid));
        }
        assert!(!seen.contains(&pid));
        for _ in 0..10_000 {
            add(&clients, 1);
        }
        assert!(clients.slots().entries.len() < 3000);
    }

    #[test]
    fn only_the_right_key_cancels() {
        let clients = clients();
        let one = add(&clients, 0x0102_0304);
        let pid = one.client().pid;
        for (pid, secret) in [(pid, &[1, 2, 3, 5][..]), (pid, &[1, 2, 3]), (pid, &[]), (pid + 1, &[1, 2, 3, 4]), (1, &[1, 2, 3, 4])] {
            assert!(!clients.cancel(pid, secret));
            assert!(!one.client().mailbox.take().has(Signals::CANCEL));
        }
        assert!(clients.cancel(pid, &[1, 2, 3, 4]));
        assert!(one.client().mailbox.take().has(Signals::CANCEL));
    }
}
