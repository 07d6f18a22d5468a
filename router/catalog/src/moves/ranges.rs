//! Splitting a range in two, and joining two that lie side by side. Only the map changes: no row moves, and what each
//! shard owns is the same before and after.

use crate::connect::Backend;
use crate::distribution;
use crate::epoch::{self, Next};
use crate::error::{CatalogError, PgError};
use crate::key_text;
use crate::load_catalog::KEY_HEX;
use crate::quote::literal;
use crate::shard;
use shardgate_shard_map::{Key, Method, ShardId};
use tokio_postgres::Transaction;

/// A range map in the hands of a change.
struct Ranges {
    id: i32,
    bounds: Vec<Key>,
    owners: Vec<ShardId>,
    /// Where the range is to be split or joined, and how Postgres prints it.
    at: Key,
    at_text: String,
}

/// Splits the range that holds `at`: it becomes the lower bound of a range of its own, on the same shard.
///
/// # Errors
/// 42704 for an unknown distribution, 22023 if it is no range distribution or has the bound already, 55006 while a move of
/// it is under way; Postgres's own if `at` is no value of the key's type.
pub async fn split_range(home: &mut Backend, name: &str, at: &str) -> Result<(), CatalogError> {
    let whom = home.whom().to_owned();
    let (tx, next, ranges) = begin(home, name, at).await?;
    let place = ranges.bounds.partition_point(|bound| *bound < ranges.at);
    if ranges.bounds.get(place) == Some(&ranges.at) {
        let message = format!(
            "{} is a bound of distribution \"{name}\" already",
            ranges.at_text
        );
        return Err(PgError::new("22023", message).into());
    }
    let owner = ranges.owners.get(place).copied().unwrap_or(ShardId(0));
    let place = i32::try_from(place).unwrap_or(i32::MAX);
    let owner = i16::try_from(owner.0).unwrap_or_default();
    let changed = async {
        shift(&tx, ranges.id, place + 1, 1).await?;
        tx.execute(
            "INSERT INTO shardgate.range_map (distribution_id, ordinal, lower, shard_id) VALUES ($1, $2, $3, $4)",
            &[&ranges.id, &(place + 1), &ranges.at_text, &owner],
        )
        .await?;
        epoch::finish(
            &tx,
            &next,
            &format!("split a range of {name} at {}", ranges.at_text),
        )
        .await?;
        tx.commit().await
    };
    changed
        .await
        .map_err(|error| CatalogError::of(&whom, &error))
}

/// Joins the two ranges that meet at `at`.
///
/// # Errors
/// As for `split_range`; 22023 if `at` is no bound, or the ranges belong to different shards.
pub async fn merge_ranges(home: &mut Backend, name: &str, at: &str) -> Result<(), CatalogError> {
    let whom = home.whom().to_owned();
    let (tx, next, ranges) = begin(home, name, at).await?;
    let Ok(place) = ranges.bounds.binary_search(&ranges.at) else {
        let message = format!("{} is no bound of distribution \"{name}\"", ranges.at_text);
        let hint = format!("See \"shard-admin map show {name}\".");
        return Err(PgError::new("22023", message).hint(hint).into());
    };
    if ranges.owners.get(place) != ranges.owners.get(place + 1) {
        let message = format!(
            "the ranges that meet at {} belong to different shards",
            ranges.at_text
        );
        return Err(PgError::new("22023", message)
            .hint("Move one of them to the other's shard first.")
            .into());
    }
    let place = i32::try_from(place).unwrap_or(i32::MAX);
    let changed = async {
        tx.execute(
            "DELETE FROM shardgate.range_map WHERE distribution_id = $1 AND ordinal = $2",
            &[&ranges.id, &(place + 1)],
        )
        .await?;
        shift(&tx, ranges.id, place + 2, -1).await?;
        epoch::finish(
            &tx,
            &next,
            &format!("join the ranges of {name} at {}", ranges.at_text),
        )
        .await?;
        tx.commit().await
    };
    changed
        .await
        .map_err(|error| CatalogError::of(&whom, &error))
}

async fn begin<'a>(
    home: &'a mut Backend,
    name: &str,
    at: &str,
) -> Result<(Transaction<'a>, Next, Ranges), CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, next) = epoch::begin_change(home).await?;
    let shards = shard::all(&tx, &base, &whom).await?;
    let condition = format!("name = {}", literal(name));
    let known = distribution::find(&tx, &whom, &condition, &shards).await?;
    let known = known
        .ok_or_else(|| PgError::new("42704", format!("distribution \"{name}\" does not exist")))?;
    let Method::Range { bounds, owners } = &known.map.method else {
        let message = format!("distribution \"{name}\" is not by ranges");
        return Err(PgError::new("22023", message).into());
    };
    let moves = tx
        .query_opt(
            "SELECT id FROM shardgate.move WHERE distribution_id = $1 AND step NOT IN ('completed', 'cancelled')",
            &[&known.id],
        )
        .await
        .map_err(err)?;
    if let Some(row) = moves {
        let id: i64 = row.get(0);
        let message = format!("a move of distribution \"{name}\" is under way");
        return Err(PgError::new("55006", message)
            .hint(format!("Complete or cancel move {id} first."))
            .into());
    }
    let family = key_text::family(known.map.key_type);
    let row = tx
        .query_one(
            &format!(
                "SELECT v, {} FROM (SELECT ($1::text::{family})::text AS v, {}::text AS key_type) AS d",
                KEY_HEX.replace("{}", "v"),
                literal(family)
            ),
            &[&at],
        )
        .await
        .map_err(err)?;
    let (at_text, hex): (String, String) = (row.get(0), row.get(1));
    let at =
        key_text::from_binary(known.map.key_type, &hex).ok_or_else(|| CatalogError::Damaged {
            what: format!("{at_text} cannot be read as a key"),
        })?;
    let ranges = Ranges {
        id: known.id,
        bounds: bounds.clone(),
        owners: owners.clone(),
        at,
        at_text,
    };
    Ok((tx, next, ranges))
}

/// Renumbers the ranges from `first` on. By way of numbers that no map has, since each must be unique at any time.
async fn shift(
    tx: &Transaction<'_>,
    id: i32,
    first: i32,
    by: i32,
) -> Result<(), tokio_postgres::Error> {
    const AWAY: i32 = 1_000_000_000;
    let sql = "UPDATE shardgate.range_map SET ordinal = ordinal + $3 WHERE distribution_id = $1 AND ordinal >= $2";
    tx.execute(sql, &[&id, &first, &(AWAY + by)]).await?;
    tx.execute(sql, &[&id, &(AWAY / 2), &(-AWAY)]).await?;
    Ok(())
}
