//! Reading the moves that are under way.
//!
//! Routers need to know which keys may be on two shards, and which must wait; how far a move is otherwise is not read
//! here.

use crate::load_catalog::KEY_HEX;
use crate::raw::{RawMove, RawParts};
use tokio_postgres::{GenericClient, Row};

type PgResult<T> = Result<T, tokio_postgres::Error>;

/// All moves that have not ended, ascending by id.
pub(crate) async fn moves(tx: &impl GenericClient) -> PgResult<Vec<RawMove>> {
    let rows = tx
        .query(
            "SELECT id, distribution_id, source_shard, target_shard, step IN ('hold', 'moved'), since, \
             CASE WHEN step IN ('hold', 'moved') THEN reversing ELSE step IN ('switched', 'completing') END FROM shardgate.move \
             WHERE step NOT IN ('completed', 'cancelled') ORDER BY id",
            &[],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let shard = |row: &Row, column| u16::try_from(row.get::<_, i16>(column)).unwrap_or_default();
    let mut all: Vec<RawMove> = rows
        .iter()
        .map(|row| RawMove {
            id: row.get(0),
            distribution: u32::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
            source: shard(row, 2),
            target: shard(row, 3),
            backwards: row.get(6),
            holding: row.get(4),
            since: u64::try_from(row.get::<_, i64>(5)).unwrap_or_default(),
            parts: RawParts::default(),
        })
        .collect();
    let ids: Vec<i64> = all.iter().map(|one| one.id).collect();
    for row in parts(tx, &ids).await? {
        let id: i64 = row.get(0);
        if let Some(one) = all.iter_mut().find(|one| one.id == id) {
            add(&mut one.parts, &row);
        }
    }
    Ok(all)
}

/// The parts of one move, ended or not.
pub(crate) async fn parts_of(tx: &impl GenericClient, id: i64) -> PgResult<RawParts> {
    let mut found = RawParts::default();
    for row in parts(tx, &[id]).await? {
        add(&mut found, &row);
    }
    Ok(found)
}

async fn parts(tx: &impl GenericClient, ids: &[i64]) -> PgResult<Vec<Row>> {
    let hex = |column: &str| KEY_HEX.replace("{}", &format!("p.{column}"));
    let sql = format!(
        "SELECT p.move_id, p.kind, p.lower, p.upper, NULL::text, NULL::text, p.ordinal FROM shardgate.move_part p \
         WHERE p.move_id = ANY ($1) AND p.kind = 'buckets' \
         UNION ALL SELECT p.move_id, p.kind, NULL, NULL, {}, {}, p.ordinal FROM shardgate.move_part p \
         JOIN shardgate.move m ON m.id = p.move_id JOIN shardgate.distribution d ON d.id = m.distribution_id \
         WHERE p.move_id = ANY ($1) AND p.kind <> 'buckets' ORDER BY 1, 7",
        hex("lower"),
        hex("upper")
    );
    tx.query(&sql, &[&ids]).await
}

/// A bucket that is no number counts as one that no map has, and the build says so.
fn add(parts: &mut RawParts, row: &Row) {
    let bucket = |column: usize| {
        row.get::<_, Option<String>>(column)
            .and_then(|text| text.parse::<u32>().ok())
            .unwrap_or(u32::MAX)
    };
    let (lower, upper): (Option<String>, Option<String>) = (row.get(4), row.get(5));
    match row.get::<_, String>(1).as_str() {
        "buckets" => parts.buckets.push((bucket(2), bucket(3))),
        "range" => parts.ranges.push((lower, upper)),
        "value" => parts.values.extend(lower),
        "default" => parts.default = true,
        "pin" => parts.pins.extend(lower),
        // The catalog's constraint leaves nothing else; what it does not know is refused as a bucket that no map has.
        _ => parts.buckets.push((u32::MAX, u32::MAX)),
    }
}
