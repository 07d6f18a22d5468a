//! Starting a move: what is asked for -> the move's row. Nothing is done on a shard yet.

use crate::build_moves::build_parts;
use crate::connect::Backend;
use crate::distribution;
use crate::epoch;
use crate::error::{CatalogError, PgError};
use crate::key_text;
use crate::load_moves;
use crate::moves::measure::{self, Load};
use crate::moves::table::{self, MoveTable};
use crate::quote::literal;
use crate::raw::RawParts;
use crate::shard::{self, ShardRow};
use serde::Serialize;
use shardgate_shard_map::{ShardId, ShardMap};
use tokio_postgres::Transaction;

/// A move to be started.
#[derive(Clone, Debug)]
pub struct MoveSpec {
    /// The distribution's name.
    pub distribution: String,
    pub parts: PartsSpec,
    /// The name of the shard that is to have them. The one that has them now follows from the map.
    pub to: String,
    pub options: MoveOptions,
}

/// What is to be moved. Values are texts as in SQL, read by Postgres as values of the key's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartsSpec {
    /// First and last bucket of each run, both included.
    Buckets(Vec<(u32, u32)>),
    /// `low <= key < high` of each range; None: no bound.
    Ranges(Vec<(Option<String>, Option<String>)>),
    /// Values of a list distribution, and all others.
    Values { values: Vec<String>, default: bool },
    /// Single keys, which are pinned to the shard from then on.
    Keys(Vec<String>),
}

impl PartsSpec {
    /// How many buckets, ranges, values or keys.
    fn count(&self) -> u64 {
        let count = match self {
            PartsSpec::Buckets(runs) => {
                let size = |(first, last): &(u32, u32)| u64::from(last.saturating_sub(*first)) + 1;
                return runs.iter().map(size).sum();
            }
            PartsSpec::Ranges(ranges) => ranges.len(),
            PartsSpec::Values { values, default } => values.len() + usize::from(*default),
            PartsSpec::Keys(keys) => keys.len(),
        };
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// How a move is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveOptions {
    /// How many streams copy and follow in parallel.
    pub streams: u16,
    /// None: as fast as it goes.
    pub copy_bytes_per_s: Option<u64>,
    /// The copy waits while a standby of the target is further behind, in bytes.
    pub replica_lag_bytes_max: u64,
    /// The move stops with an error when a shard must keep more log for it, in bytes.
    pub wal_bytes_max: u64,
    /// A switch that holds statements back for longer, in milliseconds, is undone.
    pub pause_ms_max: u32,
    /// A table without a key is moved only if it has no more rows.
    pub keyless_rows_max: u64,
}

impl Default for MoveOptions {
    fn default() -> Self {
        MoveOptions {
            streams: 2,
            copy_bytes_per_s: None,
            replica_lag_bytes_max: 64 << 20,
            wal_bytes_max: 16 << 30,
            pause_ms_max: 3_000,
            keyless_rows_max: 10_000,
        }
    }
}

/// Writes a move down in a new epoch and answers its id. Carry it out with `advance`.
///
/// # Errors
/// 42704 for names that are not there; 22023 for parts that the distribution cannot have, or that belong to several
/// shards or to the target already; 55006 if a move of the distribution is under way.
pub async fn start(home: &mut Backend, spec: &MoveSpec) -> Result<i64, CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    let watch = home.watch();
    let err = |error| CatalogError::of(&whom, &error);
    let pass = |edge: &'static str| {
        if let Some(watch) = &watch {
            watch(edge);
        }
    };
    pass("move-start");
    let (tx, next) = epoch::begin_change(home).await?;
    let shards = shard::all(&tx, &base, &whom).await?;
    let Written { id, .. } = write(&tx, &whom, &shards, spec).await?;
    epoch::finish(&tx, &next, &format!("move {id} begins"))
        .await
        .map_err(err)?;
    tx.execute(
        "UPDATE shardgate.move SET step_epoch = $2 WHERE id = $1",
        &[&id, &next.number],
    )
    .await
    .map_err(err)?;
    tx.commit().await.map_err(err)?;
    pass("move-started");
    Ok(id)
}

