//! The simple query protocol.

use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::{Doer, changes_names, changes_schema, doer, note_deeds};
use crate::owed::{Entry, Kind};
use crate::planner::{Planned, Texts, as_params, lifted_values};
use crate::provoke::Fault;
use crate::reset::reset_in_query;
use crate::route::{Aim, Aimed, Reach};
use crate::session::{Session, Wait};
use crate::transaction::{PRELUDE_MAX, Prelude, Transaction, merge_modes, modes_set};
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::Query;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

impl Session {
    pub(crate) fn query(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        // What stands before in the pipeline must be answered first: an error there drops this message too.
        if !self.send_held(out) {
            return Flow::Later;
        }
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some_and(|place| !place.owed_is_empty())
        {
            return self.await_pipeline(slot, out);
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        let flow = match self.try_query(body, frame, out) {
            Ok(flow) => return flow,
            Err(Fault::Text) => {
                let sql = body.strip_suffix(&[0]).unwrap_or(body);
                self.provoke_text(sql, out)
            }
            Err(Fault::Unread(refusal)) => {
                let sql = body.strip_suffix(&[0]).unwrap_or(body);
                self.ask_of_text(sql, &refusal, out)
            }
            Err(Fault::Malformed(error)) => self.provoke_malformed(&error, out),
            Err(Fault::Ours(error)) => {
                self.fail(&error, out);
                Flow::Consumed
            }
            Err(Fault::NoStatement | Fault::OfStatement(_)) => {
                self.fail(&PgError::error("XX000", "a Query names no statement"), out);
                Flow::Consumed
            }
        };
        match flow {
            Flow::Consumed => self.sync_now(out),
            Flow::Later => Flow::Later,
        }
    }

    fn await_pipeline(&mut self, slot: Slot, out: &mut Output) -> Flow {
        if let Some((_, buffer)) = self.reach(slot, out) {
            shardgate_wire::frontend::put::flush(buffer);
        }
        self.wait = Wait::Drain(slot);
        Flow::Later
    }

    fn try_query(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Result<Flow, Fault> {
        let sql = Query::parse(body).map_err(Fault::Malformed)?.sql;
        let text = self.sql_text(sql)?;
        if let Some(aimed) = self.take_aimed() {
            return Ok(self.send_lifted(text, aimed, frame, out)?);
        }
        if let Some(aimed) = self.aim_lifted(text) {
            return Ok(self.send_lifted(text, aimed, frame, out)?);
        }
        self.statements.remove(b"");
        let texts = self.texts(text, &[])?;
        let pieces = match texts {
            Texts::One(planned) => {
                let piece = match &planned.facts.statement {
                    // Errors of a server say where in the whole text.
                    Statement::Utility(_) => text,
                    Statement::Command(_)
                    | Statement::Empty
                    | Statement::Query(_)
                    | Statement::Explain { .. }
                    | Statement::Unparsed { .. } => text.get(planned.piece.clone()).unwrap_or(text),
                };
                return self.one(piece, &planned, frame, out).map_err(|error| {
                    match planned.facts.statement {
                        Statement::Unparsed { .. } if error.sqlstate == "0A000" => {
                            Fault::Unread(error)
                        }
                        Statement::Unparsed { .. }
                        | Statement::Empty
                        | Statement::Query(_)
                        | Statement::Explain { .. }
                        | Statement::Utility(_)
                        | Statement::Command(_) => Fault::Ours(error),
                    }
                });
            }
            Texts::Pieces(pieces) => pieces,
        };
        if pieces.is_empty() {
            reply::empty_query(self.speak(out));
            return Ok(self.sync_now(out));
        }
        let statements: Vec<(&str, Arc<Planned>)> = pieces
            .into_iter()
            .filter_map(|range| text.get(range))
            .map(|piece| (piece, self.plan(piece, &[])))
            .collect();
        Ok(self.many(&statements, frame, out)?)
    }

    /// A statement that is planned together with all that differ from it by constants only. None: it has to be planned by
    /// itself, as one that is refused has, so that its own text is what the message speaks of.
    fn aim_lifted(&mut self, text: &str) -> Option<Aimed> {
        let (planned, shape) = self.lifted(text)?;
        let doer = self.doer(&planned, self.in_pipeline()).ok()?;
        if doer != Doer::Planned {
            return None;
        }
        self.check_own(&planned, false).ok()?;
        let values = lifted_values(text, &shape);
        let aim = self.aim(&planned, doer, &as_params(&values)).ok()?;
        self.statements.remove(b"");
        Some(Aimed { planned, aim })
    }

    fn send_lifted(
        &mut self,
        text: &str,
        aimed: Aimed,
        frame: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        match self.find(aimed.aim, out) {
            Reach::Ready(slot) => {
                self.send_query(slot, &[(text, aimed.planned)], frame, out);
                Ok(Flow::Consumed)
            }
            Reach::Later => {
                self.aimed = Some(aimed);
                Ok(Flow::Later)
            }
            Reach::Failed(error) => Err(error),
        }
    }

    /// What was found out about the client's first message before it had to wait, if it still holds.
    pub(crate) fn take_aimed(&mut self) -> Option<Aimed> {
        let aimed = self.aimed.take()?;
        (aimed.planned.epoch == self.snapshot.epoch.id).then_some(aimed)
    }

    /// Who carries out the statement, in this session.
    pub(crate) fn doer(&self, planned: &Planned, in_pipeline: bool) -> Result<Doer, PgError> {
        if self.block_is_lost()
            && let Some(doer) = self.lost_doer(planned)
        {
            return Ok(doer);
        }
        if let Statement::Command(Command::Deallocate(Some(name))) = &planned.facts.statement
            && self.statements.get(name.as_bytes()).is_none()
            && self.may_send(name.as_bytes())
        {
            // A server says that there is none.
            return Ok(match self.transaction {
                Transaction::Virtual(_) => Doer::Look,
                Transaction::None | Transaction::Joined { .. } => Doer::Follow,
            });
        }
        let alone = self.transaction.is_none() && !in_pipeline;
        if let Some(doer) = self.reset_doer(planned, alone) {
            return Ok(doer);
        }
        match doer(planned, &self.transaction, in_pipeline)? {
            // SELECT set_config(..) takes the block's snapshot, which another server could not take again.
            Doer::Prelude
                if self.has_old_snapshot()
                    && matches!(planned.facts.statement, Statement::Query(_)) =>
            {
                Ok(Doer::Follow)
            }
            doer => Ok(doer),
        }
    }

    /// The statement names something that is distributed, under any schema.
    pub(crate) fn mentions_spread(&self, planned: &Planned) -> bool {
        self.snapshot.shards.len() > 1
            && shardgate_plan::mentions_spread(&planned.facts, &self.snapshot)
    }

    fn in_pipeline(&self) -> bool {
        self.batch.slot.is_some() && self.batch.executed
    }

    fn one(
        &mut self,
        text: &str,
        planned: &Arc<Planned>,
        frame: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let doer = self.doer(planned, self.in_pipeline())?;
        if doer == Doer::Router {
            if self.drain_before_block(planned, out) {
                return Ok(Flow::Later);
            }
            if let Some(result) = self.run_locally(text, planned, &[], out)? {
                self.put_local_result(&result, true, out);
                return Ok(self.sync_now(out));
            }
            if let Some(work) = self.working.as_mut() {
                work.simple = true;
            }
            return Ok(Flow::Consumed);
        }
        if doer == Doer::Reset {
            return Ok(match self.reset_on_server(planned, out)? {
                Flow::Consumed => self.sync_now(out),
                Flow::Later => Flow::Later,
            });
        }
        self.check_own(planned, false)?;
        if let Some(gather) = self.to_gather(planned, doer, &[]) {
            return self.query_gathered(planned, &gather, frame, out);
        }
        let aim = self.aim(planned, doer, &[])?;
        let slot = match self.find(aim, out) {
            Reach::Ready(slot) => slot,
            Reach::Later => return Ok(Flow::Later),
            Reach::Failed(error) => return Err(error),
        };
        self.keep_prelude(text, planned, doer)?;
        self.note_prelude_ran();
        self.send_query(slot, &[(text, planned.clone())], frame, out);
        Ok(Flow::Consumed)
    }

    /// A Query of several statements: one implicit transaction, on one backend, with the client's own text.
    fn many(
        &mut self,
        statements: &[(&str, Arc<Planned>)],
        frame: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let revived = self.batch.revived;
        let aim = self.aim_of_many(statements);
        let found = aim.map(|aim| self.find(aim, out));
        // Nothing of it was sent yet, or all of it will be.
        self.batch.revived = revived;
        let slot = match found? {
            Reach::Ready(slot) => slot,
            Reach::Later => return Ok(Flow::Later),
            Reach::Failed(error) => return Err(error),
        };
        self.send_query(slot, statements, frame, out);
        Ok(Flow::Consumed)
    }

    /// Where all the statements of a Query can run.
    fn aim_of_many(&mut self, statements: &[(&str, Arc<Planned>)]) -> Result<Aim, PgError> {
        let mut aim = Aim::anywhere();
        let mut drawn = false;
        let mut names_changed = false;
        let mut schema_changed = false;
        let last = statements.len().saturating_sub(1);
        let begins = statements.iter().any(|(_, planned)| {
            matches!(
                planned.facts.statement,
                Statement::Command(Command::Begin(_))
            )
        });
        for (index, (text, planned)) in statements.iter().enumerate() {
            // At the end of an implicit transaction it holds if nothing failed, and is undone with all else if not.
            let resets_at_end = index == last && self.transaction.is_none() && !begins;
            let opens_block = matches!(
                planned.facts.statement,
                Statement::Command(
                    Command::Begin(_)
                        | Command::Commit { .. }
                        | Command::Rollback { .. }
                        | Command::DiscardAll
                        | Command::Unlisten(_)
                )
            ) || (resets_at_end
                && matches!(
                    planned.facts.statement,
                    Statement::Command(Command::ResetAll)
                ));
            let doer = if opens_block && !self.block_is_lost() {
                Doer::Follow
            } else {
                self.doer(planned, true)?
            };
            if doer == Doer::Reset {
                return Err(reset_in_query());
            }
            if doer == Doer::Router {
                return Err(PgError::error(
                    "0A000",
                    "a statement that the router carries out must be sent alone",
                )
                .detail(format!(
                    "The Query has several statements, one of them: {}",
                    shorten(text)
                )));
            }
            self.check_own(planned, drawn)?;
            drawn |= planned.compiled.traits.draws;
            let one = self.aim(planned, doer, &[])?;
            if names_changed && doer == Doer::Planned && self.snapshot.shards.len() > 1 {
                return Err(PgError::error("0A000", "a change of search_path or role must be sent before the statements that depend on it")
                    .hint("Send the SET as a message of its own."));
            }
            if schema_changed && doer == Doer::Planned && self.mentions_spread(planned) {
                return Err(schema_in_doubt());
            }
            names_changed |= changes_names(planned);
            schema_changed |= changes_schema(planned);
            match (aim.shard, one.shard) {
                (Some(first), Some(second)) if first != second => {
                    return Err(PgError::error(
                        "0A000",
                        "a Query with statements for several shards is not supported yet",
                    )
                    .detail(format!(
                        "One statement belongs to shard \"{}\", another to shard \"{}\".",
                        self.shard_name(first),
                        self.shard_name(second)
                    ))
                    .hint("Send the statements one by one."));
                }
                (None, Some(_)) => aim.shard = one.shard,
                (None, None) | (Some(_), _) => {}
            }
            aim.moving = aim.moving.or(one.moving);
            self.note_revival(planned);
        }
        Ok(aim)
    }

    pub(crate) fn send_query(
        &mut self,
        slot: Slot,
        statements: &[(&str, Arc<Planned>)],
        frame: &[u8],
        out: &mut Output,
    ) {
        self.open(slot, out);
        if let Some(place) = self.place_mut(slot) {
            place.pin_pending = false;
        }
        if let [(_, planned)] = statements {
            self.batch.chained = chains(planned);
        }
        // A pin that is made here is undone if the server cannot even read the text: see `query_begins`.
        for (_, planned) in statements {
            self.note(slot, planned, out);
        }
        if let Some((place, buffer)) = self.reach(slot, out) {
            buffer.extend_from_slice(frame);
            place.push(Entry::client(Kind::Query));
            place.unnamed = None;
            place.unsynced = false;
        }
        self.batch.slot = Some(slot);
        self.batch.synced = true;
        self.wait = Wait::Reply(slot);
    }

    /// Notes what the statement will have done, and pins the backend before code runs that may leave something behind.
    pub(crate) fn note(&mut self, slot: Slot, planned: &Planned, out: &mut Output) {
        self.counts.statements += 1;
        self.note_sequences(slot, planned, out);
        let in_block = !self.transaction.is_none();
        let reset_all = self.deeds.reset_all;
        note_deeds(planned, &mut self.deeds, in_block);
        if self.block_is_lost() {
            // The server refuses it: nothing is reset there.
            self.deeds.reset_all = reset_all;
        }
        let traits = &planned.compiled.traits;
        let reason = match &traits.taints {
            Some(reason) => Some(reason.clone()),
            None if traits.temporary => Some("temporary object".to_string()),
            None if self.settings.pin => Some("shardgate.pin".to_string()),
            None => None,
        };
        if let (Some(reason), Some(place)) = (reason, self.place_mut(slot))
            && place.pinned.is_none()
        {
            place.pinned = Some(reason);
            place.pin_pending = true;
        }
    }

    /// The client's block has failed: only its end, or a savepoint, can be next.
    pub(crate) fn block_is_lost(&self) -> bool {
        if self.batch.revived {
            return false;
        }
        match &self.transaction {
            Transaction::None => false,
            Transaction::Virtual(block) => block.failed,
            Transaction::Joined { slot, .. } => self
                .place(*slot)
                .is_some_and(|place| place.status == TxStatus::Failed),
        }
    }

    /// As of the transaction, whose isolation may be the session's default.
    pub(crate) fn has_old_snapshot(&self) -> bool {
        self.transaction
            .has_old_snapshot(self.settings.value("default_transaction_isolation"))
    }

    /// To be called when the statement is sent, or taken to be: behind the end of a failed block, or behind ROLLBACK TO in
    /// it, statements run again, and a place on any shard would no longer do for them.
    pub(crate) fn note_revival(&mut self, planned: &Planned) {
        let revives = matches!(
            planned.facts.statement,
            Statement::Command(
                Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo(_)
            )
        );
        if revives && self.block_is_lost() {
            self.batch.revived = true;
        }
    }

    /// Who carries out a statement in a block that has failed: a server says that it has, but for what ends or revives it
    /// where no server knows of it. None: as if it had not failed.
    fn lost_doer(&self, planned: &Planned) -> Option<Doer> {
        let Transaction::Virtual(block) = &self.transaction else {
            return Some(Doer::Follow);
        };
        match &planned.facts.statement {
            Statement::Command(Command::Commit { .. } | Command::Rollback { .. }) => None,
            Statement::Command(Command::RollbackTo(name)) if block.has_savepoint(name) => None,
            Statement::Command(_)
            | Statement::Empty
            | Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::Utility(_)
            | Statement::Unparsed { .. } => Some(if block.has_savepoints() {
                Doer::Look
            } else {
                // Nothing can revive it, so it may go where it fails.
                Doer::Follow
            }),
        }
    }

    /// A statement that is repeated wherever the transaction goes.
    pub(crate) fn keep_prelude(
        &mut self,
        text: &str,
        planned: &Planned,
        doer: Doer,
    ) -> Result<(), PgError> {
        let Transaction::Virtual(block) = &mut self.transaction else {
            return Ok(());
        };
        let kept = match doer {
            Doer::Prelude => Some(text.to_string()),
            Doer::Look => None,
            Doer::Router | Doer::Planned | Doer::Follow | Doer::Reset => return Ok(()),
        };
        if block.prelude.len() >= PRELUDE_MAX {
            return Err(PgError::error("54000", "too many settings and savepoints before the transaction's first statement")
                .detail(format!("The router repeats at most {PRELUDE_MAX} of them on the shard that the transaction uses.")));
        }
        let mut prelude = Prelude::none(block.clone());
        if let Statement::Command(Command::RollbackTo(_)) = &planned.facts.statement {
            prelude.after.failed = false;
        }
        if let Some(modes) = modes_set(planned) {
            merge_modes(&mut block.modes, &modes);
            merge_modes(&mut prelude.after.modes, &modes);
        }
        prelude.after.prelude.extend(kept);
        self.deeds.prelude = Some(prelude);
        Ok(())
    }

    /// The statement that was kept is executed, and not only bound.
    pub(crate) fn note_prelude_ran(&mut self) {
        if let Some(prelude) = self.deeds.prelude.as_mut() {
            prelude.ran = true;
        }
    }
}

/// Behind it another transaction is open at once.
fn chains(planned: &Planned) -> bool {
    matches!(
        planned.facts.statement,
        Statement::Command(Command::Commit { chain: true } | Command::Rollback { chain: true })
    )
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, PgError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let shown: Vec<String> = bytes
            .iter()
            .skip(at)
            .take(1)
            .map(|byte| format!("0x{byte:02x}"))
            .collect();
        PgError::error(
            "22021",
            format!(
                "invalid byte sequence for encoding \"UTF8\": {}",
                shown.join(" ")
            ),
        )
    })
}

/// Planning knows the schema as it was before.
pub(crate) fn schema_in_doubt() -> PgError {
    PgError::error("0A000", "a statement on distributed tables cannot follow a change of the schema here")
        .detail("What its names mean may have changed in the same transaction, which the router cannot see yet.")
        .hint("End the transaction (or send Sync, or a Query of its own) before it.")
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
