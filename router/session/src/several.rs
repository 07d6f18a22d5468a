//! One statement of DDL on every shard, as one atomic step where Postgres allows it.
//!
//! Home runs it first, so that its locks make others wait in one order; then the other shards run it, each prepares, home
//! commits together with the decision row, and the others commit what they prepared. A router that is lost in between
//! leaves prepared transactions which any router resolves: a decision row means commit. Statements that refuse a
//! transaction block run shard after shard.

use crate::api::{Output, Slot, Step, Wanted};
use crate::local::{LocalResult, Waiting};
use crate::owed::Purpose;
use crate::place::Place;
use crate::planner::Planned;
use crate::session::{Session, Wait, cancelled};
use crate::settings::quote_literal;
use bytes::Bytes;
use shardgate_wire::backend::ErrorFields;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Several {
    text: String,
    gid: String,
    atomic: bool,
    stage: Stage,
    /// Home first.
    members: Vec<Member>,
    error: Option<PgError>,
    /// The error as a server has sent it, and the member's index.
    said: Option<(usize, Bytes)>,
}

#[derive(Debug)]
struct Member {
    slot: Slot,
    name: String,
    /// Its own gid, quoted: two shards may be databases of one server, where gids are unique.
    gid: String,
    attached: bool,
    /// Queries that were not answered yet.
    pending: usize,
    tag: String,
    /// The tag of the statement itself.
    statement_tag: String,
    status: TxStatus,
    prepared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Attaching,
    Home,
    Others,
    Preparing,
    Deciding,
    Committing,
    /// Without a transaction: the member with this index runs it.
    Alone(usize),
    RollingBack,
    Refreshing,
}

impl Session {
    pub(crate) fn start_several(
        &mut self,
        text: &str,
        planned: &Arc<Planned>,
        out: &mut Output,
    ) -> Result<(), PgError> {
        if !self.transaction.is_none() || (self.batch.slot.is_some() && self.batch.executed) {
            return Err(PgError::error("0A000", "DDL on several shards cannot run inside a transaction block yet")
                .detail("The statement concerns every shard and is made atomic by a transaction of its own.")
                .hint("Run it outside of a transaction."));
        }
        self.serial += 1;
        let home = self.snapshot.home;
        let mut shards: Vec<_> = self
            .snapshot
            .shards
            .iter()
            .map(|shard| (shard.id, shard.name.clone()))
            .collect();
        shards.sort_by_key(|(id, _)| (*id != home, *id));
        let gid = format!(
            "{}{}_{}",
            self.options.common.gid_prefix, self.options.pid, self.serial
        );
        let mut members = Vec::new();
        for (id, name) in shards {
            let slot = self.new_place(id, Wanted::Primary, out)?;
            members.push(Member {
                slot,
                name,
                gid: quote_literal(&format!("{gid}:{}", id.0)),
                attached: false,
                pending: 0,
                tag: String::new(),
                statement_tag: String::new(),
                status: TxStatus::Idle,
                prepared: false,
            });
        }
        self.several = Some(Several {
            text: text.to_string(),
            gid,
            atomic: !planned.compiled.traits.no_transaction,
            stage: Stage::Attaching,
            members,
            error: None,
            said: None,
        });
        let result = LocalResult {
            column: None,
            rows: Vec::new(),
            tag: String::new(),
            warning: None,
        };
        self.working = Some(Waiting {
            result,
            simple: false,
        });
        self.wait = Wait::Work;
        Ok(())
    }

