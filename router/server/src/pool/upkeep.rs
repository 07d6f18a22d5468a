//! What is due in a pool by time, and what is closed from outside.

use super::lock;
use super::state::Pool;
use crate::backend::Link;
use crate::mailbox::Refusal;
use shardgate_wire::PgError;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Pool {
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
                && link.place.generation() == state.generation
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

fn waited_too_long(limit: Duration) -> PgError {
    PgError::error("53300", "no connection to the server became free in time")
        .detail(format!("The statement has waited {} ms (query_wait_timeout).", limit.as_millis()))
        .hint("Long transactions hold connections; pool.size is the number of connections for each role and server.")
}
