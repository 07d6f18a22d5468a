//! Parse and Describe messages that are held: what they wait for, and where they go when no Bind comes.

use crate::api::{Output, Slot};
use crate::owed::{Entry, Kind};
use crate::route::{Aim, Reach};
use crate::session::Session;
use crate::statements::Change;
use crate::transaction::Transaction;
use bytes::{Bytes, BytesMut};
use shardgate_wire::TxStatus;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::put;

#[derive(Clone, Debug)]
pub(crate) enum Held {
    Parse { statement: Bytes, change: Change },
    Describe { statement: Bytes },
}

impl Held {
    pub fn statement(&self) -> &Bytes {
        match self {
            Held::Parse { statement, .. } | Held::Describe { statement } => statement,
        }
    }

    pub fn change(&self) -> Option<Change> {
        match self {
            Held::Parse { change, .. } => Some(*change),
            Held::Describe { .. } => None,
        }
    }
}

impl Session {
    /// Sends what was held, to the backend that a statement of its kind can be parsed on. False: it must wait.
    pub(crate) fn send_held(&mut self, out: &mut Output) -> bool {
        if self.batch.held.is_empty() || self.batch.skipping {
            self.batch.held.clear();
            return true;
        }
        if self.answer_known_parses(out) {
            return true;
        }
        let mut aim = Aim::anywhere();
        if let Some(planned) = self
            .batch
            .held
            .first()
            .cloned()
            .and_then(|held| self.current_plan(held.statement()))
        {
            match planned.compiled.route {
                shardgate_plan::Route::One(shard) => aim.shard = Some(shard),
                shardgate_plan::Route::Home
                | shardgate_plan::Route::Gather(..)
                | shardgate_plan::Route::Spread(..) => {
                    aim.shard = Some(self.snapshot.home);
                }
                shardgate_plan::Route::Any
                | shardgate_plan::Route::Keyed(_)
                | shardgate_plan::Route::AllShards
                | shardgate_plan::Route::Call(_)
                | shardgate_plan::Route::Refused(_) => {}
            }
            if let shardgate_sql::facts::Statement::Command(_) = planned.facts.statement {
                aim.shard = None;
            }
        }
        let looked = match &self.transaction {
            // A Parse takes the snapshot of such a block.
            Transaction::Virtual(_) if self.has_old_snapshot() => None,
            Transaction::Virtual(block) => Some(Box::new(block.clone())),
            Transaction::None | Transaction::Joined { .. } => self.deeds.looked.take(),
        };
        let prelude = self.deeds.prelude.take();
        let found = self.find(aim, out);
        self.deeds.prelude = prelude.map(|mut prelude| {
            prelude.followed = true;
            prelude
        });
        match found {
            Reach::Ready(slot) => {
                self.open(slot, out);
                self.use_slot(slot);
                self.deeds.looked = looked;
                self.send_held_to(slot, out)
            }
            Reach::Later => {
                if matches!(self.transaction, Transaction::Joined { .. }) {
                    self.deeds.looked = looked;
                }
                false
            }
            Reach::Failed(error) => {
                self.fail(&error, out);
                true
            }
        }
    }

    /// Answers held Parse messages without a server, where a server has parsed the very same statements before: a client
    /// that prepares needs no connection then. Not in a block that has failed, which refuses a Parse, nor in one whose
    /// snapshot the Parse would take. False: something has to be sent.
    fn answer_known_parses(&mut self, out: &mut Output) -> bool {
        let failed = match self.joined_slot() {
            Some(slot) => self
                .place(slot)
                .is_none_or(|place| place.status == TxStatus::Failed),
            None => false,
        };
        if failed || self.has_old_snapshot() || self.batch.slot.is_some() {
            return false;
        }
        let epoch = self.snapshot.epoch.id;
        let known = |held: &Held| match held {
            Held::Parse { statement, .. } => {
                self.statements.get(statement).is_some_and(|statement| {
                    self.planner
                        .was_parsed(statement.key(epoch), self.current_role())
                })
            }
            Held::Describe { .. } => false,
        };
        if !self.batch.held.iter().all(known) {
            return false;
        }
        for held in std::mem::take(&mut self.batch.held) {
            let mut bytes = BytesMut::new();
            reply::parse_complete(&mut bytes);
            self.reply_changing(bytes.freeze(), held.change(), out);
        }
        true
    }

    /// Sends what was held to this backend.
    pub(crate) fn send_held_to(&mut self, slot: Slot, out: &mut Output) -> bool {
        if self.batch.held.is_empty() {
            return true;
        }
        let mut all = std::mem::take(&mut self.batch.held);
        for held in all.drain(..) {
            match &held {
                Held::Parse { statement, .. } => {
                    self.ensure_parsed(slot, statement, Some(&held), out);
                }
                Held::Describe { statement } => self.put_describe(slot, statement, out),
            }
        }
        self.batch.held = all;
        true
    }

    fn put_describe(&mut self, slot: Slot, statement: &Bytes, out: &mut Output) {
        let name = self.backend_name(slot, statement, out);
        let id = self.statements.get(statement).map(|statement| statement.id);
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'S', name.as_bytes());
            let mut entry = Entry::client(Kind::DescribeStatement).named(statement.clone());
            entry.statement = id;
            place.push(entry);
            place.unsynced = true;
        }
    }

    /// Messages that are dropped up to the Sync: what was held of them never happened.
    pub(crate) fn skip_to_sync(&mut self) {
        for held in std::mem::take(&mut self.batch.held) {
            if let Some(change) = held.change() {
                self.statements.undo(change);
            }
        }
        self.batch.skipping = true;
    }
}
