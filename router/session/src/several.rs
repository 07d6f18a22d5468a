//! One statement of DDL on every shard, as one atomic step where Postgres allows it.
//!
//! Home runs it first, so that its locks make others wait in one order; then the other shards run it, each prepares, home
//! commits together with the decision row, and the others commit what they prepared. A router that is lost in between
//! leaves prepared transactions which any router resolves: a decision row means commit. A shard that is lost in between is
//! asked again by `Step::Resolve`, and the client is told nothing before that is answered. Statements that refuse a
//! transaction block run shard after shard.

mod answers;
mod ending;

use crate::api::{Edge, Output, Slot, Step, Wanted};
use crate::local::{LocalResult, Waiting};
use crate::owed::Purpose;
use crate::planner::Planned;
use crate::session::{Session, Wait, cancelled};
use crate::settings::quote_literal;
use bytes::Bytes;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Several {
    text: String,
    gid: String,
    /// The number of the epoch by which it was planned.
    pub epoch: u64,
    atomic: bool,
    stage: Stage,
    /// Home first.
    members: Vec<Member>,
    error: Option<PgError>,
    /// PREPARE was sent: from here on a lost shard may hold a prepared transaction.
    preparing: bool,
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
    /// Its connection has ended.
    lost: bool,
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
    /// The server ends what a lost shard may hold prepared.
    Resolving,
    Refreshing,
}

