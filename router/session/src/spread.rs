//! A write over several shards: each shard carries out its part, and all of them commit, or none.
//!
//! Home comes first, whether it has a part or not: its transaction parses the client's own statement, so that errors of
//! the text are those of one Postgres, and holds the lock of the table, behind which changes of the schema wait; it says
//! the time that all parts use; and it decides. The other shards follow one after the other, ascending by id, connections
//! as well as parts. So no two of these writes can wait for each other in a circle, which no single server would see.
//!
//! Then each shard is asked whether its transaction has written. If one at most has, all commit. If more have, those but
//! home prepare, home commits together with the decision row, and the others commit what they prepared. As with DDL
//! (`several.rs`), what a lost router or shard leaves prepared is ended by the decision row alone, and the client is told
//! "done" when every shard has it.

mod answers;
mod ending;
mod portal;
mod rows;
mod run;
mod search;
mod start;

pub(crate) use portal::{BoundSpread, in_a_move, not_alone};

use crate::api::{Edge, Slot};
use crate::gather::budget::Share;
use bytes::Bytes;
use search::Search;
use shardgate_plan::Spread;
use shardgate_shard_map::ShardId;
use shardgate_wire::frontend::Bind;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

/// A write on its way.
#[derive(Debug)]
pub(crate) struct Spreading {
    spread: Arc<Spread>,
    execution: Execution,
    gid: String,
    stage: Stage,
    /// The number of the epoch by which it was planned.
    pub epoch: u64,
    /// Home first, then ascending by id.
    members: Vec<Member>,
    /// The time of home's transaction.
    now: String,
    /// What home says of the result's columns: the whole message.
    description: Option<Bytes>,
    share: Share,
    rows: u64,
    /// The rows of RETURNING in the order in which the client gets them.
    ordered: Vec<Bytes>,
    /// What went wrong, and is the answer.
    error: Option<PgError>,
    /// The same as a server has sent it.
    said: Option<Bytes>,
    /// Which row of an INSERT is the first that fails.
    search: Option<Search>,
    /// PREPARE was sent: from here on a lost shard may hold a prepared transaction.
    preparing: bool,
    /// COMMIT was sent to the only shard that has written.
    committing: bool,
}

/// What the client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    /// The client's text, whole.
    pub text: Arc<str>,
    /// Types that it has declared for parameters.
    pub types: Arc<[u32]>,
    /// Its Bind; None: a simple Query.
    pub bind: Option<Bytes>,
    /// Of Execute; 0: all rows.
    pub max_rows: i32,
}

impl Execution {
    /// The client's Bind.
    fn bound(&self) -> Option<Bind<'_>> {
        self.bind
            .as_deref()
            .and_then(|bytes| Bind::parse(bytes).ok())
    }

    fn is_simple(&self) -> bool {
        self.bind.is_none()
    }
}

#[derive(Debug)]
struct Member {
    shard: ShardId,
    name: String,
    /// None: not asked for yet.
    slot: Option<Slot>,
    /// Its own gid, quoted: two shards may be databases of one server, where gids are unique.
    gid: String,
    /// It has a part.
    part: bool,
    /// Answers that have not come yet: each ends with ReadyForQuery.
    pending: usize,
    /// Of the last command, and of the part.
    tag: String,
    part_tag: String,
    rows: Vec<Bytes>,
    status: TxStatus,
    /// Its transaction has written, as it says itself.
    wrote: bool,
    can_prepare: bool,
    prepared: bool,
    /// Its connection has ended.
    lost: bool,
    /// How its part has failed: what the server has sent.
    failed: Option<Failure>,
}

/// An error of a server: the frame, and what it says.
#[derive(Clone, Debug)]
struct Failure {
    error: PgError,
    frame: Bytes,
}

impl Failure {
    /// Of a check that is made behind all rows: a foreign key.
    fn is_behind_rows(&self) -> bool {
        self.error.sqlstate == "23503"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The connection of the member with this index is awaited.
    Attaching(usize),
    /// Home looks at the statement.
    Checking,
    /// The member with this index carries out its part.
    Running(usize),
    /// Several parts of an INSERT have failed: the member with this index carries out its first rows again.
    Searching(usize),
    /// One shard at most has written: all commit.
    Finishing,
    Preparing,
    Deciding,
    Committing,
    RollingBack,
    /// The server ends what a lost shard may hold prepared.
    Resolving,
}

impl Stage {
    /// The edges before a member is sent what it has to do, and behind its answer.
    fn edges(self) -> Option<(Edge, Edge)> {
        match self {
            Stage::Running(_) => Some((Edge::WriteRun, Edge::WriteRan)),
            Stage::Finishing => Some((Edge::WriteFinish, Edge::WriteFinished)),
            Stage::Preparing => Some((Edge::WritePrepare, Edge::WritePrepared)),
            Stage::Deciding => Some((Edge::WriteDecide, Edge::WriteDecided)),
            Stage::Committing => Some((Edge::WriteCommit, Edge::WriteCommitted)),
            Stage::RollingBack => Some((Edge::WriteRollBack, Edge::WriteRolledBack)),
            Stage::Attaching(_) | Stage::Checking | Stage::Searching(_) | Stage::Resolving => None,
        }
    }
}

impl Spreading {
    fn member(&mut self, slot: Slot) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.slot == Some(slot))
    }

    fn home(&self) -> Option<&Member> {
        self.members.first()
    }

    /// Members but home that have written, and so prepare.
    fn participants(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().skip(1).filter(|member| member.wrote)
    }
}

impl Member {
    fn has_committed(&self) -> bool {
        self.tag == "COMMIT PREPARED"
    }

    /// After an attempt to roll back: nobody has said that nothing is prepared there.
    fn may_be_prepared(&self) -> bool {
        self.lost || (self.prepared && self.tag != "ROLLBACK PREPARED")
    }
}
