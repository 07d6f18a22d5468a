//! The extended query protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Which backend a statement needs is known at its Bind at the earliest, so a Parse (and a Describe of the statement) is
//! held until the Bind behind it, or until something shows that none follows; then home, which has every table's
//! definition, answers it.

use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::Doer;
use crate::owed::{Entry, Kind, Purpose};
use crate::planner::{Planned, Texts};
use crate::route::{Aim, Reach};
use crate::session::{Held, Session, Wait};
use crate::simple::utf8;
use crate::statements::{Portal, Shape, Statement};
use crate::transaction::Transaction;
use bytes::{Bytes, BytesMut};
use shardgate_plan::Param;
use shardgate_sql::facts::{Command, Statement as Facts};
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Bind, Close, Describe, Execute, Parse, put};
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

impl Session {
    pub(crate) fn parse(&mut self, body: &[u8], out: &mut Output) -> Flow {
        let parse = match Parse::parse(body) {
            Ok(parse) => parse,
            Err(error) => return self.malformed(&error, out),
        };
        if !self.batch.held.is_empty() && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.try_parse(&parse) {
            Ok(held) => {
                if held {
                    self.batch.held.push(Held::Parse {
                        statement: Bytes::copy_from_slice(parse.name),
                    });
                } else {
                    let mut bytes = BytesMut::new();
                    reply::parse_complete(&mut bytes);
                    self.reply_parsed(
                        bytes.freeze(),
                        Some(Bytes::copy_from_slice(parse.name)),
                        out,
                    );
                }
            }
            Err(error) => self.fail(&error, out),
        }
        Flow::Consumed
    }

