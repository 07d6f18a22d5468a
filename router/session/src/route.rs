//! Finds the backend for a statement, or says why it cannot have one.

use crate::api::{Output, Slot, Wanted};
use crate::commands::{Doer, refusal_error};
use crate::moves::outlived;
use crate::owed::{Entry, Kind, Purpose};
use crate::place::Place;
use crate::planner::Planned;
use crate::session::{Session, Wait};
use crate::settings::Role;
use crate::statements::Portal;
use crate::transaction::{Transaction, Virtual, opening};
use shardgate_plan::{Decision, Moving, Param, Refusal, Route};
use shardgate_shard_map::ShardId;
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::frontend::put;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

/// Where a statement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// None: wherever the session is, else home.
    pub shard: Option<ShardId>,
    /// A standby answers as the primary does.
    pub replica_safe: bool,
    /// It asks for a replica by hand.
    pub replica_only: bool,
    /// The moves whose keys it may use.
    pub moving: Moving,
}

/// A planned statement and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Aimed {
    pub planned: Arc<Planned>,
    pub aim: Aim,
}

/// What must stay on one shard.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Pipeline,
    Transaction,
}

/// The outcome of looking for a backend.
#[derive(Debug)]
pub(crate) enum Reach {
    Ready(Slot),
    /// A step was taken; the message stays where it is and is looked at again.
    Later,
    Failed(PgError),
}

impl Aim {
    pub fn anywhere() -> Aim {
        Aim {
            shard: None,
            replica_safe: false,
            replica_only: false,
            moving: Moving::NONE,
        }
    }
}