/// A move whose row and parts are written in the caller's transaction.
struct Written {
    id: i64,
    distribution: i32,
    source: ShardRow,
    raw: RawParts,
    map: ShardMap,
}

async fn write(
    tx: &Transaction<'_>,
    whom: &str,
    shards: &[ShardRow],
    spec: &MoveSpec,
) -> Result<Written, CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let condition = format!("name = {}", literal(&spec.distribution));
    let known = distribution::find(tx, whom, &condition, shards).await?;
    let known = known.ok_or_else(|| {
        PgError::new(
            "42704",
            format!("distribution \"{}\" does not exist", spec.distribution),
        )
    })?;
    let to = shards.iter().find(|shard| shard.name == spec.to);
    let to =
        to.ok_or_else(|| PgError::new("42704", format!("shard \"{}\" does not exist", spec.to)))?;
    refuse_second(tx, whom, known.id, &spec.distribution).await?;
    let id: i64 = tx
        .query_one("SELECT coalesce(max(id), 0) + 1 FROM shardgate.move", &[])
        .await
        .map_err(err)?
        .get(0);
    // The source is not known before the parts are read; the row needs one that is not the target.
    let other = shards.iter().find(|shard| shard.id != to.id);
    let other = other.ok_or_else(|| PgError::new("22023", "there is only one shard"))?;
    insert(tx, id, known.id, other.id, to.id, &spec.options)
        .await
        .map_err(err)?;
    insert_parts(tx, whom, id, &known.map, &spec.parts).await?;
    let raw = load_moves::parts_of(tx, id).await.map_err(err)?;
    let source = source_of(&raw, &known.map, to, shards)?;
    tx.execute(
        "UPDATE shardgate.move SET source_shard = $2 WHERE id = $1",
        &[&id, &source],
    )
    .await
    .map_err(err)?;
    let source = shards.iter().find(|shard| shard.id == source).cloned();
    Ok(Written {
        id,
        distribution: known.id,
        source: source.ok_or_else(|| CatalogError::Damaged {
            what: "the owner of the keys is no shard".to_owned(),
        })?,
        raw,
        map: known.map,
    })
}

/// What a move would be, if it were started now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The shard that has the keys.
    pub from: String,
    pub to: String,
    /// `schema.table`
    pub tables: Vec<String>,
    /// Counted on the source.
    pub load: Load,
}

/// Does all that `start` does, takes it back, and counts what would be copied.
///
/// # Errors
/// As for `start`.
pub async fn preview(home: &mut Backend, spec: &MoveSpec) -> Result<Preview, CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    let (tx, _) = epoch::begin_change(home).await?;
    let shards = shard::all(&tx, &base, &whom).await?;
    let written = write(&tx, &whom, &shards, spec).await?;
    tx.rollback()
        .await
        .map_err(|error| CatalogError::of(&whom, &error))?;
    let parts = build_parts(&written.raw, &written.map)
        .map_err(|why| CatalogError::from(PgError::new("22023", why)))?;
    let tables = table::of_distribution(home, written.distribution).await?;
    let counted = measure::counted(&written.source, &tables, &written.map, &[parts]).await?;
    let mut load = counted.first().copied().unwrap_or_default();
    load.units = spec.parts.count();
    Ok(Preview {
        from: written.source.name,
        to: spec.to.clone(),
        tables: tables.iter().map(MoveTable::display).collect(),
        load,
    })
}

