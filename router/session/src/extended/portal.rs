//! What is done with a portal: Execute, and Close.

use crate::api::Output;
use crate::client::Flow;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::session::{Session, Wait};
use crate::statements::Portal;
use crate::transaction::Transaction;
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Close, Execute, put};
use std::sync::Arc;

impl Session {
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

    /// A portal that the client did not bind: in a transaction it may be a cursor declared in SQL.
    pub(super) fn unknown_portal(
        &mut self,
        name: &[u8],
        frame: &[u8],
        kind: Kind,
        out: &mut Output,
    ) {
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

    pub(super) fn forward_portal(&mut self, frame: &[u8], kind: Kind, out: &mut Output) {
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
}
