//! The session's end: what is said to the client, and which backends the pool gets back.

use crate::api::{Output, Slot, Step};
use crate::client::Flow;
use crate::place::Place;
use crate::session::{Phase, Session, Wait};
use shardgate_wire::PgError;
use shardgate_wire::backend::put;
use shardgate_wire::frontend::put as put_client;

impl Session {
    /// A fatal error: it is sent, where a frame border allows it, and the session ends.
    pub(crate) fn fatal(&mut self, error: &PgError, out: &mut Output) {
        if self.places.iter().flatten().all(|place| place.passing == 0) {
            put::error(self.speak(out), &error.clone().fatal());
        }
        self.end(out);
    }

    /// Ends the session: clean backends go back to the pool, all others are closed.
    pub(crate) fn end(&mut self, out: &mut Output) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.several_abandon(out);
        self.gathering = None;
        self.gathered = None;
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let slot = Slot(number);
            if self.place(slot).is_some_and(Place::is_clean) {
                self.release(slot, out);
            } else {
                self.close_place(slot, out);
            }
        }
        out.steps.push(Step::Close);
    }

    /// The client says goodbye, or has sent its last byte. Postgres carries out what came before, and tells errors; other
    /// replies that nobody asked to flush are lost. Later: an answer is awaited.
    pub(crate) fn leave(&mut self, out: &mut Output) -> Flow {
        self.leaving = true;
        if !self.send_held(out) {
            return Flow::Later;
        }
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some_and(|place| !place.owed_is_empty())
        {
            if self.batch.executed || !self.transaction.is_none() {
                // A Sync would commit what the client has not finished.
                if let Some((_, buffer)) = self.reach(slot, out) {
                    put_client::flush(buffer);
                }
                self.wait = Wait::Drain(slot);
            } else {
                self.drain(slot, out);
            }
            return Flow::Later;
        }
        self.client_gone = true;
        self.end(out);
        Flow::Consumed
    }

    /// A client that is gone is served to the end of what it had sent, and no further. The end of a COPY that it has not
    /// sent will never come.
    pub(crate) fn end_if_gone(&mut self, out: &mut Output) {
        if !self.client_gone || self.input_left || self.phase != Phase::Ready {
            return;
        }
        match self.wait {
            Wait::Nothing => {
                // If something is awaited, its coming leads here again.
                let _ = self.leave(out);
            }
            Wait::Reply(slot) if self.copies_in(slot) => self.end(out),
            Wait::Reply(_)
            | Wait::Checkout(_)
            | Wait::Drain(_)
            | Wait::Settle
            | Wait::Work
            | Wait::Gather
            | Wait::Held => {}
        }
    }
}
