//! What must hold before a move does anything on a shard: what would break later is refused now, with the way out.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::{Drive, Side};
use crate::moves::table::MoveTable;
use crate::quote::literal;

/// A transaction that has been open for longer, in seconds, is named rather than waited for: a slot cannot be made before
/// it ends.
const OLD_TRANSACTION_S: f64 = 60.0;

/// Judges servers and tables of the move.
///
/// # Errors
/// 55000, 0A000 or 42501 with the first thing that is in the way.
pub(crate) async fn check(drive: &Drive<'_>) -> Result<(), CatalogError> {
    if drive.tables.is_empty() {
        return Ok(());
    }
    let streams = i64::from(drive.row.streams);
    for (side, publishes, follows) in [(&drive.source, streams + 1, 1), (&drive.target, 2, streams)]
    {
        server(side, publishes, follows).await?;
        old_transactions(&side.backend).await?;
    }
    for table in &drive.tables {
        one_table(drive, table).await?;
    }
    Ok(())
}

/// `publishes`: slots that are made there. `follows`: streams that end there.
async fn server(side: &Side, publishes: i64, follows: i64) -> Result<(), CatalogError> {
    let backend = &side.backend;
    let row = backend
        .query_one(
            "SELECT current_setting('server_version_num')::int8, current_setting('wal_level'), \
             (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
             current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots) \
                 - (SELECT count(*) FROM pg_replication_origin_status), \
             current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_stat_replication), \
             current_setting('max_logical_replication_workers')::int8 \
                 - (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL)",
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let whom = side.row.whom();
    let refuse = |message: String, hint: &str| {
        Err(PgError::new("55000", format!("{whom} {message}"))
            .hint(hint)
            .into())
    };
    let version: i64 = row.get(0);
    if version < 150_000 {
        return refuse(
            format!("runs PostgreSQL {}", version / 10_000),
            "Moves need PostgreSQL 15 or newer: publications with row filters.",
        );
    }
    let wal_level: String = row.get(1);
    if wal_level != "logical" {
        return refuse(
            format!("has wal_level = {wal_level}"),
            "Set wal_level = logical there and restart it.",
        );
    }
    if !row.get::<_, Option<bool>>(2).unwrap_or(false) {
        return Err(
            PgError::new("42501", format!("permission denied to move data of {whom}"))
                .hint(
                    "Connect as a superuser: streams and gates are made in the shards' databases.",
                )
                .into(),
        );
    }
    let (slots, senders, workers): (i64, i64, i64) = (row.get(3), row.get(4), row.get(5));
    if slots < publishes + follows {
        return refuse(
            format!(
                "has {slots} replication slots left, and {} are needed",
                publishes + follows
            ),
            "Raise max_replication_slots there (restart), or use fewer streams.",
        );
    }
    if senders < publishes {
        return refuse(
            format!("has {senders} WAL senders left, and {publishes} are needed"),
            "Raise max_wal_senders there (restart), or use fewer streams.",
        );
    }
    if workers < follows {
        return refuse(
            format!("has {workers} logical replication workers left, and {follows} are needed"),
            "Raise max_logical_replication_workers and max_worker_processes there (restart), or use fewer streams.",
        );
    }
    Ok(())
}

async fn old_transactions(backend: &Backend) -> Result<(), CatalogError> {
    let row = backend
        .query_opt(
            "SELECT format('prepared transaction \"%s\" of database \"%s\"', gid, database) FROM pg_prepared_xacts \
             WHERE prepared < clock_timestamp() - make_interval(secs => $1) \
             UNION ALL SELECT format('the transaction of process %s, role \"%s\", database \"%s\"', pid, usename, datname) \
             FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND backend_type = 'client backend' \
             AND xact_start < clock_timestamp() - make_interval(secs => $1) LIMIT 1",
            &[&OLD_TRANSACTION_S],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let Some(row) = row else { return Ok(()) };
    Err(PgError::new(
        "55006",
        format!(
            "{} is still open on {} after {OLD_TRANSACTION_S} s",
            row.get::<_, String>(0),
            backend.whom()
        ),
    )
    .detail("A stream can begin only when every transaction that writes at that moment has ended.")
    .hint("End it, then resume the move.")
    .into())
}

async fn one_table(drive: &Drive<'_>, table: &MoveTable) -> Result<(), CatalogError> {
    let name = table.display();
    let refuse = |what: &str, hint: &str| {
        Err(PgError::new("0A000", format!("table \"{name}\" {what}"))
            .hint(hint)
            .into())
    };
    if table.inherits {
        return refuse(
            "is partitioned or takes part in inheritance",
            "Detach it: rows of its partitions would not be moved.",
        );
    }
    if table.unlogged {
        return refuse(
            "is unlogged",
            "Its changes are not in the log, so they cannot be followed: ALTER TABLE .. SET LOGGED first.",
        );
    }
    if table.columns.iter().any(|column| column.is_oid) && has_large_objects(drive).await? {
        return refuse(
            "has a column of type oid, and there are large objects",
            "Large objects are not replicated. Store their contents in a bytea column, or remove them.",
        );
    }
    if !on_target(drive, table).await? {
        return Err(PgError::new(
            "55000",
            format!("table \"{name}\" is missing on {}", drive.target.row.whom()),
        )
        .hint("See `shard-admin check`.")
        .into());
    }
    if table.primary_key.is_empty() && table.unique_index.is_none() {
        return keyless(drive, table).await;
    }
    Ok(())
}

async fn has_large_objects(drive: &Drive<'_>) -> Result<bool, CatalogError> {
    let backend = &drive.source.backend;
    let row = backend
        .query_one("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)", &[])
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row.get(0))
}

async fn on_target(drive: &Drive<'_>, table: &MoveTable) -> Result<bool, CatalogError> {
    let backend = &drive.target.backend;
    let row = backend
        .query_one(
            &format!("SELECT to_regclass({}) IS NOT NULL", literal(&table.sql())),
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row.get(0))
}

/// Every change of a row looks through the whole table on the other shard, and compares all columns.
async fn keyless(drive: &Drive<'_>, table: &MoveTable) -> Result<(), CatalogError> {
    let backend = &drive.source.backend;
    let limit = drive.row.keyless_rows_max;
    let row = backend
        .query_one(
            &format!(
                "SELECT (SELECT count(*) FROM (SELECT FROM ONLY {} LIMIT {}) AS rows), \
                 (SELECT string_agg(a.attname, ', ') FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                  WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped \
                  AND t.typname IN ('json', 'xml', 'point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle'))",
                table.sql(),
                limit.saturating_add(1),
                literal(&table.sql())
            ),
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let hint = "Add a primary key, or a unique index over columns that are NOT NULL, with the sharding key among them.";
    let refuse = |detail: String| {
        Err(
            PgError::new("0A000", format!("table \"{}\" has no key", table.display()))
                .detail(detail)
                .hint(hint)
                .into(),
        )
    };
    if let Some(columns) = row.get::<_, Option<String>>(1) {
        return refuse(format!("Rows cannot be told apart by {columns}."));
    }
    if row.get::<_, i64>(0) > limit {
        return refuse(format!(
            "It has more than {limit} rows, and each change of one would look at all of them."
        ));
    }
    Ok(())
}
