//! The session's end: what is said to the client, and which backends the pool gets back.

use crate::api::{Output, Slot, Step};
use crate::place::Place;
use crate::session::{Phase, Session, Wait};
use shardgate_wire::PgError;
use shardgate_wire::backend::put;

impl Session {
    /// A fatal error: it is sent, where a frame border allows it, and the session ends.
    pub(crate) fn fatal(&mut self, error: &PgError, out: &mut Output) {
        if self.places.iter().flatten().all(|place| place.passing == 0) {
            put::error(&mut out.client, &error.clone().fatal());
        }
        self.end(out);
    }

    /// Ends the session: clean backends go back to the pool, all others are closed.
    pub(crate) fn end(&mut self, out: &mut Output) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
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

    /// A client that is gone is served to the end of what it had sent, and no further.
    pub(crate) fn end_if_gone(&mut self, out: &mut Output) {
        if self.client_gone
            && !self.input_left
            && self.wait == Wait::Nothing
            && self.phase == Phase::Ready
        {
            self.end(out);
        }
    }
}
