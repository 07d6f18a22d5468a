//! How a statement on several shards ends: rolled back, in force everywhere, or decided by what the decision row says.

use super::{Session, Several, Stage};
use crate::api::{Edge, Output, Step};
use crate::session::Wait;
use shardgate_wire::{PgError, TxStatus};

impl Session {
    /// Nothing is decided: takes back what was done and what was prepared.
    pub(super) fn several_roll_back(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        several.stage = Stage::RollingBack;
        let mut list = Vec::new();
        for member in several.members.iter().filter(|member| !member.lost) {
            let text = if member.prepared {
                format!("ROLLBACK PREPARED {}", member.gid)
            } else if member.status != TxStatus::Idle {
                "ROLLBACK".to_string()
            } else {
                continue;
            };
            list.push((member.slot, vec![text]));
        }
        self.several_say(list, out);
    }

    /// A shard may hold a prepared transaction, and has not said what became of it: the server ends it by the decision row.
    pub(super) fn several_resolve(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        several.stage = Stage::Resolving;
        let gid = several.gid.clone();
        out.steps.push(Step::Resolve { gid });
    }

    /// Nothing is prepared anywhere any more, or not all shards could be asked.
    pub(crate) fn several_resolved(&mut self, result: Result<bool, PgError>, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        match result {
            Ok(true) => self.several_refresh(out),
            Ok(false) => {
                let error = several.error.take().unwrap_or_else(|| {
                    PgError::error("40000", "the statement was rolled back on every shard").detail(
                        "The connection to a shard was lost before the home shard had decided.",
                    )
                });
                self.several_end(Err(error), out);
            }
            Err(cause) => {
                let error = several.unconfirmed(&cause);
                // What a server has said is not what became of the statement.
                several.said = None;
                self.several_end(Err(error), out);
            }
        }
    }

    /// The session ends: what may be prepared is not left to wait for the next look at all shards.
    pub(crate) fn several_abandon(&mut self, out: &mut Output) {
        let Some(several) = self.several.take() else {
            return;
        };
        let asked = matches!(several.stage, Stage::Resolving | Stage::Refreshing);
        if several.preparing && !asked {
            out.steps.push(Step::Resolve { gid: several.gid });
        }
    }

    pub(super) fn several_refresh(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        several.stage = Stage::Refreshing;
        if let Some(home) = several.members.first() {
            let slot = home.slot;
            out.steps.push(Step::Edge {
                edge: Edge::Refresh,
                slot,
            });
        }
        out.steps.push(Step::Refresh);
    }

    pub(crate) fn several_refreshed(&mut self, out: &mut Output) {
        self.several_end(Ok(()), out);
    }

    pub(super) fn several_end(&mut self, outcome: Result<(), PgError>, out: &mut Output) {
        let Some(several) = self.several.take() else {
            return;
        };
        if let (Ok(()), Some(home)) = (&outcome, several.members.first()) {
            let slot = home.slot;
            out.steps.push(Step::Edge {
                edge: Edge::Answer,
                slot,
            });
        }
        for member in several.members.iter().filter(|member| !member.lost) {
            if outcome.is_ok() {
                out.steps.push(Step::Settled {
                    slot: member.slot,
                    wrote: true,
                });
            }
            self.leave_place(member.slot, out);
        }
        if let Some(work) = self.working.as_mut() {
            // A difference was found before anything was prepared; what ran alone on each shard is done anyway.
            work.result.tag = several.tag().unwrap_or_else(|_| "OK".to_string());
        }
        self.wait = Wait::Nothing;
        self.take_snapshot();
        let warning = several.warning();
        match several.said {
            Some((_, frame)) if outcome.is_err() => self.finish_failed(warning, frame, out),
            Some(_) | None => self.finish_work(outcome, out),
        }
    }
}

impl Several {
    /// What a server's error does not say: that other shards are concerned.
    fn warning(&self) -> Option<PgError> {
        let (index, _) = self.said.as_ref()?;
        let member = self.members.get(*index).filter(|_| *index > 0)?;
        let message = format!("the statement failed on shard \"{}\"", member.name);
        let done: Vec<&str> = self
            .members
            .iter()
            .take(*index)
            .map(|member| member.name.as_str())
            .collect();
        let detail = match self.atomic {
            true => "It was undone on every shard.".to_string(),
            false => format!("It was carried out on: {}.", done.join(", ")),
        };
        Some(PgError::warning("01000", message).detail(detail))
    }

    /// 08007: what the decision row says is not in force everywhere yet, or could not be read.
    fn unconfirmed(&self, cause: &PgError) -> PgError {
        let decided = self
            .members
            .first()
            .is_some_and(|home| home.tag == "COMMIT");
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
