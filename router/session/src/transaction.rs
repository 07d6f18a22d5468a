//! The transaction of one client, as the client sees it.

use crate::api::Slot;
use crate::planner::Planned;
use crate::settings::canonical_name;
use shardgate_sql::facts::{Command, Isolation, Statement, TransactionModes};
use shardgate_wire::backend::TxStatus;
use std::collections::BTreeSet;

/// Statements that may be said in a transaction before its first shard is known: SET LOCAL, SAVEPOINT and their kin.
pub(crate) const PRELUDE_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(crate) enum Transaction {
    /// No transaction block.
    None,
    /// BEGIN was answered, but no backend was needed yet.
    Virtual(Virtual),
    /// The block is open on the slot's backend.
    Joined { slot: Slot, modes: TransactionModes },
}

#[derive(Clone, Debug)]
pub(crate) struct Virtual {
    /// The client's BEGIN.
    pub begin: String,
    pub modes: TransactionModes,
    /// Texts that the home shard has accepted; they are repeated where the transaction goes.
    pub prelude: Vec<String>,
    /// Settings that the prelude changes, for the session and for the transaction alone.
    pub touched: BTreeSet<String>,
    pub touched_locally: BTreeSet<String>,
    pub failed: bool,
}

impl Transaction {
    /// The status of ReadyForQuery as far as the router itself knows.
    pub fn status(&self) -> TxStatus {
        match self {
            Transaction::None => TxStatus::Idle,
            Transaction::Virtual(block) if block.failed => TxStatus::Failed,
            Transaction::Virtual(_) | Transaction::Joined { .. } => TxStatus::InTransaction,
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Transaction::None)
    }

    fn modes(&self) -> Option<&TransactionModes> {
        match self {
            Transaction::None => None,
            Transaction::Virtual(block) => Some(&block.modes),
            Transaction::Joined { modes, .. } => Some(modes),
        }
    }

    /// Its snapshot is taken once, so that what was known before it began may not be what it sees. `default`: the value of
    /// `default_transaction_isolation`, if the session has set it.
    pub fn has_old_snapshot(&self, default: Option<&str>) -> bool {
        self.modes().is_some_and(|modes| {
            matches!(
                modes.isolation.or_else(|| default.and_then(isolation)),
                Some(Isolation::RepeatableRead | Isolation::Serializable)
            )
        })
    }

    /// It is known to be one that takes a new snapshot for each statement. What a role's or a server's own default is, is
    /// not known.
    pub fn has_new_snapshots(&self, default: Option<&str>) -> bool {
        let modes = self.modes();
        matches!(
            modes
                .and_then(|modes| modes.isolation)
                .or_else(|| default.and_then(isolation)),
            Some(Isolation::ReadCommitted | Isolation::ReadUncommitted)
        ) && modes.is_none_or(|modes| !modes.snapshot)
    }

    /// A standby can serve it: READ ONLY, and not SERIALIZABLE (standbys have no such transactions).
    pub fn may_use_replica(&self) -> bool {
        match self.modes() {
            None => true,
            Some(modes) => {
                modes.read_only == Some(true) && modes.isolation != Some(Isolation::Serializable)
            }
        }
    }
}

/// Merges what a SET TRANSACTION changes.
pub(crate) fn merge_modes(into: &mut TransactionModes, from: &TransactionModes) {
    into.isolation = from.isolation.or(into.isolation);
    into.read_only = from.read_only.or(into.read_only);
    into.deferrable = from.deferrable.or(into.deferrable);
    into.snapshot |= from.snapshot;
}

/// The modes of the transaction that the statement changes.
pub(crate) fn modes_set(planned: &Planned) -> Option<TransactionModes> {
    if let Statement::Command(
        Command::SetTransaction {
            session: false,
            modes,
        }
        | Command::Begin(modes),
    ) = &planned.facts.statement
    {
        return Some(modes.clone());
    }
    if let Statement::Command(Command::Set { name, value, .. }) = &planned.facts.statement
        && canonical_name(name) == "transaction_isolation"
    {
        let level = value.as_ref().and_then(|value| value.items.first());
        return Some(TransactionModes {
            isolation: level.and_then(|level| isolation(level)),
            ..TransactionModes::default()
        });
    }
    None
}

/// The isolation level that a value of the settings means.
fn isolation(level: &str) -> Option<Isolation> {
    match level.to_ascii_lowercase().as_str() {
        "read uncommitted" => Some(Isolation::ReadUncommitted),
        "read committed" => Some(Isolation::ReadCommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

/// What the statements since the last quiet moment did, to be settled before the client is told that all is ready.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    /// A statement was run, and not only prepared or described.
    pub ran: bool,
    /// Something was not proven to be read-only.
    pub wrote: bool,
    pub ddl: bool,
    /// An error was passed to the client.
    pub failed: bool,
    /// Settings whose session value may have changed.
    pub touched: BTreeSet<String>,
    /// Settings whose value within the transaction may have changed.
    pub touched_locally: BTreeSet<String>,
    /// Code ran that can change any setting and make temporary objects.
    pub anything: bool,
    /// Something of the above was not read back yet.
    pub unread: bool,
    /// RESET ALL ran as the last statement of a Query.
    pub reset_all: bool,
    /// ROLLBACK TO: local values went back.
    pub rolled_back_to: bool,
    /// A statement of the prelude of a virtual transaction is under way on a server, and nothing else that was executed.
    pub prelude: Option<Prelude>,
    /// The block as it was before a server saw it only because a statement was prepared or described there: where the
    /// block belongs is not known by that.
    pub looked: Option<Virtual>,
}

/// A statement that is tried on a server before the transaction's shard is known.
#[derive(Clone, Debug)]
pub(crate) struct Prelude {
    /// The block without the statement.
    pub before: Virtual,
    /// The block with it, should it succeed.
    pub after: Virtual,
    /// It was executed, and not only bound.
    pub ran: bool,
    /// More was sent behind it, which may be what fails.
    pub followed: bool,
}

impl Prelude {
    /// The statement leaves nothing to repeat.
    pub fn none(block: Virtual) -> Prelude {
        Prelude {
            after: block.clone(),
            before: block,
            ran: false,
            followed: false,
        }
    }
}

impl Deeds {
    /// Nothing has to be read back, undone or loaded before the client is told that all is ready.
    pub fn leave_nothing(&self) -> bool {
        !(self.unread || self.anything || self.ddl || self.reset_all)
            && self.prelude.is_none()
            && self.looked.is_none()
            && self.touched.is_empty()
            && self.touched_locally.is_empty()
    }
}

/// `SELECT` of the texts for the transaction's start on a backend: BEGIN and the prelude as one text.
pub(crate) fn opening(block: &Virtual) -> String {
    let mut sql = block.begin.clone();
    for text in &block.prelude {
        // The line break ends a comment that may stand at the end of the text before.
        sql.push_str("\n;");
        sql.push_str(text);
    }
    sql
}

impl Virtual {
    /// Whether the prelude has any savepoint that a failed block could go back to.
    pub fn has_savepoints(&self) -> bool {
        self.prelude.iter().any(|text| {
            matches!(
                shardgate_sql::analyze(text).statement,
                Statement::Command(Command::Savepoint(_))
            )
        })
    }

    /// Whether the prelude has the savepoint. Releases are not looked at: home has said whether a name exists.
    pub fn has_savepoint(&self, name: &str) -> bool {
        self.prelude.iter().any(|text| {
            matches!(shardgate_sql::analyze(text).statement, Statement::Command(Command::Savepoint(saved)) if saved == name)
        })
    }
}