impl Session {
    /// Where the statement goes with these parameters.
    pub(crate) fn aim(
        &self,
        planned: &Planned,
        doer: Doer,
        params: &[Param<'_>],
    ) -> Result<Aim, PgError> {
        self.aim_as(
            planned,
            doer,
            || planned.compiled.decide(params, &self.snapshot),
            || planned.compiled.moving(params, &self.snapshot),
        )
    }

    /// As `aim`; what the plan decides, and which moves have to do with it, are asked for only if they matter.
    pub(crate) fn aim_as(
        &self,
        planned: &Planned,
        doer: Doer,
        decide: impl FnOnce() -> Decision,
        moving: impl FnOnce() -> Moving,
    ) -> Result<Aim, PgError> {
        if self.block_is_lost() {
            // Whatever it is, the server says that the block has failed.
            return Ok(Aim::anywhere());
        }
        let hint = planned.facts.hint.as_ref();
        let role = match hint.and_then(|hint| hint.role.as_deref()) {
            None => self.settings.role,
            Some(text) => Role::parse(text).ok_or_else(|| bad_role(text))?,
        };
        let mut aim = Aim {
            shard: None,
            replica_safe: role != Role::Primary && planned.compiled.traits.replica_safe,
            replica_only: role == Role::Replica,
            moving: Moving::NONE,
        };
        if doer != Doer::Planned {
            aim.replica_safe = false;
            aim.replica_only = false;
            return Ok(aim);
        }
        if self.deeds.ddl && !self.transaction.is_none() && self.mentions_spread(planned) {
            return Err(crate::simple::schema_in_doubt());
        }
        if self.has_outlived_a_move() && self.mentions_spread(planned) {
            return Err(outlived());
        }
        if !planned.compiled.concerns.is_none() {
            aim.moving = moving();
        }
        let decision = decide();
        let by_hand = hint.and_then(|hint| hint.shard.as_ref());
        if let Some(name) = by_hand.or(self.settings.shard.as_ref()) {
            let shard = self.shard_by_name(name)?;
            // By hand even what cannot be proven goes; only what is never let through stays out.
            if let Decision::Refused(refusal) = &decision
                && refusal.sqlstate != "0A000"
            {
                return Err(refusal_error(refusal));
            }
            aim.shard = Some(shard);
            return Ok(aim);
        }
        match decision {
            Decision::Shard(shard) => aim.shard = Some(shard),
            Decision::Any => {}
            Decision::Refused(refusal) => return Err(refusal_error(&refusal)),
            Decision::Gather(_, refusal) => return Err(self.not_gathered(refusal)),
            // Where it is alone it was looked at before.
            Decision::Spread(_) if !planned.compiled.concerns.is_none() => {
                return Err(crate::spread::in_a_move());
            }
            Decision::Spread(_) => return Err(crate::spread::not_alone()),
            Decision::AllShards | Decision::Call(_) => {
                return Err(PgError::error("0A000", "the statement must be sent alone"));
            }
        }
        Ok(aim)
    }

    /// Rows could be gathered for the statement, if it stood alone: whether it does was looked at before.
    fn not_gathered(&self, mut refusal: Refusal) -> PgError {
        let place = if !self.transaction.is_none() {
            "in a transaction block"
        } else if self.batch.executed {
            "behind another statement of a pipeline"
        } else {
            "beside other statements in one Query"
        };
        let detail = refusal.detail.take().unwrap_or_default();
        let detail = format!("{detail} Its rows can be gathered from all shards, but not {place}.");
        refusal.detail = Some(detail.trim_start().to_owned());
        refusal.hint = Some(
            "Run it by itself, outside of a transaction; or bind its tables to one shard by their sharding keys."
                .to_owned(),
        );
        refusal_error(&refusal)
    }

    pub(crate) fn shard_by_name(&self, name: &str) -> Result<ShardId, PgError> {
        self.snapshot
            .shard_named(name)
            .map(|shard| shard.id)
            .ok_or_else(|| {
                let names: Vec<&str> = self
                    .snapshot
                    .shards
                    .iter()
                    .map(|shard| shard.name.as_str())
                    .collect();
                PgError::error("22023", format!("shard \"{name}\" does not exist"))
                    .hint(format!("The shards are: {}.", names.join(", ")))
            })
    }

    pub(crate) fn shard_name(&self, id: ShardId) -> String {
        self.snapshot
            .shard(id)
            .map_or_else(|| id.0.to_string(), |shard| shard.name.clone())
    }

    /// Finds the backend, attaching one if need be. The transaction's BEGIN was not sent to it yet: see `open`.
    pub(crate) fn find(&mut self, aim: Aim, out: &mut Output) -> Reach {
        if let Some(error) = self.checkout_error.take() {
            return Reach::Failed(error);
        }
        self.begin_unit();
        if let Some(stopped) = self.stopped_by_move(aim, out) {
            return stopped;
        }
        let reach = self.find_place(aim, out);
        if let Reach::Ready(_) = reach {
            self.use_keys(aim.moving);
        }
        reach
    }

    fn find_place(&mut self, aim: Aim, out: &mut Output) -> Reach {
        if let Transaction::Joined { slot, .. } = self.transaction {
            // With what comes now the block is where it is: going back would undo it.
            self.deeds.prelude = None;
            if let Some(block) = self.deeds.looked.take()
                && !self.suits(slot, aim)
            {
                self.step_back(slot, *block, out);
                return Reach::Later;
            }
            return self.joined(slot, aim);
        }
        if let Some(slot) = self.batch.slot
            && let Some(place) = self.place(slot)
        {
            let same_shard = aim.shard.is_none_or(|shard| shard == place.shard);
            let server_will_do = !place.is_standby() || aim.replica_safe || aim.replica_only;
            if same_shard && server_will_do {
                return Reach::Ready(slot);
            }
            if self.batch.executed {
                return Reach::Failed(self.second_shard(place.shard, aim, Unit::Pipeline));
            }
            self.drain(slot, out);
            return Reach::Later;
        }
        let shard = aim.shard.unwrap_or(self.snapshot.home);
        if let Some(slot) = self.held_place(shard, aim) {
            return Reach::Ready(slot);
        }
        // What was attached for a plan that does not hold any more.
        self.release_spares(out);
        match self.new_place(shard, self.wanted(aim), out) {
            Ok(slot) => {
                self.wait = Wait::Checkout(slot);
                Reach::Later
            }
            Err(error) => Reach::Failed(error),
        }
    }

    /// A statement with this aim can run where the slot's backend is.
    fn suits(&self, slot: Slot, aim: Aim) -> bool {
        self.place(slot).is_some_and(|place| {
            aim.shard.is_none_or(|shard| shard == place.shard)
                && (!place.is_standby() || aim.replica_safe || aim.replica_only)
        })
    }

    /// Takes a block away from a server on which nothing but prepared or described statements has been.
    fn step_back(&mut self, slot: Slot, block: Virtual, out: &mut Output) {
        self.transaction = Transaction::Virtual(block);
        if let Some((place, buffer)) = self.reach(slot, out) {
            // If what was prepared has failed, the server skips all up to a Sync.
            put::sync(buffer);
            place.push(Entry::router(Kind::Sync, Purpose::Finish));
            place.query("ROLLBACK", Purpose::Finish, buffer);
            place.unsynced = false;
        }
        self.wait = Wait::Drain(slot);
    }

    fn joined(&self, slot: Slot, aim: Aim) -> Reach {
        let Some(place) = self.place(slot) else {
            return Reach::Failed(PgError::error(
                "XX000",
                "the transaction has lost its backend",
            ));
        };
        if place.status == TxStatus::Failed && !self.batch.revived {
            // The server itself says that the block has failed.
            return Reach::Ready(slot);
        }
        if aim.shard.is_some_and(|shard| shard != place.shard) {
            return Reach::Failed(self.second_shard(place.shard, aim, Unit::Transaction));
        }
        if place.is_standby() && aim.shard.is_some() && !aim.replica_safe && !aim.replica_only {
            // The block is not moved to the primary: its isolation may be the server's own default, now() would change
            // in it, and the locks that it has taken would be gone, so that a table which it has read could be altered
            // before it ends.
            return Reach::Failed(
                PgError::error(
                    "0A000",
                    "the statement cannot be proven to be answered alike by a replica",
                )
                .detail("The transaction is READ ONLY and runs on a replica.")
                .hint("SET shardgate.role = 'primary' before the transaction begins."),
            );
        }
        Reach::Ready(slot)
    }

    fn second_shard(&self, first: ShardId, aim: Aim, unit: Unit) -> PgError {
        let second = aim
            .shard
            .map(|shard| self.shard_name(shard))
            .unwrap_or_default();
        let (unit, hint) = match unit {
            Unit::Pipeline => (
                "pipeline",
                "Send Sync between statements that belong to different shards.",
            ),
            Unit::Transaction => (
                "transaction",
                "End the transaction before using rows of another shard.",
            ),
        };
        PgError::error(
            "0A000",
            format!("a {unit} over several shards is not supported yet"),
        )
        .detail(format!(
            "The {unit} has begun on shard \"{}\"; the statement belongs to shard \"{second}\".",
            self.shard_name(first)
        ))
        .hint(hint)
    }

    /// A backend that the session still has: one that is pinned, or that waits for the end of a cancel request.
    fn held_place(&self, shard: ShardId, aim: Aim) -> Option<Slot> {
        let suits = |place: &Place| {
            place.shard == shard
                && place.backend.is_some()
                && !place.fatal
                && (!place.is_standby() || aim.replica_safe || aim.replica_only)
        };
        let index = self
            .places
            .iter()
            .position(|place| place.as_ref().is_some_and(suits))?;
        u8::try_from(index).ok().map(Slot)
    }

    fn wanted(&self, aim: Aim) -> Wanted {
        let in_block = !self.transaction.is_none();
        if aim.replica_only && aim.shard.is_some() {
            return Wanted::ReplicaOnly;
        }
        let serializable = self
            .settings
            .default_isolation()
            .is_some_and(|level| level.eq_ignore_ascii_case("serializable"));
        // A standby has no serializable transactions.
        if aim.replica_safe && !serializable && (!in_block || self.transaction.may_use_replica()) {
            Wanted::Replica
        } else {
            Wanted::Primary
        }
    }

    /// Ends the part of a pipeline that stands on another shard and had no effect: the client's Sync is not due yet.
    pub(crate) fn drain(&mut self, slot: Slot, out: &mut Output) {
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::sync(buffer);
            place.push(Entry::router(Kind::Sync, Purpose::Finish));
            place.unsynced = false;
        }
        self.wait = Wait::Drain(slot);
    }

