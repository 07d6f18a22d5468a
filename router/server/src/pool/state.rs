//! One pool: who gets which connection, and who waits.
//!
//! The lock is held for moments and never over a system call or while a connection is dropped.

use super::{Context, RolePools, lock};
use crate::backend::{Link, LinkInfo};
use crate::health::{Endpoint, Load};
use crate::lanes::Lane;
use crate::mailbox::{Letter, Refusal};
use crate::registry::Client;
use shardgate_wire::PgError;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// A connection that was given back so shortly ago is taken as it is: what may have come meanwhile may as well come
/// between the look and the first write, so the look would be a system call for nothing.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// The connections of one role to one server, and those who wait for them.
pub struct Pool {
    pub endpoint: Endpoint,
    pub role: Arc<RolePools>,
    pub database: Arc<str>,
    pub(super) context: Arc<Context>,
    pub(super) state: Mutex<State>,
    /// Length of the queue, to be read without the lock.
    waiting: AtomicUsize,
    /// The connections in use at the server, of all pools; found at the first use.
    load: OnceLock<Arc<Load>>,
}

#[derive(Default)]
pub(super) struct State {
    /// The one used last is at the end and is taken first, so that those in excess grow old and are closed.
    #[expect(
        clippy::vec_box,
        reason = "links move between pool, letters and sessions as boxes"
    )]
    pub idle: Vec<Box<Link>>,
    /// All connections, and all attempts to open one.
    pub total: usize,
    pub opening: usize,
    pub waiters: VecDeque<Waiter>,
    /// All open connections.
    pub links: Vec<Arc<LinkInfo>>,
    /// Connections of an older generation are closed when they are given back.
    pub generation: u64,
    /// The server is not used any more.
    pub retired: bool,
    pub failures: u32,
    /// No attempt before that.
    pub retry_at: Option<Instant>,
    pub last_error: Option<PgError>,
}

pub(super) struct Waiter {
    ticket: u64,
    client: Arc<Client>,
    names: BTreeSet<String>,
    pub since: Instant,
    patient: bool,
}

/// What a session needs.
pub struct Want<'a> {
    pub client: &'a Arc<Client>,
    /// Custom settings that the session has ever set: only these may be known on the connection.
    pub names: &'a BTreeSet<String>,
    /// Hash of the settings in force: a connection that has them needs no preparation.
    pub settings_hash: u64,
    /// Where the session runs: a connection there needs not be moved.
    pub lane: Lane,
    /// A moment ago.
    pub now: Instant,
    /// Failures to connect are waited out for a while. False: the session has another server to go to.
    pub patient: bool,
}

/// The answer to a check-out.
pub enum Checkout {
    Link(Box<Link>),
    /// The answer comes as a letter with this ticket.
    Queued(u64),
    Refused(Refusal),
}

/// A connection's place in its pool. Dropping it frees the place, and lets the next connection be opened if somebody
/// waits.
pub struct Place {
    pool: Arc<Pool>,
    generation: u64,
    info: Option<Arc<LinkInfo>>,
    opening: bool,
    in_use: bool,
}

impl Place {
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    fn take(&mut self, client: u32) {
        if let Some(info) = &self.info {
            info.set_client(client);
        }
        if !std::mem::replace(&mut self.in_use, true) {
            self.pool.busy(1);
        }
    }

    fn untake(&mut self) {
        if let Some(info) = &self.info {
            info.set_client(0);
        }
        if std::mem::replace(&mut self.in_use, false) {
            self.pool.busy(-1);
        }
    }

