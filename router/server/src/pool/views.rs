//! What the console and the metrics are shown of the pools.

use super::state::Pool;
use super::{Pools, lock};
use crate::backend::LinkInfo;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One pool at a moment.
pub struct PoolFacts {
    pub pool: Arc<Pool>,
    pub in_use: usize,
    pub idle: usize,
    pub opening: usize,
    pub waiting: usize,
    /// How long the first in the queue has waited.
    pub waiting_longest: Duration,
    /// All open connections.
    pub links: Vec<Arc<LinkInfo>>,
}

impl Pools {
    /// All pools, by role and shard.
    pub fn facts(&self) -> Vec<PoolFacts> {
        let now = Instant::now();
        let mut facts: Vec<PoolFacts> = self
            .all()
            .into_iter()
            .map(|pool| PoolFacts::of(pool, now))
            .collect();
        facts.sort_by(|a, b| {
            let key = |f: &PoolFacts| {
                (
                    Arc::clone(&f.pool.role.role),
                    f.pool.endpoint.shard,
                    f.pool.endpoint.id,
                )
            };
            key(a).cmp(&key(b))
        });
        facts
    }

    /// Closes idle connections that their servers have ended meanwhile.
    pub fn look_at_idle(&self) {
        for pool in self.all() {
            pool.look_at_idle();
        }
    }
}

impl PoolFacts {
    fn of(pool: Arc<Pool>, now: Instant) -> Self {
        let state = lock(&pool.state);
        let facts = PoolFacts {
            in_use: state
                .total
                .saturating_sub(state.opening)
                .saturating_sub(state.idle.len()),
            idle: state.idle.len(),
            opening: state.opening,
            waiting: state.waiters.len(),
            waiting_longest: state
                .waiters
                .front()
                .map(|w| now.saturating_duration_since(w.since))
                .unwrap_or_default(),
            links: state.links.clone(),
            pool: Arc::clone(&pool),
        };
        drop(state);
        facts
    }
}
