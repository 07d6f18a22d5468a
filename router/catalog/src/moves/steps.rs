//! The steps before a switch: preparing both shards, and catching up after the copy.

use crate::error::{CatalogError, PgError};
use crate::moves::drive::Drive;
use crate::moves::step::Step;
use crate::moves::{checks, copy, gates, routers, streams, switch};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long routers are waited for before a move puts rows on a second shard.
const ROUTERS_WAIT: Duration = Duration::from_secs(20);
/// A mark that arrives within this time means that the target follows closely.
const CLOSE_MS: u64 = 500;
/// How long a stream may make no progress before it is said.
const STUCK: Duration = Duration::from_secs(120);

/// Checks everything, and puts gates on both shards. The target's guard lets the rows in only behind its closed gate.
pub(crate) async fn prepare(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    drive.pass("move-prepare");
    checks::check(drive).await?;
    gates::set_identities(drive).await?;
    drive.pass("move-identities");
    gates::install(drive, &drive.target, false).await?;
    gates::install(drive, &drive.source, true).await?;
    drive.pass("move-gates");
    let wide = drive
        .parts
        .assigned(&drive.map, drive.target.id())
        .map_err(|error| drive.refuse("55000", error.to_string()))?;
    gates::set_guards(drive, &drive.target, &wide).await?;
    drive.pass("move-guards");
    let (source, target) = (
        switch::timeline(&drive.source).await?,
        switch::timeline(&drive.target).await?,
    );
    // A shard may be home: then its tables have changed, and routers read them again.
    let epoch = drive
        .set_step_in_epoch(
            Step::Copy,
            &format!(", source_timeline = {source}, target_timeline = {target}"),
            async |_, _| Ok(()),
        )
        .await?;
    drive.row.source_timeline = source;
    drive.row.target_timeline = target;
    drive.pass("move-prepared");
    wait_for_routers(drive, epoch).await
}

/// Every router must ask each shard for its own rows alone before a row is on two of them.
async fn wait_for_routers(drive: &Drive<'_>, epoch: i64) -> Result<(), CatalogError> {
    let until = Instant::now() + ROUTERS_WAIT;
    match routers::drained(drive.home, epoch, until).await? {
        None => Ok(()),
        Some(behind) => Err(drive
            .refuse(
                "55006",
                format!(
                    "router {} does not take the new epoch into use",
                    behind.join(", ")
                ),
            )
            .detail(format!(
                "It has statements under way that were planned before epoch {epoch}."
            ))
            .hint("Wait for them or end the router, then resume the move.")
            .into()),
    }
}

/// The copy, from wherever it is.
pub(crate) async fn copy(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    // After a crash between the epoch and here.
    wait_for_routers(drive, drive.row.step_epoch).await?;
    for side in [&drive.source, &drive.target] {
        routers::raise_fence(&side.backend, drive.row.step_epoch).await?;
        routers::cut_off(drive.home, &side.backend, drive.row.step_epoch).await?;
    }
    copy::run(drive).await?;
    drive.set_step(Step::CatchUp).await?;
    drive.pass("move-copy-done");
    Ok(())
}

/// Waits until the target follows closely, and gives it statistics.
pub(crate) async fn catch_up(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    let running = streams::there(&drive.target.backend, &streams::prefix(drive, false)).await?;
    streams::enable(&drive.target.backend, &running).await?;
    let errors = streams::errors(&drive.target.backend, &running).await?;
    let mut moved_at = Instant::now();
    let mut lag_before = i64::MAX;
    loop {
        drive.lease.check()?;
        if drive.lease.is_paused() {
            return Err(copy::paused(drive.id()));
        }
        let mark = streams::send_mark(&drive.source.backend, &running).await?;
        let close = Duration::from_millis(CLOSE_MS);
        let arrived = streams::mark_arrives(&drive.target.backend, &running, mark, close).await?;
        let lag = note_lag(drive, &running, false).await?;
        if arrived {
            break;
        }
        if lag < lag_before {
            moved_at = Instant::now();
        }
        lag_before = lag;
        let failed = streams::errors(&drive.target.backend, &running).await? > errors;
        if failed || moved_at.elapsed() >= STUCK {
            return Err(stuck(drive, failed));
        }
    }
    for table in &drive.tables {
        drive
            .target
            .backend
            .run(&format!("ANALYZE {}", table.sql()))
            .await?;
    }
    drive.pass("move-caught-up");
    Ok(())
}

fn stuck(drive: &Drive<'_>, failed: bool) -> CatalogError {
    let target = drive.target.row.whom();
    let message = if failed {
        format!("{target} cannot apply a change of the source")
    } else {
        format!("{target} does not follow")
    };
    let error: PgError = drive.refuse("55000", message);
    error
        .hint("See its log. When the cause is removed, resume the move, or cancel it.")
        .into()
}

/// Writes down how far the follower is behind, and stops when too much log is kept for it.
pub(crate) async fn note_lag(
    drive: &Drive<'_>,
    running: &[String],
    backwards: bool,
) -> Result<i64, CatalogError> {
    let (from, _) = drive.direction(backwards);
    let (lag, wal) = streams::lag(&from.backend, running).await?;
    drive.lease.progress.lag_bytes.store(lag, Ordering::Relaxed);
    drive.lease.progress.wal_bytes.store(wal, Ordering::Relaxed);
    if wal > drive.row.wal_bytes_max {
        return Err(drive
            .refuse(
                "53100",
                format!("{} keeps {wal} bytes of log for it", from.row.whom()),
            )
            .detail(format!("The limit is {} bytes.", drive.row.wal_bytes_max))
            .hint("Find out why the other shard does not follow, or cancel the move.")
            .into());
    }
    Ok(lag)
}

/// Compares both shards, and says that a switch can begin.
pub(crate) async fn verify(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    let witness = switch::compare(drive, false).await?;
    if witness.is_some() {
        streams::drop_slots(&drive.source.backend, &format!("{}_w", drive.prefix)).await?;
    }
    drive
        .home
        .execute(
            "UPDATE shardgate.move SET verified_at = now() WHERE id = $1 AND attempt = $2",
            &[&drive.id(), &drive.lease.attempt],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    drive.set_step(Step::Verified).await?;
    drive.pass("move-verified");
    Ok(())
}