    fn try_parse(&mut self, parse: &Parse<'_>) -> Result<bool, PgError> {
        let text = utf8(parse.sql)?;
        if !parse.name.is_empty() {
            if self.statements.get(parse.name).is_some() {
                let name = String::from_utf8_lossy(parse.name);
                return Err(PgError::error(
                    "42P05",
                    format!("prepared statement \"{name}\" already exists"),
                ));
            }
            if self.statements.len() >= self.options.prepared_max {
                return Err(PgError::error("54000", "too many prepared statements")
                    .detail(format!("The session holds {} prepared statements.", self.statements.len()))
                    .hint("Close statements that are no longer used, or raise limits.prepared_statements."));
            }
        }
        let types: Arc<[u32]> = parse.types.clone().into();
        let planned = match self.texts(text, &types)? {
            Texts::One(planned) => planned,
            Texts::Pieces(pieces) if pieces.is_empty() => self.plan(text, &types),
            Texts::Pieces(_) => {
                return Err(PgError::error(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        if let Facts::Command(Command::Copy(copy)) = &planned.facts.statement
            && copy.client
        {
            return Err(PgError::error(
                "0A000",
                "COPY by the extended query protocol is not supported yet",
            )
            .hint("Send the COPY as a simple query."));
        }
        self.refuse_if_failed(&planned)?;
        let in_pipeline = self.batch.slot.is_some() && self.batch.executed;
        let doer = self.doer(&planned, in_pipeline)?;
        if let shardgate_plan::Route::Refused(refusal) = &planned.compiled.route
            && doer == Doer::Planned
            && self.settings.shard.is_none()
            && planned
                .facts
                .hint
                .as_ref()
                .is_none_or(|hint| hint.shard.is_none())
        {
            return Err(crate::commands::refusal_error(refusal));
        }
        let statement = Statement {
            id: self.statements.next_id(),
            name: Bytes::copy_from_slice(parse.name),
            text: Arc::from(text),
            types,
            planned,
            settings: self.settings.parse_hash(),
            set: self.settings.in_force(),
            confirmed: None,
            told: None,
        };
        self.statements.insert(statement);
        Ok(doer != Doer::Router)
    }

    /// A made reply in the order of replies.
    pub(crate) fn made(&mut self, write: impl FnOnce(&mut BytesMut), out: &mut Output) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.reply(bytes.freeze(), out);
    }

    /// The statement's plan under the present snapshot and names.
    fn current_plan(&mut self, name: &[u8]) -> Option<Arc<Planned>> {
        let statement = self.statements.get(name)?;
        let (text, types) = (statement.text.clone(), statement.types.clone());
        let planned = self.plan(&text, &types);
        if let Some(statement) = self.statements.get_mut(name) {
            statement.planned = planned.clone();
        }
        Some(planned)
    }

    pub(crate) fn bind(&mut self, body: &[u8], rest: &[u8], out: &mut Output) -> Flow {
        let bind = match Bind::parse(body) {
            Ok(bind) => bind,
            Err(error) => return self.malformed(&error, out),
        };
        let ours = |held: &Held| held.statement().as_ref() == bind.statement;
        if !self.batch.held.iter().all(ours) && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.try_bind(&bind, rest, out) {
            Ok(flow) => flow,
            Err(error) => {
                // The replies to what was held come before the error.
                if !self.batch.held.is_empty() && !self.send_held(out) {
                    self.checkout_error = None;
                    return Flow::Later;
                }
                if !self.batch.skipping {
                    self.fail(&error, out);
                }
                Flow::Consumed
            }
        }
    }

    fn try_bind(
        &mut self,
        bind: &Bind<'_>,
        rest: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let Some(planned) = self.current_plan(bind.statement) else {
            return Err(no_statement(bind.statement));
        };
        self.refuse_if_failed(&planned)?;
        let in_pipeline = self.batch.slot.is_some() && self.batch.executed;
        let doer = self.doer(&planned, in_pipeline)?;
        if self.batch.path_changed && doer == Doer::Planned && self.snapshot.shards.len() > 1 {
            return Err(PgError::error(
                "0A000",
                "search_path or role was changed in the same pipeline",
            )
            .hint("Send Sync behind the SET."));
        }
        if doer == Doer::Router {
            let params = bind
                .params()
                .map(|param| {
                    param
                        .value
                        .map(|value| utf8(value).map(str::to_string))
                        .transpose()
                })
                .collect::<Result<Vec<_>, _>>()?;
            let text = self.statement_text(bind.statement);
            let portal = Portal::Local {
                text,
                planned,
                params,
                done: false,
            };
            self.portals
                .insert(Bytes::copy_from_slice(bind.portal), portal);
            self.made(reply::bind_complete, out);
            return Ok(Flow::Consumed);
        }
        if self.batch.schema_changed && doer == Doer::Planned && self.mentions_spread(&planned) {
            return Err(crate::simple::schema_in_doubt());
        }
        let params: Vec<Param<'_>> = bind
            .params()
            .map(|param| Param {
                binary: param.binary,
                value: param.value,
            })
            .collect();
        let mut aim = self.aim(&planned, doer, &params)?;
        if self.transaction.is_none() && !executes_and_syncs(rest) {
            // More may follow in the same implicit transaction, so the server must be one that can do anything.
            aim.replica_safe = false;
        }
        let slot = match self.find(aim, out) {
            Reach::Ready(slot) => slot,
            Reach::Later => return Ok(Flow::Later),
            Reach::Failed(error) => return Err(error),
        };
        if matches!(doer, Doer::Prelude | Doer::Look) {
            let text = self.statement_text(bind.statement);
            self.keep_prelude(&text, &planned, doer)?;
        }
        self.open(slot, out);
        self.use_slot(slot);
        if !self.send_held_to(slot, out) || !self.confirm(slot, bind.statement, out)? {
            return Ok(Flow::Later);
        }
        self.put_bind(slot, bind, out);
        self.portals.insert(
            Bytes::copy_from_slice(bind.portal),
            Portal::Remote { planned },
        );
        Ok(Flow::Consumed)
    }

    /// The statement's text without what surrounds it.
    fn statement_text(&self, name: &[u8]) -> Arc<str> {
        let Some(statement) = self.statements.get(name) else {
            return Arc::from("");
        };
        match statement.text.get(statement.planned.piece.clone()) {
            Some(piece) if piece.len() < statement.text.len() => Arc::from(piece),
            Some(_) | None => statement.text.clone(),
        }
    }

    fn put_bind(&mut self, slot: Slot, bind: &Bind<'_>, out: &mut Output) {
        let name = self.backend_name(slot, bind.statement, out);
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::bind_with(buffer, bind.portal, name.as_bytes(), bind.rest);
            place.push(Entry::client(Kind::Bind));
            place.unsynced = true;
        }
    }

    pub(crate) fn use_slot(&mut self, slot: Slot) {
        self.batch.slot = Some(slot);
    }

    /// The name under which the statement stands on the slot's backend, with a Parse sent first if it does not yet.
    fn backend_name(&mut self, slot: Slot, name: &[u8], out: &mut Output) -> String {
        self.ensure_parsed(slot, name, None, out)
            .unwrap_or_default()
    }

    /// Sends a Parse if the backend does not have the statement. `held`: the reply is the client's.
    /// None: there is no such statement.
    fn ensure_parsed(
        &mut self,
        slot: Slot,
        name: &[u8],
        held: Option<&Held>,
        out: &mut Output,
    ) -> Option<String> {
        let statement = self.statements.get(name)?.clone();
        let epoch = self.snapshot.epoch.id;
        let origin = |kind: Kind| match held {
            Some(_) => Entry::client(kind).named(statement.name.clone()),
            None => Entry::router(kind, Purpose::Parse).named(statement.name.clone()),
        };
        let max = self.options.backend_prepared_max;
        let differs = !statement.planned.facts.literal_free
            && statement.settings != self.settings.parse_hash();
        let in_force = if differs {
            self.settings.in_force()
        } else {
            Arc::default()
        };
        // A failed block refuses the Parse, and a block with a snapshot of its own takes it there: no made reply then.
        let must_send = held.is_some()
            && (self.transaction.has_old_snapshot()
                || self
                    .place(slot)
                    .is_some_and(|place| place.status == TxStatus::Failed));
        let (place, buffer) = self.reach(slot, out)?;
        if statement.name.is_empty() {
            if held.is_none() && place.unnamed == Some(statement.id) {
                return Some(String::new());
            }
            if differs {
                place.execute(
                    &crate::settings::set_all(&in_force, &statement.set),
                    &Purpose::Prelude,
                    buffer,
                );
            }
            put::parse(buffer, b"", statement.text.as_bytes(), &statement.types);
            place.push(origin(Kind::Parse));
            place.unsynced = true;
            if differs {
                // The settings go back through a named statement, so that the unnamed one stays.
                place.execute_named(
                    &crate::settings::set_all(&statement.set, &in_force),
                    &Purpose::Prelude,
                    buffer,
                );
            }
            place.unnamed = Some(statement.id);
            return Some(String::new());
        }
        let key = statement.key(epoch);
        let backend = place.backend.as_mut()?;
        if let Some(number) = backend.prepared.get(&key).copied().filter(|_| !must_send) {
            if held.is_some() {
                // The server has the very same statement: it would say the same again.
                let mut bytes = BytesMut::new();
                reply::parse_complete(&mut bytes);
                if let Some(bytes) = backend
                    .owed
                    .push_made(bytes.freeze(), Some(statement.name.clone()))
                {
                    out.client.extend_from_slice(&bytes);
                }
            }
            return Some(router_name(number));
        }
        let number = backend.remember(key, max, buffer);
        if differs {
            place.execute(
                &crate::settings::set_all(&in_force, &statement.set),
                &Purpose::Prelude,
                buffer,
            );
        }
        put::parse(
            buffer,
            router_name(number).as_bytes(),
            statement.text.as_bytes(),
            &statement.types,
        );
        place.push(origin(Kind::Parse).number(number));
        if differs {
            place.execute(
                &crate::settings::set_all(&statement.set, &in_force),
                &Purpose::Prelude,
                buffer,
            );
        }
        place.unsynced = true;
        Some(router_name(number))
    }

    /// Sees that the statement's parameters and result still have the shape that the client was told, after the schema
    /// may have changed. Ok(false): an answer is awaited.
    fn confirm(&mut self, slot: Slot, name: &[u8], out: &mut Output) -> Result<bool, PgError> {
        let epoch = self.snapshot.epoch.id;
        let Some(statement) = self.statements.get(name) else {
            return Ok(true);
        };
        let Some(told) = statement.told.clone() else {
            return Ok(true);
        };
        if statement.confirmed == Some(epoch) {
            return Ok(true);
        }
        if let Some(shape) = self.verified.take() {
            if shape != told {
                return Err(PgError::error("0A000", "cached plan must not change result type")
                    .hint("The schema was changed since the statement was prepared; prepare it again."));
            }
            if let Some(statement) = self.statements.get_mut(name) {
                statement.confirmed = Some(epoch);
            }
            return Ok(true);
        }
        let Some(backend_name) = self.ensure_parsed(slot, name, None, out) else {
            return Ok(true);
        };
        self.verified = Some(Shape::default());
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'S', backend_name.as_bytes());
            put::flush(buffer);
            place.push(Entry::router(Kind::DescribeStatement, Purpose::Verify));
            place.unsynced = true;
        }
        self.wait = Wait::Drain(slot);
        Ok(false)
    }

