//! Gates: who may write the rows of a move, decided in each shard's database, whoever writes them and whatever it knows.
//!
//! Triggers wait on a lock while the gate is being closed and refuse once it is: see `local.sql`. Here they are made,
//! opened, closed and removed, and with them the replica identities and the guards that a move needs.

use crate::connect::Backend;
use crate::error::CatalogError;
use crate::guard::{self, GUARD};
use crate::moves::drive::{Drive, LOCKS_MS, Side, with_short_lock};
use crate::moves::lease::Lease;
use crate::moves::table::MoveTable;
use crate::quote::{ident, literal};
use shardgate_shard_map::ShardMap;

/// The class of the advisory locks of gates, as in `local.sql`.
const GATE_CLASS: i32 = 1_397_178_708;

/// What the names of a gate's triggers begin with: behind those of users, so that no other one changes the row after it.
pub(crate) const TRIGGERS: &str = "~shardgate_gate_";

/// Makes the gate of a shard, or says anew whether it is open.
pub(crate) async fn install(
    drive: &Drive<'_>,
    side: &Side,
    open: bool,
) -> Result<(), CatalogError> {
    let other = if side.row.id == drive.source.row.id {
        &drive.target.row.name
    } else {
        &drive.source.row.name
    };
    set(drive, side, open, &other.clone()).await?;
    for table in &drive.tables {
        with_short_lock(&side.backend, &triggers(drive, table).join("; "), LOCKS_MS).await?;
    }
    Ok(())
}

/// Writes the gate's row. Only the newest holder of the lease may.
async fn set(drive: &Drive<'_>, side: &Side, open: bool, other: &str) -> Result<(), CatalogError> {
    let changed = side
        .backend
        .execute(
            "INSERT INTO shardgate.gate (move_id, open, other_shard, attempt) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (move_id) DO UPDATE SET open = excluded.open, attempt = excluded.attempt \
             WHERE gate.attempt <= excluded.attempt",
            &[&drive.id(), &open, &other, &drive.lease.attempt],
        )
        .await
        .map_err(|error| side.backend.err(&error))?;
    if changed == 0 {
        return Err(Lease::lost(drive.id()));
    }
    Ok(())
}

/// Opens the gate: nobody needs to be waited for.
pub(crate) async fn open(drive: &Drive<'_>, side: &Side) -> Result<(), CatalogError> {
    set(drive, side, true, "").await
}

/// Closes the gate: waits until every transaction that has passed it has ended, for `lock_ms`, and writes the marks of
/// the streams behind their last changes. One message, so that nobody waits for this program in the middle of it.
///
/// # Errors
/// 55P03 if a transaction that has passed is still open after `lock_ms`.
pub(crate) async fn close(
    drive: &Drive<'_>,
    side: &Side,
    streams: &[String],
    mark: i64,
    lock_ms: u64,
) -> Result<(), CatalogError> {
    let id = drive.id();
    let key = id % 2_147_483_647;
    let marks: Vec<String> = streams.iter().map(|name| mark_sql(name, mark)).collect();
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '{lock_ms}ms'; SELECT pg_advisory_xact_lock({GATE_CLASS}, {key}); \
         DO $$ BEGIN UPDATE shardgate.gate SET open = false, attempt = {attempt} \
         WHERE move_id = {id} AND attempt <= {attempt}; \
         IF NOT FOUND THEN RAISE EXCEPTION 'driven by another program' USING ERRCODE = '55006'; END IF; END $$; \
         {}; COMMIT",
        if marks.is_empty() {
            "SELECT".to_owned()
        } else {
            marks.join("; ")
        },
        attempt = drive.lease.attempt,
    );
    let closed = side.backend.run(&sql).await;
    if closed.is_err() {
        side.backend.run("ROLLBACK").await?;
    }
    closed
}

/// The statement that sends a mark through a stream.
pub(crate) fn mark_sql(stream: &str, mark: i64) -> String {
    format!(
        "INSERT INTO shardgate.move_mark (stream, mark) VALUES ({}, {mark}) \
         ON CONFLICT (stream) DO UPDATE SET mark = excluded.mark",
        literal(stream)
    )
}

/// Takes the gate away, with everything that belongs to it.
pub(crate) async fn remove(drive: &Drive<'_>, side: &Side) -> Result<(), CatalogError> {
    for table in &drive.tables {
        if !exists(&side.backend, table).await? {
            continue;
        }
        let drops: Vec<String> = ["i", "u", "d", "t", "k"]
            .iter()
            .map(|which| {
                format!(
                    "DROP TRIGGER IF EXISTS {} ON {}",
                    ident(&format!("{TRIGGERS}{which}")),
                    table.sql()
                )
            })
            .collect();
        with_short_lock(&side.backend, &drops.join("; "), LOCKS_MS).await?;
    }
    side.backend
        .run(&format!(
            "DELETE FROM shardgate.gate WHERE move_id = {}; DELETE FROM shardgate.move_mark WHERE starts_with(stream, {})",
            drive.id(),
            literal(&format!("{}_", drive.prefix))
        ))
        .await
}

async fn exists(backend: &Backend, table: &MoveTable) -> Result<bool, CatalogError> {
    let row = backend
        .query_one(
            &format!("SELECT to_regclass({}) IS NOT NULL", literal(&table.sql())),
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row.get(0))
}

