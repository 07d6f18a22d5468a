//! The copy: each stream reads its rows in one snapshot of the source and writes them on the target, as fast as it may.
//!
//! A stream whose copy is done is noted, and follows from then on. One that was broken off begins anew: what it had
//! written is deleted first, since another snapshot is another moment. Streams do not know of each other.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::{Drive, Side};
use crate::moves::lease::Progress;
use crate::moves::start_point;
use crate::moves::streams::{self, Stream};
use crate::moves::table::MoveTable;
use crate::moves::throttle::Throttle;
use crate::moves::trim;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use shardgate_shard_map::{Method, Unpinned};
use std::io::Cursor;
use std::sync::atomic::Ordering;

/// Rows are gathered to pieces of this size: the server sends each in a message of its own.
const PIECE_BYTES: usize = 64 << 10;

/// Copies all streams that are not copied yet, and lets each follow.
pub(crate) async fn run(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    if drive.tables.is_empty() {
        return Ok(());
    }
    estimate(drive).await?;
    let done = copied(drive).await?;
    reset_progress(drive, &done).await?;
    let left: Vec<(usize, Stream)> = streams::copying(drive)
        .into_iter()
        .enumerate()
        .filter(|(number, _)| !done.iter().any(|(known, _, _)| known == number))
        .collect();
    // One after the other: a slot waits for running transactions, and each connection to a server is used once at a time.
    for (_, stream) in &left {
        begin(drive, stream).await?;
    }
    let throttle = Throttle::new(drive);
    let copies = left
        .iter()
        .map(|(number, stream)| one_stream(drive, *number, stream, &throttle));
    try_join_all(copies).await?;
    // A stream whose copy was noted just before a crash may not have been enabled.
    let names: Vec<String> =
        streams::there(&drive.target.backend, &streams::prefix(drive, false)).await?;
    streams::enable(&drive.target.backend, &names).await
}

/// Removes what is left of an earlier attempt, and makes the stream anew.
async fn begin(drive: &Drive<'_>, stream: &Stream) -> Result<(), CatalogError> {
    drive.pass("move-stream");
    streams::remove_all(&drive.source, &drive.target, &stream.name).await?;
    trim::delete_all(drive, &drive.target, &stream.parts).await?;
    streams::publish(drive, &drive.source, stream).await?;
    drive.pass("move-stream-slot");
    streams::subscribe(drive, &drive.source, &drive.target, stream).await?;
    drive.pass("move-stream-subscription");
    Ok(())
}

/// Copies the rows of one stream, notes it, and lets it follow.
async fn one_stream(
    drive: &Drive<'_>,
    number: usize,
    stream: &Stream,
    throttle: &Throttle,
) -> Result<(), CatalogError> {
    // The snapshots are taken one at a time: all on one connection, in turn.
    let reader = {
        let _turn = throttle.turn().await;
        start_point::open(&drive.source, &stream.name).await?
    };
    let writer = writer(&drive.target).await?;
    drive.pass("move-copy");
    let (mut rows, mut bytes) = (0i64, 0i64);
    for table in &drive.tables {
        let (more_rows, more_bytes) =
            one_table(drive, table, stream, &reader, &writer, throttle).await?;
        rows += more_rows;
        bytes += more_bytes;
    }
    reader.run("COMMIT").await?;
    drive.pass("move-copied");
    drive.lease.check()?;
    drive
        .home
        .execute(
            "INSERT INTO shardgate.move_stream (move_id, number, copied, rows_copied, bytes_copied) \
             SELECT $1, $2, true, $3, $4 WHERE EXISTS (SELECT FROM shardgate.move WHERE id = $1 AND attempt = $5) \
             ON CONFLICT (move_id, number) DO UPDATE SET copied = true, rows_copied = $3, bytes_copied = $4",
            &[
                &drive.id(),
                &i16::try_from(number).unwrap_or(i16::MAX),
                &rows,
                &bytes,
                &drive.lease.attempt,
            ],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    let _turn = throttle.turn().await;
    streams::enable(&drive.target.backend, std::slice::from_ref(&stream.name)).await?;
    drive.pass("move-stream-enabled");
    Ok(())
}

/// A connection whose writes pass guards, gates and foreign keys, as those of a stream do.
pub(crate) async fn writer(side: &Side) -> Result<Backend, CatalogError> {
    let writer = side.connect().await?;
    writer.run("SET session_replication_role = replica").await?;
    Ok(writer)
}

async fn one_table(
    drive: &Drive<'_>,
    table: &MoveTable,
    stream: &Stream,
    reader: &Backend,
    writer: &Backend,
    throttle: &Throttle,
) -> Result<(i64, i64), CatalogError> {
    // Binary values of types that users made hold the ids of types, which differ between servers.
    let stored = || table.columns.iter().filter(|column| !column.generated);
    let format = if stored().all(|column| column.system_type) {
        "binary"
    } else {
        "text"
    };
    let columns = table.stored_columns();
    let read = format!(
        "COPY (SELECT {columns} FROM ONLY {} WHERE {}) TO STDOUT (FORMAT {format})",
        table.sql(),
        drive.predicate(table, &stream.parts)
    );
    let write = format!(
        "COPY {} ({columns}) FROM STDIN (FORMAT {format})",
        table.sql()
    );
    let rows = reader
        .copy_out(&read)
        .await
        .map_err(|error| reader.err(&error))?;
    let sink = writer
        .copy_in::<_, Cursor<Vec<u8>>>(&write)
        .await
        .map_err(|error| writer.err(&error))?;
    tokio::pin!(rows, sink);
    let mut piece: Vec<u8> = Vec::with_capacity(PIECE_BYTES * 2);
    let mut bytes = 0i64;
    let (mut in_piece, mut told) = (0i64, 0i64);
    loop {
        let next = rows.next().await;
        let is_end = next.is_none();
        if let Some(row) = next {
            piece.extend_from_slice(&row.map_err(|error| reader.err(&error))?);
            in_piece += 1;
        }
        if piece.len() >= PIECE_BYTES || (is_end && !piece.is_empty()) {
            drive.lease.check()?;
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES * 2));
            let size = i64::try_from(full.len()).unwrap_or(i64::MAX);
            sink.send(Cursor::new(full))
                .await
                .map_err(|error| writer.err(&error))?;
            bytes += size;
            note(&drive.lease.progress, in_piece, size, throttle);
            told += in_piece;
            in_piece = 0;
            throttle.wait(drive, size).await?;
        }
        // The stream must not be asked again behind its end.
        if is_end {
            break;
        }
    }
    let rows = sink
        .as_mut()
        .finish()
        .await
        .map_err(|error| writer.err(&error))?;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    // The end of a binary copy comes as a message of its own, which is no row.
    let progress = &drive.lease.progress;
    progress.rows.fetch_add(rows - told, Ordering::Relaxed);
    Ok((rows, bytes))
}

