//! What is done with a portal: Execute, and Close.

use crate::api::Output;
use crate::client::Flow;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::session::{Session, Wait};
use crate::statements::Portal;
use bytes::BytesMut;
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Close, Execute, put};
use std::sync::Arc;

impl Session {
    /// Runs a portal, on the server or by the router.
    ///
    /// `rest`: what the client has sent behind it.
    pub(crate) fn execute(
        &mut self,
        body: &[u8],
        frame: &[u8],
        rest: &[u8],
        out: &mut Output,
    ) -> Flow {
        let Ok(execute) = Execute::parse(body) else {
            return self.provoke_by(frame, out);
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
                    return self.provoke_finished(execute.portal, frame, out);
                }
                self.execute_locally(execute.portal, &text, &planned, &params, out)
            }
            Some(Portal::Spread(bound)) => self.execute_spread(&bound, execute.max_rows, rest, out),
            Some(Portal::Remote { planned, .. }) => {
                if let Some(Portal::Remote { ran, .. }) = self.portals.get_mut(execute.portal) {
                    *ran = true;
                }
                let mut pins = false;
                if let Some(slot) = self.batch.slot.or(self.joined_slot()) {
                    let pinned = |session: &Session| {
                        let place = session.place(slot);
                        place.is_some_and(|place| place.pinned.is_some())
                    };
                    let before = pinned(self);
                    self.note(slot, &planned, out);
                    pins = !before && pinned(self);
                }
                self.note_prelude_ran();
                if !planned.quiet {
                    self.note_revival(&planned);
                    self.batch.path_changed |= crate::commands::changes_names(&planned);
                    self.batch.schema_changed |= crate::commands::changes_schema(&planned);
                }
                let entry = Entry::client(kind).pinning(pins);
                let flow = self.forward_portal(frame, entry, out);
                self.batch.executed = true;
                if ends_transaction(&planned) {
                    self.portals.clear();
                }
                flow
            }
            None => {
                if let Some(slot) = self.joined_slot() {
                    if let Some(backend) = self
                        .place_mut(slot)
                        .and_then(|place| place.backend.as_mut())
                    {
                        backend.drawn = true;
                    }
                    self.deeds.ran = true;
                    self.deeds.wrote = true;
                    self.batch.executed = true;
                }
                self.unknown_portal(execute.portal, frame, kind, out)
            }
        }
    }

    /// [Describe,] Execute and Sync of the unnamed portal, as nearly all drivers send them behind its Bind: if the server has
    /// the portal and there is nothing to be noted of it, they are passed on as they lie there. Returns how many bytes.
    pub(crate) fn run_bound(&mut self, input: &[u8], out: &mut Output) -> usize {
        const DESCRIBE: &[u8] = b"D\0\0\0\x06P\0";
        const EXECUTE_AND_SYNC: &[u8] = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
        let (described, rest) = match input.strip_prefix(DESCRIBE) {
            Some(rest) => (true, rest),
            None => (false, input),
        };
        let quiet = |portal: &Portal| match portal {
            Portal::Remote { planned, .. } => planned.quiet,
            Portal::Local { .. } | Portal::Spread(_) => false,
        };
        let may_run = rest.starts_with(EXECUTE_AND_SYNC)
            && self.wait == Wait::Nothing
            && !self.batch.skipping
            && self.batch.held.is_empty()
            && !self.settings.pin
            && self.portals.get(b"").is_some_and(quiet);
        let Some(slot) = self.batch.slot.filter(|_| may_run) else {
            return 0;
        };
        let sent = input.len() - rest.len() + EXECUTE_AND_SYNC.len();
        let Some((place, buffer)) = self.reach(slot, out) else {
            return 0;
        };
        buffer.extend_from_slice(input.get(..sent).unwrap_or_default());
        if described {
            place.push(Entry::client(Kind::DescribePortal));
        }
        place.push(Entry::client(Kind::Execute { limited: false }));
        if let Some(Portal::Remote { ran, .. }) = self.portals.get_mut(b"") {
            *ran = true;
        }
        self.counts.statements += 1;
        self.deeds.ran = true;
        self.note_prelude_ran();
        self.batch.executed = true;
        self.await_sync(slot);
        sent
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
        if self.is_reset(planned) {
            match self.reset_on_server(planned, out) {
                Ok(Flow::Later) => return Flow::Later,
                Ok(Flow::Consumed) => {}
                Err(error) => self.fail(&error, out),
            }
            if let Some(Portal::Local { done, .. }) = self.portals.get_mut(portal) {
                *done = true;
            }
            return Flow::Consumed;
        }
        if self.drain_before_block(planned, out) {
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

    pub(crate) fn close(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let Ok(close) = Close::parse(body) else {
            return self.provoke_by(frame, out);
        };
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        if close.kind == b'S' {
            let (change, _) = self.statements.close(close.name);
            let mut bytes = BytesMut::new();
            reply::close_complete(&mut bytes);
            self.reply_changing(bytes.freeze(), Some(change), out);
            return Flow::Consumed;
        }
        let local = match self.portals.remove(close.name) {
            Some(Portal::Local { .. }) => true,
            // Once it has run, home has it no more.
            Some(Portal::Spread(_)) => self.batch.slot.is_none(),
            Some(Portal::Remote { .. }) | None => false,
        };
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

    /// A portal that the client did not bind: in a transaction it may be a cursor declared in SQL, else a server says that
    /// there is none.
    pub(super) fn unknown_portal(
        &mut self,
        name: &[u8],
        frame: &[u8],
        kind: Kind,
        out: &mut Output,
    ) -> Flow {
        if self.joined_slot().is_some() {
            return self.forward_portal(frame, Entry::client(kind), out);
        }
        if self.may_send(name) {
            return self.provoke_by(frame, out);
        }
        let name = String::from_utf8_lossy(name);
        let message = format!("portal \"{name}\" does not exist");
        self.fail(&PgError::error("34000", message), out);
        Flow::Consumed
    }

    pub(super) fn forward_portal(&mut self, frame: &[u8], entry: Entry, out: &mut Output) -> Flow {
        let Some(slot) = self.batch.slot.or(self.joined_slot()) else {
            // It ended with what it was bound in.
            return self.provoke_by(frame, out);
        };
        self.use_slot(slot);
        if let Some((place, buffer)) = self.reach(slot, out) {
            buffer.extend_from_slice(frame);
            place.push(entry);
            place.unsynced = true;
        }
        Flow::Consumed
    }
}

/// With it all portals are gone.
fn ends_transaction(planned: &Planned) -> bool {
    matches!(
        planned.facts.statement,
        Statement::Command(Command::Commit { .. } | Command::Rollback { .. })
    )
}
