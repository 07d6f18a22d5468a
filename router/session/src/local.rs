//! Statements that the router carries out itself: transaction control without a server, its own settings, EXPLAIN
//! (ROUTE), calls of its own functions.

use crate::api::{Output, Step};
use crate::client::Flow;
use crate::commands::refusal_error;
use crate::planner::Planned;
use crate::route::bad_role;
use crate::session::{Session, Wait, block_failed};
use crate::settings::{Role, canonical_name};
use crate::transaction::{Transaction, Virtual};
use bytes::{Bytes, BytesMut};
use shardgate_plan::snapshot::Snapshot;
use shardgate_plan::{Argument, Call, CallName, Route};
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::PgError;
use shardgate_wire::backend::put::{self as reply, ColumnDesc};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

const TEXT: u32 = 25;
const INT4: u32 = 23;
const VOID: u32 = 2278;

/// What a local statement answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalResult {
    /// Name and type of the columns; None: the statement gives no rows.
    pub column: Option<(String, u32)>,
    pub rows: Vec<String>,
    pub tag: String,
    pub warning: Option<(&'static str, String)>,
}

/// Work that the server crate (or several backends) carries out for a statement.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// The result if it goes well.
    pub result: LocalResult,
    /// It came as a simple Query: ReadyForQuery follows at once.
    pub simple: bool,
}

/// Whether the router can answer at once.
pub(crate) fn is_instant(planned: &Planned) -> bool {
    match &planned.compiled.route {
        Route::Call(call) => call.function == CallName::BackendPid,
        Route::AllShards => matches!(planned.facts.statement, Statement::Explain { .. }),
        Route::Home
        | Route::Any
        | Route::Keyed(_)
        | Route::One(_)
        | Route::Gather(..)
        | Route::Refused(_) => true,
    }
}

fn tag(text: &str) -> LocalResult {
    LocalResult {
        column: None,
        rows: Vec::new(),
        tag: text.to_string(),
        warning: None,
    }
}

fn rows(column: &str, ty: u32, rows: Vec<String>, tag: String) -> LocalResult {
    LocalResult {
        column: Some((column.to_string(), ty)),
        rows,
        tag,
        warning: None,
    }
}

impl Session {
    /// Carries the statement out. None: it takes time, and `finish_work` ends it.
    pub(crate) fn run_locally(
        &mut self,
        text: &str,
        planned: &Arc<Planned>,
        params: &[Option<String>],
        out: &mut Output,
    ) -> Result<Option<LocalResult>, PgError> {
        self.counts.statements += 1;
        let ends = matches!(
            planned.facts.statement,
            Statement::Command(Command::Commit { .. } | Command::Rollback { .. })
        );
        if self.block_is_lost() && !ends {
            // It was bound before the block failed.
            return Err(block_failed());
        }
        match &planned.facts.statement {
            Statement::Explain {
                route: true,
                inner_text,
                ..
            } => {
                let inner = text.get(inner_text.clone()).unwrap_or_default().to_string();
                return Ok(Some(self.explain_route(&inner)));
            }
            Statement::Command(command) => return self.run_command(text, command, out).map(Some),
            Statement::Empty
            | Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::Utility(_)
            | Statement::Unparsed { .. } => {}
        }
        match &planned.compiled.route {
            Route::Call(call) => self.call(call.clone(), params, out),
            Route::AllShards => {
                self.start_several(text, planned, out)?;
                Ok(None)
            }
            Route::Refused(refusal) => Err(refusal_error(refusal)),
            Route::Home | Route::Any | Route::Keyed(_) | Route::One(_) | Route::Gather(..) => Err(
                PgError::error("XX000", "a statement for a server was given to the router"),
            ),
        }
    }

