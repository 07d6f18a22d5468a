//! RESET, which goes back to what the client sent at its start: the server does not know that, since its own start was
//! another.
//!
//! Alone and outside of a transaction the router only changes what the next backend is told. Where it could be undone (in
//! a block, in a pipeline) the server runs it, in the router's words: its own RESET, then the value of the client's start.
//! So the server undoes it with all else, and the values are read back like those of any SET.

use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::{Doer, changes_names, touch};
use crate::owed::Purpose;
use crate::planner::Planned;
use crate::route::{Aim, Reach};
use crate::session::Session;
use crate::settings::{canonical_name, quote_literal, quote_name};
use crate::transaction::Transaction;
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use std::collections::{BTreeMap, BTreeSet};

/// What is reset.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    All,
    /// A setting of the client's start-up.
    One {
        name: String,
        local: bool,
        tag: &'static str,
    },
}

/// None: it is no RESET, or one that the server can carry out as it stands.
fn what(planned: &Planned, startup: &BTreeMap<String, String>) -> Option<What> {
    let Statement::Command(command) = &planned.facts.statement else {
        return None;
    };
    let (name, local, tag) = match command {
        Command::ResetAll => return Some(What::All),
        Command::Reset(name) => (name, false, "RESET"),
        Command::Set {
            name,
            value: None,
            local,
        } => (name, *local, "SET"),
        Command::Set { value: Some(_), .. }
        | Command::Begin(_)
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::ReleaseSavepoint(_)
        | Command::RollbackTo(_)
        | Command::SetTransaction { .. }
        | Command::Show(_)
        | Command::ShowAll
        | Command::DiscardAll
        | Command::Discard(_)
        | Command::Prepare { .. }
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Declare { .. }
        | Command::Fetch { .. }
        | Command::Close(_)
        | Command::Listen(_)
        | Command::Unlisten(_)
        | Command::Notify(_)
        | Command::SetConstraints
        | Command::PrepareTransaction(_)
        | Command::CommitPrepared(_)
        | Command::RollbackPrepared(_)
        | Command::Copy(_)
        | Command::Lock(_) => return None,
    };
    let name = canonical_name(name);
    startup
        .contains_key(&name)
        .then_some(What::One { name, local, tag })
}

impl Session {
    /// Who carries out a RESET; None: it is none that the router has a part in.
    pub(crate) fn reset_doer(&self, planned: &Planned, alone: bool) -> Option<Doer> {
        let local = match what(planned, &self.settings.startup)? {
            What::All => false,
            What::One { local, .. } => local,
        };
        Some(match (alone, local) {
            (true, false) => Doer::Router,
            // The server warns that it has no effect.
            (true, true) => Doer::Follow,
            (false, _) => Doer::Reset,
        })
    }

    /// Has the server reset it, and answers for it. Ok(Later): a backend is awaited.
    pub(crate) fn reset_on_server(
        &mut self,
        planned: &Planned,
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let Some(what) = what(planned, &self.settings.startup) else {
            return Err(PgError::error(
                "XX000",
                "a statement that resets nothing was to be reset",
            ));
        };
        let slot = match self.find(Aim::anywhere(), out) {
            Reach::Ready(slot) => slot,
            Reach::Later => return Ok(Flow::Later),
            Reach::Failed(error) => return Err(error),
        };
        let texts = self.reset_texts(&what);
        self.keep_prelude(&texts.join(";"), planned, Doer::Prelude)?;
        self.note_prelude_ran();
        self.open(slot, out);
        self.use_slot(slot);
        self.batch.executed = true;
        self.batch.path_changed |= match what {
            What::One { .. } => changes_names(planned),
            // Names that nobody has set keep their meaning.
            What::All => ["search_path", "transform_null_equals"]
                .iter()
                .any(|name| self.settings.value(name).is_some()),
        };
        self.counts.statements += 1;
        self.note_reset(&what);
        self.send_reset(slot, &texts, out);
        let tag = match what {
            What::All => "RESET",
            What::One { tag, .. } => tag,
        };
        self.made(|bytes| reply::command_complete(bytes, tag), out);
        Ok(Flow::Consumed)
    }

