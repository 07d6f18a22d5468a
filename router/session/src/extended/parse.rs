//! Parse: what can be refused or answered at once; the rest is held until it is known where it belongs.

use crate::api::Output;
use crate::client::Flow;
use crate::commands::Doer;
use crate::extended::held::Held;
use crate::planner::{Planned, Texts};
use crate::provoke::{self, Fault, no_statement};
use crate::session::Session;
use crate::statements::{Change, Statement};
use bytes::{Bytes, BytesMut};
use shardgate_sql::facts::{Command, Statement as Facts};
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::Parse;
use std::sync::Arc;

/// The type of constants that have none yet, which a parameter cannot keep.
const UNKNOWN: u32 = 705;

impl Session {
    pub(crate) fn parse(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let Ok(parse) = Parse::parse(body) else {
            return self.provoke_by(frame, out);
        };
        if !self.batch.held.is_empty() && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.try_parse(&parse) {
            Ok((true, change)) => self.batch.held.push(Held::Parse {
                statement: Bytes::copy_from_slice(parse.name),
                change,
            }),
            Ok((false, change)) => {
                let mut bytes = BytesMut::new();
                reply::parse_complete(&mut bytes);
                self.reply_changing(bytes.freeze(), Some(change), out);
            }
            Err(Fault::AsSent) => return self.provoke_by(frame, out),
            Err(Fault::Text) => return self.provoke_text(parse.sql, out),
            Err(Fault::Unread(refusal)) => return self.ask_of_text(parse.sql, &refusal, out),
            Err(Fault::OfStatement(statement)) => {
                return self.provoke_with(&statement, frame, out);
            }
            Err(Fault::Ours(error)) => self.fail(&error, out),
            Err(Fault::Malformed(error)) => self.fail(&error.to_error(), out),
            Err(Fault::NoStatement | Fault::SecondPortal { .. }) => {
                self.fail(&no_statement(parse.name), out)
            }
        }
        Flow::Consumed
    }

    /// Ok(true, ..): a server has to parse it.
    fn try_parse(&mut self, parse: &Parse<'_>) -> Result<(bool, Change), Fault> {
        let text = self.sql_text(parse.sql)?;
        let lost = self.block_is_lost();
        if !parse.name.is_empty() {
            if self.statements.get(parse.name).is_some() {
                return Err(self.exists_already(parse, text));
            }
            if self.statements.len() >= self.options.common.prepared_max {
                return Err(Fault::Ours(PgError::error("54000", "too many prepared statements")
                    .detail(format!("The session holds {} prepared statements.", self.statements.len()))
                    .hint("Close statements that are no longer used, or raise limits.prepared_statements.")));
            }
        }
        if parse.name.is_empty() && self.parse_again(text, &parse.types) {
            return Ok((true, self.statements.no_change()));
        }
        let types: Arc<[u32]> = parse.types.clone().into();
        let planned = match self.texts(text, &types)? {
            Texts::One(planned) => planned,
            Texts::Pieces(pieces) if pieces.is_empty() => self.plan(text, &types),
            Texts::Pieces(_) => return Err(Fault::Text),
        };
        if let Facts::Command(Command::Copy(copy)) = &planned.facts.statement
            && copy.client
            && !lost
        {
            let error = PgError::error(
                "0A000",
                "COPY by the extended query protocol is not supported yet",
            );
            return Err(Fault::Ours(error.hint("Send the COPY as a simple query.")));
        }
        let doer = self.doer_in_pipeline(&planned)?;
        if let shardgate_plan::Route::Refused(refusal) = &planned.compiled.route
            && doer == Doer::Planned
            && self.settings.shard.is_none()
            && planned
                .facts
                .hint
                .as_ref()
                .is_none_or(|hint| hint.shard.is_none())
        {
            let error = crate::commands::refusal_error(refusal);
            return Err(match planned.facts.statement {
                Facts::Unparsed { .. } if error.sqlstate == "0A000" => Fault::Unread(error),
                Facts::Unparsed { .. }
                | Facts::Empty
                | Facts::Query(_)
                | Facts::Explain { .. }
                | Facts::Utility(_)
                | Facts::Command(_) => Fault::Ours(error),
            });
        }
        if matches!(doer, Doer::Router | Doer::Reset)
            && let Facts::Command(_) = &planned.facts.statement
            && types.iter().any(|oid| matches!(*oid, 0 | UNKNOWN))
        {
            // Nothing in a command says what type a parameter has.
            return Err(Fault::AsSent);
        }
        let statement = Statement {
            id: self.statements.next_id(),
            name: Bytes::copy_from_slice(parse.name),
            digest: if parse.name.is_empty() {
                0
            } else {
                self.planner.digest(text, &types)
            },
            text: Arc::from(text),
            types,
            planned,
            generation: self.settings.generation(),
            settings: self.settings.parse_hash(),
            set: self.settings.in_force(),
            confirmed: None,
            told: None,
        };
        let change = self.statements.insert(statement);
        Ok((!matches!(doer, Doer::Router | Doer::Reset), change))
    }