    fn run_command(
        &mut self,
        text: &str,
        command: &Command,
        out: &mut Output,
    ) -> Result<LocalResult, PgError> {
        match command {
            Command::Begin(modes) => Ok(self.begin(text, modes)),
            Command::Commit { chain } => self.end_block("COMMIT", *chain),
            Command::Rollback { chain } => self.end_block("ROLLBACK", *chain),
            Command::Set { name, value, .. } => {
                let name = canonical_name(name);
                let Some(own) = name.strip_prefix("shardgate.").map(str::to_string) else {
                    self.reset_one(&name);
                    return Ok(tag("SET"));
                };
                let value = value
                    .as_ref()
                    .and_then(|value| value.items.first())
                    .map(String::as_str);
                self.set_own(&own, value)?;
                Ok(tag("SET"))
            }
            Command::Reset(name) => {
                let name = canonical_name(name);
                match name.strip_prefix("shardgate.") {
                    Some(own) => self.set_own(own, None)?,
                    None => self.reset_one(&name),
                }
                Ok(tag("RESET"))
            }
            Command::Show(name) => self.show_own(&canonical_name(name)),
            Command::ResetAll => {
                self.reset_all(out);
                Ok(tag("RESET"))
            }
            Command::DiscardAll => {
                self.reset_all(out);
                self.settings.wanted_mut().remove("role");
                self.settings.changed();
                self.statements.clear();
                self.portals.clear();
                self.settings.set_temporary(HashSet::new());
                self.close_pinned(out);
                Ok(tag("DISCARD ALL"))
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                Ok(tag("DEALLOCATE ALL"))
            }
            Command::Deallocate(Some(name)) => match self.statements.remove(name.as_bytes()) {
                Some(_) => Ok(tag("DEALLOCATE")),
                None => Err(PgError::error(
                    "26000",
                    format!("prepared statement \"{name}\" does not exist"),
                )),
            },
            Command::Unlisten(_) => Ok(tag("UNLISTEN")),
            Command::Savepoint(_)
            | Command::ReleaseSavepoint(_)
            | Command::RollbackTo(_)
            | Command::SetTransaction { .. }
            | Command::ShowAll
            | Command::Discard(_)
            | Command::Prepare { .. }
            | Command::Execute { .. }
            | Command::Declare { .. }
            | Command::Fetch { .. }
            | Command::Close(_)
            | Command::Listen(_)
            | Command::Notify(_)
            | Command::SetConstraints
            | Command::PrepareTransaction(_)
            | Command::CommitPrepared(_)
            | Command::RollbackPrepared(_)
            | Command::Copy(_)
            | Command::Lock(_) => Err(PgError::error(
                "XX000",
                "a command for a server was given to the router",
            )),
        }
    }

    fn begin(&mut self, text: &str, modes: &shardgate_sql::facts::TransactionModes) -> LocalResult {
        let mut result = tag(if starts_with_word(text, "start") {
            "START TRANSACTION"
        } else {
            "BEGIN"
        });
        match &self.transaction {
            Transaction::None => {
                self.transaction = Transaction::Virtual(Virtual {
                    begin: text.to_string(),
                    modes: modes.clone(),
                    prelude: Vec::new(),
                    touched: BTreeSet::new(),
                    touched_locally: BTreeSet::new(),
                    failed: false,
                });
            }
            Transaction::Virtual(_) | Transaction::Joined { .. } => {
                result.warning = Some((
                    "25001",
                    "there is already a transaction in progress".to_string(),
                ));
            }
        }
        result
    }