fn note(progress: &Progress, rows: i64, bytes: i64, throttle: &Throttle) {
    progress.rows.fetch_add(rows, Ordering::Relaxed);
    progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    let millis = i64::try_from(throttle.copying().as_millis()).unwrap_or(i64::MAX);
    progress.copy_ms.store(millis, Ordering::Relaxed);
}

/// The streams that are copied: number, rows, bytes.
async fn copied(drive: &Drive<'_>) -> Result<Vec<(usize, i64, i64)>, CatalogError> {
    let rows = drive
        .home
        .query(
            "SELECT number, rows_copied, bytes_copied FROM shardgate.move_stream WHERE move_id = $1 AND copied",
            &[&drive.id()],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| {
            let number = usize::try_from(row.get::<_, i16>(0)).unwrap_or(usize::MAX);
            (number, row.get(1), row.get(2))
        })
        .collect())
}

/// Counts only what is there.
async fn reset_progress(drive: &Drive<'_>, done: &[(usize, i64, i64)]) -> Result<(), CatalogError> {
    let progress = &drive.lease.progress;
    let rows = done.iter().map(|(_, rows, _)| rows).sum();
    let bytes = done.iter().map(|(_, _, bytes)| bytes).sum();
    progress.rows.store(rows, Ordering::Relaxed);
    progress.bytes.store(bytes, Ordering::Relaxed);
    Ok(())
}

/// Writes down how much there is to copy, about: from the statistics, by the share of the source's keys. Single keys and
/// ranges are estimated by the server's planner.
async fn estimate(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    let (mut rows, mut bytes) = (0f64, 0f64);
    for table in &drive.tables {
        let backend = &drive.source.backend;
        let row = backend
            .query_one(
                &format!(
                    "SELECT greatest(c.reltuples, 0)::float8, pg_table_size(c.oid)::float8 FROM pg_class c \
                     WHERE c.oid = {}::regclass",
                    crate::quote::literal(&table.sql())
                ),
                &[],
            )
            .await
            .map_err(|error| backend.err(&error))?;
        let (all, size): (f64, f64) = (row.get(0), row.get(1));
        let share = match share(drive) {
            Some(share) => share,
            None if all > 0.0 => planned(drive, table).await? / all,
            None => 1.0,
        };
        rows += all * share;
        bytes += size * share;
    }
    let whole = |value: f64| value.clamp(0.0, 9e18) as i64;
    drive
        .home
        .execute(
            "UPDATE shardgate.move SET rows_total = $2, bytes_total = $3 WHERE id = $1",
            &[&drive.id(), &whole(rows), &whole(bytes)],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    Ok(())
}

/// The share of the source's buckets that is moved; None: there are none.
fn share(drive: &Drive<'_>) -> Option<f64> {
    let (Unpinned::Buckets(buckets), Method::Hash { owners }) =
        (&drive.parts.unpinned, &drive.map.method)
    else {
        return None;
    };
    let own = owners
        .iter()
        .filter(|owner| **owner == drive.source.id())
        .count();
    Some(buckets.len() as f64 / own.max(1) as f64)
}

/// How many rows the planner expects.
async fn planned(drive: &Drive<'_>, table: &MoveTable) -> Result<f64, CatalogError> {
    let backend = &drive.source.backend;
    let rows = backend
        .query(
            &format!(
                "EXPLAIN SELECT FROM ONLY {} WHERE {}",
                table.sql(),
                drive.predicate(table, &drive.parts)
            ),
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let first: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
    let found = first
        .split_once("rows=")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    Ok(found.unwrap_or(0.0))
}

/// The error of a move that is asked to wait.
pub(crate) fn paused(id: i64) -> CatalogError {
    PgError::new("57014", format!("move {id} is paused"))
        .hint(format!("Go on with `shard-admin move resume {id}`."))
        .into()
}
