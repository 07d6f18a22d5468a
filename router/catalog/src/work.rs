//! One change of the schema under way: the home shard's transaction, and what is prepared on the others.
//!
//! It sees to the order in which things end; what is changed is its callers' business.

use crate::connect::Backend;
use crate::epoch::{self, Next};
use crate::error::CatalogError;
use crate::quote::literal;
use crate::shard::{self, ShardRow};
use crate::two_phase::{Change, Watch};
use tokio_postgres::Transaction;

/// One change under way.
pub(crate) struct Work<'a> {
    pub tx: Transaction<'a>,
    pub next: Next,
    pub whom: String,
    pub shards: Vec<ShardRow>,
    change: Option<Change>,
    watch: Option<Watch>,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(home: &'a mut Backend) -> Result<Work<'a>, CatalogError> {
        let whom = home.whom().to_owned();
        let base = home.config().clone();
        let watch = home.watch();
        let (tx, next) = epoch::begin_change(home).await?;
        let shards = shard::all(&tx, &base, &whom).await?;
        Ok(Work {
            tx,
            next,
            whom,
            shards,
            change: None,
            watch,
        })
    }

    pub(crate) fn err(&self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::of(&self.whom, error)
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), CatalogError> {
        self.tx
            .batch_execute(sql)
            .await
            .map_err(|error| self.err(&error))
    }

    /// Opens the other shards once the checks have passed.
    pub(crate) async fn change(&mut self) -> Result<&mut Change, CatalogError> {
        if self.change.is_none() {
            self.change =
                Some(Change::open(&self.tx, &self.whom, &self.shards, self.watch.clone()).await?);
        }
        self.change.as_mut().ok_or(CatalogError::Stopped)
    }

    /// Passes a result on, and takes back what was prepared if it is an error.
    pub(crate) async fn or_abandon<T>(
        &mut self,
        result: Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        // The home shard's own transaction must end first: nobody may see it decide afterwards.
        if result.is_err()
            && self.run("ROLLBACK").await.is_ok()
            && let Some(change) = self.change.take()
        {
            change.abandon().await;
        }
        result
    }

    pub(crate) async fn commit(self, note: &str) -> Result<(), CatalogError> {
        let Work {
            tx,
            next,
            whom,
            change,
            ..
        } = self;
        let decided = async {
            epoch::finish(&tx, &next, note).await?;
            if let Some(change) = &change {
                change.decide(&tx).await?;
            }
            tx.commit().await?;
            if let Some(change) = &change {
                change.pass("change-decided");
            }
            Ok::<(), tokio_postgres::Error>(())
        };
        match decided.await {
            Ok(()) => match change {
                Some(change) => change.finish().await,
                None => Ok(()),
            },
            Err(error) => {
                // Raised by Postgres: it did not commit. Anything else leaves that open, and recovery finds out.
                if let (Some(change), Some(_)) = (change, error.as_db_error()) {
                    change.abandon().await;
                }
                Err(CatalogError::of(&whom, &error))
            }
        }
    }
}

/// The statement that notes the epoch on another shard.
pub(crate) fn write_down(next: &Next) -> String {
    format!(
        "UPDATE shardgate.identity SET epoch = {}, epoch_id = {}",
        next.number,
        literal(&next.id)
    )
}
