//! Who is connected: every client by the process id that it was told, and what the console shows of all of them.
//!
//! The id is the router's own id (10 bits) and a slot (21 bits, never zero), so it is positive, names the router that a
//! cancel request belongs to, and is what `pg_backend_pid()` says. Slots are reused as late as possible.

use crate::mailbox::{Mailbox, Signals};
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::Notify;

/// How many clients a router can tell apart.
const SLOTS_MAX: usize = (1 << 21) - 1;

/// One client that is logged in.
pub struct Client {
    pub pid: u32,
    pub secret: u32,
    pub address: SocketAddr,
    /// The router's own address that the client has connected to.
    pub local: Option<SocketAddr>,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub connected: SystemTime,
    pub mailbox: Mailbox,
    shown: Mutex<Shown>,
    /// See `Session::drained_epoch`. It never goes down.
    drained: AtomicU64,
}

impl Client {
    pub fn shown(&self) -> Shown {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What its session has said last: see `Session::drained_epoch`.
    pub fn drained(&self) -> u64 {
        self.drained.load(Ordering::Acquire)
    }

    pub fn show(&self, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// What the client's task last said of it: at most some 100 ms ago while it does something, and right while it is idle.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `login`, `idle`, `active`, `waiting`, `idle in transaction`, ..; `console`.
    pub state: &'static str,
    pub application_name: String,
    /// Shards with an attached connection, and why the session is pinned to it.
    pub slots: Vec<(ShardId, Option<String>)>,
    /// Since when the client waits for a connection, if it does.
    pub waiting_since: Option<Instant>,
    /// When the client last sent something.
    pub requested: SystemTime,
}

/// All clients.
pub struct Clients {
    router: u32,
    slots: Mutex<Slots>,
    /// What `drained` answers may have risen.
    rises: Notify,
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
        Clients {
            router: u32::from(router) & 0x3ff,
            slots: Mutex::default(),
            rises: Notify::new(),
        }
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
        (address, local): (SocketAddr, Option<SocketAddr>),
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
        let now = SystemTime::now();
        let client = Arc::new(Client {
            pid: self.pid(at),
            secret,
            address,
            local,
            user,
            database,
            connected: now,
            mailbox: Mailbox::default(),
            shown: Mutex::new(Shown {
                state: "login",
                application_name: String::new(),
                slots: Vec::new(),
                waiting_since: None,
                requested: now,
            }),
            // Until its session says more.
            drained: AtomicU64::new(0),
        });
        if let Some(entry) = slots.entries.get_mut(at) {
            *entry = Some(Arc::clone(&client));
        }
        slots.count += 1;
        Some(Registered {
            clients: Arc::clone(self),
            client,
        })
    }

    fn remove(&self, pid: u32) {
        let Some(at) = self.at(pid) else { return };
        let mut slots = self.slots();
        let entry = slots.entries.get_mut(at).and_then(Option::take);
        if entry.is_some() {
            slots.free.push_back(at);
            slots.count -= 1;
        }
        drop(slots);
        self.rises.notify_one();
    }

    /// The client's session says that nothing older than the epoch is under way in it that concerns a move.
    pub fn set_drained(&self, client: &Client, epoch: u64) {
        client.drained.store(epoch, Ordering::Release);
        self.rises.notify_one();
    }

    /// What all clients can say of it; `u64::MAX` if there are none. A client that logs in later can say no less than was
    /// asked for, if its snapshot was published before the question.
    pub fn drained(&self) -> u64 {
        let slots = self.slots();
        let all = slots.entries.iter().flatten();
        all.map(|client| client.drained()).min().unwrap_or(u64::MAX)
    }

    /// Waits until `drained` may answer more than when it was asked before. For one task. Cancel-safe.
    pub async fn drained_rises(&self) {
        self.rises.notified().await;
    }

    /// How many are logged in.
    pub fn count(&self) -> usize {
        self.slots().count
    }

    pub fn find(&self, pid: u32) -> Option<Arc<Client>> {
        let at = self.at(pid)?;
        self.slots().entries.get(at)?.clone()
    }

    /// All clients, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
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
        let Some(client) = self.find(pid) else {
            return false;
        };
        let Ok(secret) = <[u8; 4]>::try_from(secret) else {
            return false;
        };
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
}

/// Wakes all clients whenever a new snapshot comes, until the sender ends.
pub async fn announce_snapshots(
    clients: Arc<Clients>,
    mut snapshots: tokio::sync::watch::Receiver<Arc<Snapshot>>,
) {
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
        clients
            .register(
                secret,
                ("127.0.0.1:1".parse().unwrap(), None),
                "u".into(),
                "d".into(),
            )
            .unwrap()
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
        for (pid, secret) in [
            (pid, &[1, 2, 3, 5][..]),
            (pid, &[1, 2, 3]),
            (pid, &[]),
            (pid + 1, &[1, 2, 3, 4]),
            (1, &[1, 2, 3, 4]),
        ] {
            assert!(!clients.cancel(pid, secret));
            assert!(!one.client().mailbox.take().has(Signals::CANCEL));
        }
        assert!(clients.cancel(pid, &[1, 2, 3, 4]));
        assert!(one.client().mailbox.take().has(Signals::CANCEL));
    }
}