impl Stage {
    /// The edges before a member is sent what it has to do, and behind its answer.
    fn edges(self) -> Option<(Edge, Edge)> {
        match self {
            Stage::Home | Stage::Others | Stage::Alone(_) => Some((Edge::Run, Edge::Ran)),
            Stage::Preparing => Some((Edge::Prepare, Edge::Prepared)),
            Stage::Deciding => Some((Edge::Decide, Edge::Decided)),
            Stage::Committing => Some((Edge::Commit, Edge::Committed)),
            Stage::RollingBack => Some((Edge::RollBack, Edge::RolledBack)),
            Stage::Attaching | Stage::Resolving | Stage::Refreshing => None,
        }
    }
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
                lost: false,
            });
        }
        self.several = Some(Several {
            text: text.to_string(),
            gid,
            epoch: self.snapshot.epoch.number,
            atomic: !planned.compiled.traits.no_transaction,
            stage: Stage::Attaching,
            members,
            error: None,
            preparing: false,
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

    /// All answers of the stage are in: what comes next.
    fn several_next(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        let text = several.text.clone();
        match several.stage {
            Stage::Attaching | Stage::Home | Stage::Others | Stage::Preparing | Stage::Alone(_)
                if several.error.is_some() =>
            {
                self.several_roll_back(out);
            }
            Stage::Attaching if several.atomic => {
                several.stage = Stage::Home;
                self.several_send(|index| index == 0, &["BEGIN", &text], out);
            }
            Stage::Attaching => {
                several.stage = Stage::Alone(0);
                self.several_send(|index| index == 0, &[&text], out);
            }
            Stage::Alone(index) => {
                several.keep_tags(|at| at == index);
                let next = index + 1;
                if next < several.members.len() {
                    several.stage = Stage::Alone(next);
                    self.several_send(|at| at == next, &[&text], out);
                } else {
                    self.several_refresh(out);
                }
            }
            Stage::Home => {
                several.keep_tags(|index| index == 0);
                several.stage = Stage::Others;
                self.several_send(|index| index > 0, &["BEGIN", &text], out);
            }
            Stage::Others => {
                several.keep_tags(|index| index > 0);
                if let Err(error) = several.tag() {
                    several.error = Some(error);
                    return self.several_roll_back(out);
                }
                several.stage = Stage::Preparing;
                several.preparing = true;
                self.several_two_phase("PREPARE TRANSACTION", out);
            }
            Stage::Preparing => self.several_decide(out),
            Stage::Deciding => self.several_decided(out),
            Stage::Committing => {
                // Not everywhere yet: the decision stands, and the client is told when it is in force.
                if several.members.iter().skip(1).all(Member::has_committed) {
                    self.several_refresh(out);
                } else {
                    self.several_resolve(out);
                }
            }
            Stage::RollingBack => {
                let unsure = several.preparing
                    && several.members.iter().skip(1).any(Member::may_be_prepared);
                if unsure {
                    return self.several_resolve(out);
                }
                let error = several.error.take().unwrap_or_else(cancelled);
                self.several_end(Err(error), out);
            }
            Stage::Resolving | Stage::Refreshing => {}
        }
    }

    /// Every shard has answered PREPARE TRANSACTION without an error.
    fn several_decide(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        // The tag decides: in a transaction that had failed the command rolls back without an error.
        if several
            .members
            .iter()
            .skip(1)
            .any(|member| !member.prepared)
        {
            several.error = Some(PgError::error(
                "40000",
                "the transaction could not be prepared on every shard",
            ));
            return self.several_roll_back(out);
        }
        several.stage = Stage::Deciding;
        let decide = format!("SELECT shardgate.decide({})", quote_literal(&several.gid));
        self.several_send(
            |index| index == 0,
            &["SET LOCAL synchronous_commit = on", &decide, "COMMIT"],
            out,
        );
    }

    /// The tag of home's COMMIT says which way it went; without an answer nobody knows but the decision row.
    fn several_decided(&mut self, out: &mut Output) {
        let Some(several) = self.several.as_mut() else {
            return;
        };
        let Some(home) = several.members.first() else {
            return;
        };
        if home.tag == "COMMIT" {
            several.error = None;
            several.stage = Stage::Committing;
            self.several_two_phase("COMMIT PREPARED", out);
        } else if home.lost {
            self.several_resolve(out);
        } else {
            several
                .error
                .get_or_insert(PgError::error("40000", "the home shard did not commit"));
            self.several_roll_back(out);
        }
    }

    /// Sends the texts to the chosen members.
    fn several_send(&mut self, choose: impl Fn(usize) -> bool, texts: &[&str], out: &mut Output) {
        let mut list = Vec::new();
        if let Some(several) = self.several.as_ref() {
            for (index, member) in several.members.iter().enumerate() {
                if choose(index) {
                    list.push((
                        member.slot,
                        texts.iter().map(|text| text.to_string()).collect(),
                    ));
                }
            }
        }
        self.several_say(list, out);
    }

    /// PREPARE TRANSACTION or COMMIT PREPARED on all but home.
    fn several_two_phase(&mut self, verb: &str, out: &mut Output) {
        let mut list = Vec::new();
        if let Some(several) = self.several.as_ref() {
            for member in several.members.iter().skip(1) {
                list.push((member.slot, vec![format!("{verb} {}", member.gid)]));
            }
        }
        self.several_say(list, out);
    }

    /// Sends each slot its texts, if its connection lives; with none to send to the next stage follows at once.
    fn several_say(&mut self, list: Vec<(Slot, Vec<String>)>, out: &mut Output) {
        let mut waits = false;
        for (slot, texts) in list {
            let Some(several) = self.several.as_mut() else {
                return;
            };
            let edges = several.stage.edges();
            let member = several.member(slot).filter(|member| !member.lost);
            let Some(member) = member else { continue };
            member.pending = texts.len();
            member.tag.clear();
            waits = true;
            if let Some((before, _)) = edges {
                out.steps.push(Step::Edge { edge: before, slot });
            }
            for text in &texts {
                if let Some((place, buffer)) = self.reach(slot, out) {
                    place.query(text, Purpose::Several, buffer);
                }
            }
        }
        if !waits {
            self.several_next(out);
        }
    }
}

impl Member {
    fn has_committed(&self) -> bool {
        self.tag == "COMMIT PREPARED"
    }

    /// After an attempt to roll back: nobody has said that nothing is prepared there.
    fn may_be_prepared(&self) -> bool {
        self.lost || (self.prepared && self.tag != "ROLLBACK PREPARED")
    }
}

impl Several {
    fn member(&mut self, slot: Slot) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.slot == slot)
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