    /// The unnamed statement is parsed again with the same text, as drivers do that prepare nothing: all that is known of
    /// it still holds, if it is one that goes to a server whatever the session's state. False: it is another one, or a
    /// message before it may yet fail, so that it is skipped.
    fn parse_again(&mut self, text: &str, types: &[u32]) -> bool {
        if self.batch.slot.is_some() || !self.batch.held.is_empty() {
            return false;
        }
        let generation = self.settings.generation();
        let epoch = self.snapshot.epoch.id;
        let id = self.statements.next_id();
        let settings = &self.settings;
        let Some(statement) = self.statements.get_mut(b"") else {
            return false;
        };
        let same = statement.planned.quiet
            && statement.generation == generation
            && statement.planned.epoch == epoch
            && *statement.text == *text
            && *statement.types == *types;
        if same {
            statement.id = id;
            if !settings.are_in_force(&statement.set) {
                statement.settings = settings.parse_hash();
                statement.set = settings.in_force();
            }
            statement.confirmed = None;
            statement.told = None;
        }
        same
    }

    /// A server that has the new text under the name says so; if the text is wrong, it says that.
    fn exists_already(&self, parse: &Parse<'_>, text: &str) -> Fault {
        if self.may_send(parse.name) {
            return Fault::OfStatement(provoke::Statement {
                name: Bytes::copy_from_slice(parse.name),
                text: Arc::from(text),
                types: parse.types.clone().into(),
            });
        }
        let name = String::from_utf8_lossy(parse.name);
        Fault::Ours(PgError::error(
            "42P05",
            format!("prepared statement \"{name}\" already exists"),
        ))
    }

    /// The statement's plan under the present snapshot and names.
    pub(super) fn current_plan(&mut self, name: &[u8]) -> Option<Arc<Planned>> {
        let statement = self.statements.get(name)?;
        let generation = self.settings.generation();
        if statement.planned.epoch == self.snapshot.epoch.id && statement.generation == generation {
            return Some(statement.planned.clone());
        }
        let (text, types) = (statement.text.clone(), statement.types.clone());
        let planned = self.plan(&text, &types);
        if let Some(statement) = self.statements.get_mut(name) {
            statement.planned = planned.clone();
            statement.generation = generation;
        }
        Some(planned)
    }

    /// The statement's text without what surrounds it.
    pub(super) fn statement_text(&self, name: &[u8]) -> Arc<str> {
        let Some(statement) = self.statements.get(name) else {
            return Arc::from("");
        };
        if let Facts::Utility(_) = statement.planned.facts.statement {
            // Errors of a server say where in the whole text.
            return statement.text.clone();
        }
        match statement.text.get(statement.planned.piece.clone()) {
            Some(piece) if piece.len() < statement.text.len() => Arc::from(piece),
            Some(_) | None => statement.text.clone(),
        }
    }
}
