//! Reading our own tables: shards, distributions with their maps, and which table belongs to which.
//!
//! Key values are read as the binary form of their type, so that Postgres alone decides what their text means.

use crate::raw::{RawDistribution, RawShard, RawTable};
use tokio_postgres::{Row, Transaction};

type PgResult<T> = Result<T, tokio_postgres::Error>;

/// Turns the text column `{}` into the hex of its key type's binary form.
pub(crate) const KEY_HEX: &str = "encode(CASE d.key_type WHEN 'int8' THEN int8send({}::int8) WHEN 'text' THEN textsend({}) \
    WHEN 'uuid' THEN uuid_send({}::uuid) WHEN 'bytea' THEN {}::bytea WHEN 'date' THEN date_send({}::date) \
    WHEN 'timestamp' THEN timestamp_send({}::timestamp) WHEN 'timestamptz' THEN timestamptz_send({}::timestamptz) END, 'hex')";

pub(crate) async fn shards(tx: &Transaction<'_>) -> PgResult<Vec<RawShard>> {
    let rows = tx
        .query(
            "SELECT s.id, s.name, s.weight, s.dbname, \
             array_agg(h.host ORDER BY h.ordinal) FILTER (WHERE h.host IS NOT NULL), \
             array_agg(h.port ORDER BY h.ordinal) FILTER (WHERE h.host IS NOT NULL), \
             s.floor_timeline, (s.floor_lsn - '0/0')::bigint \
             FROM shardgate.shard s LEFT JOIN shardgate.shard_host h ON h.shard_id = s.id \
             GROUP BY s.id ORDER BY s.id",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let hosts: Vec<String> = row.get::<_, Option<Vec<String>>>(4).unwrap_or_default();
            let ports: Vec<i32> = row.get::<_, Option<Vec<i32>>>(5).unwrap_or_default();
            RawShard {
                id: shard(row, 0),
                name: row.get(1),
                weight: u32::try_from(row.get::<_, i32>(2)).unwrap_or_default(),
                dbname: row.get(3),
                hosts: hosts
                    .into_iter()
                    .zip(ports)
                    .map(|(host, port)| (host, u16::try_from(port).unwrap_or_default()))
                    .collect(),
                floor: row
                    .get::<_, Option<i64>>(6)
                    .zip(row.get::<_, Option<i64>>(7))
                    .and_then(|(timeline, lsn)| {
                        Some((u32::try_from(timeline).ok()?, u64::try_from(lsn).ok()?))
                    }),
            }
        })
        .collect())
}

pub(crate) async fn distributions(tx: &Transaction<'_>) -> PgResult<Vec<RawDistribution>> {
    let rows = tx
        .query(
            "SELECT id, name, method, key_type, buckets, default_shard, \
             (SELECT array_agg(m.shard_id ORDER BY m.bucket) FROM shardgate.bucket_map m WHERE m.distribution_id = d.id) \
             FROM shardgate.distribution d ORDER BY id",
            &[],
        )
        .await?;
    let mut all: Vec<RawDistribution> = rows
        .iter()
        .map(|row| RawDistribution {
            id: u32::try_from(row.get::<_, i32>(0)).unwrap_or_default(),
            name: row.get(1),
            method: row.get(2),
            key_type: row.get(3),
            buckets: row
                .get::<_, Option<i32>>(4)
                .and_then(|n| u32::try_from(n).ok()),
            default_shard: row
                .get::<_, Option<i16>>(5)
                .and_then(|n| u16::try_from(n).ok()),
            owners: row
                .get::<_, Option<Vec<i16>>>(6)
                .unwrap_or_default()
                .into_iter()
                .map(shard_number)
                .collect(),
            ranges: Vec::new(),
            values: Vec::new(),
            pins: Vec::new(),
        })
        .collect();
    for row in keyed(tx, "range_map", "lower", "ordinal").await? {
        if let Some(one) = owner(&mut all, &row) {
            one.ranges.push((row.get(1), shard(&row, 2)));
        }
    }
    for row in keyed(tx, "list_map", "value", "value").await? {
        if let (Some(one), Some(value)) = (owner(&mut all, &row), row.get(1)) {
            one.values.push((value, shard(&row, 2)));
        }
    }
    for row in keyed(tx, "pinned_key", "value", "value").await? {
        if let (Some(one), Some(value)) = (owner(&mut all, &row), row.get(1)) {
            one.pins.push((value, shard(&row, 2)));
        }
    }
    Ok(all)
}

pub(crate) async fn tables(tx: &Transaction<'_>) -> PgResult<Vec<RawTable>> {
    // A row whose table was dropped behind the router's back means nothing any more.
    let rows = tx
        .query(
            "SELECT t.relation::oid, t.kind, t.distribution_id, t.key_attnum FROM shardgate.distributed_table t \
             JOIN pg_catalog.pg_class c ON c.oid = t.relation ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawTable {
            relation: row.get(0),
            kind: row.get(1),
            distribution: row
                .get::<_, Option<i32>>(2)
                .and_then(|n| u32::try_from(n).ok()),
            key_attnum: row.get(3),
        })
        .collect())
}

async fn keyed(tx: &Transaction<'_>, table: &str, column: &str, order: &str) -> PgResult<Vec<Row>> {
    let hex = KEY_HEX.replace("{}", &format!("m.{column}"));
    let sql = format!(
        "SELECT m.distribution_id, {hex}, m.shard_id FROM shardgate.{table} m \
         JOIN shardgate.distribution d ON d.id = m.distribution_id ORDER BY m.distribution_id, m.{order}"
    );
    tx.query(&sql, &[]).await
}

fn owner<'a>(all: &'a mut [RawDistribution], row: &Row) -> Option<&'a mut RawDistribution> {
    let id = u32::try_from(row.get::<_, i32>(0)).ok()?;
    all.iter_mut().find(|one| one.id == id)
}

fn shard(row: &Row, column: usize) -> u16 {
    shard_number(row.get(column))
}

/// Ids are positive by a constraint of the catalog; 0 is no shard.
fn shard_number(id: i16) -> u16 {
    u16::try_from(id).unwrap_or_default()
}
