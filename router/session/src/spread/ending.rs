//! How a write over several shards ends: committed everywhere, rolled back, or decided by what the decision row says.

use super::{Spreading, Stage};
use crate::api::{Edge, Output, Slot, Step};
use crate::place::Place;
use crate::session::{Session, Wait};
use bytes::BytesMut;
use shardgate_wire::PgError;

impl Session {
    /// COMMIT was sent to all, of whom one at most has written.
    pub(super) fn spread_finished(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let writer = spreading.members.iter().find(|member| member.wrote);
        let (outcome, lost) = match writer {
            None => (Ok(()), false),
            Some(member) if member.tag == "COMMIT" => (Ok(()), false),
            Some(member) if member.lost => (
                Err(PgError::error("08007", "the outcome of the statement is unknown")
                    .detail(format!(
                        "The connection to shard \"{}\", the only one that it has written, was lost during its COMMIT.",
                        member.name
                    ))
                    .hint("Look whether its rows are there before it is repeated.")),
                true,
            ),
            Some(_) => {
                spreading.take_failure();
                let error = spreading.error.take();
                let unsaid = || PgError::error("40000", "the shard did not commit");
                (Err(error.unwrap_or_else(unsaid)), false)
            }
        };
        if lost {
            spreading.said = None;
        }
        self.spread_end(outcome, out);
    }

    /// A shard may hold a prepared transaction, and has not said what became of it: the server ends it by the decision row.
    pub(super) fn spread_resolve(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        spreading.stage = Stage::Resolving;
        let gid = spreading.gid.clone();
        out.steps.push(Step::Resolve { gid });
    }

    /// Nothing is prepared anywhere any more, or not all shards could be asked.
    pub(crate) fn spread_resolved(&mut self, result: Result<bool, PgError>, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        match result {
            Ok(true) => self.spread_end(Ok(()), out),
            Ok(false) => {
                let error = spreading.error.take().unwrap_or_else(|| {
                    PgError::error("40000", "the statement was rolled back on every shard").detail(
                        "The connection to a shard was lost before the home shard had decided.",
                    )
                });
                self.spread_end(Err(error), out);
            }
            Err(cause) => {
                let error = spreading.unconfirmed(&cause);
                // What a server has said is not what became of the statement.
                spreading.said = None;
                self.spread_end(Err(error), out);
            }
        }
    }

    /// The session ends: what may be prepared is not left to wait for the next look at all shards.
    pub(crate) fn spread_abandon(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.take() else {
            return;
        };
        if spreading.preparing && spreading.stage != Stage::Resolving {
            out.steps.push(Step::Resolve { gid: spreading.gid });
        }
    }

    pub(super) fn spread_end(&mut self, outcome: Result<(), PgError>, out: &mut Output) {
        let Some(spreading) = self.spreading.take() else {
            return;
        };
        let attached: Vec<Slot> = spreading
            .members
            .iter()
            .filter(|member| !member.lost)
            .filter_map(|member| member.slot)
            .collect();
        if let (Ok(()), Some(slot)) = (&outcome, spreading.home().and_then(|home| home.slot)) {
            out.steps.push(Step::Edge {
                edge: Edge::WriteAnswer,
                slot,
            });
        }
        for slot in attached {
            if outcome.is_ok() {
                out.steps.push(Step::Settled { slot, wrote: true });
            }
            if self.place(slot).is_some_and(Place::is_clean) {
                self.release(slot, out);
            } else {
                self.close_place(slot, out);
            }
        }
        self.wait = Wait::Nothing;
        self.take_snapshot();
        match (outcome, &spreading.said) {
            (Ok(()), _) => {
                let mut bytes = BytesMut::new();
                spreading.answer(&mut bytes);
                self.reply(bytes.freeze(), out);
            }
            (Err(_), Some(frame)) => {
                self.counts.errors_relayed += 1;
                self.fail_as(frame.clone(), out);
            }
            (Err(error), None) => self.fail(&error, out),
        }
        if spreading.execution.is_simple() {
            let flow = self.sync_now(out);
            debug_assert_eq!(flow, crate::client::Flow::Consumed);
        }
        self.end_if_gone(out);
    }
}

impl Spreading {
    /// 08007: what the decision row says is not in force everywhere yet, or could not be read.
    fn unconfirmed(&self, cause: &PgError) -> PgError {
        let decided = self.home().is_some_and(|home| home.tag == "COMMIT");
        let message = if decided {
            "the statement is committed, but not confirmed on every shard"
        } else {
            "the outcome of the statement is unknown"
        };
        PgError::error("08007", message)
            .detail(format!("Its transaction is \"{}\": {}", self.gid, cause.message))
            .hint("The routers end it on every shard in the same way as soon as all shards can be reached.")
    }
}