async fn refuse_second(
    tx: &Transaction<'_>,
    whom: &str,
    distribution: i32,
    name: &str,
) -> Result<(), CatalogError> {
    let row = tx
        .query_opt(
            "SELECT id, step FROM shardgate.move WHERE distribution_id = $1 AND step NOT IN ('completed', 'cancelled')",
            &[&distribution],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let Some(row) = row else { return Ok(()) };
    let (id, step): (i64, String) = (row.get(0), row.get(1));
    Err(PgError::new(
        "55006",
        format!("a move of distribution \"{name}\" is under way"),
    )
    .detail(format!("Move {id} is in the step \"{step}\"."))
    .hint(format!("Complete or cancel move {id} first."))
    .into())
}

async fn insert(
    tx: &Transaction<'_>,
    id: i64,
    distribution: i32,
    source: i16,
    target: i16,
    options: &MoveOptions,
) -> Result<(), tokio_postgres::Error> {
    let big = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO shardgate.move (id, distribution_id, source_shard, target_shard, step, streams, copy_bytes_per_s, \
         replica_lag_bytes_max, wal_bytes_max, pause_ms_max, keyless_rows_max) \
         VALUES ($1, $2, $3, $4, 'prepare', $5, $6, $7, $8, $9, $10)",
        &[
            &id,
            &distribution,
            &source,
            &target,
            &i16::try_from(options.streams).unwrap_or(i16::MAX),
            &options.copy_bytes_per_s.map(big),
            &big(options.replica_lag_bytes_max),
            &big(options.wal_bytes_max),
            &i32::try_from(options.pause_ms_max).unwrap_or(i32::MAX),
            &big(options.keyless_rows_max),
        ],
    )
    .await?;
    Ok(())
}

/// Postgres reads the values, and writes them as it prints them.
async fn insert_parts(
    tx: &Transaction<'_>,
    whom: &str,
    id: i64,
    map: &ShardMap,
    parts: &PartsSpec,
) -> Result<(), CatalogError> {
    let family = key_text::family(map.key_type);
    let mut rows: Vec<(&str, Option<String>, Option<String>)> = Vec::new();
    match parts {
        PartsSpec::Buckets(runs) => rows.extend(
            runs.iter()
                .map(|(first, last)| ("buckets", Some(first.to_string()), Some(last.to_string()))),
        ),
        PartsSpec::Ranges(ranges) => rows.extend(
            ranges
                .iter()
                .map(|(low, high)| ("range", low.clone(), high.clone())),
        ),
        PartsSpec::Values { values, default } => {
            rows.extend(
                values
                    .iter()
                    .map(|value| ("value", Some(value.clone()), None)),
            );
            rows.extend(default.then_some(("default", None, None)));
        }
        PartsSpec::Keys(keys) => {
            rows.extend(keys.iter().map(|key| ("pin", Some(key.clone()), None)));
        }
    }
    for (ordinal, (kind, lower, upper)) in (0i32..).zip(&rows) {
        let read = if *kind == "buckets" {
            "$4::text, $5::text".to_owned()
        } else {
            format!("($4::text::{family})::text, ($5::text::{family})::text")
        };
        tx.execute(
            &format!(
                "INSERT INTO shardgate.move_part (move_id, ordinal, kind, lower, upper) SELECT $1, $2, $3, {read}"
            ),
            &[&id, &ordinal, kind, lower, upper],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    }
    Ok(())
}

/// The one shard that owns the parts.
fn source_of(
    raw: &RawParts,
    map: &ShardMap,
    to: &ShardRow,
    shards: &[ShardRow],
) -> Result<i16, CatalogError> {
    let refuse = |why: String| CatalogError::from(PgError::new("22023", why));
    let parts = build_parts(raw, map).map_err(refuse)?;
    let owners = parts
        .owners(map)
        .map_err(|error| refuse(error.to_string()))?;
    let names = |ids: &mut dyn Iterator<Item = &ShardId>| -> Vec<String> {
        let name = |id: &ShardId| {
            let found = shards
                .iter()
                .find(|shard| u16::try_from(shard.id) == Ok(id.0));
            found.map(|shard| shard.name.clone())
        };
        ids.filter_map(name).collect()
    };
    let mut all = owners.iter();
    match (all.next(), all.next()) {
        (Some(owner), None) if u16::try_from(to.id) == Ok(owner.0) => Err(PgError::new(
            "22023",
            format!("shard \"{}\" owns these keys already", to.name),
        )
        .into()),
        (Some(owner), None) => Ok(i16::try_from(owner.0).unwrap_or_default()),
        (Some(_), Some(_)) => Err(PgError::new("22023", "the keys belong to several shards")
            .detail(format!(
                "They belong to {}.",
                names(&mut owners.iter()).join(", ")
            ))
            .hint("Start a move for each of them.")
            .into()),
        (None, _) => Err(refuse("no shard owns these keys".to_owned())),
    }
}
