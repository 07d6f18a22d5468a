//! Commands of the session that name tables: COPY, LOCK, cursors, prepared statements. The others are the session's
//! own and have no route.

use crate::alter::is_spread;
use crate::blind;
use crate::decision::{Compiled, Context, Refusal, Route, Traits};
use crate::moving::Moving;
use crate::path::SearchPath;
use crate::query;
use crate::snapshot::Snapshot;
use shardgate_sql::facts::{Command, Copy, Facts, Name};

pub(crate) fn compile(
    command: &Command,
    facts: &Facts,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    match command {
        Command::Declare { query, .. } => crate::compile(query, snapshot, context),
        Command::Prepare { body, .. } => crate::compile(body, snapshot, context),
        Command::Copy(copy) => compile_copy(copy, facts, snapshot, context),
        Command::Lock(names) => compile_lock(names, snapshot, context),
        Command::Begin(_)
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::ReleaseSavepoint(_)
        | Command::RollbackTo(_)
        | Command::Set { .. }
        | Command::SetTransaction { .. }
        | Command::Reset(_)
        | Command::ResetAll
        | Command::Show(_)
        | Command::ShowAll
        | Command::DiscardAll
        | Command::Discard(_)
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Fetch { .. }
        | Command::Close(_)
        | Command::Listen(_)
        | Command::Unlisten(_)
        | Command::Notify(_)
        | Command::SetConstraints
        | Command::PrepareTransaction(_)
        | Command::CommitPrepared(_)
        | Command::RollbackPrepared(_) => home(Traits::default()),
    }
}

/// It is compiled as the query that it has.
pub(crate) fn has_query(command: &Command) -> bool {
    match command {
        Command::Declare { .. } | Command::Prepare { .. } => true,
        Command::Copy(copy) => copy.query.is_some(),
        Command::Lock(_)
        | Command::Begin(_)
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::ReleaseSavepoint(_)
        | Command::RollbackTo(_)
        | Command::Set { .. }
        | Command::SetTransaction { .. }
        | Command::Reset(_)
        | Command::ResetAll
        | Command::Show(_)
        | Command::ShowAll
        | Command::DiscardAll
        | Command::Discard(_)
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Fetch { .. }
        | Command::Close(_)
        | Command::Listen(_)
        | Command::Unlisten(_)
        | Command::Notify(_)
        | Command::SetConstraints
        | Command::PrepareTransaction(_)
        | Command::CommitPrepared(_)
        | Command::RollbackPrepared(_) => false,
    }
}

fn home(traits: Traits) -> Compiled {
    Compiled {
        route: Route::Home,
        traits,
        because: Vec::new(),
        concerns: Moving::NONE,
    }
}

/// The first of the names that home has not whole.
fn spread<'n>(names: &'n [Name], snapshot: &Snapshot, context: &Context<'_>) -> Option<&'n Name> {
    let path = SearchPath::effective(snapshot, context);
    let mut names = names.iter();
    names.find(|name| {
        snapshot.shards.len() > 1 && is_spread(&path.relation(name, snapshot, context), snapshot)
    })
}

fn compile_copy(
    copy: &Copy,
    facts: &Facts,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    if let Some(query) = copy.query.as_deref() {
        return query::compile(query, facts, None, snapshot, context);
    }
    let names = copy.relation.as_slice();
    match spread(names, snapshot, context) {
        Some(name) => Compiled {
            route: Route::Refused(Refusal::unsupported(
                format!("COPY of table \"{}\" is not supported yet", name.name),
                "Its rows lie on several shards.",
                "Insert with multi-row INSERT, and read with SELECT by key.",
            )),
            traits: Traits::default(),
            because: Vec::new(),
            concerns: Moving::NONE,
        },
        None => {
            let path = SearchPath::effective(snapshot, context);
            let blind =
                names
                    .iter()
                    .find_map(|name| match path.relation(name, snapshot, context) {
                        crate::path::Target::Known(relation)
                        | crate::path::Target::Ambiguous(relation) => {
                            blind::of_relation(relation, copy.from)
                        }
                        crate::path::Target::Temporary
                        | crate::path::Target::System
                        | crate::path::Target::Unknown => None,
                    });
            if let Some(refusal) = blind.filter(|_| snapshot.shards.len() > 1) {
                return Compiled {
                    route: Route::Refused(refusal),
                    traits: Traits::default(),
                    because: Vec::new(),
                    concerns: Moving::NONE,
                };
            }
            let temporary = names.iter().any(|name| {
                matches!(
                    path.relation(name, snapshot, context),
                    crate::path::Target::Temporary
                )
            });
            let taints = names
                .iter()
                .find_map(|name| code(name, &path, snapshot, context))
                .filter(|_| copy.from);
            home(Traits {
                read_only: !copy.from && copy.client,
                temporary,
                taints,
                ..Traits::default()
            })
        }
    }
}

/// The code that writing a relation runs.
fn code(
    name: &Name,
    path: &SearchPath,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Option<String> {
    match path.relation(name, snapshot, context) {
        crate::path::Target::Known(relation) | crate::path::Target::Ambiguous(relation) => {
            relation.runs_code.clone()
        }
        crate::path::Target::Temporary
        | crate::path::Target::System
        | crate::path::Target::Unknown => None,
    }
}

fn compile_lock(names: &[Name], snapshot: &Snapshot, context: &Context<'_>) -> Compiled {
    match spread(names, snapshot, context) {
        None => home(Traits::default()),
        Some(name) => Compiled {
            route: Route::Refused(Refusal::unsupported(
                format!("LOCK of table \"{}\" is not supported yet", name.name),
                "The lock would have to be taken on every shard in one transaction.",
                "Lock rows with SELECT .. FOR UPDATE by key, or take an advisory lock.",
            )),
            traits: Traits::default(),
            because: Vec::new(),
            concerns: Moving::NONE,
        },
    }
}
