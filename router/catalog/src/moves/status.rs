//! What is known of moves, for people and programs: read from the catalog alone.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::step::Step;
use serde::Serialize;
use tokio_postgres::Row;

/// A move as the catalog has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MoveStatus {
    pub id: i64,
    /// The distribution's name.
    pub distribution: String,
    /// The shard that had the keys at first, and the one that is to have them.
    pub source: String,
    pub target: String,
    /// What is moved, for people: `buckets 12-40, 77`, `range [10, 20)`, `key 42`.
    pub parts: String,
    pub step: Step,
    /// The switch under way, or the last one, went from the target back to the source.
    pub reversing: bool,
    pub paused: bool,
    /// A program drives it at this moment.
    pub driven: bool,
    /// The last failure, until the step has succeeded.
    pub error: Option<String>,
    /// Rows and bytes to copy, estimated, and copied so far.
    pub rows_total: i64,
    pub rows_copied: i64,
    pub bytes_total: i64,
    pub bytes_copied: i64,
    /// How long the copy has taken so far.
    pub copy_ms: i64,
    /// How far the shard that follows is behind, and how much log is kept for it.
    pub lag_bytes: i64,
    pub wal_bytes: i64,
    /// How long statements were held back by the last switch.
    pub pause_ms: Option<i32>,
    /// Seconds since it was started, and since the step began.
    pub age_s: f64,
    pub step_s: f64,
}

impl MoveStatus {
    /// Bytes per second of the copy so far; None before it has begun.
    pub fn bytes_per_s(&self) -> Option<f64> {
        // A copy of more than 2^52 bytes or milliseconds does not happen.
        (self.copy_ms > 0).then(|| self.bytes_copied as f64 * 1000.0 / self.copy_ms as f64)
    }

    /// Seconds until the copy is done, if it goes on as it did; None before it has begun, and afterwards.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.bytes_total.saturating_sub(self.bytes_copied).max(0);
        let rate = self.bytes_per_s().filter(|rate| *rate > 0.0)?;
        (self.step == Step::Copy).then(|| left as f64 / rate)
    }
}

const COLUMNS: &str = "m.id, d.name, s.name, t.name, m.step, m.reversing, m.paused, coalesce(m.lease > now(), false), \
    m.error, m.rows_total, m.rows_copied, m.bytes_total, m.bytes_copied, m.copy_ms, m.lag_bytes, m.wal_bytes, m.pause_ms, \
    extract(epoch FROM now() - m.made_at)::float8, extract(epoch FROM now() - m.step_at)::float8, \
    (SELECT string_agg(CASE p.kind \
        WHEN 'buckets' THEN 'buckets ' || p.lower || CASE WHEN p.upper <> p.lower THEN '-' || p.upper ELSE '' END \
        WHEN 'range' THEN format('range [%s, %s)', coalesce(p.lower, '-'), coalesce(p.upper, '-')) \
        WHEN 'value' THEN 'value ' || p.lower WHEN 'default' THEN 'default' ELSE 'key ' || p.lower END, ', ' ORDER BY p.ordinal) \
     FROM shardgate.move_part p WHERE p.move_id = m.id) \
    FROM shardgate.move m JOIN shardgate.distribution d ON d.id = m.distribution_id \
    JOIN shardgate.shard s ON s.id = m.source_shard JOIN shardgate.shard t ON t.id = m.target_shard";

/// All moves, ended ones too, the newest first.
pub async fn list(home: &Backend) -> Result<Vec<MoveStatus>, CatalogError> {
    let rows = home
        .query(&format!("SELECT {COLUMNS} ORDER BY m.id DESC"), &[])
        .await
        .map_err(|error| home.err(&error))?;
    rows.iter().map(read).collect()
}

/// One move.
///
/// # Errors
/// 42704 if there is none of this id.
pub async fn status(home: &Backend, id: i64) -> Result<MoveStatus, CatalogError> {
    let row = home
        .query_opt(&format!("SELECT {COLUMNS} WHERE m.id = $1"), &[&id])
        .await
        .map_err(|error| home.err(&error))?;
    match row {
        Some(row) => read(&row),
        None => Err(unknown(id).into()),
    }
}

pub(crate) fn unknown(id: i64) -> PgError {
    PgError::new("42704", format!("move {id} does not exist"))
}

fn read(row: &Row) -> Result<MoveStatus, CatalogError> {
    let step: String = row.get(4);
    Ok(MoveStatus {
        id: row.get(0),
        distribution: row.get(1),
        source: row.get(2),
        target: row.get(3),
        step: Step::from_name(&step).ok_or_else(|| CatalogError::Damaged {
            what: format!("a move is in the unknown step {step}"),
        })?,
        reversing: row.get(5),
        paused: row.get(6),
        driven: row.get(7),
        error: row.get(8),
        rows_total: row.get(9),
        rows_copied: row.get(10),
        bytes_total: row.get(11),
        bytes_copied: row.get(12),
        copy_ms: row.get(13),
        lag_bytes: row.get(14),
        wal_bytes: row.get(15),
        pause_ms: row.get(16),
        age_s: row.get(17),
        step_s: row.get(18),
        parts: row.get::<_, Option<String>>(19).unwrap_or_default(),
    })
}