    /// COMMIT or ROLLBACK of a block that no server knows of.
    fn end_block(&mut self, word: &str, chain: bool) -> Result<LocalResult, PgError> {
        let block = match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::Virtual(block) => block,
            other => {
                self.transaction = other;
                if chain {
                    return Err(PgError::error(
                        "25P01",
                        format!("{word} AND CHAIN can only be used in transaction blocks"),
                    ));
                }
                let mut result = tag(word);
                result.warning = Some(("25P01", "there is no transaction in progress".to_string()));
                return Ok(result);
            }
        };
        self.settings.overlay.clear();
        self.settings.changed();
        // The client was told of values that are no longer in force.
        self.compare_params |= !block.touched.is_empty() || !block.touched_locally.is_empty();
        let result = tag(if block.failed { "ROLLBACK" } else { word });
        if chain {
            self.transaction = Transaction::Virtual(Virtual {
                prelude: Vec::new(),
                touched: BTreeSet::new(),
                touched_locally: BTreeSet::new(),
                failed: false,
                ..block
            });
        } else {
            self.take_snapshot();
        }
        Ok(result)
    }

    /// A setting of the router's own, by its name behind `shardgate.`; None: its default.
    pub(crate) fn set_own(&mut self, name: &str, value: Option<&str>) -> Result<(), PgError> {
        match name {
            "role" => {
                self.settings.role = match value {
                    None => self.options.common.default_role,
                    Some(text) => Role::parse(text).ok_or_else(|| bad_role(text))?,
                };
            }
            "shard" => {
                self.settings.shard = match value {
                    None | Some("") => None,
                    Some(text) => {
                        self.shard_by_name(text)?;
                        Some(text.to_string())
                    }
                };
            }
            "pin" => {
                self.settings.pin = match value.map(str::to_ascii_lowercase).as_deref() {
                    None | Some("off" | "false" | "no" | "0" | "default") => false,
                    Some("on" | "true" | "yes" | "1") => true,
                    Some(text) => {
                        return Err(PgError::error(
                            "22023",
                            format!(
                                "parameter \"shardgate.pin\" requires a Boolean value, not \"{text}\""
                            ),
                        ));
                    }
                };
            }
            other => return Err(unknown_own(other)),
        }
        Ok(())
    }

    fn show_own(&self, name: &str) -> Result<LocalResult, PgError> {
        let own = name.strip_prefix("shardgate.").unwrap_or(name);
        let value = match own {
            "role" => self.settings.role.name().to_string(),
            "shard" => self.settings.shard.clone().unwrap_or_default(),
            "pin" => if self.settings.pin { "on" } else { "off" }.to_string(),
            "epoch" => self.snapshot.epoch.number.to_string(),
            other => return Err(unknown_own(other)),
        };
        Ok(rows(name, TEXT, vec![value], "SHOW".to_string()))
    }

    fn close_pinned(&mut self, out: &mut Output) {
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let slot = crate::api::Slot(number);
            if self.place(slot).is_some_and(|place| place.pinned.is_some()) {
                self.close_place(slot, out);
            }
        }
    }

    fn explain_route(&mut self, inner: &str) -> LocalResult {
        let planned = self.plan(inner, &[]);
        let in_pipeline = false;
        let mut lines = match self.doer(&planned, in_pipeline) {
            Err(error) => vec![format!("Refused: {}", error.message)],
            Ok(crate::commands::Doer::Planned) => {
                let by_hand = planned
                    .facts
                    .hint
                    .as_ref()
                    .and_then(|hint| hint.shard.clone())
                    .or(self.settings.shard.clone());
                match by_hand {
                    Some(name) => vec![format!("Shard by hand: {name}")],
                    None => {
                        let decision = planned.compiled.decide(&[], &self.snapshot);
                        shardgate_plan::explain(&planned.compiled, &decision, &self.snapshot)
                    }
                }
            }
            Ok(crate::commands::Doer::Router) => match &planned.compiled.route {
                Route::AllShards | Route::Call(_) => {
                    let decision = planned.compiled.decide(&[], &self.snapshot);
                    shardgate_plan::explain(&planned.compiled, &decision, &self.snapshot)
                }
                Route::Home
                | Route::Any
                | Route::Keyed(_)
                | Route::One(_)
                | Route::Gather(..)
                | Route::Refused(_) => {
                    vec!["The router carries it out.".to_string()]
                }
            },
            Ok(
                crate::commands::Doer::Follow
                | crate::commands::Doer::Prelude
                | crate::commands::Doer::Look
                | crate::commands::Doer::Reset,
            ) => {
                vec!["The transaction's shard, or home outside of a transaction.".to_string()]
            }
        };
        lines.push(format!("Statement: {}", inner.trim()));
        rows("QUERY PLAN", TEXT, lines, "EXPLAIN".to_string())
    }

    fn call(
        &mut self,
        call: Call,
        params: &[Option<String>],
        out: &mut Output,
    ) -> Result<Option<LocalResult>, PgError> {
        let column = call.column.clone();
        if call.function == CallName::BackendPid {
            return Ok(Some(rows(
                &column,
                INT4,
                vec![self.options.pid.to_string()],
                "SELECT 1".to_string(),
            )));
        }
        if !self.transaction.is_none() || (self.batch.slot.is_some() && self.batch.executed) {
            return Err(PgError::error(
                "25001",
                "the router's functions cannot run inside a transaction block",
            )
            .hint("Call them outside of a transaction."));
        }
        let call = with_params(call, params)?;
        self.working = Some(Waiting {
            result: rows(&column, VOID, vec![String::new()], "SELECT 1".to_string()),
            simple: false,
        });
        self.wait = Wait::Work;
        let role = self.current_role().to_string();
        let search_path = self.settings.search_path().map(<[String]>::to_vec);
        out.steps.push(Step::Call {
            call,
            role,
            search_path,
        });
        Ok(None)
    }

    pub(crate) fn call_done(&mut self, result: Result<Arc<Snapshot>, PgError>, out: &mut Output) {
        let outcome = result.map(|snapshot| {
            self.set_newest(snapshot);
            self.take_snapshot();
        });
        self.finish_work(outcome, out);
    }

    /// Ends work that took time: its result or its error goes to the client.
    pub(crate) fn finish_work(&mut self, outcome: Result<(), PgError>, out: &mut Output) {
        let Some(work) = self.working.take() else {
            return;
        };
        match outcome {
            Ok(()) => self.put_local_result(&work.result, work.simple, out),
            Err(error) => self.fail(&error, out),
        }
        self.work_done(work.simple, out);
    }

    /// As `finish_work`, where a server has said the error.
    pub(crate) fn finish_failed(
        &mut self,
        warning: Option<PgError>,
        frame: Bytes,
        out: &mut Output,
    ) {
        let Some(work) = self.working.take() else {
            return;
        };
        if let Some(warning) = warning {
            self.made(|bytes| reply::notice(bytes, &warning), out);
        }
        self.counts.errors_relayed += 1;
        self.fail_as(frame, out);
        self.work_done(work.simple, out);
    }

    fn work_done(&mut self, simple: bool, out: &mut Output) {
        self.wait = Wait::Nothing;
        if simple && self.sync_now(out) == Flow::Later {
            debug_assert!(false, "a Sync without held messages never waits");
        }
        self.end_if_gone(out);
    }

    /// The rows and the tag. In the extended protocol the row description was asked for by Describe.
    pub(crate) fn put_local_result(
        &mut self,
        result: &LocalResult,
        simple: bool,
        out: &mut Output,
    ) {
        let mut bytes = BytesMut::new();
        if let Some((code, message)) = &result.warning {
            reply::notice(&mut bytes, &PgError::warning(*code, message.clone()));
        }
        if let Some((name, ty)) = &result.column {
            if simple {
                reply::row_description(
                    &mut bytes,
                    &[ColumnDesc {
                        name,
                        type_oid: *ty,
                        size: column_size(*ty),
                    }],
                );
            }
            for row in &result.rows {
                reply::data_row(&mut bytes, &[Some(row.as_bytes())]);
            }
        }
        reply::command_complete(&mut bytes, &result.tag);
        self.reply(bytes.freeze(), out);
    }

    /// What Describe says of a local statement.
    pub(crate) fn put_local_shape(&mut self, planned: &Arc<Planned>, out: &mut Output) {
        let column: Option<(String, u32)> = match &planned.facts.statement {
            Statement::Explain { route: true, .. } => Some(("QUERY PLAN".to_string(), TEXT)),
            Statement::Command(Command::Show(name)) => Some((canonical_name(name), TEXT)),
            Statement::Command(_)
            | Statement::Empty
            | Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::Utility(_)
            | Statement::Unparsed { .. } => match &planned.compiled.route {
                Route::Call(call) if call.function == CallName::BackendPid => {
                    Some((call.column.clone(), INT4))
                }
                Route::Call(call) => Some((call.column.clone(), VOID)),
                Route::AllShards
                | Route::Home
                | Route::Any
                | Route::Keyed(_)
                | Route::One(_)
                | Route::Gather(..)
                | Route::Refused(_) => None,
            },
        };
        self.made(
            |bytes| match &column {
                Some((name, ty)) => {
                    reply::row_description(
                        bytes,
                        &[ColumnDesc {
                            name,
                            type_oid: *ty,
                            size: column_size(*ty),
                        }],
                    );
                }
                None => reply::no_data(bytes),
            },
            out,
        );
    }
}

fn column_size(ty: u32) -> i16 {
    if ty == INT4 || ty == VOID { 4 } else { -1 }
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.trim_start()
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn unknown_own(name: &str) -> PgError {
    PgError::error(
        "42704",
        format!("unrecognized configuration parameter \"shardgate.{name}\""),
    )
    .hint("The router's settings are shardgate.role, shardgate.shard and shardgate.pin.")
}

/// Puts the values of parameters in their places.
fn with_params(mut call: Call, params: &[Option<String>]) -> Result<Call, PgError> {
    for (_, argument) in &mut call.args {
        if let Argument::Param(number) = argument {
            let value = usize::from(*number)
                .checked_sub(1)
                .and_then(|index| params.get(index))
                .ok_or_else(|| {
                    PgError::error("42P02", format!("there is no parameter ${number}"))
                })?;
            *argument = Argument::Text(value.clone());
        }
    }
    Ok(call)
}