    /// Before a BEGIN of which no server is told: what the pipeline has only prepared ends where it stands, for the
    /// ReadyForQuery of that server would be one without a block. Before DDL on several shards it ends too, lest it holds a
    /// connection while others are waited for. True: the end is awaited.
    pub(crate) fn drain_before_block(&mut self, planned: &Planned, out: &mut Output) -> bool {
        let begins = matches!(
            planned.facts.statement,
            Statement::Command(Command::Begin(_))
        );
        let remote = |_: &[u8], portal: &Portal| matches!(portal, Portal::Remote { .. });
        let several = matches!(planned.compiled.route, Route::AllShards)
            && !self.batch.executed
            && !self.portals.any(remote);
        match self.batch.slot {
            Some(slot)
                if (begins || several)
                    && self.transaction.is_none()
                    && self.place(slot).is_some() =>
            {
                self.drain(slot, out);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Sends what must stand before the client's statement: settings that differ, BEGIN and what was said behind it; where
    /// that has failed for the client, it fails there too.
    pub(crate) fn open(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        if let Transaction::Virtual(block) = &self.transaction {
            let mut sql = opening(block);
            let mut purpose = Purpose::Prelude;
            if block.failed {
                sql.push_str("\n;ROLLBACK TO SAVEPOINT shardgate_fails");
                purpose = Purpose::Poison;
            }
            let modes = block.modes.clone();
            self.deeds.touched.extend(block.touched.iter().cloned());
            self.deeds
                .touched_locally
                .extend(block.touched_locally.iter().cloned());
            self.transaction = Transaction::Joined { slot, modes };
            if let Some((place, buffer)) = self.reach(slot, out) {
                place.query(&sql, purpose, buffer);
            }
        }
    }
}

pub(crate) fn bad_role(text: &str) -> PgError {
    PgError::error(
        "22023",
        format!("invalid value for parameter \"shardgate.role\": \"{text}\""),
    )
    .hint("Available values: auto, primary, replica.")
}
