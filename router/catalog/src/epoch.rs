//! Epochs: the versions of the catalog, and the one way to make the next one.
//!
//! A change is one transaction that takes the change lock first, so that changes come one after another, and makes
//! exactly one epoch. What changes is the caller's business.

use crate::connect::Backend;
use crate::error::CatalogError;
use crate::{fingerprint, schema};
use std::time::{Duration, Instant};
use tokio_postgres::{GenericClient, Transaction};
use tracing::warn;

/// The channel on which a new epoch is announced. The payload is its number.
pub const CHANNEL: &str = "shardgate_epoch";
/// Rows of tables that were dropped, and distributions that were made for such a table alone. Postgres may give the
/// table's id to another one day.
const TIDY: &str = "DELETE FROM shardgate.distributed_table t \
        WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relation::oid); \
    DELETE FROM shardgate.view_copy v WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = v.view::oid); \
    DELETE FROM shardgate.function_class f WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = f.function::oid); \
    DELETE FROM shardgate.distribution d WHERE for_table \
        AND NOT EXISTS (SELECT FROM shardgate.distributed_table t WHERE t.distribution_id = d.id)";
/// A router whose heartbeat is older counts as gone.
pub(crate) const LIVE_S: f64 = 15.0;
/// How long a change waits for the routers: until each has answered or counts as gone.
const ACKNOWLEDGE_MS: u64 = 20_000;

/// The epoch that a change will make. It is drawn first, so that shards can write it down before the home shard decides.
#[derive(Clone, Debug)]
pub(crate) struct Next {
    pub number: i64,
    /// uuid text
    pub id: String,
}

/// Begins a change. The change is durable when it is committed, whatever the session or role has set, and no other
/// change runs meanwhile: the lock conflicts with itself and not with readers.
pub(crate) async fn begin_change<'a>(
    home: &'a mut Backend,
) -> Result<(Transaction<'a>, Next), CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let tx = home
        .build_transaction()
        .read_only(false)
        .start()
        .await
        .map_err(err)?;
    schema::require(&tx, &whom).await?;
    tx.batch_execute(
        "SET LOCAL synchronous_commit = on; LOCK TABLE shardgate.epoch IN EXCLUSIVE MODE",
    )
    .await
    .map_err(err)?;
    let row = tx
        .query_one(
            "SELECT max(number) + 1, gen_random_uuid()::text FROM shardgate.epoch",
            &[],
        )
        .await
        .map_err(err)?;
    let number: Option<i64> = row.get(0);
    let number = number.ok_or_else(|| CatalogError::Damaged {
        what: "it has no epoch".to_owned(),
    })?;
    Ok((
        tx,
        Next {
            number,
            id: row.get(1),
        },
    ))
}

/// Makes the next epoch and announces it at commit.
///
/// It must be the last thing that a change does to the schema, since the fingerprint is taken now.
pub(crate) async fn finish(
    tx: &Transaction<'_>,
    next: &Next,
    note: &str,
) -> Result<(), tokio_postgres::Error> {
    tx.batch_execute(TIDY).await?;
    let fingerprint = fingerprint::take(tx).await?;
    tx.execute(
        "INSERT INTO shardgate.epoch (number, id, parent, note, fingerprint) \
         SELECT $1, $2::text::uuid, id, $3, $4 FROM shardgate.epoch ORDER BY number DESC LIMIT 1",
        &[&next.number, &next.id, &note, &fingerprint],
    )
    .await?;
    tx.execute(
        "SELECT pg_notify($1, $2::int8::text)",
        &[&CHANNEL, &next.number],
    )
    .await?;
    write_down(tx, next).await
}

/// Notes the epoch on the shard that `client` is connected to.
pub(crate) async fn write_down(
    client: &impl GenericClient,
    next: &Next,
) -> Result<(), tokio_postgres::Error> {
    client
        .execute(
            "UPDATE shardgate.identity SET epoch = $1, epoch_id = $2::text::uuid",
            &[&next.number, &next.id],
        )
        .await?;
    Ok(())
}

/// Waits until every router that lives works by the epoch, for as long as `ACKNOWLEDGE_MS`. A router that does not answer
/// is said in the log: its statements may still be refused by guards, and are repeated then.
pub(crate) async fn acknowledged(home: &Backend, number: i64) {
    let until = Instant::now() + Duration::from_millis(ACKNOWLEDGE_MS);
    loop {
        match behind(home, number).await {
            Ok(None) => return,
            Ok(Some(routers)) if Instant::now() >= until => {
                warn!(routers, number, "routers have not acknowledged the epoch");
                return;
            }
            Err(error) => {
                warn!(%error, "the routers' acknowledgement could not be read");
                return;
            }
            Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The routers that live and work by an older epoch; None if there are none.
pub(crate) async fn behind(
    home: &Backend,
    number: i64,
) -> Result<Option<String>, tokio_postgres::Error> {
    let row = home
        .query_one(
            "SELECT string_agg(id, ', ') FROM shardgate.router \
             WHERE epoch < $1 AND heartbeat > now() - make_interval(secs => $2)",
            &[&number, &LIVE_S],
        )
        .await?;
    Ok(row.get(0))
}

/// Makes the next epoch if the schema is no longer what the newest epoch saw. True if it did.
///
/// Called when DDL was run outside of this crate: by the router for a client, or behind its back.
pub(crate) async fn bump_if_changed(home: &mut Backend, note: &str) -> Result<bool, CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, next) = begin_change(home).await?;
    let now = fingerprint::take(&tx).await.map_err(err)?;
    let row = tx
        .query_one(
            "SELECT fingerprint FROM shardgate.epoch ORDER BY number DESC LIMIT 1",
            &[],
        )
        .await
        .map_err(err)?;
    if row.get::<_, String>(0) == now {
        tx.rollback().await.map_err(err)?;
        return Ok(false);
    }
    finish(&tx, &next, note).await.map_err(err)?;
    tx.commit().await.map_err(err)?;
    Ok(true)
}
