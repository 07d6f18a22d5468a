//! Streams: how one shard follows the changes of a part of the keys on another. A publication with a row filter and a slot
//! on the shard that writes, a subscription on the one that follows.
//!
//! The slot is made by a function call of its own, never by CREATE SUBSCRIPTION: that would wait forever if both shards
//! are on one server. A mark is a row that a stream carries behind everything that was written before it; where it has
//! arrived, all of that has.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::{Drive, Side};
use crate::moves::gates::mark_sql;
use crate::quote::{ident, literal};
use shardgate_shard_map::Parts;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// How long making or dropping one of them may take on the server.
const STATEMENT_S: u32 = 60;
/// How long a process of a stream that was told to end may take.
const END_MS: u64 = 10_000;
/// Between two looks at something that has no event to wait for.
const LOOK_MS: u64 = 3;

/// One stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The name of its publication, slot and subscription.
    pub name: String,
    pub parts: Parts,
}

/// The streams that copy: each has a part of the keys.
pub(crate) fn copying(drive: &Drive<'_>) -> Vec<Stream> {
    let count = usize::try_from(drive.row.streams).unwrap_or(1);
    let parts = drive.parts.split(count);
    let named = parts.into_iter().enumerate().map(|(number, parts)| Stream {
        name: format!("{}_f{number}", drive.prefix),
        parts,
    });
    named.collect()
}

/// The stream of all keys that begins with a switch: back to the shard that loses them.
pub(crate) fn opposite(drive: &Drive<'_>, backwards: bool) -> Stream {
    Stream {
        name: format!("{}_{}0", drive.prefix, if backwards { 'f' } else { 'b' }),
        parts: drive.parts.clone(),
    }
}

/// What the names of the streams in a direction begin with. `_` stands for itself in `starts_with`.
pub(crate) fn prefix(drive: &Drive<'_>, backwards: bool) -> String {
    format!("{}_{}", drive.prefix, if backwards { 'b' } else { 'f' })
}

