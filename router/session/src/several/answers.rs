//! What the shards say to a statement that runs on all of them, and what is made of a shard that says nothing any more.

use super::{Member, Session, Stage};
use crate::api::{Output, Slot, Step};
use crate::session::cancelled;
use bytes::Bytes;
use shardgate_wire::backend::ErrorFields;
use shardgate_wire::{PgError, TxStatus};

impl Session {
    pub(crate) fn several_attached(&mut self, slot: Slot, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        if let Some(member) = several.member(slot) {
            member.attached = true;
        }
        self.several_check_out(out);
    }

    /// A shard cannot be reached: nothing has begun anywhere.
    pub(crate) fn several_failed(&mut self, error: PgError, out: &mut Output) {
        self.several_end(Err(error), out);
    }

    pub(crate) fn several_tag(&mut self, slot: Slot, tag: &str) {
        if let Some(member) = self
            .several
            .as_mut()
            .and_then(|several| several.member(slot))
        {
            member.tag = tag.to_string();
            member.prepared |= tag == "PREPARE TRANSACTION";
        }
    }

    /// The first error counts. `bytes`: the server's frame, which the client gets as it is.
    pub(crate) fn several_error(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        if let Some(member) = several.member(slot) {
            // The statement before it may have left its tag.
            member.tag.clear();
        }
        let index = several
            .members
            .iter()
            .position(|member| member.slot == slot);
        if let (None, Some(index)) = (&several.error, index) {
            let fields = ErrorFields::parse(bytes.get(5..).unwrap_or_default());
            several.error = Some(fields.map_or_else(
                |_| PgError::error("XX000", "the server's error could not be read"),
                |fields| fields.to_error(),
            ));
            several.said = Some((index, Bytes::copy_from_slice(bytes)));
        }
    }

    pub(crate) fn several_ready(&mut self, slot: Slot, status: TxStatus, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        let edges = several.stage.edges();
        if let Some(member) = several.member(slot) {
            member.pending = member.pending.saturating_sub(1);
            member.status = status;
            if let Some((_, behind)) = edges
                && member.pending == 0
            {
                out.steps.push(Step::Edge { edge: behind, slot });
            }
        }
        self.several_signal(out);
        self.several_answered(out);
    }

    /// The client asks for a cancel. Up to the decision nothing has to come of the statement; but no server is signalled
    /// from the first PREPARE on, for that is the answer that all wait for.
    pub(crate) fn several_cancel(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        several.cancelled = true;
        if several.stage == Stage::Attaching {
            self.several_end(Err(cancelled()), out);
        } else {
            self.several_signal(out);
        }
    }

    /// Whether the slot's shard is at the statement itself: BEGIN, if there is one, has been answered. If that were hit, the
    /// statement behind it would run without a transaction.
    pub(crate) fn several_runs(&self, slot: Slot) -> bool {
        self.several.as_ref().is_some_and(|several| {
            let at_statement =
                matches!(several.stage, Stage::Home | Stage::Others | Stage::Alone(_));
            let runs = |member: &Member| member.slot == slot && member.pending == 1;
            at_statement && several.members.iter().any(runs)
        })
    }

    /// Calls off what runs, if that was asked for.
    fn several_signal(&mut self, out: &mut Output) {
        let slots: Vec<Slot> = match &self.several {
            Some(several) if several.cancelled => {
                several.members.iter().map(|member| member.slot).collect()
            }
            Some(_) | None => return,
        };
        for slot in slots {
            if self.several_runs(slot)
                && let Some(place) = self.place_mut(slot)
                && !place.cancel_pending
            {
                place.cancel_pending = true;
                out.steps.push(Step::Cancel { slot });
            }
        }
    }

    /// The connection to a shard has ended. False: no statement on several shards uses the slot.
    ///
    /// What has not been decided is rolled back on the others. What is decided, or may be, stays so: the decision row says
    /// what becomes of the shard that was lost.
    pub(crate) fn several_lost(&mut self, slot: Slot, why: &str, out: &mut Output) -> bool {
        let Some(several) = self.several.as_mut() else {
            return false;
        };
        let stage = several.stage;
        let Some(member) = several.member(slot) else {
            return false;
        };
        member.lost = true;
        member.pending = 0;
        member.status = TxStatus::Idle;
        let message = format!("the connection to shard \"{}\" was lost", member.name);
        let error = PgError::error("08006", message).detail(why.to_string());
        self.close_place(slot, out);
        match stage {
            Stage::Attaching => {
                self.several_end(Err(error), out);
                return true;
            }
            Stage::Home | Stage::Others | Stage::Preparing | Stage::Alone(_) => {
                if let Some(several) = self.several.as_mut() {
                    several.error.get_or_insert(error);
                }
            }
            Stage::Deciding
            | Stage::Committing
            | Stage::RollingBack
            | Stage::Resolving
            | Stage::Refreshing => {}
        }
        self.several_answered(out);
        true
    }

    /// A server that a cancel request is on its way to is sent nothing: it would hit that.
    pub(crate) fn several_answered(&mut self, out: &mut Output) {
        let done = self.several.as_ref().is_some_and(|several| {
            let signalled =
                |member: &Member| self.place(member.slot).is_some_and(|p| p.cancel_pending);
            several.stage != Stage::Attaching
                && !matches!(several.stage, Stage::Resolving | Stage::Refreshing)
                && several.members.iter().all(|member| member.pending == 0)
                && !several.members.iter().any(signalled)
        });
        if done {
            self.several_next(out);
        }
    }
}
