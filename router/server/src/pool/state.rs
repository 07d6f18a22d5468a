//! One pool: who gets which connection, and who waits.
//!
//! The lock is held for moments and never over a system call or while a connection is dropped.

use super::{Context, RolePools, lock};
use crate::backend::{Link, LinkInfo};
use crate::health::Endpoint;
use crate::mailbox::{Letter, Refusal};
use crate::registry::Client;
use shardgate_wire::PgError;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The connections of one role to one server, and those who wait for them.
pub struct Pool {
    pub endpoint: Endpoint,
    pub role: Arc<RolePools>,
    pub database: Arc<str>,
    pub(super) context: Arc<Context>,
    pub(super) state: Mutex<State>,
    /// Length of the queue, to be read without the lock.
    waiting: AtomicUsize,
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

    fn take(&mut self, client: u32) {
        if let Some(info) = &self.info {
            info.set_client(client);
        }
        if !std::mem::replace(&mut self.in_use, true) {
            self.pool
                .context
                .health
                .endpoint_busy(&self.pool.endpoint, 1);
        }
    }

    fn untake(&mut self) {
        if let Some(info) = &self.info {
            info.set_client(0);
        }
        if std::mem::replace(&mut self.in_use, false) {
            self.pool
                .context
                .health
                .endpoint_busy(&self.pool.endpoint, -1);
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
    /// The best idle connection: equal settings first, then the one used last.
    fn pick(&mut self, want: &Want<'_>) -> Option<Box<Link>> {
        let state_of = |link: &Link| {
            link.state
                .as_ref()
                .map(|s| (s.fits(want.names), s.settings_hash()))
        };
        let mut best = None;
        for (at, link) in self.idle.iter().enumerate().rev() {
            match state_of(link) {
                Some((true, hash)) if hash == want.settings_hash => {
                    best = Some(at);
                    break;
                }
                Some((true, _)) => best = best.or(Some(at)),
                Some((false, _)) | None => {}
            }
        }
        best.map(|at| self.idle.remove(at))
    }

    fn take_oldest(&mut self) -> Option<Box<Link>> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0))
    }

    /// Takes the places for as many attempts as are wanted and allowed now; each must become a `Place`.
    fn openings_due(&mut self, size: usize) -> usize {
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
            if link.look() {
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
    pub fn give(self: &Arc<Self>, mut link: Box<Link>) {
        link.place.untake();
        if self.is_wanted() && !link.look() {
            return;
        }
        let now = Instant::now();
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
    fn is_old(&self, link: &Link, now: Instant) -> bool {
        self.context.server_lifetime.is_some_and(|lifetime| {
            let spread = lifetime / 640 * (link.info.pid % 64);
            now.saturating_duration_since(link.opened) + spread > lifetime
        })
    }

    /// All connections are closed as soon as they are free.
    pub(super) fn renew(&self) {
        let mut state = lock(&self.state);
        state.generation += 1;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    /// Since when the connection is idle that was not used for longest.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        lock(&self.state).idle.first().map(|link| link.idle_since)
    }

    pub(super) fn close_oldest(&self) {
        let oldest = lock(&self.state).take_oldest();
        drop(oldest);
    }

    pub(super) fn is_disused(&self) -> bool {
        let state = lock(&self.state);
        state.total == 0 && state.waiters.is_empty()
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

    /// See `Pools::tick`.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        if !self.context.health.is_current(&self.endpoint) {
            let idle = {
                let mut state = lock(&self.state);
                state.retired = true;
                std::mem::take(&mut state.idle)
            };
            drop(idle);
            self.refuse(|_| true, || Refusal::Moved);
            return;
        }
        let (closing, due, error) = {
            let mut state = lock(&self.state);
            let idle = std::mem::take(&mut state.idle);
            let (closing, kept): (Vec<_>, Vec<_>) =
                idle.into_iter().partition(|link| self.is_due(link, now));
            state.idle = kept;
            // Nothing is open and nothing can be opened: then those who have waited long enough are told why.
            let error = if state.links.is_empty() {
                state.last_error.clone()
            } else {
                None
            };
            (closing, state.openings_due(self.context.size), error)
        };
        drop(closing);
        self.open(due);
        if let Some(error) = error {
            let hold = self.context.server_connect_timeout;
            self.refuse(
                |waiter| waiter.waits(now) > hold,
                || Refusal::Failed(error.clone()),
            );
        }
        let limit = self.context.query_wait_timeout;
        if self.is_wanted() {
            self.refuse(
                |waiter| waiter.waits(now) > limit,
                || Refusal::Failed(waited_too_long(limit)),
            );
        }
    }

    fn is_due(&self, link: &Link, now: Instant) -> bool {
        let unused = now.saturating_duration_since(link.idle_since);
        self.context
            .server_idle_timeout
            .is_some_and(|limit| unused > limit)
            || self.is_old(link, now)
    }

    /// Closes idle connections that the server has ended.
    pub(super) fn look_at_idle(self: &Arc<Self>) {
        let count = lock(&self.state).idle.len();
        // One at a time, so that the others can be used; after a whole round they are in their old order.
        for _ in 0..count {
            let Some(mut link) = lock(&self.state).take_oldest() else {
                return;
            };
            if link.look() {
                let since = link.idle_since;
                self.put_back(link, since);
            }
        }
    }

    /// As `give`, but it was idle all the time.
    fn put_back(self: &Arc<Self>, mut link: Box<Link>, since: Instant) {
        {
            let mut state = lock(&self.state);
            if state.waiters.is_empty()
                && link.place.generation == state.generation
                && !state.retired
            {
                link.idle_since = since;
                state.idle.push(link);
                return;
            }
        }
        self.give(link);
    }
}

impl Waiter {
    fn waits(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn is_patient(&self) -> bool {
        self.patient
    }
}

fn waited_too_long(limit: Duration) -> PgError {
    PgError::error("53300", "no connection to the server became free in time")
        .detail(format!("The statement has waited {} ms (query_wait_timeout).", limit.as_millis()))
        .hint("Long transactions hold connections; pool.size is the number of connections for each role and server.")
}
