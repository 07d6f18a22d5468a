//! Who owns which key, as the catalog says, and by Postgres's own hash. What the shards hold is judged by
//! Postgres's word alone; the router's hash only says which errors a kill explains.

use crate::ledger::Key;
use anyhow::{Context, Result};
use shardgate_shard_map as shard_map;
use shardgate_tests::Running;
use std::collections::HashMap;

/// The seed of Postgres's hash partitioning (`HASH_PARTITION_SEED`), and what combining with an empty hash adds, less what
/// the hash of an array of one element adds.
const BUCKET: &str = "(((hash_array_extended(ARRAY[K], 8816678312871386365) & (B - 1)) \
    + ((5305509591434766563 - 31) & (B - 1))) & (B - 1))::int";

/// The map of one distribution.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: i32,
    pub buckets: i32,
    /// The shard's place in the list of the cluster.
    pub owners: HashMap<i32, usize>,
    /// Keys with a shard of their own, as text.
    pub pins: HashMap<String, usize>,
}

/// The maps of all distributions, by table.
#[derive(Clone, Debug)]
pub struct Map {
    tables: HashMap<String, Distribution>,
}

impl Map {
    pub async fn load(running: &Running) -> Result<Map> {
        let home = running.connect_shard(0).await?;
        let places: HashMap<String, usize> = running
            .cluster
            .shards
            .iter()
            .enumerate()
            .map(|(index, shard)| (shard.name.clone(), index))
            .collect();
        let place = |name: &str| places.get(name).copied().context("an unknown shard");
        let sql = "SELECT t.relation::text, d.id, d.buckets FROM shardgate.distributed_table t \
            JOIN shardgate.distribution d ON d.id = t.distribution_id WHERE d.method = 'hash'";
        let mut tables = HashMap::new();
        for row in home.query(sql, &[]).await? {
            let (table, id, buckets): (String, i32, i32) = (row.get(0), row.get(1), row.get(2));
            let mut distribution = Distribution {
                id,
                buckets,
                owners: HashMap::new(),
                pins: HashMap::new(),
            };
            let sql = "SELECT m.bucket, s.name FROM shardgate.bucket_map m \
                JOIN shardgate.shard s ON s.id = m.shard_id WHERE m.distribution_id = $1";
            for row in home.query(sql, &[&id]).await? {
                let owner = place(row.get(1))?;
                distribution.owners.insert(row.get(0), owner);
            }
            let sql = "SELECT m.value, s.name FROM shardgate.pinned_key m \
                JOIN shardgate.shard s ON s.id = m.shard_id WHERE m.distribution_id = $1";
            for row in home.query(sql, &[&id]).await? {
                distribution.pins.insert(row.get(0), place(row.get(1))?);
            }
            tables.insert(table, distribution);
        }
        Ok(Map { tables })
    }

    pub fn of(&self, table: &str) -> Result<&Distribution> {
        self.tables
            .get(table)
            .with_context(|| format!("{table} is not distributed"))
    }

    /// The shards that may have a key: its owner.
    pub fn shards(&self, key: &Key) -> Vec<usize> {
        let (table, text, key) = match key {
            Key::Number(number) => ("parent", number.to_string(), shard_map::Key::Int(*number)),
            Key::Name(name) => {
                let key = shard_map::Key::Text(name.as_str().into());
                ("named", name.clone(), key)
            }
        };
        let owner = self.of(table).and_then(|distribution| {
            let count = u32::try_from(distribution.buckets)?;
            let shard_map::Bucket(bucket) = shard_map::bucket(&key, count);
            distribution.owner(&text, i32::try_from(bucket)?)
        });
        owner.into_iter().collect()
    }

    /// The buckets of a shard.
    pub fn buckets_of(&self, table: &str, shard: usize) -> Result<Vec<i32>> {
        let owners = &self.of(table)?.owners;
        let mut buckets: Vec<i32> = owners
            .iter()
            .filter(|(_, owner)| **owner == shard)
            .map(|(bucket, _)| *bucket)
            .collect();
        buckets.sort_unstable();
        Ok(buckets)
    }

    /// The bucket of a column, as SQL.
    pub fn bucket_sql(&self, table: &str, column: &str) -> Result<String> {
        let buckets = self.of(table)?.buckets;
        Ok(BUCKET
            .replace('K', column)
            .replace('B', &buckets.to_string()))
    }
}

impl Distribution {
    /// The shard of a key, given as text, in that bucket.
    pub fn owner(&self, key: &str, bucket: i32) -> Result<usize> {
        self.pins
            .get(key)
            .or_else(|| self.owners.get(&bucket))
            .copied()
            .with_context(|| format!("nobody owns bucket {bucket}"))
    }
}
