//! Cancel requests with the session's key: whether and where a signal is sent, and what waits for its end.

use crate::api::{Output, Slot, Step};
use crate::session::{Phase, Session, Wait};
use shardgate_wire::PgError;

impl Session {
    /// To be asked right before a CancelRequest is written: whether the backend runs what was to be cancelled, neither what
    /// comes behind it nor the router's own Query before it, whose failure would end the session.
    pub fn cancel_is_wanted(&self, slot: Slot) -> bool {
        self.place(slot).is_some_and(|place| {
            place.cancel_pending
                && (self.gather_runs(slot)
                    || self.several_runs(slot)
                    || self.spread_runs(slot)
                    || place.backend.as_ref().is_some_and(|backend| {
                        backend.owed.runs_client() || backend.owed.owes_description()
                    }))
        })
    }

    pub(super) fn cancel_requested(&mut self, out: &mut Output) {
        match self.wait {
            Wait::Checkout(slot) if self.phase == Phase::Ready && self.several.is_none() => {
                self.close_place(slot, out);
                self.wait = Wait::Nothing;
                self.checkout_error = Some(cancelled());
            }
            Wait::Reply(slot) | Wait::Drain(slot) => self.cancel_place(slot, out),
            Wait::Nothing => {
                if let Some(slot) = self.batch.slot {
                    self.cancel_place(slot, out);
                }
            }
            Wait::Gather => self.gather_stop(cancelled(), out),
            Wait::Spread => self.spread_stop(cancelled(), out),
            Wait::Work => self.several_cancel(out),
            Wait::Held => self.hold_ended(cancelled(), out),
            // The work before ReadyForQuery is short.
            Wait::Checkout(_) | Wait::Settle => {}
        }
    }

    fn cancel_place(&mut self, slot: Slot, out: &mut Output) {
        if let Some(place) = self.place_mut(slot)
            && !place.cancel_pending
            && place.backend.as_ref().is_some_and(|backend| {
                backend.owed.owes_client() || backend.owed.owes_description()
            })
        {
            place.cancel_pending = true;
            out.steps.push(Step::Cancel { slot });
        }
    }

    pub(super) fn cancel_done(&mut self, slot: Slot, out: &mut Output) {
        if let Some(place) = self.place_mut(slot) {
            place.cancel_pending = false;
        }
        let used = matches!(self.wait, Wait::Reply(s) | Wait::Drain(s) if s == slot)
            || self.wait == Wait::Settle
            || self.batch.slot == Some(slot);
        if self.several.is_some() {
            self.several_answered(out);
        } else if self.settling.is_some() {
            self.settle_on(out);
        } else if !used && self.transaction.is_none() {
            self.release(slot, out);
        }
        self.gather_check(out);
        self.spread_answered(out);
        self.end_if_gone(out);
    }
}

pub(crate) fn cancelled() -> PgError {
    PgError::error("57014", "canceling statement due to user request")
}
