//! Whether a statement is one for several shards here, and its beginning: connections, one after the other.

use super::{Execution, Member, Spreading, Stage};
use crate::api::{Output, SLOTS_MAX, Wanted};
use crate::client::Flow;
use crate::commands::Doer;
use crate::planner::Planned;
use crate::session::{Session, Wait};
use crate::settings::quote_literal;
use shardgate_plan::{Decision, Param, Spread};
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

impl Session {
    /// The parts of the statement; None: it goes another way, or is refused as it would be with one shard.
    pub(crate) fn to_spread(
        &self,
        planned: &Planned,
        doer: Doer,
        params: &[Param<'_>],
    ) -> Option<Arc<Spread>> {
        if !planned.compiled.may_spread() {
            return None;
        }
        let decision = planned.compiled.decide(params, &self.snapshot);
        self.as_spread(planned, doer, &decision)
    }

    /// As `to_spread`, of what was decided.
    pub(crate) fn as_spread(
        &self,
        planned: &Planned,
        doer: Doer,
        decision: &Decision,
    ) -> Option<Arc<Spread>> {
        let Decision::Spread(spread) = decision else {
            return None;
        };
        let hint = planned.facts.hint.as_ref();
        let by_hand = self.settings.shard.is_some() || hint.is_some_and(|h| h.shard.is_some());
        let alone = self.transaction.is_none() && !self.batch.executed;
        // While rows of its table are on two shards, parts of it would have to say whose rows they mean.
        let moves = !planned.compiled.concerns.is_none();
        let whole = doer == Doer::Planned && alone && !by_hand && !moves;
        whole.then(|| spread.clone())
    }

    /// A simple Query of one statement.
    pub(crate) fn query_spread(
        &mut self,
        spread: Arc<Spread>,
        frame: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some()
        {
            // What was only prepared there need not be held while others are waited for.
            self.drain(slot, out);
            return Ok(Flow::Later);
        }
        let whole = frame
            .get(5..)
            .and_then(|body| std::str::from_utf8(body.strip_suffix(&[0])?).ok())
            .unwrap_or_default();
        let execution = Execution {
            text: Arc::from(whole),
            types: Arc::from([]),
            bind: None,
            max_rows: 0,
        };
        let epoch = self.snapshot.epoch.number;
        self.start_spread(spread, epoch, execution, out)?;
        Ok(Flow::Consumed)
    }

    pub(super) fn start_spread(
        &mut self,
        spread: Arc<Spread>,
        epoch: u64,
        execution: Execution,
        out: &mut Output,
    ) -> Result<(), PgError> {
        self.serial += 1;
        let gid = format!(
            "{}{}_{}",
            self.options.common.gid_prefix, self.options.pid, self.serial
        );
        let home = self.snapshot.home;
        let mut shards: Vec<_> = spread.parts.iter().map(|part| part.shard).collect();
        if !shards.contains(&home) {
            shards.insert(0, home);
        }
        if shards.len() > SLOTS_MAX {
            return Err(PgError::error("54000", "too many shards in one statement")
                .detail(format!("A statement can write {SLOTS_MAX} shards at most.")));
        }
        shards.sort_by_key(|id| (*id != home, *id));
        let member = |shard| Member {
            shard,
            name: self.shard_name(shard),
            slot: None,
            gid: quote_literal(&format!("{gid}:{}", shard.0)),
            part: spread.part(shard).is_some(),
            pending: 0,
            tag: String::new(),
            part_tag: String::new(),
            rows: Vec::new(),
            status: TxStatus::Idle,
            wrote: false,
            can_prepare: false,
            prepared: false,
            lost: false,
            failed: None,
        };
        let members = shards.into_iter().map(member).collect();
        self.spreading = Some(Box::new(Spreading {
            spread,
            epoch,
            execution,
            gid,
            stage: Stage::Attaching(0),
            members,
            now: String::new(),
            description: None,
            share: self.options.common.gather.budget.share(),
            rows: 0,
            ordered: Vec::new(),
            error: None,
            said: None,
            search: None,
            preparing: false,
            committing: false,
        }));
        self.counts.statements += 1;
        self.wait = Wait::Spread;
        self.spread_attach(0, out);
        Ok(())
    }

    /// Asks for the connection of the next member, or begins if all are there.
    pub(super) fn spread_attach(&mut self, index: usize, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        spreading.stage = Stage::Attaching(index);
        let Some(shard) = spreading.members.get(index).map(|member| member.shard) else {
            return self.spread_check(out);
        };
        match self.new_place(shard, Wanted::Primary, out) {
            Ok(slot) => {
                let member = self
                    .spreading
                    .as_mut()
                    .and_then(|s| s.members.get_mut(index));
                if let Some(member) = member {
                    member.slot = Some(slot);
                }
            }
            Err(error) => self.spread_end(Err(error), out),
        }
    }
}
