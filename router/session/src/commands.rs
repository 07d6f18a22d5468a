//! Who carries out a statement: the router itself, or a server; and what a server's part does to the session's state.

use crate::planner::Planned;
use crate::settings::canonical_name;
use crate::transaction::{Deeds, Transaction};
use shardgate_plan::{Refusal, Route};
use shardgate_sql::facts::{Command, Statement, TransactionModes};
use shardgate_wire::PgError;

/// Who carries out one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doer {
    /// The router answers.
    Router,
    /// A server; the plan says which.
    Planned,
    /// A server: where the transaction is, else home. It needs no shard of its own.
    Follow,
    /// As Follow, but before the transaction has its first shard the home shard tries it, and it is repeated later.
    Prelude,
    /// A Prelude that leaves nothing to repeat.
    Look,
    /// A server, in the router's words; see `reset.rs`.
    Reset,
}

/// Chooses the doer. `in_pipeline`: the client has statements under way on a backend without a Sync behind them.
pub(crate) fn doer(
    planned: &Planned,
    transaction: &Transaction,
    in_pipeline: bool,
) -> Result<Doer, PgError> {
    let command = match &planned.facts.statement {
        Statement::Explain { route: true, .. } => return Ok(Doer::Router),
        Statement::Empty => return Ok(Doer::Follow),
        Statement::Query(_) if !planned.compiled.traits.sets.is_empty() => {
            return setting_doer(planned, transaction);
        }
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::Utility(_)
        | Statement::Unparsed { .. } => {
            return Ok(planned_doer(&planned.compiled.route));
        }
        Statement::Command(command) => command,
    };
    let block_is_ours = match transaction {
        Transaction::None => !in_pipeline,
        Transaction::Virtual(_) => true,
        Transaction::Joined { .. } => false,
    };
    let waiting_block = matches!(transaction, Transaction::Virtual(_));
    let prelude = if waiting_block {
        Doer::Prelude
    } else {
        Doer::Follow
    };
    Ok(match command {
        // What was set in the block for the session must come into force, so a server has to run it.
        Command::Commit { .. } if keeps_settings(transaction) => Doer::Follow,
        // In a block it is warned of, but its modes count.
        Command::Begin(modes) => match transaction {
            Transaction::None if block_is_ours => Doer::Router,
            Transaction::Virtual(_) if *modes == TransactionModes::default() => Doer::Look,
            Transaction::Virtual(_) => Doer::Prelude,
            Transaction::None | Transaction::Joined { .. } => Doer::Follow,
        },
        // Without a block a server warns.
        Command::Commit { .. } | Command::Rollback { .. } => {
            if waiting_block {
                Doer::Router
            } else {
                Doer::Follow
            }
        }
        Command::Savepoint(_)
        | Command::ReleaseSavepoint(_)
        | Command::RollbackTo(_)
        | Command::SetConstraints
        | Command::SetTransaction { .. } => prelude,
        Command::Set { local, name, value } => {
            let name = canonical_name(name);
            if let Some(own) = name.strip_prefix("shardgate.") {
                if *local {
                    return Err(
                        unsupported("SET LOCAL of the router's settings is not supported").hint(
                            format!("Use SET shardgate.{own}, and set it back afterwards."),
                        ),
                    );
                }
                return Ok(Doer::Router);
            }
            let items = value
                .as_ref()
                .map(|value| value.items.as_slice())
                .unwrap_or_default();
            check_setting(&name, items)?;
            prelude
        }
        Command::Reset(name) => {
            if canonical_name(name).starts_with("shardgate.") {
                Doer::Router
            } else {
                prelude
            }
        }
        Command::Show(name) => match () {
            () if canonical_name(name).starts_with("shardgate.") => Doer::Router,
            () if waiting_block => Doer::Look,
            () => Doer::Follow,
        },
        Command::ShowAll => {
            if waiting_block {
                Doer::Look
            } else {
                Doer::Follow
            }
        }
        Command::DiscardAll if waiting_block => Doer::Look,
        // In a block of the server it fails there.
        Command::DiscardAll | Command::ResetAll if block_is_ours && !waiting_block => Doer::Router,
        Command::DiscardAll => Doer::Follow,
        Command::ResetAll => Doer::Reset,
        Command::Deallocate(_) | Command::Unlisten(_) => Doer::Router,
        Command::Discard(_) | Command::Fetch { .. } | Command::Close(_) | Command::Notify(_) => {
            Doer::Follow
        }
        Command::Declare { hold: true, .. } => {
            return Err(unsupported("cursors WITH HOLD are not supported yet")
                .hint("Declare the cursor without HOLD and read it in one transaction."));
        }
        Command::Declare { .. } | Command::Copy(_) | Command::Lock(_) => {
            planned_doer(&planned.compiled.route)
        }
        Command::Prepare { .. } | Command::Execute { .. } => {
            return Err(
                unsupported("PREPARE and EXECUTE in SQL are not supported yet").hint(
                    "Prepare the statement through the driver's interface (the extended protocol).",
                ),
            );
        }
        Command::Listen(_) => {
            return Err(unsupported("LISTEN is not supported yet")
                .hint("Connect to the home shard directly to listen."));
        }
        Command::PrepareTransaction(_)
        | Command::CommitPrepared(_)
        | Command::RollbackPrepared(_) => {
            return Err(unsupported("two-phase commit by clients is not supported through the router")
                .detail("A prepared transaction would keep its locks on one shard, beyond the router's sight.")
                .hint("Connect to the shard directly."));
        }
    })
}

