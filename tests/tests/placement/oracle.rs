//! Asks every shard what it holds, past the router, and Postgres which bucket each row belongs to.

use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::collections::HashMap;

/// The seed of Postgres's hash partitioning (`HASH_PARTITION_SEED`), and what combining with an empty hash adds.
const BUCKET: &str = "(((hash_array_extended(ARRAY[k], 8816678312871386365) & (B - 1)) \
    + ((5305509591434766563 - 31) & (B - 1))) & (B - 1))::int";

/// The shard that has a row, and the row as source and number.
pub type Stored = (usize, (String, i32));

/// All stored rows of the table. Fails if one lies on another shard than Postgres and the map say.
pub async fn check_hash(
    running: &Running,
    table: &str,
    key_type: &str,
    buckets: u32,
) -> Result<Vec<Stored>> {
    let owners = owners(running, table, buckets).await?;
    let mut stored = Vec::new();
    for index in 0..running.cluster.shards.len() {
        let shard = running.connect_shard(index).await?;
        let create = format!("CREATE TEMP TABLE oracle (k {key_type}) PARTITION BY HASH (k)");
        shard.batch_execute(&create).await?;
        let buckets = buckets.to_string();
        let sql = format!(
            "SELECT src, n, b, satisfies_hash_partition('oracle'::regclass, {buckets}, b, k) \
             FROM (SELECT *, {} AS b FROM {table}) rows",
            BUCKET.replace('B', &buckets),
        );
        for row in shard.query(&sql, &[]).await.with_context(|| sql.clone())? {
            let (source, number, bucket): (String, i32, i32) = (row.get(0), row.get(1), row.get(2));
            // One remainder alone satisfies it, so this is Postgres's word on the bucket.
            ensure!(
                row.get::<_, bool>(3),
                "{table}: the formula is not Postgres's"
            );
            let owner = owners.get(&bucket).context("a bucket without an owner")?;
            ensure!(
                *owner == running.cluster.shards[index].name,
                "{table}: row {source} {number} of bucket {bucket} lies on {} and belongs to {owner}",
                running.cluster.shards[index].name
            );
            stored.push((index, (source, number)));
        }
    }
    Ok(stored)
}

/// The names of the buckets' shards, as the catalog has them.
async fn owners(running: &Running, table: &str, buckets: u32) -> Result<HashMap<i32, String>> {
    let home = running.connect_shard(0).await?;
    let sql = "SELECT m.bucket, s.name FROM shardgate.bucket_map m JOIN shardgate.shard s ON s.id = m.shard_id \
        JOIN shardgate.distributed_table t ON t.distribution_id = m.distribution_id \
        WHERE t.relation = $1::text::regclass";
    let rows = home.query(sql, &[&table]).await?;
    let owners: HashMap<i32, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    ensure!(
        owners.len() == usize::try_from(buckets)?,
        "{table}: the map has {} buckets",
        owners.len()
    );
    Ok(owners)
}
