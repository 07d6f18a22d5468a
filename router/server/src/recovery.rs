//! Finishing transactions over several shards that a router or a shard has left undecided.

use crate::shared::{Shared, pg_error};
use shardgate_catalog::{Backend, CatalogError};
use shardgate_wire::PgError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks. The first is at the start, since this router may be the one that has left something.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of one transaction is tried before its client is told that it is not confirmed.
const RESOLVE: Duration = Duration::from_secs(10);
/// Between two attempts while its client waits, and when it has been told.
const AGAIN: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(2);

/// Looks again and again, until the future is dropped.
pub async fn run(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        look(&shared).await;
    }
}

/// Ends one transaction of this router on every shard, after a shard was lost in the middle of it: as its decision row
/// says. `tell` is called once: with true for commit, or with the last failure when it could not be done in time. In that
/// case it is tried on, until the router ends.
pub async fn resolve(shared: &Shared, gid: &str, tell: impl FnOnce(Result<bool, PgError>)) {
    let until = Instant::now() + RESOLVE;
    let mut tell = Some(tell);
    loop {
        match resolve_once(shared, gid).await {
            Ok(committed) => {
                tracing::warn!(
                    gid,
                    committed,
                    "a transaction that had lost a shard was resolved"
                );
                if let Some(tell) = tell {
                    tell(Ok(committed));
                }
                return;
            }
            Err(error) if Instant::now() >= until => {
                if let Some(tell) = tell.take() {
                    tracing::warn!(gid, %error, "a transaction that had lost a shard is not resolved yet");
                    tell(Err(pg_error(&error)));
                }
                tokio::time::sleep(LATER).await;
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn resolve_once(shared: &Shared, gid: &str) -> Result<bool, CatalogError> {
    let mut home = Backend::primary(shared.follower.config(), "the home shard").await?;
    shardgate_catalog::resolve(&mut home, gid).await
}

async fn look(shared: &Shared) {
    let mut home = match Backend::primary(shared.follower.config(), "the home shard").await {
        Ok(home) => home,
        Err(error) => {
            tracing::debug!(%error, "recovery has to wait: the home shard cannot be reached");
            return;
        }
    };
    match shardgate_catalog::recover_as(&mut home, Some(&shared.sessions.gid_prefix)).await {
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
