//! Finishing transactions over several shards that a router or a shard has left undecided.

use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks. The first is at the start, since this router may be the one that has left something.
const INTERVAL: Duration = Duration::from_secs(30);

/// Looks again and again, until the future is dropped.
pub async fn run(_shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
    }
}