/// `SELECT set_config(..)` is SET in other words.
fn setting_doer(planned: &Planned, transaction: &Transaction) -> Result<Doer, PgError> {
    for set in &planned.compiled.traits.sets {
        let checked = [
            "client_encoding",
            "standard_conforming_strings",
            "session_authorization",
        ];
        match &set.value {
            Some(value) => check_setting(&set.name, std::slice::from_ref(value))?,
            None if checked.contains(&set.name.as_str()) => {
                return Err(
                    unsupported("set_config of this setting needs a literal value").detail(
                        format!("The router must know what \"{}\" becomes.", set.name),
                    ),
                );
            }
            None => {}
        }
        if set.name.starts_with("shardgate.") {
            return Err(
                unsupported("set_config of the router's settings is not supported")
                    .hint(format!("Use SET {}.", set.name)),
            );
        }
    }
    // Without parameters the text can be repeated where the transaction goes.
    let may_wait = matches!(transaction, Transaction::Virtual(_)) && planned.facts.params == 0;
    Ok(if may_wait {
        Doer::Prelude
    } else {
        Doer::Follow
    })
}

/// Whether the meaning of names may be another for the statements behind it: schema changes, temporary objects, code that
/// is not seen through.
pub(crate) fn changes_schema(planned: &Planned) -> bool {
    let traits = &planned.compiled.traits;
    traits.ddl
        || traits.temporary
        || traits.taints.is_some()
        || matches!(
            planned.facts.statement,
            Statement::Command(Command::Discard(_))
        )
}

fn keeps_settings(transaction: &Transaction) -> bool {
    match transaction {
        Transaction::Virtual(block) => !block.failed && !block.touched.is_empty(),
        Transaction::None | Transaction::Joined { .. } => false,
    }
}

fn planned_doer(route: &Route) -> Doer {
    match route {
        Route::AllShards | Route::Call(_) => Doer::Router,
        Route::Home
        | Route::Any
        | Route::Keyed(_)
        | Route::One(_)
        | Route::Gather(..)
        | Route::Spread(..)
        | Route::Refused(_) => Doer::Planned,
    }
}

fn unsupported(message: &str) -> PgError {
    PgError::error("0A000", message)
}

/// Refuses settings under which the router would read statements otherwise than the server does.
pub(crate) fn check_setting(name: &str, values: &[String]) -> Result<(), PgError> {
    let value = values
        .first()
        .map(|value| value.to_ascii_lowercase())
        .unwrap_or_default();
    match name {
        "standard_conforming_strings" if is_false(&value) => {
            Err(unsupported("standard_conforming_strings = off is not supported")
                .detail("Backslashes in plain string constants would mean something else to the server than to the router."))
        }
        "client_encoding" => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if ["", "utf8", "unicode", "sqlascii", "default"].contains(&plain.as_str()) {
                Ok(())
            } else {
                Err(unsupported("client encodings other than UTF8 are not supported")
                    .detail(format!("The client asked for \"{value}\"."))
                    .hint("Set client_encoding to UTF8."))
            }
        }
        "session_authorization" => Err(unsupported("SET SESSION AUTHORIZATION is not supported through the router")
            .hint("Log in as the role, or use SET ROLE.")),
        _ => Ok(()),
    }
}

