//! What the shards say to a write over several of them, and what is made of a shard that says nothing any more.

use super::{Failure, Stage};
use crate::api::{Output, Slot, Step};
use crate::owed::Kind;
use crate::session::Session;
use bytes::Bytes;
use shardgate_wire::backend::{ErrorFields, command_tag, data_row};
use shardgate_wire::{PgError, TxStatus};

impl Session {
    pub(crate) fn spread_attached(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        if let Stage::Attaching(index) = spreading.stage {
            self.spread_attach(index + 1, out);
        }
    }

    /// A shard cannot be reached: nothing has begun anywhere.
    pub(crate) fn spread_unattached(&mut self, slot: Slot, error: PgError, out: &mut Output) {
        if let Some(member) = self.spreading.as_mut().and_then(|s| s.member(slot)) {
            member.slot = None;
        }
        self.spread_end(Err(error), out);
    }

    /// A message that is not the last one of an answer.
    pub(crate) fn spread_part(&mut self, slot: Slot, tag: u8, bytes: &[u8], out: &mut Output) {
        let kind = self
            .place(slot)
            .and_then(|place| place.backend.as_ref())
            .and_then(|backend| backend.owed.head())
            .map(|entry| entry.kind);
        let body = bytes.get(5..).unwrap_or_default();
        match (kind, tag) {
            (Some(Kind::Execute { .. }), b'D') => self.spread_row(slot, bytes, out),
            (Some(Kind::Query), b'D') => self.spread_told(slot, body),
            (Some(Kind::Query), b'C') => self.spread_tag(slot, body),
            (_, _) => {}
        }
    }

    /// The last message of an answer.
    pub(crate) fn spread_reply(
        &mut self,
        slot: Slot,
        kind: Kind,
        bytes: &[u8],
        status: Option<TxStatus>,
        out: &mut Output,
    ) {
        let body = bytes.get(5..).unwrap_or_default();
        match (kind, status) {
            (Kind::Query | Kind::Sync, Some(status)) => self.spread_ready(slot, status, out),
            (Kind::Execute { .. }, None) => {
                if let (Ok(tag), Some(member)) = (
                    command_tag(body),
                    self.spreading.as_mut().and_then(|s| s.member(slot)),
                ) {
                    member.part_tag = tag.to_owned();
                }
            }
            (Kind::DescribePortal, None) => {
                if let Some(spreading) = self.spreading.as_mut()
                    && bytes.first() == Some(&b'T')
                {
                    spreading.description = Some(Bytes::copy_from_slice(bytes));
                }
            }
            (_, _) => {}
        }
    }

    fn spread_tag(&mut self, slot: Slot, body: &[u8]) {
        if let (Ok(tag), Some(member)) = (
            command_tag(body),
            self.spreading.as_mut().and_then(|s| s.member(slot)),
        ) {
            member.tag = tag.to_owned();
            member.prepared |= tag == "PREPARE TRANSACTION";
        }
    }

