//! What is due by time. One coarse tick serves every limit of a client; there is no timer for a statement.

use super::{Drive, Place, terminated};
use crate::holds::too_long;
use crate::registry::Shown;
use bytes::BytesMut;
use shardgate_session::Event;
use shardgate_wire::PgError;
use std::time::{Duration, Instant};

/// A client that does not read while others wait for the connections that it holds.
const WRITE_TIMEOUT_WANTED: Duration = Duration::from_secs(5);
/// How long the statement of a client that is gone may go on before it is cancelled.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

impl Drive {
    /// Before the task sleeps: ends a session that may go when the router drains, and asks for the next tick if
    /// anything is due by time.
    pub(super) fn rest(&mut self) {
        if !self.state.started && self.session.is_idle() {
            self.state.started = true;
        }
        self.say_drained();
        if self.state.draining && !self.state.closing && self.session.is_idle() {
            self.tell(Event::Terminate(terminated()));
            self.client.mailbox.signal(crate::mailbox::Signals::TICK);
        }
        if self.shared.lanes.sheds(self.lane) && self.may_move() {
            self.state.moving = self.shared.lanes.leave(self.lane);
        }
        let ticking = self.needs_tick();
        if ticking != self.clock.ticking {
            self.clock.ticking = ticking;
            self.client.mailbox.want_tick(ticking);
        }
    }

    /// Between two transactions, with nothing under way.
    fn may_move(&self) -> bool {
        let state = &self.state;
        let stays = state.closing
            || state.abandoned
            || state.input_ended
            || state.output_broken
            || state.draining;
        !stays
            && self.session.is_idle()
            && self.inbox.is_empty()
            && self.out.client.is_empty()
            && self
                .places
                .iter()
                .all(|place| matches!(place, Place::Empty))
            && self.cancels.is_empty()
            && self.events.is_empty()
    }

    fn needs_tick(&self) -> bool {
        let limits = &self.shared.config.limits;
        !self.state.started
            || self.state.closing
            || self.state.input_ended
            || self.holds_memory()
            || !self.session.is_idle()
            || limits.client_idle_timeout.is_some()
    }

    fn holds_memory(&self) -> bool {
        self.inbox.holds_memory()
            || self.spare.capacity() > 0
            || self.out.client.capacity() > 0
            || self.out.backends.iter().any(|buffer| buffer.capacity() > 0)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.show();
        self.let_memory_go(now);
        if self.stalled(now) {
            return;
        }
        self.abandon_gone(now);
        let limit = self.shared.config.limits.hold_timeout;
        if self
            .clock
            .held
            .as_ref()
            .is_some_and(|held| held.lasts(limit, now))
        {
            self.tell(Event::HoldEnded(too_long(limit)));
        }
        if !self.state.closing
            && let Some(error) = self.overdue(now)
        {
            self.tell(Event::Terminate(error));
        }
    }

    /// Says for the console what the client is doing.
    fn show(&self) {
        let view = self.session.describe();
        self.client.show(Shown {
            state: view.state,
            application_name: view.application_name,
            slots: view.slots,
            waiting_since: self
                .clock
                .waiting
                .or(self.clock.held.as_ref().map(|held| held.since())),
            requested: self.clock.heard_at,
        });
    }

    /// An idle client costs its structures and no buffers.
    fn let_memory_go(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.clock.heard) > Duration::from_millis(200);
        if !quiet || !self.session.is_idle() {
            return;
        }
        self.inbox.shrink();
        self.spare = BytesMut::new();
        for buffer in self.out.backends.iter_mut().chain([&mut self.out.client]) {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }

    /// A client that does not take what it has asked for: its answer cannot be ended, so only closing is left.
    fn stalled(&mut self, now: Instant) -> bool {
        let Some(since) = self.clock.stalled else {
            return false;
        };
        let wanted = self.places.iter().any(|place| match place {
            Place::Attached(attached) => attached.link.place.pool().is_wanted(),
            Place::Empty | Place::Finding(..) | Place::Queued { .. } => false,
        });
        let limit = self.shared.config.limits.client_write_timeout;
        let limit = if wanted {
            limit.min(WRITE_TIMEOUT_WANTED)
        } else {
            limit
        };
        if now.saturating_duration_since(since) <= limit {
            return false;
        }
        tracing::info!(
            client = self.client.pid,
            "closed: the client does not read what it has asked for"
        );
        self.state.output_broken = true;
        self.out.client.clear();
        self.clock.stalled = None;
        self.input_ended();
        true
    }

    /// A client that is gone is served to the end of its statement, but not for ever.
    fn abandon_gone(&mut self, now: Instant) {
        let Some(since) = self.clock.gone else { return };
        let lasted = now.saturating_duration_since(since);
        if lasted > GONE_TIMEOUT && !self.clock.gone_cancelled {
            self.clock.gone_cancelled = true;
            self.tell(Event::CancelRequested);
        }
        if lasted > GONE_TIMEOUT + self.shared.config.limits.cancel_wait_timeout {
            // The session may have something to give up, for example what it has prepared.
            self.tell(Event::Terminate(terminated()));
            self.state.abandoned = true;
        }
    }

    /// The limits that end a session with an error.
    fn overdue(&self, now: Instant) -> Option<PgError> {
        let limits = &self.shared.config.limits;
        let past = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) > limit)
        };
        if !self.state.started {
            let limit = self.shared.config.listen.client_login_timeout;
            return past(self.clock.accepted, Some(limit)).then(|| {
                PgError::error(
                    "57P05",
                    "login was not finished in time (client_login_timeout)",
                )
            });
        }
        if self.session.is_idle() {
            return past(self.clock.heard, limits.client_idle_timeout).then(|| {
                PgError::error(
                    "57P05",
                    "terminating connection due to idle-session timeout",
                )
            });
        }
        let waits_for_client = || self.session.describe().state == "idle in transaction";
        (past(self.clock.heard, limits.idle_transaction_timeout) && waits_for_client()).then(|| {
            PgError::error(
                "25P03",
                "terminating connection due to idle-in-transaction timeout",
            )
        })
    }
}
