//! `shard-admin move ..`: each verb asks the catalog to drive a move to a step, shows how far it is, and says what it has
//! come to.

mod background;
mod drive;
mod edges;
mod parts;
mod progress;
mod report;
mod start;

pub use background::spawn;
pub use drive::{Goal, drive};
pub use parts::{Options, Throttle};
pub use progress::size;
pub use report::document;

use crate::cli::Shared;
use crate::failure::Failure;
use crate::output::Format;
use clap::{Args, Subcommand};
use shardgate_catalog::moves::{self, MoveStatus, Step};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Copy buckets, ranges, values or keys to another shard while applications go on; "switch" then hands them over
    Start(Box<start::Start>),
    /// List moves, the newest first
    List(List),
    /// Show how far a move is
    Status(Status),
    /// Have whoever drives a move stop; what is copied stays
    Pause(One),
    /// Go on with a move, whoever drove it before
    Resume(Resume),
    /// Compare both shards row by row, while applications write
    Verify(One),
    /// Give the keys to the target: statements for them wait for a moment
    Switch(One),
    /// Give the keys back to the source
    Reverse(One),
    /// Remove the rows from the source, and all that the move has made (switches first, if need be)
    Complete(One),
    /// Remove the copy from the target, and all that the move has made
    Cancel(One),
}

#[derive(Debug, Args)]
pub struct One {
    /// The move's id, as "move start" prints it
    id: i64,
    /// Return at once; it goes on in the background
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The move's id
    id: i64,
    /// How far: verified, switched, completed [default: to the end of what was begun]
    #[arg(long, value_parser = goal)]
    until: Option<Goal>,
    /// Return at once; it goes on in the background
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, Args)]
pub struct List {
    /// Moves that have ended, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// The move's id [default: all moves under way]
    id: Option<i64>,
    /// Show it anew until the move has ended
    #[arg(long)]
    watch: bool,
}

/// The step names that may be waited for; for clap.
pub fn goal(text: &str) -> Result<Goal, String> {
    match text {
        "verified" => Ok(Goal(Step::Verified)),
        "switched" => Ok(Goal(Step::Switched)),
        "completed" => Ok(Goal(Step::Completed)),
        other => Err(format!(
            "\"{other}\" is none of verified, switched, completed"
        )),
    }
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Start(args) => start::run(shared, *args).await,
        Verb::List(args) => list(shared, args.all).await,
        Verb::Status(args) => status(shared, args).await,
        Verb::Pause(args) => pause(shared, args.id).await,
        Verb::Resume(args) => {
            let home = shared.home().await?;
            moves::unpause(&home, args.id).await?;
            let now = moves::status(&home, args.id).await?;
            let goal = args.until.unwrap_or(Goal(natural_end(&now)));
            go(shared, args.id, goal, args.detach).await
        }
        Verb::Verify(args) => verify(shared, args.id).await,
        Verb::Switch(args) => go(shared, args.id, Goal(Step::Switched), args.detach).await,
        Verb::Reverse(args) => go(shared, args.id, Goal(Step::Reversed), args.detach).await,
        Verb::Complete(args) => go(shared, args.id, Goal(Step::Completed), args.detach).await,
        Verb::Cancel(args) => go(shared, args.id, Goal(Step::Cancelled), args.detach).await,
    }
}

/// Drives it, or has another process drive it.
async fn go(shared: &Shared, id: i64, goal: Goal, detach: bool) -> Result<(), Failure> {
    if detach {
        background::drive(shared, id, goal)?;
        let home = shared.home().await?;
        let now = moves::status(&home, id).await?;
        report::detached(&now, goal).print(shared.output);
        return Ok(());
    }
    let done = drive(shared, id, goal).await?;
    report::reached(&done).print(shared.output);
    Ok(())
}

/// Where a move rests next, from the step that it is in.
fn natural_end(now: &MoveStatus) -> Step {
    match now.step {
        Step::Prepare | Step::Copy | Step::CatchUp | Step::Verified => Step::Verified,
        Step::Hold | Step::Moved if now.reversing => Step::Reversed,
        Step::Hold | Step::Moved | Step::Switched => Step::Switched,
        Step::Reversed => Step::Reversed,
        Step::Completing | Step::Completed => Step::Completed,
        Step::Cancelling | Step::Cancelled => Step::Cancelled,
    }
}

async fn list(shared: &Shared, all: bool) -> Result<(), Failure> {
    let home = shared.home().await?;
    let mut found = moves::list(&home).await?;
    if !all {
        found.retain(|one| !one.step.is_ended());
    }
    report::list(&found, all).print(shared.output);
    Ok(())
}

async fn status(shared: &Shared, args: Status) -> Result<(), Failure> {
    let home = shared.home().await?;
    let Some(id) = args.id else {
        return list(shared, false).await;
    };
    let mut now = moves::status(&home, id).await?;
    if args.watch {
        let mut progress = progress::Progress::new(shared.output == Format::Json);
        while !now.step.is_ended() {
            progress.show(&now);
            tokio::time::sleep(Duration::from_millis(500)).await;
            now = moves::status(&home, id).await?;
        }
        progress.end();
    }
    report::status(&now).print(shared.output);
    Ok(())
}

async fn pause(shared: &Shared, id: i64) -> Result<(), Failure> {
    let home = shared.home().await?;
    moves::pause(&home, id).await?;
    let now = moves::status(&home, id).await?;
    report::paused(&now).print(shared.output);
    Ok(())
}

/// Exit code 3 if rows differ, as for `check`.
async fn verify(shared: &Shared, id: i64) -> Result<(), Failure> {
    let mut home = shared.home().await?.watched(edges::watch()?);
    let before = moves::status(&home, id).await?;
    if before.step < Step::Verified {
        let done = drive(shared, id, Goal(Step::Verified)).await?;
        report::reached(&done).print(shared.output);
        return Ok(());
    }
    let found = moves::verify_again(&mut home, id).await?;
    report::verified(&before, &found).print(shared.output);
    match found.is_equal() {
        true => Ok(()),
        false => Err(Failure {
            exit: crate::failure::Exit::Findings,
            ..Failure::new("the shards differ")
        }),
    }
}
