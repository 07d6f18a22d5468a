//! One change of the schema under way: the home shard's transaction, and what is prepared on the others.
//!
//! It sees to the order in which things end; what is changed is its callers' business.

use crate::connect::Backend;
use crate::distribute::Caller;
use crate::epoch::{self, Next};
use crate::error::{CatalogError, PgError};
use crate::load_catalog;
use crate::quote::{literal, qualified};
use crate::raw::RawTable;
use crate::recover::recover_before;
use crate::resolve::{self, Relation};
use crate::shard::{self, ShardRow};
use crate::two_phase::{Change, Watch};
use crate::view_copies;
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

/// Carries out one change: ends what was left half-way before, makes the change or takes it back, and waits for the
/// routers. `make` answers the epoch's note.
///
/// # Errors
/// Those of `make`; `Unconfirmed` if the change is done and a shard has not said so.
pub(crate) async fn change(
    home: &mut Backend,
    make: impl AsyncFnOnce(&mut Work<'_>) -> Result<String, CatalogError>,
) -> Result<(), CatalogError> {
    recover_before(home).await?;
    let mut work = Work::begin(home).await?;
    let made = make(&mut work).await;
    let note = work.or_abandon(made).await?;
    let mut number = work.next.number;
    work.commit(&note).await?;
    match view_copies::level(home).await {
        Ok(newer) => number = newer.unwrap_or(number),
        Err(error) => tracing::warn!(%error, "the shards' views were not compared"),
    }
    epoch::acknowledged(home, number).await;
    Ok(())
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

    /// The tables that are not home tables.
    pub(crate) async fn spread_tables(&self) -> Result<Vec<RawTable>, CatalogError> {
        load_catalog::tables(&self.tx)
            .await
            .map_err(|error| self.err(&error))
    }

    /// Fails while a part of the distribution is moved: a table that came or went would not be a part of the move.
    pub(crate) async fn refuse_moving(&self, distribution: i32) -> Result<(), CatalogError> {
        let row = self
            .tx
            .query_opt(
                "SELECT m.id, d.name FROM shardgate.move m JOIN shardgate.distribution d ON d.id = m.distribution_id \
                 WHERE d.id = $1 AND m.step NOT IN ('completed', 'cancelled')",
                &[&distribution],
            )
            .await
            .map_err(|error| self.err(&error))?;
        let Some(row) = row else { return Ok(()) };
        let (id, name): (i64, String) = (row.get(0), row.get(1));
        let message = format!("a part of distribution \"{name}\" is being moved");
        Err(PgError::new("55006", message)
            .detail(format!("Move {id} is under way."))
            .hint("Wait until it is completed or cancelled, then try again.")
            .into())
    }

    /// A relation that the caller owns, and the tables that are not home tables. A table is locked, and nobody else is
    /// let in until the change ends.
    pub(crate) async fn lock(
        &self,
        relation: &str,
        caller: &Caller,
    ) -> Result<(Relation, Vec<RawTable>), CatalogError> {
        let found = resolve::owned(&self.tx, &self.whom, relation, caller).await?;
        if matches!(found.kind.as_str(), "r" | "p") {
            self.run(&format!(
                "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
                qualified(&found.schema, &found.name)
            ))
            .await?;
        }
        Ok((found, self.spread_tables().await?))
    }

    /// Opens the other shards once the checks have passed.
    pub(crate) async fn change(&mut self) -> Result<&mut Change, CatalogError> {
        if self.change.is_none() {
            self.change =
                Some(Change::open(&self.tx, &self.whom, &self.shards, self.watch.clone()).await?);
        }
        self.change.as_mut().ok_or(CatalogError::Stopped)
    }

    /// Makes this a change on home and on one other shard, which need not be written down yet. `fill` runs in the
    /// transaction there, which is then prepared.
    pub(crate) async fn prepare_on(
        &mut self,
        shard: &ShardRow,
        fill: impl AsyncFnOnce(&Transaction<'_>, &Backend) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let one = std::slice::from_ref(shard);
        let change = Change::open(&self.tx, &self.whom, one, self.watch.clone()).await?;
        let change = self.change.insert(change);
        let tx = &self.tx;
        change
            .prepare_one(async |backend| fill(tx, backend).await)
            .await
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