    /// A row of RETURNING.
    fn spread_row(&mut self, slot: Slot, frame: &[u8], out: &mut Output) {
        let limits = self.options.common.gather.clone();
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        if spreading.error.is_some() || matches!(spreading.stage, Stage::Searching(_)) {
            return;
        }
        spreading.rows += 1;
        let fits = spreading
            .share
            .take(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        let too_many = spreading.rows > limits.rows || spreading.share.bytes() > limits.bytes;
        if !fits || too_many {
            spreading.share.give_back();
            for member in &mut spreading.members {
                member.rows.clear();
            }
            let state = if too_many { "54000" } else { "53200" };
            let error = PgError::error(state, "the statement returns too many rows of several shards")
                .detail(format!(
                    "At most {} rows and {} bytes (limits.gather_rows, limits.gather_bytes), and {} bytes of all statements together (limits.gather_bytes_total).",
                    limits.rows, limits.bytes, limits.budget.bytes_max()
                ))
                .hint("Leave RETURNING out, write fewer rows at once, or raise the limits.");
            self.spread_stop(error, out);
            return;
        }
        let only_home = spreading.spread.copies.is_some();
        let home = spreading.home().and_then(|home| home.slot);
        if only_home && home != Some(slot) {
            return;
        }
        if let Some(member) = spreading.member(slot) {
            member.rows.push(Bytes::copy_from_slice(frame));
        }
    }

    /// A row of the router's own questions.
    fn spread_told(&mut self, slot: Slot, body: &[u8]) {
        let Ok(row) = data_row(body) else { return };
        let values: Vec<&str> = row
            .map(|value| {
                value
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .unwrap_or_default()
            })
            .collect();
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let [first, second] = values.as_slice() else {
            return;
        };
        match spreading.stage {
            Stage::Checking => {
                spreading.now = (*second).to_owned();
                let of_copies = spreading.spread.copies.is_some();
                if of_copies && !first.starts_with("read ") {
                    // What waits for the lock of the copies must see what was written meanwhile.
                    spreading.error.get_or_insert(
                        PgError::error("0A000", "a reference table is written by READ COMMITTED transactions only")
                            .detail(format!("The isolation level is {}, whose view of the rows is older than the lock that keeps the copies alike.", first.to_uppercase()))
                            .hint("Set default_transaction_isolation to 'read committed' for it."),
                    );
                } else if *first == "serializable" {
                    spreading.error.get_or_insert(
                        PgError::error("0A000", "a SERIALIZABLE transaction over several shards is not supported")
                            .detail("The statement writes several shards, and no server would see what the others have read.")
                            .hint("Set default_transaction_isolation to 'read committed' for it."),
                    );
                }
            }
            Stage::Running(_) => {
                if let Some(member) = spreading.member(slot) {
                    member.wrote = *first == "t";
                    member.can_prepare = *second == "t";
                }
            }
            Stage::Attaching(_)
            | Stage::Searching(_)
            | Stage::Finishing
            | Stage::Preparing
            | Stage::Deciding
            | Stage::Committing
            | Stage::RollingBack
            | Stage::Resolving => {}
        }
    }

    /// `bytes`: the server's frame, which the client gets as it is. Of one shard the first error counts.
    pub(crate) fn spread_error(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(member) = self.spreading.as_mut().and_then(|s| s.member(slot)) else {
            return;
        };
        // The command before it may have left its tag.
        member.tag.clear();
        member.failed.get_or_insert_with(|| {
            let fields = ErrorFields::parse(bytes.get(5..).unwrap_or_default());
            Failure {
                error: fields.map_or_else(
                    |_| PgError::error("XX000", "the server's error could not be read"),
                    |fields| fields.to_error(),
                ),
                frame: Bytes::copy_from_slice(bytes),
            }
        });
    }

    fn spread_ready(&mut self, slot: Slot, status: TxStatus, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let edges = spreading.stage.edges();
        if let Some(member) = spreading.member(slot) {
            member.pending = member.pending.saturating_sub(1);
            member.status = status;
            if let Some((_, behind)) = edges
                && member.pending == 0
            {
                out.steps.push(Step::Edge { edge: behind, slot });
            }
        }
        self.spread_answered(out);
    }

    /// The connection to a shard has ended. False: no write over several shards uses the slot.
    ///
    /// What has not been decided is rolled back on the others. What is decided, or may be, stays so: the decision row says
    /// what becomes of the shard that was lost.
    pub(crate) fn spread_lost(&mut self, slot: Slot, why: &str, out: &mut Output) -> bool {
        let Some(spreading) = self.spreading.as_mut() else {
            return false;
        };
        let stage = spreading.stage;
        let Some(member) = spreading.member(slot) else {
            return false;
        };
        member.lost = true;
        member.pending = 0;
        member.status = TxStatus::Idle;
        let message = format!("the connection to shard \"{}\" was lost", member.name);
        let error = PgError::error("08006", message).detail(why.to_string());
        self.close_place(slot, out);
        match stage {
            Stage::Attaching(_) => {
                self.spread_end(Err(error), out);
                return true;
            }
            Stage::Checking | Stage::Running(_) | Stage::Searching(_) | Stage::Preparing => {
                if let Some(spreading) = self.spreading.as_mut() {
                    spreading.error.get_or_insert(error);
                }
            }
            Stage::Finishing
            | Stage::Deciding
            | Stage::Committing
            | Stage::RollingBack
            | Stage::Resolving => {}
        }
        self.spread_answered(out);
        true
    }

    /// Goes on if nothing is awaited; a cancel request that is on its way is waited for.
    pub(crate) fn spread_answered(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_ref() else {
            return;
        };
        let waits = match spreading.stage {
            Stage::Attaching(_) | Stage::Resolving => true,
            Stage::Checking
            | Stage::Running(_)
            | Stage::Searching(_)
            | Stage::Finishing
            | Stage::Preparing
            | Stage::Deciding
            | Stage::Committing
            | Stage::RollingBack => spreading.members.iter().any(|member| {
                let place = member.slot.and_then(|slot| self.place(slot));
                member.pending > 0 || place.is_some_and(|place| place.cancel_pending)
            }),
        };
        if !waits {
            self.spread_next(out);
        }
    }

    /// A cancel request, or a limit: what runs is called off. From the first PREPARE on nothing is.
    pub(crate) fn spread_stop(&mut self, error: PgError, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        match spreading.stage {
            Stage::Attaching(_) => self.spread_end(Err(error), out),
            Stage::Checking | Stage::Running(_) | Stage::Searching(_) => {
                let running: Vec<Slot> = spreading
                    .members
                    .iter()
                    .filter(|member| member.pending > 0)
                    .filter_map(|member| member.slot)
                    .collect();
                spreading.error.get_or_insert(error);
                for slot in running {
                    if let Some(place) = self.place_mut(slot)
                        && !place.cancel_pending
                    {
                        place.cancel_pending = true;
                        out.steps.push(Step::Cancel { slot });
                    }
                }
            }
            Stage::Finishing
            | Stage::Preparing
            | Stage::Deciding
            | Stage::Committing
            | Stage::RollingBack
            | Stage::Resolving => {}
        }
    }

    /// Whether the slot's shard carries out a part that may be called off.
    pub(crate) fn spread_runs(&self, slot: Slot) -> bool {
        self.spreading.as_ref().is_some_and(|spreading| {
            let runs = matches!(
                spreading.stage,
                Stage::Checking | Stage::Running(_) | Stage::Searching(_)
            );
            let pending = |member: &super::Member| member.slot == Some(slot) && member.pending > 0;
            runs && spreading.members.iter().any(pending)
        })
    }
}