/// Postgres takes every prefix that is clear.
fn is_false(value: &str) -> bool {
    let value = value.trim();
    value == "0"
        || (!value.is_empty() && ("false".starts_with(value) || "no".starts_with(value)))
        || (value.len() > 1 && "off".starts_with(value))
}

/// Notes what a statement that goes to a server will have done to the session.
pub(crate) fn note_deeds(planned: &Planned, deeds: &mut Deeds, in_block: bool) {
    let traits = &planned.compiled.traits;
    deeds.ran = true;
    deeds.ddl |= traits.ddl;
    let anything = traits.taints.is_some() || traits.temporary;
    deeds.anything |= anything;
    deeds.unread |= anything;
    for set in &traits.sets {
        touch(deeds, set.name.clone(), set.local && in_block);
    }
    deeds.queried |= matches!(planned.facts.statement, Statement::Query(_));
    let Statement::Command(command) = &planned.facts.statement else {
        deeds.wrote |= !traits.read_only;
        return;
    };
    match command {
        Command::Set { local, name, .. } => touch(deeds, canonical_name(name), *local && in_block),
        Command::Reset(name) => touch(deeds, canonical_name(name), false),
        Command::SetTransaction { session: true, .. } => {
            for name in [
                "default_transaction_isolation",
                "default_transaction_read_only",
                "default_transaction_deferrable",
            ] {
                touch(deeds, name.to_string(), false);
            }
        }
        // Only as the last statement of a Query outside of a block.
        Command::ResetAll => deeds.reset_all = true,
        Command::Discard(_) => {
            deeds.anything = true;
            deeds.unread = true;
        }
        Command::RollbackTo(_) => {
            deeds.rolled_back_to = true;
            deeds.unread |=
                !deeds.touched.is_empty() || !deeds.touched_locally.is_empty() || deeds.anything;
        }
        Command::Copy(copy) => deeds.wrote |= copy.from,
        Command::Notify(_) | Command::Lock(_) | Command::Declare { .. } => deeds.wrote = true,
        Command::Begin(_)
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::ReleaseSavepoint(_)
        | Command::SetTransaction { session: false, .. }
        | Command::SetConstraints
        | Command::Show(_)
        | Command::ShowAll
        | Command::DiscardAll
        | Command::Prepare { .. }
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Fetch { .. }
        | Command::Close(_)
        | Command::Listen(_)
        | Command::Unlisten(_)
        | Command::PrepareTransaction(_)
        | Command::CommitPrepared(_)
        | Command::RollbackPrepared(_) => {}
    }
}

pub(crate) fn touch(deeds: &mut Deeds, name: String, locally: bool) {
    // They end with the transaction, and cannot be set in another one that has begun to read.
    const OF_TRANSACTION: [&str; 3] = [
        "transaction_isolation",
        "transaction_read_only",
        "transaction_deferrable",
    ];
    if OF_TRANSACTION.contains(&name.as_str()) {
        return;
    }
    // Outside of a block SET LOCAL has no effect, and a Query of several statements may have ended its block.
    deeds.unread = true;
    if locally {
        deeds.touched_locally.insert(name);
    } else {
        deeds.touched.insert(name);
    }
}

/// Whether planning of later statements depends on what the statement changes.
pub(crate) fn changes_names(planned: &Planned) -> bool {
    const NAMES: [&str; 4] = [
        "search_path",
        "role",
        "session_authorization",
        "transform_null_equals",
    ];
    if planned
        .compiled
        .traits
        .sets
        .iter()
        .any(|set| NAMES.contains(&set.name.as_str()))
    {
        return true;
    }
    match &planned.facts.statement {
        Statement::Command(Command::Set { name, .. } | Command::Reset(name)) => {
            NAMES.contains(&canonical_name(name).as_str())
        }
        Statement::Command(Command::ResetAll | Command::DiscardAll) => true,
        Statement::Command(_)
        | Statement::Empty
        | Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::Utility(_)
        | Statement::Unparsed { .. } => false,
    }
}

/// A refusal of the planner as the error that the client reads.
pub(crate) fn refusal_error(refusal: &Refusal) -> PgError {
    let mut error = PgError::error(refusal.sqlstate, refusal.message.clone());
    if let Some(detail) = &refusal.detail {
        error = error.detail(detail.clone());
    }
    if let Some(hint) = &refusal.hint {
        error = error.hint(hint.clone());
    }
    error
}