    /// Sends what was held, to the backend that a statement of its kind can be parsed on. False: it must wait.
    pub(crate) fn send_held(&mut self, out: &mut Output) -> bool {
        if self.batch.held.is_empty() || self.batch.skipping {
            self.batch.held.clear();
            return true;
        }
        if self.answer_known_parses(out) {
            return true;
        }
        let mut aim = Aim::anywhere();
        if let Some(planned) = self
            .batch
            .held
            .first()
            .cloned()
            .and_then(|held| self.current_plan(held.statement()))
        {
            match planned.compiled.route {
                shardgate_plan::Route::One(shard) => aim.shard = Some(shard),
                shardgate_plan::Route::Home => aim.shard = Some(self.snapshot.home),
                shardgate_plan::Route::Any
                | shardgate_plan::Route::Keyed(_)
                | shardgate_plan::Route::AllShards
                | shardgate_plan::Route::Call(_)
                | shardgate_plan::Route::Refused(_) => {}
            }
            if let shardgate_sql::facts::Statement::Command(_) = planned.facts.statement {
                aim.shard = None;
            }
        }
        match self.find(aim, out) {
            Reach::Ready(slot) => {
                self.open(slot, out);
                self.use_slot(slot);
                self.send_held_to(slot, out)
            }
            Reach::Later => false,
            Reach::Failed(error) => {
                self.fail(&error, out);
                true
            }
        }
    }