    /// The attempt has succeeded.
    pub(super) fn opened(&mut self, info: &Arc<LinkInfo>) {
        let mut state = lock(&self.pool.state);
        if std::mem::replace(&mut self.opening, false) {
            state.opening -= 1;
        }
        state.links.push(Arc::clone(info));
        state.failures = 0;
        state.retry_at = None;
        state.last_error = None;
        self.info = Some(Arc::clone(info));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.untake();
        let due = {
            let mut state = lock(&self.pool.state);
            state.total -= 1;
            if self.opening {
                state.opening -= 1;
            }
            if let Some(info) = &self.info {
                state.links.retain(|link| !Arc::ptr_eq(link, info));
                self.pool.context.metrics.backends_closed.increment();
            }
            state.openings_due(self.pool.context.size)
        };
        self.pool.open(due);
    }
}

impl State {
    /// The best idle connection: one with equal settings and on the session's lane, then one with equal settings, then
    /// the one used last.
    fn pick(&mut self, want: &Want<'_>) -> Option<Box<Link>> {
        let state_of = |link: &Link| {
            link.state
                .as_ref()
                .map(|s| (s.fits(want.names), s.settings_hash()))
        };
        let mut best = None;
        let mut found = 0;
        for (at, link) in self.idle.iter().enumerate().rev() {
            let good = match state_of(link) {
                Some((true, hash)) if hash == want.settings_hash => {
                    2 + u8::from(link.lane == want.lane)
                }
                Some((true, _)) => 1,
                Some((false, _)) | None => 0,
            };
            if good > found {
                (best, found) = (Some(at), good);
            }
            if found == 3 {
                break;
            }
        }
        best.map(|at| self.idle.remove(at))
    }

    pub(super) fn take_oldest(&mut self) -> Option<Box<Link>> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0))
    }

    /// Takes the places for as many attempts as are wanted and allowed now; each must become a `Place`.
    pub(super) fn openings_due(&mut self, size: usize) -> usize {
        if self.retired
            || self.waiters.is_empty()
            || self.retry_at.is_some_and(|at| Instant::now() < at)
        {
            return 0;
        }
        let wanted = self.waiters.len().saturating_sub(self.opening);
        let due = wanted.min(size.saturating_sub(self.total));
        self.total += due;
        self.opening += due;
        due
    }
}

impl Pool {
    pub(super) fn new(
        context: Arc<Context>,
        role: Arc<RolePools>,
        endpoint: Endpoint,
        database: Arc<str>,
    ) -> Self {
        Pool {
            endpoint,
            role,
            database,
            context,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            load: OnceLock::new(),
        }
    }

    fn busy(&self, change: i64) {
        if self.load.get().is_none()
            && let Some(load) = self.context.health.load(&self.endpoint)
        {
            let _ = self.load.set(load);
        }
        if let Some(load) = self.load.get() {
            load.add(change);
        }
    }

    /// Whether others wait for a connection of this pool. May be a moment old.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes a connection, or a place in the queue. Never blocks; makes a system call only to look at the connection.
    pub fn checkout(self: &Arc<Self>, want: &Want<'_>) -> Checkout {
        loop {
            let mut link = {
                let mut state = lock(&self.state);
                if state.retired {
                    if !self.context.health.is_current(&self.endpoint) {
                        return Checkout::Refused(Refusal::Moved);
                    }
                    state.retired = false;
                }
                // Whoever waits comes first, whatever would fit the newcomer.
                let picked = if state.waiters.is_empty() {
                    state.pick(want)
                } else {
                    None
                };
                match picked {
                    Some(link) => link,
                    None => return self.queue(state, want),
                }
            };
            if want.now.saturating_duration_since(link.idle_since) < LOOK_AFTER || link.look() {
                link.place.take(want.client.pid);
                return Checkout::Link(link);
            }
        }
    }

    fn queue(
        self: &Arc<Self>,
        mut state: std::sync::MutexGuard<'_, State>,
        want: &Want<'_>,
    ) -> Checkout {
        let ticket = self.context.ticket();
        state.waiters.push_back(Waiter {
            ticket,
            client: Arc::clone(want.client),
            names: want.names.clone(),
            since: Instant::now(),
            patient: want.patient,
        });
        self.waiting.store(state.waiters.len(), Ordering::Relaxed);
        // The pool may be full of connections that do not fit; the one that was not used for longest makes room.
        let spare = (state.total >= self.context.size && !state.idle.is_empty())
            .then(|| state.idle.remove(0));
        let due = state.openings_due(self.context.size);
        drop(state);
        drop(spare);
        self.open(due);
        Checkout::Queued(ticket)
    }

