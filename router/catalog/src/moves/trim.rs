//! Deleting rows of a move from the shard that does not own them: what is left on the source after a move, copies on the
//! target that are not needed, the rest of a copy that was broken off.
//!
//! Rows are deleted block by block in short transactions. No new ones can appear behind it: the gate is closed, and no
//! stream runs.

use crate::error::{CatalogError, PgError};
use crate::moves::copy;
use crate::moves::drive::{Drive, Side};
use crate::quote::literal;
use shardgate_shard_map::{Parts, ShardId};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many blocks of a table are looked through in one transaction.
const BLOCKS: i64 = 256;
/// The share of its time that the deletion works: the rest is left to others.
const REST: u32 = 1;

/// Deletes the rows of the parts from all tables on a shard.
///
/// # Errors
/// 55000 if the shard owns some of them: nothing is deleted then.
pub(crate) async fn delete_all(
    drive: &Drive<'_>,
    side: &Side,
    parts: &Parts,
) -> Result<(), CatalogError> {
    let owners: BTreeSet<ShardId> = parts
        .owners(&drive.map)
        .map_err(|error| drive.refuse("55000", error.to_string()))?;
    if owners.contains(&side.id()) {
        return Err(PgError::new(
            "55000",
            format!("{} owns rows that were to be deleted", side.row.whom()),
        )
        .into());
    }
    let writer = copy::writer(side).await?;
    for table in &drive.tables {
        let predicate = drive.predicate(table, parts);
        let name = table.sql();
        let row = writer
            .query_one(
                &format!(
                    "SELECT pg_relation_size({}::regclass) / current_setting('block_size')::bigint, \
                     EXISTS (SELECT FROM ONLY {name} WHERE {predicate} LIMIT 1)",
                    literal(&name)
                ),
                &[],
            )
            .await
            .map_err(|error| writer.err(&error))?;
        let blocks: i64 = row.get(0);
        if !row.get::<_, bool>(1) {
            continue;
        }
        let mut first = 0;
        while first < blocks {
            drive.lease.check()?;
            let begun = std::time::Instant::now();
            writer
                .run(&format!(
                    "DELETE FROM ONLY {name} WHERE ctid >= '({first},0)'::tid AND ctid < '({},0)'::tid AND {predicate}",
                    first + BLOCKS
                ))
                .await?;
            first += BLOCKS;
            let rest = begun.elapsed() * REST;
            if rest > Duration::from_millis(1) {
                tokio::time::sleep(rest).await;
            }
        }
    }
    Ok(())
}
