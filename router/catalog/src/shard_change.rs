//! Changing a shard that is there: its weight, and taking it out of the cluster once it owns nothing.

use crate::connect::Backend;
use crate::epoch;
use crate::error::{CatalogError, PgError};
use tokio_postgres::Transaction;

/// Gives a shard another share. Data is moved by a rebalance only.
///
/// # Errors
/// 42704 if there is no shard of this name, 22023 if no shard would have a weight above zero.
pub async fn set_weight(home: &mut Backend, name: &str, weight: u32) -> Result<(), CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, next) = epoch::begin_change(home).await?;
    let id = find(&tx, &whom, name).await?;
    let weight = i32::try_from(weight).unwrap_or(i32::MAX);
    tx.execute(
        "UPDATE shardgate.shard SET weight = $2 WHERE id = $1",
        &[&id, &weight],
    )
    .await
    .map_err(err)?;
    let row = tx
        .query_one(
            "SELECT EXISTS (SELECT FROM shardgate.shard WHERE weight > 0)",
            &[],
        )
        .await
        .map_err(err)?;
    if !row.get::<_, bool>(0) {
        return Err(
            PgError::new("22023", "no shard would have a weight above zero")
                .hint("Give another shard a weight first.")
                .into(),
        );
    }
    epoch::finish(&tx, &next, &format!("weight of shard {name}"))
        .await
        .map_err(err)?;
    tx.commit().await.map_err(err)
}

/// Takes a shard out of the cluster. Its database stays as it is: its guards let nothing in.
///
/// # Errors
/// 42704 if there is no shard of this name; 55006 while it owns keys, or a move that concerns it is under way; 0A000 for
/// the home shard.
pub async fn remove_shard(home: &mut Backend, name: &str) -> Result<(), CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, next) = epoch::begin_change(home).await?;
    let id = find(&tx, &whom, name).await?;
    refuse_owner(&tx, &whom, id, name).await?;
    // Moves that have ended are history that nobody needs without the shard.
    tx.execute(
        "DELETE FROM shardgate.move WHERE $1 IN (source_shard, target_shard)",
        &[&id],
    )
    .await
    .map_err(err)?;
    tx.execute("DELETE FROM shardgate.shard WHERE id = $1", &[&id])
        .await
        .map_err(err)?;
    epoch::finish(&tx, &next, &format!("remove shard {name}"))
        .await
        .map_err(err)?;
    let number = next.number;
    tx.commit().await.map_err(err)?;
    epoch::acknowledged(home, number).await;
    Ok(())
}

async fn find(tx: &Transaction<'_>, whom: &str, name: &str) -> Result<i16, CatalogError> {
    let row = tx
        .query_opt("SELECT id FROM shardgate.shard WHERE name = $1", &[&name])
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    row.map(|row| row.get(0))
        .ok_or_else(|| PgError::new("42704", format!("shard \"{name}\" does not exist")).into())
}

async fn refuse_owner(
    tx: &Transaction<'_>,
    whom: &str,
    id: i16,
    name: &str,
) -> Result<(), CatalogError> {
    let row = tx
        .query_one(
            "SELECT (SELECT home_shard = $1 FROM shardgate.cluster), \
             (SELECT string_agg(DISTINCT d.name, ', ') FROM shardgate.distribution d WHERE d.default_shard = $1 \
                 OR EXISTS (SELECT FROM shardgate.bucket_map m WHERE m.distribution_id = d.id AND m.shard_id = $1) \
                 OR EXISTS (SELECT FROM shardgate.range_map m WHERE m.distribution_id = d.id AND m.shard_id = $1) \
                 OR EXISTS (SELECT FROM shardgate.list_map m WHERE m.distribution_id = d.id AND m.shard_id = $1) \
                 OR EXISTS (SELECT FROM shardgate.pinned_key m WHERE m.distribution_id = d.id AND m.shard_id = $1)), \
             (SELECT min(id) FROM shardgate.move WHERE $1 IN (source_shard, target_shard) \
                 AND step NOT IN ('completed', 'cancelled'))",
            &[&id],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    if row.get(0) {
        return Err(
            PgError::new("0A000", format!("shard \"{name}\" is the home shard"))
                .detail("It has the catalog and all home tables.")
                .into(),
        );
    }
    if let Some(id) = row.get::<_, Option<i64>>(2) {
        return Err(
            PgError::new("55006", format!("move {id} concerns shard \"{name}\""))
                .hint("Complete or cancel it first.")
                .into(),
        );
    }
    if let Some(distributions) = row.get::<_, Option<String>>(1) {
        return Err(PgError::new("55006", format!("shard \"{name}\" owns keys"))
            .detail(format!("It owns a part of {distributions}."))
            .hint(format!(
                "Move its data away first: shard-admin shard drain {name}"
            ))
            .into());
    }
    Ok(())
}