    /// Leaves the queue. When the connection was sent already, whoever reads the letter gives it back.
    pub fn abandon(&self, ticket: u64) {
        let mut state = lock(&self.state);
        state.waiters.retain(|waiter| waiter.ticket != ticket);
        self.waiting.store(state.waiters.len(), Ordering::Relaxed);
    }

    /// Takes a connection that is clean: nothing owed, nothing unread, nothing unwritten.
    pub fn give(self: &Arc<Self>, link: Box<Link>) {
        self.give_at(link, Instant::now());
    }

    /// As `give`; `now` is a moment ago.
    pub fn give_at(self: &Arc<Self>, mut link: Box<Link>, now: Instant) {
        link.place.untake();
        if self.is_wanted() && !link.look() {
            return;
        }
        loop {
            let mut state = lock(&self.state);
            let stale = state.retired
                || link.place.generation != state.generation
                || self.is_old(&link, now);
            if stale {
                drop(state);
                return;
            }
            let fits = |names| link.state.as_ref().is_some_and(|s| s.fits(names));
            match state.waiters.front() {
                None => {
                    link.idle_since = now;
                    state.idle.push(link);
                    return;
                }
                Some(first) if !fits(&first.names) => {
                    // Closing it makes room for one that fits.
                    drop(state);
                    return;
                }
                Some(_) => {}
            }
            let Some(waiter) = state.waiters.pop_front() else {
                return;
            };
            self.waiting.store(state.waiters.len(), Ordering::Relaxed);
            drop(state);
            link.place.take(waiter.client.pid);
            self.context
                .metrics
                .wait_time
                .observe(waiter.since.elapsed());
            match waiter.client.mailbox.send(Letter::Link {
                ticket: waiter.ticket,
                link,
            }) {
                Ok(()) => return,
                Err(Letter::Link { link: back, .. }) => link = back,
                Err(_) => return,
            }
            link.place.untake();
        }
    }

    /// Opens as many connections as places were taken for by `openings_due`.
    pub(super) fn open(self: &Arc<Self>, due: usize) {
        for _ in 0..due {
            let place = Place {
                pool: Arc::clone(self),
                generation: lock(&self.state).generation,
                info: None,
                opening: true,
                in_use: false,
            };
            self.context.runtime.spawn(super::opening::open(place));
        }
    }

    /// Whether the connection has reached the age at which it is closed; a tenth of the age is spread by process id, so
    /// that connections that were opened together are not closed together.
    pub(super) fn is_old(&self, link: &Link, now: Instant) -> bool {
        self.context.server_lifetime.is_some_and(|lifetime| {
            let spread = lifetime / 640 * (link.info.pid % 64);
            now.saturating_duration_since(link.opened) + spread > lifetime
        })
    }

    /// Refuses those in the queue for which `whom` holds.
    pub(super) fn refuse(&self, whom: impl Fn(&Waiter) -> bool, refusal: impl Fn() -> Refusal) {
        let refused: VecDeque<Waiter> = {
            let mut state = lock(&self.state);
            let (refused, kept) = std::mem::take(&mut state.waiters)
                .into_iter()
                .partition(whom);
            state.waiters = kept;
            self.waiting.store(state.waiters.len(), Ordering::Relaxed);
            refused
        };
        for waiter in refused {
            let letter = Letter::Refused {
                ticket: waiter.ticket,
                refusal: refusal(),
            };
            // A client that has ended needs no answer.
            let _ = waiter.client.mailbox.send(letter);
        }
    }
}

impl Waiter {
    pub(super) fn waits(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn is_patient(&self) -> bool {
        self.patient
    }
}