    fn send_reset(&mut self, slot: Slot, texts: &[String], out: &mut Output) {
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        for text in texts {
            place.execute_named(text, &Purpose::Prelude, buffer);
        }
        // What the server reports is for the client.
        place.params_changed = true;
    }

    /// The server's own RESET comes first: some settings (DateStyle) take from the value that they replace.
    fn reset_texts(&self, what: &What) -> Vec<String> {
        let set = |(name, value): (&String, &String), local: bool| {
            format!(
                "SELECT pg_catalog.set_config({}, {}, {local})",
                quote_literal(name),
                quote_literal(value)
            )
        };
        match what {
            What::All => std::iter::once("RESET ALL".to_string())
                .chain(self.settings.startup.iter().map(|entry| set(entry, false)))
                .collect(),
            What::One { name, local, .. } => {
                let word = if *local { "SET LOCAL" } else { "SET" };
                let own = format!("{word} {} TO DEFAULT", quote_name(name));
                let value = self.settings.startup.get_key_value(name);
                std::iter::once(own)
                    .chain(value.map(|entry| set(entry, *local)))
                    .collect()
            }
        }
    }

    /// All that may have another value now is read back.
    fn note_reset(&mut self, what: &What) {
        self.deeds.ran = true;
        match what {
            What::One { name, local, .. } => touch(&mut self.deeds, name.clone(), *local),
            What::All => {
                let settings = &self.settings;
                let names: BTreeSet<String> = settings
                    .startup
                    .keys()
                    .chain(settings.wanted().keys())
                    .chain(settings.overlay.keys())
                    .filter(|name| *name != "role")
                    .cloned()
                    .collect();
                for name in names {
                    touch(&mut self.deeds, name, false);
                }
                self.reset_own();
            }
        }
    }

    /// The router's own settings are no part of transactions.
    fn reset_own(&mut self) {
        self.settings.role = self.options.common.default_role;
        self.settings.shard = None;
        self.settings.pin = false;
    }

    /// A setting goes back to the value of the client's start-up; the next backend is told so.
    pub(crate) fn reset_one(&mut self, name: &str) {
        self.settings.reset(name);
        self.compare_params = true;
        for place in self.places.iter_mut().flatten() {
            place.prepared = false;
        }
    }

    /// As `reset_one`, of all settings.
    pub(crate) fn reset_all(&mut self, out: &mut Output) {
        self.settings.reset_all();
        self.reset_own();
        self.compare_params = true;
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            if let Some((place, buffer)) = self.reach(Slot(number), out)
                && place.pinned.is_some()
            {
                place.query("RESET ALL", Purpose::Prelude, buffer);
                place.prepared = false;
                if let Some(backend) = place.backend.as_mut() {
                    backend.was_reset();
                }
            }
        }
    }

    /// A RESET in a pipeline, which more may follow that fails.
    pub(crate) fn doer_in_pipeline(&self, planned: &Planned) -> Result<Doer, PgError> {
        let doer = self.doer(planned, self.batch.slot.is_some() && self.batch.executed)?;
        if planned.quiet {
            return Ok(doer);
        }
        let resets = what(planned, &self.settings.startup).is_some();
        Ok(match doer {
            Doer::Router if resets => Doer::Reset,
            Doer::Router
            | Doer::Planned
            | Doer::Follow
            | Doer::Prelude
            | Doer::Look
            | Doer::Reset => doer,
        })
    }

    /// Whether it is a RESET that was left to the server in the router's words.
    pub(crate) fn is_reset(&self, planned: &Planned) -> bool {
        what(planned, &self.settings.startup).is_some()
            && !matches!(self.transaction, Transaction::Virtual(ref block) if block.failed)
    }
}

/// RESET within a Query of several statements.
pub(crate) fn reset_in_query() -> PgError {
    PgError::error(
        "0A000",
        "RESET within a Query of several statements is not supported yet",
    )
    .detail("The values of the client's start-up are the router's.")
    .hint("Send it as a Query of its own.")
}
