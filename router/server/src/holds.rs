//! Clients whose next statement waits because its keys change hands: how many there are, and for how long.

use crate::metrics::Metrics;
use shardgate_wire::PgError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One client that waits, from when it began to until it is dropped.
pub struct Held {
    since: Instant,
    metrics: Arc<Metrics>,
}

impl Held {
    /// None: as many wait as are allowed.
    pub fn begin(metrics: &Arc<Metrics>, clients_max: usize) -> Option<Held> {
        metrics.held_clients.add_below(clients_max).then(|| {
            metrics.held.increment();
            Held {
                since: Instant::now(),
                metrics: Arc::clone(metrics),
            }
        })
    }

    /// When it began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has lasted for longer than that.
    pub fn lasts(&self, limit: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.held_clients.subtract();
        self.metrics.hold_time.observe(self.since.elapsed());
    }
}

/// What a client is told that cannot wait, since too many do.
pub fn too_many(clients_max: usize) -> PgError {
    PgError::error(
        "53400",
        "too many statements wait for rows that move to another shard",
    )
    .detail(format!(
        "{clients_max} clients wait already (limits.held_clients)."
    ))
    .hint("Try again in a moment.")
}

/// What a client is told that has waited too long.
pub fn too_long(limit: Duration) -> PgError {
    PgError::error(
        "55P03",
        "the statement has waited too long for rows that move to another shard",
    )
    .detail(format!(
        "Their switch has not ended for {} ms (limits.hold_timeout). Nothing of the statement was done.",
        limit.as_millis()
    ))
    .hint("Try again. SHOW MOVES on the router's console, and shard-admin, say how far the move is.")
}