fn triggers(drive: &Drive<'_>, table: &MoveTable) -> Vec<String> {
    let id = drive.id();
    let of = |row: &str| {
        let column = format!("{row}.{}", ident(&table.key));
        drive.parts.predicate_sql(&column, &drive.map)
    };
    let trigger = |which: &str, when: &str, condition: String, function: &str| {
        format!(
            "CREATE OR REPLACE TRIGGER {} BEFORE {when} ON {} FOR EACH {} EXECUTE FUNCTION shardgate.{function}({id})",
            ident(&format!("{TRIGGERS}{which}")),
            table.sql(),
            if condition.is_empty() {
                "STATEMENT".to_owned()
            } else {
                format!("ROW WHEN ({condition})")
            }
        )
    };
    let either = format!("{} OR {}", of("OLD"), of("NEW"));
    let mut all = vec![
        trigger("i", "INSERT", of("NEW"), "gate_check"),
        trigger("u", "UPDATE", either.clone(), "gate_check"),
        trigger("d", "DELETE", of("OLD"), "gate_check"),
        trigger("t", "TRUNCATE", String::new(), "gate_refuse"),
    ];
    if needs_fixed_keys(table) {
        let key = ident(&table.key);
        let changed = format!("OLD.{key} IS DISTINCT FROM NEW.{key} AND ({either})");
        all.push(trigger("k", "UPDATE", changed, "gate_refuse"));
    }
    all
}

/// The stream does not carry values that are stored outside of a row and have not changed, unless the whole old row is
/// its identity. With another identity a row that enters the stream by a change of its key would lose them.
fn needs_fixed_keys(table: &MoveTable) -> bool {
    table.toast && table.primary_key.is_empty() && table.unique_index.is_some()
}

/// The replica identity that a table needs while it is moved; None: the one that it has will do. `now` is written as in
/// `shardgate.move_table`.
fn identity_needed(table: &MoveTable, now: &str) -> Option<String> {
    if table.primary_key.is_empty() {
        return match &table.unique_index {
            Some(index) if now == format!("i:{index}") => None,
            Some(index) => Some(format!("i:{index}")),
            None if now == "f" => None,
            None => Some("f".to_owned()),
        };
    }
    match now {
        // With a key the other shard finds rows by it, however the old row is told.
        "f" => None,
        _ if table.toast => Some("f".to_owned()),
        "n" => Some("d".to_owned()),
        _ => None,
    }
}

fn identity_sql(table: &MoveTable, identity: &str) -> String {
    let how = match identity.split_once(':') {
        Some((_, index)) => format!("USING INDEX {}", ident(index)),
        None if identity == "f" => "FULL".to_owned(),
        None if identity == "n" => "NOTHING".to_owned(),
        None => "DEFAULT".to_owned(),
    };
    format!("ALTER TABLE {} REPLICA IDENTITY {how}", table.sql())
}

async fn identity_of(backend: &Backend, table: &MoveTable) -> Result<String, CatalogError> {
    let row = backend
        .query_one(
            &format!(
                "SELECT CASE c.relreplident WHEN 'i' THEN 'i:' || (SELECT x.relname FROM pg_index i \
                 JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident) \
                 ELSE c.relreplident::text END FROM pg_class c WHERE c.oid = {}::regclass",
                literal(&table.sql())
            ),
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(row
        .get::<_, Option<String>>(0)
        .unwrap_or_else(|| "d".to_owned()))
}

/// Gives the tables on both shards the replica identities that the streams need, and notes what they had first.
pub(crate) async fn set_identities(drive: &Drive<'_>) -> Result<(), CatalogError> {
    for table in &drive.tables {
        let here = identity_of(&drive.source.backend, table).await?;
        let there = identity_of(&drive.target.backend, table).await?;
        // What is noted first stays: after a crash the tables may have the new ones already.
        drive
            .home
            .execute(
                "INSERT INTO shardgate.move_table (move_id, relation, source_identity, target_identity) \
                 VALUES ($1, $2::oid::regclass, $3, $4) ON CONFLICT DO NOTHING",
                &[&drive.id(), &table.relation, &here, &there],
            )
            .await
            .map_err(|error| drive.home.err(&error))?;
        for (side, now) in [(&drive.source, here), (&drive.target, there)] {
            if let Some(needed) = identity_needed(table, &now) {
                with_short_lock(&side.backend, &identity_sql(table, &needed), LOCKS_MS).await?;
            }
        }
    }
    Ok(())
}

/// Puts back the replica identities that the tables had.
pub(crate) async fn restore_identities(drive: &Drive<'_>) -> Result<(), CatalogError> {
    for table in &drive.tables {
        let row = drive
            .home
            .query_opt(
                "SELECT source_identity, target_identity FROM shardgate.move_table WHERE move_id = $1 AND relation = $2::oid",
                &[&drive.id(), &table.relation],
            )
            .await
            .map_err(|error| drive.home.err(&error))?;
        let Some(row) = row else { continue };
        for (side, column) in [(&drive.source, 0), (&drive.target, 1)] {
            let had: String = row.get(column);
            if exists(&side.backend, table).await?
                && identity_of(&side.backend, table).await? != had
            {
                with_short_lock(&side.backend, &identity_sql(table, &had), LOCKS_MS).await?;
            }
        }
    }
    Ok(())
}

/// Gives the tables of a shard the guard that follows from a map.
pub(crate) async fn set_guards(
    drive: &Drive<'_>,
    side: &Side,
    map: &ShardMap,
) -> Result<(), CatalogError> {
    for table in &drive.tables {
        if !exists(&side.backend, table).await? {
            continue;
        }
        let sql = format!(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {GUARD}, {}",
            table.sql(),
            guard::add(map, &table.key, side.id())
        );
        with_short_lock(&side.backend, &sql, LOCKS_MS).await?;
    }
    Ok(())
}
