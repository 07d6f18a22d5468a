//! Driving a move: from the step that it is in to the one that is asked for, one step after the other.
//!
//! Each call takes the lease, does what is left of the way, and gives it back. A failure is written down in the move's
//! row; the same call can be made again.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::Drive;
use crate::moves::status::{MoveStatus, status, unknown};
use crate::moves::step::Step;
use crate::moves::{copy, ending, steps, switch};
use tracing::warn;

/// Drives a move to a step and answers how it is then.
///
/// `until` may be any step at which a move can stay: `Copy` (prepared), `CatchUp` (copied), `Verified`, `Switched`,
/// `Reversed`, `Completed`, `Cancelled`. What lies on the way is done: to complete a verified move, it is switched first.
/// A switch that another program left half-way is first ended: undone, or carried through if the map has changed.
///
/// # Errors
/// 42704 for an unknown id; 55006 while another program drives the move, if a switch was undone, or something is waited
/// for; 55000 if there is no way from the step that it is in; 57014 if it is paused; what the step says otherwise.
pub async fn advance(home: &mut Backend, id: i64, until: Step) -> Result<MoveStatus, CatalogError> {
    drive(home, id, async |drive| steps_to(drive, until).await).await
}

/// Takes the lease, does something, and gives the lease back.
async fn drive(
    home: &mut Backend,
    id: i64,
    work: impl AsyncFnOnce(&mut Drive<'_>) -> Result<(), CatalogError>,
) -> Result<MoveStatus, CatalogError> {
    let mut drive = Drive::open(home, id).await?;
    let outcome = work(&mut drive).await;
    let noted = note(&drive, &outcome).await;
    let Drive { home, lease, .. } = drive;
    let released = lease.release(home).await;
    outcome?;
    noted?;
    released?;
    status(home, id).await
}

/// The failure is kept for whoever looks at the move later.
async fn note(drive: &Drive<'_>, outcome: &Result<(), CatalogError>) -> Result<(), CatalogError> {
    let Err(error) = outcome else { return Ok(()) };
    let found = error.pg();
    let mut text = found.message;
    for more in [found.detail, found.hint].into_iter().flatten() {
        text.push_str(&format!("\n{more}"));
    }
    drive
        .home
        .execute(
            "UPDATE shardgate.move SET error = $3 WHERE id = $1 AND attempt = $2",
            &[&drive.id(), &drive.lease.attempt, &text],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    Ok(())
}

async fn steps_to(drive: &mut Drive<'_>, until: Step) -> Result<(), CatalogError> {
    loop {
        drive.lease.check()?;
        let cancels = until == Step::Cancelled;
        match drive.row.step {
            Step::Hold => switch::undo(drive).await?,
            Step::Moved => switch::finish(drive).await?,
            Step::Completing => ending::complete(drive).await?,
            Step::Cancelling => ending::cancel(drive).await?,
            Step::Prepare | Step::Copy | Step::CatchUp | Step::Verified if cancels => {
                ending::cancel(drive).await?;
            }
            step if step == until => {
                return if matches!(step, Step::Switched | Step::Reversed) {
                    switch::settle(drive).await
                } else {
                    Ok(())
                };
            }
            Step::Prepare | Step::Copy | Step::CatchUp if drive.lease.is_paused() => {
                return Err(copy::paused(drive.id()));
            }
            Step::Prepare => steps::prepare(drive).await?,
            Step::Copy => steps::copy(drive).await?,
            Step::CatchUp => {
                steps::catch_up(drive).await?;
                steps::verify(drive).await?;
            }
            // An earlier step was asked for, and is behind.
            Step::Verified if until < Step::Verified => return Ok(()),
            Step::Verified => switch::run(drive, false).await?,
            Step::Switched => {
                switch::settle(drive).await?;
                match until {
                    Step::Completed => ending::complete(drive).await?,
                    Step::Reversed => switch::run(drive, true).await?,
                    other => return no_way(drive, other),
                }
            }
            Step::Reversed => {
                switch::settle(drive).await?;
                match until {
                    Step::Cancelled => ending::cancel(drive).await?,
                    Step::Switched | Step::Completed => switch::run(drive, false).await?,
                    other => return no_way(drive, other),
                }
            }
            Step::Completed | Step::Cancelled => return no_way(drive, until),
        }
    }
}

fn no_way(drive: &Drive<'_>, until: Step) -> Result<(), CatalogError> {
    let step = drive.row.step;
    let hint = match step {
        Step::Switched => "It can be reversed or completed now; to cancel it, reverse it first.",
        Step::Reversed => "It can be switched again or cancelled now.",
        Step::Completed | Step::Cancelled => "It has ended. Start another move.",
        Step::Prepare
        | Step::Copy
        | Step::CatchUp
        | Step::Verified
        | Step::Hold
        | Step::Moved
        | Step::Completing
        | Step::Cancelling => "See its step with `shard-admin move status`.",
    };
    Err(drive
        .refuse("55000", format!("it is {step} and cannot become {until}"))
        .hint(hint)
        .into())
}

/// Asks whoever drives the move to stop before it is switched. What is copied by then stays, and is followed.
///
/// # Errors
/// 42704 for an unknown id; 55000 once it is switched.
pub async fn pause(home: &Backend, id: i64) -> Result<(), CatalogError> {
    set_paused(home, id, true).await
}

/// Takes a pause back. `advance` then goes on.
///
/// # Errors
/// 42704 for an unknown id.
pub async fn unpause(home: &Backend, id: i64) -> Result<(), CatalogError> {
    set_paused(home, id, false).await
}

async fn set_paused(home: &Backend, id: i64, paused: bool) -> Result<(), CatalogError> {
    let row = home
        .query_opt(
            "UPDATE shardgate.move SET paused = $2 WHERE id = $1 RETURNING step",
            &[&id, &paused],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let row = row.ok_or_else(|| unknown(id))?;
    let step: String = row.get(0);
    if paused && !matches!(step.as_str(), "prepare" | "copy" | "catch_up" | "verified") {
        home.execute(
            "UPDATE shardgate.move SET paused = false WHERE id = $1",
            &[&id],
        )
        .await
        .map_err(|error| home.err(&error))?;
        return Err(PgError::new(
            "55000",
            format!("move {id} cannot be paused in the step {step}"),
        )
        .hint("A move can be paused until it is switched.")
        .into());
    }
    Ok(())
}

/// Ends switches that somebody left half-way: their lease is over, and statements wait or a stream does not run. Answers
/// the moves that were ended.
///
/// # Errors
/// Those of the first move that could not be ended; the others are tried nevertheless.
pub async fn recover(home: &mut Backend) -> Result<Vec<i64>, CatalogError> {
    let rows = home
        .query(
            "SELECT id FROM shardgate.move WHERE (step IN ('hold', 'moved') OR NOT settled) \
             AND (lease IS NULL OR lease < now()) ORDER BY id",
            &[],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let mut done = Vec::new();
    let mut failed = None;
    for id in ids {
        match recover_one(home, id).await {
            Ok(true) => done.push(id),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, id, "a switch that was left half-way could not be ended");
                failed = Some(error);
            }
        }
    }
    match failed {
        None => Ok(done),
        Some(error) => Err(error),
    }
}

async fn recover_one(home: &mut Backend, id: i64) -> Result<bool, CatalogError> {
    let mut drive = match Drive::open(home, id).await {
        Ok(drive) => drive,
        // Somebody else was quicker.
        Err(error) if error.sqlstate() == "55006" => return Ok(false),
        Err(error) => return Err(error),
    };
    let ended = match drive.row.step {
        Step::Hold => switch::undo(&mut drive).await,
        Step::Moved => switch::finish(&mut drive).await,
        Step::Switched | Step::Reversed => switch::settle(&mut drive).await,
        Step::Prepare
        | Step::Copy
        | Step::CatchUp
        | Step::Verified
        | Step::Completing
        | Step::Completed
        | Step::Cancelling
        | Step::Cancelled => Ok(()),
    };
    let Drive { home, lease, .. } = drive;
    lease.release(home).await?;
    ended.map(|()| true)
}
