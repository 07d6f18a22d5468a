//! The ends of a move: completing it removes what is left on the source, cancelling it what is on the target. Nothing else
//! stays behind on any shard.

use crate::error::CatalogError;
use crate::moves::drive::{Drive, Side};
use crate::moves::step::Step;
use crate::moves::{gates, routers, streams, trim};
use std::time::{Duration, Instant};
use tracing::warn;

/// How long the standbys of the shard that has the rows are waited for before the other copy is deleted.
const STANDBYS_WAIT: Duration = Duration::from_secs(30);

struct Edges {
    begin: &'static str,
    streams: &'static str,
    deleted: &'static str,
    guards: &'static str,
    gates: &'static str,
    end: &'static str,
}

const COMPLETE: Edges = Edges {
    begin: "move-complete",
    streams: "move-complete-streams",
    deleted: "move-complete-deleted",
    guards: "move-complete-guards",
    gates: "move-complete-gates",
    end: "move-completed",
};

const CANCEL: Edges = Edges {
    begin: "move-cancel",
    streams: "move-cancel-streams",
    deleted: "move-cancel-deleted",
    guards: "move-cancel-guards",
    gates: "move-cancel-gates",
    end: "move-cancelled",
};

/// The target keeps the rows.
pub(crate) async fn complete(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    if drive.row.step != Step::Completing {
        drive.set_step(Step::Completing).await?;
    }
    drive.pass(COMPLETE.begin);
    wait_for_standbys(&drive.target).await?;
    cut_off_standbys(drive, &drive.source).await?;
    clean(drive, true, &COMPLETE).await?;
    end(drive, Step::Completed, &COMPLETE).await
}

/// The source keeps the rows.
pub(crate) async fn cancel(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    if drive.row.step != Step::Cancelling {
        drive.set_step(Step::Cancelling).await?;
    }
    drive.pass(CANCEL.begin);
    cut_off_standbys(drive, &drive.target).await?;
    clean(drive, false, &CANCEL).await?;
    end(drive, Step::Cancelled, &CANCEL).await
}

/// Removes streams, rows, the wide guard and gates. The gate of the shard that loses its rows stays until its guard
/// refuses them.
async fn clean(
    drive: &mut Drive<'_>,
    target_keeps: bool,
    edges: &Edges,
) -> Result<(), CatalogError> {
    streams::remove_all(&drive.source, &drive.target, &streams::prefix(drive, false)).await?;
    streams::remove_all(&drive.target, &drive.source, &streams::prefix(drive, true)).await?;
    let witness = format!("{}_w", drive.prefix);
    for side in [&drive.source, &drive.target] {
        streams::drop_slots(&side.backend, &witness).await?;
    }
    drive.pass(edges.streams);
    let loser = if target_keeps {
        &drive.source
    } else {
        &drive.target
    };
    trim::delete_all(drive, loser, &drive.parts).await?;
    drive.pass(edges.deleted);
    // The map says what each owns; the other shard's guard follows from it already, unless a crash came between.
    for side in [&drive.source, &drive.target] {
        gates::set_guards(drive, side, &drive.map).await?;
    }
    drive.pass(edges.guards);
    for side in [&drive.source, &drive.target] {
        gates::remove(drive, side).await?;
    }
    gates::restore_identities(drive).await?;
    drive.pass(edges.gates);
    Ok(())
}

async fn end(drive: &mut Drive<'_>, step: Step, edges: &Edges) -> Result<(), CatalogError> {
    let id = drive.id();
    drive
        .set_step_in_epoch(step, ", paused = false", async |tx, _| {
            tx.execute(
                "DELETE FROM shardgate.move_table WHERE move_id = $1",
                &[&id],
            )
            .await?;
            tx.execute(
                "DELETE FROM shardgate.move_stream WHERE move_id = $1",
                &[&id],
            )
            .await?;
            Ok(())
        })
        .await?;
    drive.pass(edges.end);
    Ok(())
}

/// Before the rows are deleted on a shard, no router that still looks for them there may be left on one of its standbys: each has the fence, and then whoever is older is ended.
async fn cut_off_standbys(drive: &Drive<'_>, side: &Side) -> Result<(), CatalogError> {
    if drive.row.since == 0 {
        return Ok(());
    }
    let until = Instant::now() + STANDBYS_WAIT;
    for standby in side.standbys().await {
        loop {
            let row = standby
                .query_one("SELECT fence FROM shardgate.identity", &[])
                .await
                .map_err(|error| standby.err(&error))?;
            if row.get::<_, i64>(0) >= drive.row.since {
                break;
            }
            if Instant::now() >= until {
                warn!(
                    host = standby.host(),
                    "a standby is far behind: its readers are ended"
                );
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        routers::cut_off(drive.home, &standby, drive.row.since).await?;
    }
    Ok(())
}

/// A standby that became the primary without the moved rows would be the only one that had them.
async fn wait_for_standbys(side: &Side) -> Result<(), CatalogError> {
    let until = Instant::now() + STANDBYS_WAIT;
    let backend = &side.backend;
    let row = backend
        .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
        .await
        .map_err(|error| backend.err(&error))?;
    let place: String = row.get(0);
    loop {
        let row = backend
            .query_one(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn < $1::text::pg_lsn \
                 AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active)",
                &[&place],
            )
            .await
            .map_err(|error| backend.err(&error))?;
        let behind: i64 = row.get(0);
        if behind == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            warn!(
                behind,
                shard = side.row.name,
                "standbys do not have the moved rows yet"
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
