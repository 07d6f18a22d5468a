//! The fence: a shard may say that it serves only routers which know a certain epoch, or a newer one.
//!
//! When keys have changed hands, a router that could not be told of it (it was stopped, or cut off from the home shard) must
//! not read or change them on the shard that had them. So that shard raises its fence and ends the connections of that
//! router; and a router asks each new connection for the fence before it is used. Whoever reaches a server that has the rows
//! no more is told so there, by the database, whatever the router believes.

use shardgate_catalog::Refresher;
use shardgate_plan::snapshot::Snapshot;
use shardgate_wire::PgError;
use std::sync::Arc;
use tokio::sync::watch;

/// What a new connection is checked against.
pub struct Fence {
    /// Announces the router on the connection, and answers its fence.
    enter: String,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    refresher: Refresher,
}

impl Fence {
    /// `router`: its id, as in its row of the catalog.
    pub fn new(
        router: u16,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        refresher: Refresher,
    ) -> Fence {
        Fence {
            // Whatever is the role's default, the fence is read after the lock was taken.
            enter: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT shardgate.enter('{router}'); COMMIT"
            ),
            snapshots,
            refresher,
        }
    }

    /// What is said on a connection first: one Query, whose only row has one column.
    pub fn enter(&self) -> &str {
        &self.enter
    }

    fn epoch(&self) -> u64 {
        self.snapshots.borrow().epoch.number
    }

    /// Whether a connection with this fence may be used; the catalog is asked if the router may be outdated.
    ///
    /// # Errors
    /// 57P03: the router cannot learn of the epoch.
    pub async fn pass(&self, fence: u64) -> Result<(), PgError> {
        if fence <= self.epoch() {
            return Ok(());
        }
        let refreshed = self.refresher.refresh().await;
        if fence <= self.epoch() {
            return Ok(());
        }
        let why = match refreshed {
            Ok(_) => "The home shard does not know of that epoch.".to_owned(),
            Err(error) => format!("The home shard cannot be asked: {error}"),
        };
        Err(PgError::error(
            "57P03",
            "the router's map of the shards is outdated",
        )
        .detail(format!(
            "The shard serves routers that know epoch {fence}, and this one knows epoch {}. {why}",
            self.epoch()
        ))
        .hint("Rows have moved. The router goes on as soon as it reaches the home shard."))
    }
}