    pub(crate) fn several_attached(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        let Some(several) = self.several.as_mut() else {
            return;
        };
        for member in several
            .members
            .iter_mut()
            .filter(|member| member.slot == slot)
        {
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
        if let Some(several) = self.several.as_mut() {
            for member in several
                .members
                .iter_mut()
                .filter(|member| member.slot == slot)
            {
                member.tag = tag.to_string();
            }
        }
    }

    /// The first error counts. `bytes`: the server's frame, which the client gets as it is.
    pub(crate) fn several_error(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        let member = several
            .members
            .iter()
            .position(|member| member.slot == slot);
        if let (None, Some(index)) = (&several.error, member) {
            let error = ErrorFields::parse(bytes.get(5..).unwrap_or_default())
                .map(|fields| fields.to_error())
                .unwrap_or_else(|_| {
                    PgError::error("XX000", "the server's error could not be read")
                });
            several.error = Some(error);
            several.said = Some((index, Bytes::copy_from_slice(bytes)));
        }
    }

    pub(crate) fn several_ready(&mut self, slot: Slot, status: TxStatus, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        for member in several
            .members
            .iter_mut()
            .filter(|member| member.slot == slot)
        {
            member.pending = member.pending.saturating_sub(1);
            member.status = status;
        }
        if several.members.iter().all(|member| member.pending == 0)
            && several.stage != Stage::Attaching
        {
            self.several_next(out);
        }
    }

    /// All answers of the stage are in: what comes next.
    fn several_next(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        if several.error.is_some()
            && !matches!(several.stage, Stage::RollingBack | Stage::Committing)
        {
            return self.several_roll_back(out);
        }
        let text = several.text.clone();
        let gid = quote_literal(&several.gid);
        match several.stage {
            Stage::Attaching if several.atomic => {
                several.stage = Stage::Home;
                self.several_send(|_, index| index == 0, &["BEGIN", &text], out);
            }
            Stage::Attaching => {
                several.stage = Stage::Alone(0);
                self.several_send(|_, index| index == 0, &[&text], out);
            }
            Stage::Alone(index) => {
                several.keep_tags(|at| at == index);
                let next = index + 1;
                if next < several.members.len() {
                    several.stage = Stage::Alone(next);
                    self.several_send(|_, at| at == next, &[&text], out);
                } else {
                    self.several_refresh(out);
                }
            }
            Stage::Home => {
                several.keep_tags(|index| index == 0);
                several.stage = Stage::Others;
                self.several_send(|_, index| index > 0, &["BEGIN", &text], out);
            }
            Stage::Others => {
                several.keep_tags(|index| index > 0);
                if let Err(error) = several.tag() {
                    several.error = Some(error);
                    return self.several_roll_back(out);
                }
                several.stage = Stage::Preparing;
                self.several_two_phase("PREPARE TRANSACTION", out);
            }
            Stage::Preparing => {
                for member in several.members.iter_mut().skip(1) {
                    // The tag decides: in a transaction that had failed the command rolls back without an error.
                    member.prepared = member.tag == "PREPARE TRANSACTION";
                    if !member.prepared {
                        several.error.get_or_insert(PgError::error(
                            "40000",
                            "the transaction could not be prepared on every shard",
                        ));
                    }
                }
                if several.error.is_some() {
                    return self.several_roll_back(out);
                }
                several.stage = Stage::Deciding;
                let decide = format!("SELECT shardgate.decide({gid})");
                self.several_send(
                    |_, index| index == 0,
                    &["SET LOCAL synchronous_commit = on", &decide, "COMMIT"],
                    out,
                );
            }
            Stage::Deciding => {
                if several
                    .members
                    .first()
                    .is_none_or(|home| home.tag != "COMMIT")
                {
                    several
                        .error
                        .get_or_insert(PgError::error("40000", "the home shard did not commit"));
                    return self.several_roll_back(out);
                }
                several.stage = Stage::Committing;
                self.several_two_phase("COMMIT PREPARED", out);
            }
            // What could not be committed here is committed by recovery: the decision stands.
            Stage::Committing => {
                several.error = None;
                self.several_refresh(out);
            }
            Stage::RollingBack => {
                let error = several.error.take().unwrap_or_else(cancelled);
                self.several_end(Err(error), out);
            }
            Stage::Refreshing => {}
        }
    }

    /// Sends the texts to the chosen members; with none of them the next stage follows at once.
    fn several_send(
        &mut self,
        choose: impl Fn(&TxStatus, usize) -> bool,
        texts: &[&str],
        out: &mut Output,
    ) {
        let mut chosen = Vec::new();
        if let Some(several) = self.several.as_mut() {
            for (index, member) in several.members.iter_mut().enumerate() {
                if choose(&member.status, index) {
                    member.pending = texts.len();
                    chosen.push(member.slot);
                }
            }
        }
        for slot in &chosen {
            for text in texts {
                if let Some((place, buffer)) = self.reach(*slot, out) {
                    place.query(text, Purpose::Several, buffer);
                }
            }
        }
        if chosen.is_empty() {
            self.several_next(out);
        }
    }

    /// PREPARE TRANSACTION or COMMIT PREPARED on all but home.
    fn several_two_phase(&mut self, verb: &str, out: &mut Output) {
        let mut texts = Vec::new();
        if let Some(several) = self.several.as_mut() {
            for member in several.members.iter_mut().skip(1) {
                member.pending = 1;
                texts.push((member.slot, format!("{verb} {}", member.gid)));
            }
        }
        self.several_say(&texts, out);
    }

    /// Sends each slot its text; with none the next stage follows at once.
    fn several_say(&mut self, texts: &[(Slot, String)], out: &mut Output) {
        for (slot, text) in texts {
            if let Some((place, buffer)) = self.reach(*slot, out) {
                place.query(text, Purpose::Several, buffer);
            }
        }
        if texts.is_empty() {
            self.several_next(out);
        }
    }

    fn several_roll_back(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        several.stage = Stage::RollingBack;
        let prepared: Vec<bool> = several
            .members
            .iter()
            .map(|member| member.prepared)
            .collect();
        let open: Vec<bool> = several
            .members
            .iter()
            .map(|member| member.status != TxStatus::Idle)
            .collect();
        let mut slots = Vec::new();
        for (index, member) in several.members.iter_mut().enumerate() {
            let is = |list: &[bool]| list.get(index).copied().unwrap_or(false);
            let text = if is(&prepared) {
                format!("ROLLBACK PREPARED {}", member.gid)
            } else if is(&open) {
                "ROLLBACK".to_string()
            } else {
                continue;
            };
            member.pending = 1;
            slots.push((member.slot, text));
        }
        self.several_say(&slots, out);
    }

    fn several_refresh(&mut self, out: &mut Output) {
        if let Some(several) = self.several.as_mut() {
            several.stage = Stage::Refreshing;
        }
        out.steps.push(Step::Refresh);
    }

    pub(crate) fn several_refreshed(&mut self, out: &mut Output) {
        self.several_end(Ok(()), out);
    }

    fn several_end(&mut self, outcome: Result<(), PgError>, out: &mut Output) {
        let Some(several) = self.several.take() else {
            return;
        };
        for member in &several.members {
            if outcome.is_ok() {
                out.steps.push(Step::Settled {
                    slot: member.slot,
                    wrote: true,
                });
            }
            if self.place(member.slot).is_some_and(Place::is_clean) {
                self.release(member.slot, out);
            } else {
                self.close_place(member.slot, out);
            }
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

    /// Keeps the tags of the statement before those of the transaction's end come.
    fn keep_tags(&mut self, chosen: impl Fn(usize) -> bool) {
        for (index, member) in self.members.iter_mut().enumerate() {
            if chosen(index) {
                member.statement_tag = member.tag.clone();
            }
        }
    }

    /// The one tag of all shards.
    fn tag(&self) -> Result<String, PgError> {
        shardgate_merge::combine(
            self.members
                .iter()
                .map(|member| member.statement_tag.as_str()),
        )
        .map_err(|error| {
            PgError::error("XX000", "the shards did not answer alike").detail(error.to_string())
        })
    }
}
