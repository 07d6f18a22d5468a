//! Comparing the two shards of a move once more, when somebody asks for it: the move stays in its step.

use crate::connect::Backend;
use crate::error::CatalogError;
use crate::moves::drive::Drive;
use crate::moves::step::Step;
use crate::moves::verify::{self, Limits, Report, Sides};
use crate::moves::{streams, switch};

/// Compares the shard that owns the rows with the one that follows it, while applications write. After a switch the
/// stream goes back, and so does the comparison. Differences are no error here: they are in the report.
///
/// # Errors
/// 42704 for an unknown id; 55006 while another program drives the move; 55000 in a step in which nothing follows, or if
/// the follower does not keep up.
pub async fn verify_again(home: &mut Backend, id: i64) -> Result<Report, CatalogError> {
    let mut drive = Drive::open(home, id).await?;
    let outcome = compare(&mut drive).await;
    let Drive { home, lease, .. } = drive;
    let released = lease.release(home).await;
    let report = outcome?;
    released?;
    Ok(report)
}

async fn compare(drive: &mut Drive<'_>) -> Result<Report, CatalogError> {
    drive.lease.check()?;
    let backwards = match drive.row.step {
        Step::Verified | Step::Reversed => false,
        Step::Switched => true,
        Step::Prepare
        | Step::Copy
        | Step::CatchUp
        | Step::Hold
        | Step::Moved
        | Step::Completing
        | Step::Completed
        | Step::Cancelling
        | Step::Cancelled => {
            let step = drive.row.step;
            return Err(drive
                .refuse("55000", format!("nothing follows in step {step}"))
                .hint("A move can be compared once it is verified, until it is completed.")
                .into());
        }
    };
    // The stream that is to be compared may not have been started yet.
    if matches!(drive.row.step, Step::Switched | Step::Reversed) {
        switch::settle(drive).await?;
    }
    let (from, to) = drive.direction(backwards);
    let slots = streams::there(&to.backend, &streams::prefix(drive, backwards)).await?;
    let sides = Sides {
        source: &from.backend,
        target: &to.backend,
        slots: &slots,
    };
    verify::verify(sides, &switch::subjects(drive), &Limits::default()).await
}
