//! What the shards say while rows are gathered: rows, errors, or nothing any more.

use super::shape::Columns;
use super::{PartState, Session};
use crate::api::{Output, Slot, Step};
use crate::owed::Kind;
use shardgate_merge::RowError;
use shardgate_wire::PgError;
use shardgate_wire::backend::TxStatus;

impl Session {
    /// One row of the table that is being read. `body`: of its DataRow.
    pub(crate) fn gather_row(&mut self, slot: Slot, body: &[u8], out: &mut Output) {
        let limits = self.options.common.gather.clone();
        let Some(gathering) = self.gathering.as_mut() else {
            return;
        };
        if gathering.error.is_some() {
            return;
        }
        let Some(part) = gathering.parts.iter_mut().find(|part| part.slot == slot) else {
            return;
        };
        let table = part.tables.front().copied();
        let Some(rows) = table.and_then(|table| part.rows.get_mut(table)) else {
            return;
        };
        let bytes = match rows.push(body) {
            Ok(bytes) => u64::try_from(bytes).unwrap_or(u64::MAX),
            Err(error) => {
                let error = bad_row(&error, &part.name);
                self.gather_stop(error, out);
                return;
            }
        };
        gathering.rows += 1;
        let fits = gathering.share.take(bytes);
        let error = if gathering.rows > limits.rows {
            too_much("rows", limits.rows, "gather_rows")
        } else if gathering.share.bytes() > limits.bytes {
            too_much("bytes", limits.bytes, "gather_bytes")
        } else if !fits {
            no_memory(limits.budget.bytes_max())
        } else {
            return;
        };
        self.counts.gather_limited += 1;
        self.gather_stop(error, out);
    }

    /// The last reply to one message.
    pub(crate) fn gather_reply(
        &mut self,
        slot: Slot,
        kind: Kind,
        bytes: &[u8],
        status: Option<TxStatus>,
        out: &mut Output,
    ) {
        let Some(gathering) = self.gathering.as_mut() else {
            return;
        };
        let Some(part) = gathering.parts.iter_mut().find(|part| part.slot == slot) else {
            return;
        };
        match kind {
            Kind::DescribeStatement => {
                let table = part.tables.front().copied();
                let columns = Columns::read(bytes);
                if columns.is_none() {
                    let message = format!("shard \"{}\" did not describe its rows", part.name);
                    self.gather_stop(PgError::error("XX000", message), out);
                } else if let Some(entry) = table.and_then(|table| part.columns.get_mut(table)) {
                    *entry = columns;
                }
            }
            Kind::Execute { .. } => {
                part.tables.pop_front();
            }
            Kind::Query => {
                // That of the COMMIT is the last one.
                if let Some(status) = status
                    && self.place(slot).is_some_and(|place| place.owed_is_empty())
                {
                    self.gather_ready(slot, status, out);
                }
            }
            Kind::Parse
            | Kind::Bind
            | Kind::DescribePortal
            | Kind::Close
            | Kind::Sync
            | Kind::Provoked => {}
        }
    }

    /// The shard has answered all.
    fn gather_ready(&mut self, slot: Slot, status: TxStatus, out: &mut Output) {
        if let Some(part) = self.gathering.as_mut().and_then(|g| g.part(slot)) {
            part.state = PartState::Done;
        }
        out.steps.push(Step::Settled { slot, wrote: false });
        if status == TxStatus::Idle {
            // A cancel request that is on its way is waited for.
            self.release(slot, out);
        } else {
            self.close_place(slot, out);
        }
        self.gather_check(out);
    }

    /// A shard cannot answer.
    pub(crate) fn gather_error(&mut self, error: PgError, out: &mut Output) {
        self.gather_stop(error, out);
    }

    /// No connection to the shard can be had; its place is gone already.
    pub(crate) fn gather_unattached(&mut self, slot: Slot, error: PgError, out: &mut Output) {
        if let Some(part) = self.gathering.as_mut().and_then(|g| g.part(slot)) {
            part.state = PartState::Done;
        }
        self.gather_stop(error, out);
    }

    /// The connection to a shard has ended. False: no rows come from the slot.
    pub(crate) fn gather_lost(&mut self, slot: Slot, why: &str, out: &mut Output) -> bool {
        let over = self.is_given_back(slot);
        let Some(part) = self.gathering.as_mut().and_then(|g| g.part(slot)) else {
            return false;
        };
        if part.state == PartState::Done && over {
            return false;
        }
        let Some(part) = self.gathering.as_mut().and_then(|g| g.part(slot)) else {
            return false;
        };
        part.state = PartState::Done;
        let message = format!("the connection to shard \"{}\" was lost", part.name);
        let error = PgError::error("08006", message).detail(why.to_string());
        self.close_place(slot, out);
        self.gather_stop(error, out);
        true
    }
}

fn bad_row(error: &RowError, shard: &str) -> PgError {
    PgError::error(
        "XX000",
        format!("shard \"{shard}\" did not answer with rows"),
    )
    .detail(error.to_string())
}

/// 54000, as Postgres says that a limit of the program is exceeded.
fn too_much(what: &str, max: u64, setting: &str) -> PgError {
    PgError::error("54000", "the statement needs too many rows of other shards")
        .detail(format!(
            "Its tables are not bound to one shard, so their rows are gathered: at most {max} {what} of all its tables together (limits.{setting})."
        ))
        .hint(format!(
            "Bind its tables to one shard by their sharding keys, or raise limits.{setting}."
        ))
}

fn no_memory(max: u64) -> PgError {
    PgError::error("53200", "out of memory for gathered rows")
        .detail(format!(
            "All statements together may hold {max} bytes of gathered rows at once (limits.gather_bytes_total)."
        ))
        .hint("Try again, run fewer such statements at once, or raise limits.gather_bytes_total.")
}