    /// Answers held Parse messages without a server, where a server has parsed the very same statements before: a client
    /// that prepares needs no connection then. Not in a block that has failed, which refuses a Parse, nor in one whose
    /// snapshot the Parse would take. False: something has to be sent.
    fn answer_known_parses(&mut self, out: &mut Output) -> bool {
        let failed = match self.joined_slot() {
            Some(slot) => self
                .place(slot)
                .is_none_or(|place| place.status == TxStatus::Failed),
            None => false,
        };
        if failed || self.transaction.has_old_snapshot() || self.batch.slot.is_some() {
            return false;
        }
        let epoch = self.snapshot.epoch.id;
        let known = |held: &Held| match held {
            Held::Parse { statement } => self.statements.get(statement).is_some_and(|statement| {
                self.planner
                    .was_parsed(statement.key(epoch), self.current_role())
            }),
            Held::Describe { .. } => false,
        };
        if !self.batch.held.iter().all(known) {
            return false;
        }
        for held in std::mem::take(&mut self.batch.held) {
            let mut bytes = BytesMut::new();
            reply::parse_complete(&mut bytes);
            self.reply_parsed(bytes.freeze(), Some(held.statement().clone()), out);
        }
        true
    }

    /// Sends what was held to this backend.
    fn send_held_to(&mut self, slot: Slot, out: &mut Output) -> bool {
        for held in std::mem::take(&mut self.batch.held) {
            match &held {
                Held::Parse { statement } => {
                    self.ensure_parsed(slot, statement, Some(&held), out);
                }
                Held::Describe { statement } => self.put_describe(slot, statement, out),
            }
        }
        true
    }

