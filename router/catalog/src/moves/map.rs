//! Changing the map: the parts of a move get another owner, in the caller's transaction.

use shardgate_shard_map::{Key, KeyType, Method, ShardId, ShardMap, constant};
use tokio_postgres::Transaction;

/// Writes the parts' new owner down. `new` is the map as it is then.
pub(crate) async fn write_owner(
    tx: &Transaction<'_>,
    id: i64,
    distribution: i32,
    new: &ShardMap,
    owner: i16,
) -> Result<(), tokio_postgres::Error> {
    let parts = "shardgate.move_part p WHERE p.move_id = $1";
    tx.execute(
        &format!(
            "INSERT INTO shardgate.pinned_key (distribution_id, value, shard_id) SELECT $2, p.lower, $3 FROM {parts} \
             AND p.kind = 'pin' ON CONFLICT (distribution_id, value) DO UPDATE SET shard_id = excluded.shard_id"
        ),
        &[&id, &distribution, &owner],
    )
    .await?;
    match &new.method {
        Method::Hash { .. } => {
            tx.execute(
                &format!(
                    "UPDATE shardgate.bucket_map m SET shard_id = $3 WHERE m.distribution_id = $2 AND EXISTS \
                     (SELECT FROM {parts} AND p.kind = 'buckets' AND m.bucket BETWEEN p.lower::int AND p.upper::int)"
                ),
                &[&id, &distribution, &owner],
            )
            .await?;
            Ok(())
        }
        Method::List { .. } => write_values(tx, id, distribution, owner, parts).await,
        Method::Range { bounds, owners } => {
            write_ranges(tx, distribution, new.key_type, bounds, owners).await
        }
    }
}

async fn write_values(
    tx: &Transaction<'_>,
    id: i64,
    distribution: i32,
    owner: i16,
    parts: &str,
) -> Result<(), tokio_postgres::Error> {
    tx.execute(
        &format!(
            "INSERT INTO shardgate.list_map (distribution_id, value, shard_id) SELECT $2, p.lower, $3 FROM {parts} \
             AND p.kind = 'value' ON CONFLICT (distribution_id, value) DO UPDATE SET shard_id = excluded.shard_id"
        ),
        &[&id, &distribution, &owner],
    )
    .await?;
    tx.execute(
        &format!(
            "UPDATE shardgate.distribution SET default_shard = $3 WHERE id = $2 AND EXISTS (SELECT FROM {parts} \
             AND p.kind = 'default')"
        ),
        &[&id, &distribution, &owner],
    )
    .await?;
    Ok(())
}

/// Writes a range map anew: bounds and owners in order.
async fn write_ranges(
    tx: &Transaction<'_>,
    distribution: i32,
    key_type: KeyType,
    bounds: &[Key],
    owners: &[ShardId],
) -> Result<(), tokio_postgres::Error> {
    tx.execute(
        "DELETE FROM shardgate.range_map WHERE distribution_id = $1",
        &[&distribution],
    )
    .await?;
    let lowers = std::iter::once(None).chain(bounds.iter().map(Some));
    for (ordinal, (lower, owner)) in (0i32..).zip(lowers.zip(owners)) {
        // Postgres prints the value, as it does for whoever makes a map.
        let lower = lower.map_or("NULL".to_owned(), |key| {
            format!("({})::text", constant(key_type, key))
        });
        tx.execute(
            &format!(
                "INSERT INTO shardgate.range_map (distribution_id, ordinal, lower, shard_id) VALUES ($1, $2, {lower}, $3)"
            ),
            &[&distribution, &ordinal, &i16::try_from(owner.0).unwrap_or_default()],
        )
        .await?;
    }
    Ok(())
}
