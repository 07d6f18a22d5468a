//! What a session does while data moves from one shard to another: which statements go on, which wait, which fail, and what
//! the router may say of it to whoever moves the data. The races are written down in `docs/adr/0009`.
//!
//! A *unit* is what Postgres sees as one transaction: a block that is open on a server, or the messages since the last
//! Sync. It keeps its shard, so a move that changes hands in the middle of one must either wait for it or be told apart
//! from it. A *claim* is a unit's right to use the keys of a move on the shard that owned them when the claim began.
//!
//! Invariants: what `Session::drained_epoch` says never goes down, because each statement is planned against the newest snapshot
//! that the session was told of; and a statement for keys that change hands is sent only under a claim.

use crate::api::Output;
use crate::route::{Aim, Reach};
use crate::session::{Session, Wait};
use crate::statements::Portal;
use crate::transaction::Transaction;
use shardgate_plan::Moving;
use shardgate_plan::snapshot::{Move, Snapshot};
use shardgate_shard_map::ShardId;
use shardgate_wire::PgError;
use std::sync::Arc;

/// What a session knows of moves; nothing, as long as there are none.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// The number of the epoch by which the open unit came to its shard: its snapshot there is not older.
    began: u64,
    /// Of the open unit. Few have any, so it costs the others no memory.
    of_unit: Option<Box<OfUnit>>,
}

#[derive(Debug, Default)]
struct OfUnit {
    claims: Vec<Claim>,
    /// A move that has changed hands since the unit began was completed meanwhile: which keys it had is not known any more.
    outlived: bool,
    /// The message that was held is not to wait any longer: why.
    ended: Option<PgError>,
}

impl Moves {
    fn claims(&self) -> &[Claim] {
        match &self.of_unit {
            Some(unit) => &unit.claims,
            None => &[],
        }
    }

    fn has_claim(&self, id: i64) -> bool {
        self.claims().iter().any(|claim| claim.id == id)
    }

    fn unit(&mut self) -> &mut OfUnit {
        self.of_unit.get_or_insert_default()
    }

    fn claim(&mut self, id: i64, epoch: u64, kind: ClaimKind) {
        let claims = &mut self.unit().claims;
        match claims.iter_mut().find(|claim| claim.id == id) {
            Some(claim) if kind == ClaimKind::Used => claim.kind = ClaimKind::Used,
            Some(_) => {}
            None => claims.push(Claim { id, epoch, kind }),
        }
    }

    /// Drops the claims of units that did not use the keys, but those of which it is true.
    fn keep_open(&mut self, keep: impl Fn(i64) -> bool) {
        if let Some(unit) = &mut self.of_unit {
            unit.claims
                .retain(|claim| claim.kind == ClaimKind::Used || keep(claim.id));
        }
    }

    fn begin(&mut self, epoch: u64) {
        self.began = epoch;
        self.of_unit = None;
    }

    /// Why the client's message, which was held, is to wait no longer.
    pub fn take_end(&mut self) -> Option<PgError> {
        self.of_unit.as_mut()?.ended.take()
    }
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    id: i64,
    /// The epoch by which its first statement was planned.
    epoch: u64,
    kind: ClaimKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimKind {
    /// A statement on its keys was sent, or may have been before the move was known.
    Used,
    /// None was sent. The unit was open on the shard that gives the keys away before they were held, so it need not wait
    /// for what itself may delay, until it is told that it has had time enough.
    Open,
}

impl Session {
    /// The shard of the open unit.
    fn unit(&self) -> Option<ShardId> {
        let slot = self.joined_slot().or(self.batch.slot)?;
        self.place(slot).map(|place| place.shard)
    }

    /// The client's next statement waits until keys have changed hands.
    pub fn is_held(&self) -> bool {
        self.wait == Wait::Held
    }

    /// The number of the newest epoch that the session was told of.
    pub fn newest_epoch(&self) -> u64 {
        self.newest.epoch.number
    }

    /// The newest epoch of which it is true that nothing is under way here which was planned by an older one and concerns a
    /// move: no rows of all shards are on their way, no DDL, no write over several shards, be it only bound; and for a move
    /// that changes hands, no unit has a claim of before. It never goes down.
    pub fn drained_epoch(&self) -> u64 {
        let newest = &self.newest;
        let several = self.several.as_ref().map(|several| several.epoch);
        let spread = self.spreading.as_ref().map(|spreading| spreading.epoch);
        let bound = self.portals.values().filter_map(|portal| match portal {
            Portal::Spread(bound) => Some(bound.epoch),
            Portal::Remote { .. } | Portal::Local { .. } => None,
        });
        let mut oldest = newest.epoch.number;
        let all = self.gather_epoch.into_iter().chain(several);
        for number in all.chain(spread).chain(bound) {
            oldest = oldest.min(number);
        }
        let claims = self.moves.claims();
        if !claims.is_empty() && self.unit().is_some() {
            for claim in claims {
                if newest
                    .moves
                    .iter()
                    .any(|one| one.id == claim.id && one.holding)
                {
                    oldest = oldest.min(claim.epoch);
                }
            }
        }
        oldest
    }

    /// Units that have not used keys which change hands have had their time: they wait for them like all others now.
    pub(crate) fn seal_claims(&mut self) {
        self.moves.keep_open(|_| false);
    }

    /// Takes note of a newer snapshot. Statements are planned against it from the next message on.
    pub(crate) fn set_newest(&mut self, newer: Arc<Snapshot>) {
        if (!self.newest.moves.is_empty() || !newer.moves.is_empty())
            && let Some(shard) = self.unit()
        {
            self.note_changes(shard, &newer);
        }
        self.newest = newer;
        if self.wait == Wait::Held {
            // It is looked at again, by the newer one.
            self.wait = Wait::Nothing;
        }
    }

