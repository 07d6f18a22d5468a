//! What is done with a portal: Execute, and Close.

use crate::api::Output;
use crate::client::Flow;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::session::{Session, Wait};
use crate::statements::Portal;
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
                    let name = String::from_utf8_lossy(execute.portal);
                    let message = format!("portal \"{name}\" cannot be run");
                    self.fail(&PgError::error("55000", message), out);
                    return Flow::Consumed;
                }
                self.execute_locally(execute.portal, &text, &planned, &params, out)
            }
            Some(Portal::Spread(bound)) => self.execute_spread(&bound, execute.max_rows, rest, out),
            Some(Portal::Remote { planned }) => {
                if let Some(slot) = self.batch.slot.or(self.joined_slot()) {
                    self.note(slot, &planned, out);
                }
                self.note_revival(&planned);
                self.note_prelude_ran();
                self.batch.path_changed |= crate::commands::changes_names(&planned);
                self.batch.schema_changed |= crate::commands::changes_schema(&planned);
                let flow = self.forward_portal(frame, kind, out);
                self.batch.executed = true;
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
            self.statements.remove(close.name);
            self.made(reply::close_complete, out);
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
            return self.forward_portal(frame, kind, out);
        }
        if self.may_send(name) {
            return self.provoke_by(frame, out);
        }
        let name = String::from_utf8_lossy(name);
        let message = format!("portal \"{name}\" does not exist");
        self.fail(&PgError::error("34000", message), out);
        Flow::Consumed
    }

    pub(super) fn forward_portal(&mut self, frame: &[u8], kind: Kind, out: &mut Output) -> Flow {
        let Some(slot) = self.batch.slot.or(self.joined_slot()) else {
            // It ended with what it was bound in.
            return self.provoke_by(frame, out);
        };
        self.use_slot(slot);
        if let Some((place, buffer)) = self.reach(slot, out) {
            buffer.extend_from_slice(frame);
            place.push(Entry::client(kind));
            place.unsynced = true;
        }
        Flow::Consumed
    }
}