/// The names of the subscriptions of a direction that are there, running or not.
pub(crate) async fn there(to: &Backend, prefix: &str) -> Result<Vec<String>, CatalogError> {
    let rows = to
        .query(
            "SELECT subname::text FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database \
             WHERE datname = current_database()) AND starts_with(subname::text, $1) ORDER BY 1",
            &[&prefix],
        )
        .await
        .map_err(|error| to.err(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes the publication and the slot. Changes from here on are kept.
pub(crate) async fn publish(
    drive: &Drive<'_>,
    from: &Side,
    stream: &Stream,
) -> Result<(), CatalogError> {
    let tables: Vec<String> = drive
        .tables
        .iter()
        .map(|table| {
            format!(
                "{} WHERE ({})",
                table.sql(),
                drive.predicate(table, &stream.parts)
            )
        })
        .collect();
    let name = ident(&stream.name);
    from.backend
        .run(&format!(
            "CREATE PUBLICATION {name} FOR TABLE {}, shardgate.move_mark WHERE (stream = {}) \
             WITH (publish = 'insert,update,delete')",
            tables.join(", "),
            literal(&stream.name)
        ))
        .await?;
    timed(
        &from.backend,
        &format!(
            "SELECT pg_create_logical_replication_slot({}, 'pgoutput')",
            literal(&stream.name)
        ),
    )
    .await
    .map_err(|error| match &error {
        CatalogError::Postgres { error: found, .. }
            if found.sqlstate == SqlState::QUERY_CANCELED.code() =>
        {
            PgError::new(
                "55006",
                format!("a stream could not begin within {STATEMENT_S} s"),
            )
            .detail("It waits for every transaction that was writing when it was asked for.")
            .hint("End long transactions and prepared ones on the shard, then resume the move.")
            .into()
        }
        _ => error,
    })
}

/// Makes the subscription, which does nothing until it is enabled.
pub(crate) async fn subscribe(
    drive: &Drive<'_>,
    from: &Side,
    to: &Side,
    stream: &Stream,
) -> Result<(), CatalogError> {
    let conninfo = conninfo(drive.home, from).await?;
    let name = ident(&stream.name);
    timed(
        &to.backend,
        &format!(
            "CREATE SUBSCRIPTION {name} CONNECTION {} PUBLICATION {name} \
             WITH (create_slot = false, copy_data = false, enabled = false, slot_name = {name})",
            literal(&conninfo)
        ),
    )
    .await
}

/// How the server of the subscription reaches the primary of a shard.
async fn conninfo(home: &Backend, from: &Side) -> Result<String, CatalogError> {
    let row = home
        .query_one(
            "SELECT string_agg(host, ',' ORDER BY ordinal), string_agg(port::text, ',' ORDER BY ordinal) \
             FROM shardgate.shard_host WHERE shard_id = $1",
            &[&from.row.id],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let value = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let config = &from.row.config;
    let database = from
        .backend
        .query_one("SELECT current_database()::text", &[])
        .await
        .map_err(|error| from.backend.err(&error))?;
    let mut words = vec![
        format!(
            "host={}",
            value(&row.get::<_, Option<String>>(0).unwrap_or_default())
        ),
        format!(
            "port={}",
            value(&row.get::<_, Option<String>>(1).unwrap_or_default())
        ),
        format!("dbname={}", value(database.get(0))),
        "target_session_attrs=read-write connect_timeout=10".to_owned(),
    ];
    if let Some(user) = config.get_user() {
        words.push(format!("user={}", value(user)));
    }
    if let Some(password) = config.get_password().map(String::from_utf8_lossy) {
        words.push(format!("password={}", value(&password)));
    }
    Ok(words.join(" "))
}

/// Lets subscriptions run. All at once: the server starts workers at intervals.
pub(crate) async fn enable(to: &Backend, names: &[String]) -> Result<(), CatalogError> {
    if names.is_empty() {
        return Ok(());
    }
    let sql: Vec<String> = names
        .iter()
        .map(|name| format!("ALTER SUBSCRIPTION {} ENABLE", ident(name)))
        .collect();
    timed(to, &sql.join("; ")).await
}

/// Stops subscriptions, and returns when nothing of them runs on either shard.
pub(crate) async fn disable(
    from: &Backend,
    to: &Backend,
    names: &[String],
) -> Result<(), CatalogError> {
    if names.is_empty() {
        return Ok(());
    }
    let sql: Vec<String> = names
        .iter()
        .map(|name| format!("ALTER SUBSCRIPTION {} DISABLE", ident(name)))
        .collect();
    timed(to, &sql.join("; ")).await?;
    let until = Instant::now() + Duration::from_millis(END_MS);
    loop {
        // A worker that waits for changes would notice within a second; told to end, it does at once.
        let left = to
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_subscription WHERE subname = ANY ($1) AND pid IS NOT NULL",
                &[&names],
            )
            .await
            .map_err(|error| to.err(&error))?;
        if left.is_empty() && !is_active(from, names).await? {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(PgError::new("55006", "a stream does not end")
                .detail(format!(
                    "{} still runs after {END_MS} ms.",
                    names.join(", ")
                ))
                .into());
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

async fn is_active(from: &Backend, names: &[String]) -> Result<bool, CatalogError> {
    let row = from
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = ANY ($1) AND active)",
            &[&names],
        )
        .await
        .map_err(|error| from.err(&error))?;
    Ok(row.get(0))
}

/// Removes every stream of a direction, with whatever a crash has left of it.
pub(crate) async fn remove_all(from: &Side, to: &Side, prefix: &str) -> Result<(), CatalogError> {
    for name in there(&to.backend, prefix).await? {
        let name = ident(&name);
        // Without a slot's name the other shard is not asked.
        to.backend
            .run(&format!("ALTER SUBSCRIPTION {name} DISABLE"))
            .await?;
        to.backend
            .run(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"))
            .await?;
        to.backend.run(&format!("DROP SUBSCRIPTION {name}")).await?;
    }
    drop_slots(&from.backend, prefix).await?;
    let rows = from
        .backend
        .query(
            "SELECT pubname::text FROM pg_publication WHERE starts_with(pubname::text, $1)",
            &[&prefix],
        )
        .await
        .map_err(|error| from.backend.err(&error))?;
    for row in rows {
        from.backend
            .run(&format!(
                "DROP PUBLICATION IF EXISTS {}",
                ident(&row.get::<_, String>(0))
            ))
            .await?;
    }
    let marks = format!(
        "DELETE FROM shardgate.move_mark WHERE starts_with(stream, {})",
        literal(prefix)
    );
    from.backend.run(&marks).await?;
    to.backend.run(&marks).await
}

/// Slots whose names begin so, in this database: those that are read are taken from their readers.
pub(crate) async fn drop_slots(from: &Backend, prefix: &str) -> Result<(), CatalogError> {
    let until = Instant::now() + Duration::from_millis(END_MS);
    loop {
        let rows = from
            .query(
                "SELECT slot_name::text, nullif(active_pid, pg_backend_pid()) FROM pg_replication_slots WHERE database = current_database() \
                 AND starts_with(slot_name::text, $1)",
                &[&prefix],
            )
            .await
            .map_err(|error| from.err(&error))?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let name: String = row.get(0);
            if let Some(pid) = row.get::<_, Option<i32>>(1) {
                from.execute("SELECT pg_terminate_backend($1)", &[&pid])
                    .await
                    .map_err(|error| from.err(&error))?;
                continue;
            }
            let dropped = from
                .run(&format!(
                    "SELECT pg_drop_replication_slot({})",
                    literal(&name)
                ))
                .await;
            match dropped {
                Err(error)
                    if error.is_state(&SqlState::OBJECT_IN_USE)
                        || error.is_state(&SqlState::UNDEFINED_OBJECT) => {}
                other => other?,
            }
        }
        if Instant::now() >= until {
            return Err(PgError::new("55006", "a replication slot is still in use")
                .detail(format!("Its name begins with {prefix}."))
                .into());
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// A number that is larger than every one before it on that shard.
pub(crate) async fn new_mark(from: &Backend) -> Result<i64, CatalogError> {
    let row = from
        .query_one(
            "SELECT greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
             (SELECT max(mark) + 1 FROM shardgate.move_mark))",
            &[],
        )
        .await
        .map_err(|error| from.err(&error))?;
    Ok(row.get(0))
}

/// Sends a mark through the streams, and answers its number. What was committed before is before it.
pub(crate) async fn send_mark(from: &Backend, names: &[String]) -> Result<i64, CatalogError> {
    let mark = new_mark(from).await?;
    let sql: Vec<String> = names.iter().map(|name| mark_sql(name, mark)).collect();
    from.run(&format!("BEGIN; {}; COMMIT", sql.join("; ")))
        .await?;
    Ok(mark)
}

/// True once the mark has arrived through all of the streams: within `wait`, or not at all.
pub(crate) async fn mark_arrives(
    to: &Backend,
    names: &[String],
    mark: i64,
    wait: Duration,
) -> Result<bool, CatalogError> {
    let until = Instant::now() + wait;
    let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
    loop {
        let row = to
            .query_one(
                "SELECT count(*) FROM shardgate.move_mark WHERE stream = ANY ($1) AND mark >= $2",
                &[&names, &mark],
            )
            .await
            .map_err(|error| to.err(&error))?;
        if row.get::<_, i64>(0) >= count {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// How the streams are doing on the shard that writes: bytes that are not confirmed by the slowest, and bytes of log that
/// are kept for them. A slot that is gone or has lost its log is an error.
pub(crate) async fn lag(from: &Backend, names: &[String]) -> Result<(i64, i64), CatalogError> {
    let row = from
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE wal_status = 'lost'), \
             coalesce(max(pg_current_wal_lsn() - confirmed_flush_lsn), 0)::bigint, \
             coalesce(max(pg_current_wal_lsn() - restart_lsn), 0)::bigint \
             FROM pg_replication_slots WHERE slot_name = ANY ($1)",
            &[&names],
        )
        .await
        .map_err(|error| from.err(&error))?;
    let there: i64 = row.get(0);
    if usize::try_from(there) != Ok(names.len()) || row.get::<_, i64>(1) > 0 {
        return Err(PgError::new("55000", "the stream of a move is lost")
            .detail(format!(
                "{} does not have all of its replication slots any more, or not their log.",
                from.whom()
            ))
            .hint("Cancel the move, and start it again.")
            .into());
    }
    Ok((row.get::<_, i64>(2).max(0), row.get::<_, i64>(3).max(0)))
}

/// Errors that the subscriptions have run into so far.
pub(crate) async fn errors(to: &Backend, names: &[String]) -> Result<i64, CatalogError> {
    let row = to
        .query_one(
            "SELECT coalesce(sum(apply_error_count), 0)::bigint FROM pg_stat_subscription_stats WHERE subname = ANY ($1)",
            &[&names],
        )
        .await
        .map_err(|error| to.err(&error))?;
    Ok(row.get(0))
}

/// Runs statements with a limit that the server keeps, also when this program is gone.
async fn timed(backend: &Backend, sql: &str) -> Result<(), CatalogError> {
    let run = backend
        .run(&format!(
            "BEGIN; SET LOCAL statement_timeout = '{STATEMENT_S}s'; {sql}; COMMIT"
        ))
        .await;
    if matches!(&run, Err(error) if !error.is_unreachable()) {
        backend.run("ROLLBACK").await?;
    }
    run
}
