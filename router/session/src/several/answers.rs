//! What the shards say to a statement that runs on all of them, and what is made of a shard that says nothing any more.

use super::{Session, Stage};
use crate::api::{Output, Slot, Step};
use bytes::Bytes;
use shardgate_wire::backend::ErrorFields;
use shardgate_wire::{PgError, TxStatus};

impl Session {
    pub(crate) fn several_attached(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        let Some(several) = self.several.as_mut() else {
            return;
        };
        if let Some(member) = several.member(slot) {
            member.attached = true;
        }
        if several.members.iter().all(|member| member.attached) {
            self.several_next(out);
        }
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
        self.several_answered(out);
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

    fn several_answered(&mut self, out: &mut Output) {
        let done = self.several.as_ref().is_some_and(|several| {
            several.stage != Stage::Attaching
                && several.members.iter().all(|member| member.pending == 0)
        });
        if done {
            self.several_next(out);
        }
    }
}