    fn put_describe(&mut self, slot: Slot, statement: &Bytes, out: &mut Output) {
        let name = self.backend_name(slot, statement, out);
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'S', name.as_bytes());
            place.push(Entry::client(Kind::DescribeStatement).named(statement.clone()));
            place.unsynced = true;
        }
    }

    pub(crate) fn describe_message(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let describe = match Describe::parse(body) {
            Ok(describe) => describe,
            Err(error) => return self.malformed(&error, out),
        };
        if describe.kind == b'S' {
            self.describe_statement(describe.name, out)
        } else {
            self.describe_portal(describe.name, frame, out)
        }
    }

    fn describe_statement(&mut self, name: &[u8], out: &mut Output) -> Flow {
        let ours = |held: &Held| held.statement().as_ref() == name;
        if !self.batch.held.iter().all(ours) && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        let Some(planned) = self.current_plan(name) else {
            self.fail(&no_statement(name), out);
            return Flow::Consumed;
        };
        let in_pipeline = self.batch.slot.is_some() && self.batch.executed;
        match self.doer(&planned, in_pipeline) {
            Ok(Doer::Router) => {
                let count = planned.facts.params;
                self.made(
                    |bytes| reply::parameter_description(bytes, &vec![25; usize::from(count)]),
                    out,
                );
                self.put_local_shape(&planned, out);
            }
            Ok(Doer::Planned | Doer::Follow | Doer::Prelude | Doer::Look) => {
                self.batch.held.push(Held::Describe {
                    statement: Bytes::copy_from_slice(name),
                });
            }
            Err(error) => self.fail(&error, out),
        }
        Flow::Consumed
    }

    fn describe_portal(&mut self, name: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.portals.get(name).cloned() {
            Some(Portal::Local { planned, .. }) => self.put_local_shape(&planned, out),
            Some(Portal::Remote { .. }) => self.forward_portal(frame, Kind::DescribePortal, out),
            None => self.unknown_portal(name, frame, Kind::DescribePortal, out),
        }
        Flow::Consumed
    }

    /// A portal that the client did not bind: in a transaction it may be a cursor declared in SQL.
    fn unknown_portal(&mut self, name: &[u8], frame: &[u8], kind: Kind, out: &mut Output) {
        if let Transaction::Joined { slot, .. } = self.transaction {
            self.use_slot(slot);
            self.forward_portal(frame, kind, out);
        } else {
            let name = String::from_utf8_lossy(name).into_owned();
            self.fail(
                &PgError::error("34000", format!("portal \"{name}\" does not exist")),
                out,
            );
        }
    }

    fn forward_portal(&mut self, frame: &[u8], kind: Kind, out: &mut Output) {
        let Some(slot) = self.batch.slot.or(self.joined_slot()) else {
            self.fail(
                &PgError::error("34000", "the portal does not exist any more"),
                out,
            );
            return;
        };
        self.use_slot(slot);
        if let Some((place, buffer)) = self.reach(slot, out) {
            buffer.extend_from_slice(frame);
            place.push(Entry::client(kind));
            place.unsynced = true;
        }
    }

    pub(crate) fn execute(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let execute = match Execute::parse(body) {
            Ok(execute) => execute,
            Err(error) => return self.malformed(&error, out),
        };
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        let kind = Kind::Execute {
            limited: execute.max_rows > 0,
        };
        match self.portals.get(execute.portal).cloned() {
            Some(Portal::Local {
                text,
                planned,
                params,
                done,
            }) => {
                if done {
                    self.fail(&PgError::error("55000", "portal cannot be run"), out);
                    return Flow::Consumed;
                }
                return self.execute_locally(execute.portal, &text, &planned, &params, out);
            }
            Some(Portal::Remote { planned }) => {
                if let Some(slot) = self.batch.slot.or(self.joined_slot()) {
                    self.note(slot, &planned);
                }
                self.batch.path_changed |= crate::commands::changes_names(&planned);
                self.batch.schema_changed |= crate::commands::changes_schema(&planned);
                self.forward_portal(frame, kind, out);
                self.batch.executed = true;
            }
            None => {
                self.deeds.ran = true;
                self.deeds.wrote = true;
                self.unknown_portal(execute.portal, frame, kind, out);
                self.batch.executed = true;
            }
        }
        Flow::Consumed
    }

    pub(crate) fn joined_slot(&self) -> Option<Slot> {
        match self.transaction {
            Transaction::Joined { slot, .. } => Some(slot),
            Transaction::None | Transaction::Virtual(_) => None,
        }
    }

    fn execute_locally(
        &mut self,
        portal: &[u8],
        text: &str,
        planned: &Arc<Planned>,
        params: &[Option<String>],
        out: &mut Output,
    ) -> Flow {
        // Work that takes time must not overtake replies that a server still owes.
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some_and(|place| !place.owed_is_empty())
            && !crate::local::is_instant(planned)
        {
            if let Some((_, buffer)) = self.reach(slot, out) {
                put::flush(buffer);
            }
            self.wait = Wait::Drain(slot);
            return Flow::Later;
        }
        match self.run_locally(text, planned, params, out) {
            Ok(Some(result)) => self.put_local_result(&result, false, out),
            Ok(None) => {}
            Err(error) => self.fail(&error, out),
        }
        if let Some(Portal::Local { done, .. }) = self.portals.get_mut(portal) {
            *done = true;
        }
        Flow::Consumed
    }

    pub(crate) fn close(&mut self, body: &[u8], out: &mut Output) -> Flow {
        let close = match Close::parse(body) {
            Ok(close) => close,
            Err(error) => return self.malformed(&error, out),
        };
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        if close.kind == b'S' {
            self.statements.remove(close.name);
            self.made(reply::close_complete, out);
            return Flow::Consumed;
        }
        let local = matches!(self.portals.remove(close.name), Some(Portal::Local { .. }));
        let slot = self.batch.slot.or(self.joined_slot());
        match slot {
            Some(slot) if !local => {
                self.use_slot(slot);
                if let Some((place, buffer)) = self.reach(slot, out) {
                    put::close(buffer, b'P', close.name);
                    place.push(Entry::client(Kind::Close));
                    place.unsynced = true;
                }
            }
            Some(_) | None => self.made(reply::close_complete, out),
        }
        Flow::Consumed
    }
}

fn no_statement(name: &[u8]) -> PgError {
    if name.is_empty() {
        return PgError::error("26000", "unnamed prepared statement does not exist");
    }
    PgError::error(
        "26000",
        format!(
            "prepared statement \"{}\" does not exist",
            String::from_utf8_lossy(name)
        ),
    )
}

/// The name of a prepared statement of the router's on a backend.
pub(crate) fn router_name(number: u64) -> String {
    format!("sg_{number}")
}

/// Whether the messages behind a Bind are [Describe] Execute Sync: the statement is alone in its implicit transaction.
fn executes_and_syncs(rest: &[u8]) -> bool {
    let mut executed = false;
    let mut rest = rest;
    loop {
        let (Some(tag), Some(length)) = (rest.first(), rest.get(1..5)) else {
            return false;
        };
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return false;
        };
        let Ok(length) = usize::try_from(u32::from_be_bytes(length)) else {
            return false;
        };
        match tag {
            b'D' if !executed => {}
            b'E' if !executed => executed = true,
            b'C' if executed => {}
            b'S' => return executed,
            _ => return false,
        }
        match rest.get(length.saturating_add(1)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
}
