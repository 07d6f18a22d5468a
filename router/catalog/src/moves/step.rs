//! The steps of a move.

use serde::Serialize;

/// How far a move is. The order is that of a move that is neither reversed nor cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Everything is checked, and gates are put on both shards.
    Prepare,
    /// Rows are copied, each stream from its own snapshot.
    Copy,
    /// All rows are copied, and changes follow.
    CatchUp,
    /// The rows were compared. From here a switch can begin.
    Verified,
    /// Statements for the keys wait; the gate of the shard that loses them is being closed.
    Hold,
    /// The map has changed, and statements wait until every router knows.
    Moved,
    /// The target has the keys. From here it can be reversed or completed.
    Switched,
    /// The source has the keys again. From here it can be switched again or cancelled.
    Reversed,
    /// What is left on the source is being removed.
    Completing,
    Completed,
    /// What is on the target is being removed.
    Cancelling,
    Cancelled,
}

impl Step {
    pub const ALL: [Step; 12] = [
        Step::Prepare,
        Step::Copy,
        Step::CatchUp,
        Step::Verified,
        Step::Hold,
        Step::Moved,
        Step::Switched,
        Step::Reversed,
        Step::Completing,
        Step::Completed,
        Step::Cancelling,
        Step::Cancelled,
    ];

    /// As the catalog and `--output json` have it.
    pub fn name(self) -> &'static str {
        match self {
            Step::Prepare => "prepare",
            Step::Copy => "copy",
            Step::CatchUp => "catch_up",
            Step::Verified => "verified",
            Step::Hold => "hold",
            Step::Moved => "moved",
            Step::Switched => "switched",
            Step::Reversed => "reversed",
            Step::Completing => "completing",
            Step::Completed => "completed",
            Step::Cancelling => "cancelling",
            Step::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.name() == name)
    }

    /// Nothing is left of the move.
    pub fn is_ended(self) -> bool {
        matches!(self, Step::Completed | Step::Cancelled)
    }

    /// Statements for the keys wait.
    pub fn is_holding(self) -> bool {
        matches!(self, Step::Hold | Step::Moved)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
