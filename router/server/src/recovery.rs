//! Finishing transactions over several shards that a router or a shard has left undecided.

use crate::shared::Shared;
use shardgate_catalog::Backend;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks. The first is at the start, since this router may be the one that has left something.
const INTERVAL: Duration = Duration::from_secs(30);

/// Looks again and again, until the future is dropped.
pub async fn run(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        look(&shared).await;
    }
}

async fn look(shared: &Shared) {
    let mut home = match Backend::primary(shared.follower.config(), "the home shard").await {
        Ok(home) => home,
        Err(error) => {
            tracing::debug!(%error, "recovery has to wait: the home shard cannot be reached");
            return;
        }
    };
    match shardgate_catalog::recover(&mut home).await {
        Ok(resolved) => {
            for transaction in resolved {
                tracing::warn!(
                    ?transaction,
                    "a transaction over several shards was resolved"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "recovery of transactions over several shards failed"),
    }
}
