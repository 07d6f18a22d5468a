//! Driving a move in the foreground, with progress, until it is where it is to be, or somebody interrupts.

use crate::cli::Shared;
use crate::cli::moves::edges;
use crate::cli::moves::progress::Progress;
use crate::demo::EndSignals;
use crate::failure::Failure;
use crate::output::Format;
use shardgate_catalog::CatalogError;
use shardgate_catalog::moves::{self, MoveStatus, Step};
use std::pin::pin;
use std::time::Duration;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long another program that drives the move, and may be dead, is waited for: its lease is over sooner.
const LEASE: Duration = Duration::from_secs(4);

/// The step that a move is to be brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal(pub Step);

impl Goal {
    /// The verb that has no other goal.
    pub fn verb(self) -> Option<&'static str> {
        match self.0 {
            Step::Reversed => Some("reverse"),
            Step::Cancelled => Some("cancel"),
            Step::Prepare
            | Step::Copy
            | Step::CatchUp
            | Step::Verified
            | Step::Hold
            | Step::Moved
            | Step::Switched
            | Step::Completing
            | Step::Completed
            | Step::Cancelling => None,
        }
    }
}

/// Drives it with progress on the standard error.
pub async fn drive(shared: &Shared, id: i64, goal: Goal) -> Result<MoveStatus, Failure> {
    let mut progress = Progress::new(shared.output == Format::Json);
    let done = drive_showing(shared, id, goal, |now| progress.show(now)).await;
    progress.end();
    done
}

/// Drives it, and gives `show` what is known of it twice a second.
async fn drive_showing(
    shared: &Shared,
    id: i64,
    goal: Goal,
    mut show: impl FnMut(&MoveStatus),
) -> Result<MoveStatus, Failure> {
    let mut signals = EndSignals::listen()?;
    let mut home = shared.home().await?.watched(edges::watch()?);
    let watcher = shared.home().await?;
    let mut work = pin!(async {
        let until = tokio::time::Instant::now() + LEASE;
        loop {
            match moves::advance(&mut home, id, goal.0).await {
                Err(error) if is_driven(&error) && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                other => return other,
            }
        }
    });
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            () = signals.next() => {
                let hint = format!("Go on with \"shard-admin move resume {id}\", or end it with \"shard-admin move cancel {id}\".");
                return Err(Failure::new("interrupted")
                    .detail(format!("Move {id} stays as it is; a switch that was under way is undone or carried through by a router."))
                    .hint(hint));
            }
            _ = look.tick() => {
                // Its own failure is told by the work itself.
                if let Ok(now) = moves::status(&watcher, id).await {
                    show(&now);
                }
            }
        }
    }
}

/// Another program has the lease.
fn is_driven(error: &CatalogError) -> bool {
    let error = error.pg();
    error.sqlstate == "55006" && error.message.contains("driven by another")
}