    /// What the open unit may do under the moves of a newer snapshot.
    fn note_changes(&mut self, shard: ShardId, newer: &Snapshot) {
        let older = self.newest.clone();
        let number = older.epoch.number;
        for one in newer.moves.iter().filter(|one| one.shards.contains(&shard)) {
            let was = older.moves.iter().find(|was| was.id == one.id);
            match was {
                // Whether its keys were used before it was known was not asked then.
                None => self.moves.claim(one.id, number, ClaimKind::Used),
                Some(was) if one.holding && !was.holding => {
                    if self.more_may_come() && one.losing == shard {
                        self.moves.claim(one.id, number, ClaimKind::Open);
                    }
                }
                Some(_) => {}
            }
        }
        let gone = |one: &Move| {
            newer.moves.iter().all(|still| still.id != one.id)
                && one.shards.contains(&shard)
                && one.since > self.moves.began
        };
        if older.moves.iter().any(gone) {
            self.moves.unit().outlived = true;
        }
        let holding = |id: i64| newer.moves.iter().any(|one| one.id == id && one.holding);
        self.moves.keep_open(holding);
    }

    /// The client can say more in the open unit.
    fn more_may_come(&self) -> bool {
        self.joined_slot().is_some() || !self.batch.synced
    }

    /// A statement is looked at for which there is no unit yet.
    pub(crate) fn begin_unit(&mut self) {
        if self.unit().is_none() {
            self.moves.begin(self.snapshot.epoch.number);
        }
    }

    /// The unit has ended, and another one has begun on the same server.
    pub(crate) fn chain_unit(&mut self) {
        self.moves.begin(self.newest.epoch.number);
    }

    /// Whether the statement may be sent now, as far as moves are concerned. None: yes.
    pub(crate) fn stopped_by_move(&mut self, aim: Aim, out: &mut Output) -> Option<Reach> {
        if aim.moving.is_none() {
            return None;
        }
        let snapshot = self.snapshot.clone();
        let unit = self.unit();
        for one in aim.moving.of(&snapshot) {
            if let Some(shard) = unit
                && self.moves.began < one.since
                && !self.sees_what_came(shard, aim)
            {
                return Some(self.leave_unit(one, out));
            }
        }
        let held = |one: &Move| one.holding && !self.moves.has_claim(one.id);
        aim.moving
            .of(&snapshot)
            .any(held)
            .then(|| self.wait_for_move(out))
    }

    /// The unit's next statement sees rows that have come to its shard since it began: it is known to take a snapshot for
    /// each statement.
    fn sees_what_came(&self, shard: ShardId, aim: Aim) -> bool {
        let default = self.settings.value("default_transaction_isolation");
        aim.shard.is_none_or(|wanted| wanted == shard)
            && self.transaction.has_new_snapshots(default)
    }

    /// The keys have changed hands since the unit began: there its snapshot has them half, here they are no more.
    fn leave_unit(&mut self, one: &Move, out: &mut Output) -> Reach {
        match self.idle_batch() {
            Some(slot) => {
                self.drain(slot, out);
                Reach::Later
            }
            None => Reach::Failed(moved(one)),
        }
    }

    /// Messages of a pipeline in which nothing was bound or executed: they may end anywhere.
    fn idle_batch(&self) -> Option<crate::api::Slot> {
        let idle = matches!(self.transaction, Transaction::None)
            && !self.batch.executed
            && self.portals.is_empty();
        self.batch
            .slot
            .filter(|slot| idle && self.place(*slot).is_some())
    }

    /// The message stays where it is. A connection is not kept meanwhile if it need not be.
    pub(crate) fn wait_for_move(&mut self, out: &mut Output) -> Reach {
        match self.idle_batch() {
            Some(slot) => self.drain(slot, out),
            None => {
                self.release_spares(out);
                self.wait = Wait::Held;
            }
        }
        Reach::Later
    }

    /// The statement is about to be sent.
    pub(crate) fn use_keys(&mut self, moving: Moving) {
        if moving.is_none() {
            return;
        }
        let snapshot = self.snapshot.clone();
        for one in moving.of(&snapshot) {
            self.moves
                .claim(one.id, snapshot.epoch.number, ClaimKind::Used);
        }
    }

    /// Rows of all shards are not read while keys of their tables change hands.
    pub(crate) fn holds_gathering(&self, moving: Moving) -> bool {
        moving.of(&self.snapshot).any(|one| one.holding)
    }

    /// The open transaction has outlived a move of which nothing is known any more.
    pub(crate) fn has_outlived_a_move(&self) -> bool {
        let default = self.settings.value("default_transaction_isolation");
        self.moves
            .of_unit
            .as_ref()
            .is_some_and(|unit| unit.outlived)
            && self.unit().is_some()
            && !self.transaction.has_new_snapshots(default)
    }

    /// The wait has ended without the keys having changed hands: why.
    pub(crate) fn hold_ended(&mut self, error: PgError, out: &mut Output) {
        if self.wait == Wait::Held {
            self.wait = Wait::Nothing;
            self.moves.unit().ended = Some(error);
        }
        self.end_if_gone(out);
    }
}

/// As Postgres says it of rows that have changed under a transaction.
fn moved(one: &Move) -> PgError {
    PgError::error("40001", "could not serialize access due to a move of data")
        .detail(format!(
            "Rows that the statement may use went to another shard after the transaction had begun (move {}).",
            one.id
        ))
        .hint("The transaction might succeed if retried.")
}

pub(crate) fn outlived() -> PgError {
    PgError::error("40001", "could not serialize access due to a move of data")
        .detail("Rows went to another shard after the transaction had begun.")
        .hint("The transaction might succeed if retried.")
}
