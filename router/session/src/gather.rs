//! Rows of distributed tables gathered from every shard, for a statement that home then runs over them.
//!
//! Each shard is asked for its rows on a connection of its own, which goes back as soon as that shard has answered: no
//! connection is held while another is waited for. The client's message stays in its buffer meanwhile; when all rows are
//! there it is looked at again and finds them in `Session::gathered`. An error, a cancel or a limit stops what still runs,
//! and is the message's answer once every connection has been given back.

mod answers;
pub(crate) mod budget;
mod position;
mod run;

pub(crate) use position::Positions;

use crate::api::{Output, Slot, Step, Wanted};
use crate::owed::{Entry, Kind, Purpose};
use crate::session::{Session, Wait};
use budget::Share;
use shardgate_merge::Rows;
use shardgate_plan::{Gather, Gathered, Moving};
use shardgate_wire::PgError;
use shardgate_wire::frontend::put;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows on their way.
#[derive(Debug)]
pub(crate) struct Gathering {
    gather: Arc<Gather>,
    epoch: [u8; 16],
    /// The number of the epoch.
    pub number: u64,
    /// Home first.
    parts: Vec<Part>,
    /// The object id of each table's row type on home, by the order of the tables.
    types: Vec<Option<u32>>,
    rows: u64,
    share: Share,
    /// The first thing that went wrong; from then on no row is kept.
    error: Option<PgError>,
}

/// One shard.
#[derive(Debug)]
struct Part {
    slot: Slot,
    name: String,
    state: PartState,
    /// The tables that it is asked for, as indexes of `Gather::tables`; the first is the one whose rows come now.
    tables: VecDeque<usize>,
    /// Of each table of the statement.
    rows: Vec<Rows>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    /// No connection yet.
    Asked,
    /// It owes rows.
    Running,
    /// It has answered, or its connection is gone.
    Done,
}

/// All rows of one statement.
#[derive(Debug)]
pub(crate) struct GatheredRows {
    gather: Arc<Gather>,
    epoch: [u8; 16],
    /// For each table its row type and the rows of each shard.
    tables: Vec<(u32, Vec<Rows>)>,
    share: Share,
}

/// The rows of the client's first message.
#[derive(Debug)]
pub(crate) enum Ready {
    Rows(GatheredRows),
    /// They are on their way.
    Later,
}

impl Session {
    /// The rows for the statement, if they have come; else they are asked for.
    ///
    /// # Errors
    /// What went wrong while they were gathered.
    pub(crate) fn rows_of(
        &mut self,
        gather: &Arc<Gather>,
        moving: Moving,
        out: &mut Output,
    ) -> Result<Ready, PgError> {
        if let Some(gathered) = self.gathered.take() {
            let rows = (*gathered)?;
            // The schema may have been changed in the meantime: then they are the rows of another statement.
            if rows.epoch == self.snapshot.epoch.id && rows.gather == *gather {
                return Ok(Ready::Rows(rows));
            }
        }
        if self.holds_gathering(moving) {
            self.wait_for_move(out);
            return Ok(Ready::Later);
        }
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some()
            && self.portals.is_empty()
        {
            // Nothing was bound or executed there, so it need not be held while the shards are waited for.
            self.drain(slot, out);
            return Ok(Ready::Later);
        }
        self.start_gathering(gather, out)?;
        Ok(Ready::Later)
    }

    fn start_gathering(&mut self, gather: &Arc<Gather>, out: &mut Output) -> Result<(), PgError> {
        let home = self.snapshot.home;
        let mut shards: Vec<_> = self
            .snapshot
            .shards
            .iter()
            .map(|shard| (shard.id, shard.name.clone()))
            .collect();
        shards.sort_by_key(|(id, _)| (*id != home, *id));
        let mut parts = Vec::with_capacity(shards.len());
        for (id, name) in shards {
            // Home describes the rows of every table, whether or not it has any.
            let asked = |table: &Gathered| id == home || table.shards.contains(&id);
            let tables: VecDeque<usize> = (0..gather.tables.len())
                .filter(|index| gather.tables.get(*index).is_some_and(asked))
                .collect();
            if tables.is_empty() {
                continue;
            }
            let slot = match self.new_place(id, Wanted::Primary, out) {
                Ok(slot) => slot,
                Err(error) => {
                    for part in &parts {
                        let part: &Part = part;
                        self.close_place(part.slot, out);
                    }
                    return Err(error);
                }
            };
            parts.push(Part {
                slot,
                name,
                state: PartState::Asked,
                tables,
                rows: gather.tables.iter().map(|_| Rows::default()).collect(),
            });
        }
        self.gathering = Some(Box::new(Gathering {
            gather: gather.clone(),
            epoch: self.snapshot.epoch.id,
            number: self.snapshot.epoch.number,
            parts,
            types: vec![None; gather.tables.len()],
            rows: 0,
            share: self.options.common.gather.budget.share(),
            error: None,
        }));
        self.wait = Wait::Gather;
        Ok(())
    }

    /// Asks the shard for the rows of all tables, one after the other.
    pub(crate) fn gather_attached(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        let Some(gathering) = self.gathering.as_mut() else {
            return;
        };
        let (gather, home) = (gathering.gather.clone(), gathering.is_home(slot));
        let Some(part) = gathering.part(slot) else {
            return;
        };
        part.state = PartState::Running;
        let asked = part.tables.clone();
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        let shard = place.shard;
        let entry = |kind: Kind| Entry::router(kind, Purpose::Gather);
        for table in asked.iter().filter_map(|index| gather.tables.get(*index)) {
            put::parse(buffer, b"", table.select_on(shard).as_bytes(), &[]);
            put::bind_for_binary(buffer);
            place.push(entry(Kind::Parse));
            place.push(entry(Kind::Bind));
            if home {
                put::describe(buffer, b'P', b"");
                place.push(entry(Kind::DescribePortal));
            }
            put::execute(buffer, b"", 0);
            place.push(entry(Kind::Execute { limited: false }));
        }
        put::sync(buffer);
        place.push(entry(Kind::Sync));
        place.unnamed = None;
    }

    /// Nothing is kept any more, and what still runs is called off. The first error is the answer.
    pub(crate) fn gather_stop(&mut self, error: PgError, out: &mut Output) {
        let Some(gathering) = self.gathering.as_mut() else {
            return;
        };
        gathering.error.get_or_insert(error);
        gathering.share.give_back();
        let mut asked = Vec::new();
        let mut running = Vec::new();
        for part in &mut gathering.parts {
            part.rows.clear();
            match part.state {
                PartState::Asked => {
                    part.state = PartState::Done;
                    asked.push(part.slot);
                }
                PartState::Running => running.push(part.slot),
                PartState::Done => {}
            }
        }
        for slot in asked {
            self.close_place(slot, out);
        }
        for slot in running {
            if let Some(place) = self.place_mut(slot)
                && !place.cancel_pending
            {
                place.cancel_pending = true;
                out.steps.push(Step::Cancel { slot });
            }
        }
        self.gather_check(out);
    }

    /// Ends the gathering when every shard has answered and every connection was given back.
    pub(crate) fn gather_check(&mut self, _out: &mut Output) {
        let done = self.gathering.as_ref().is_some_and(|gathering| {
            let over =
                |part: &Part| part.state == PartState::Done && self.place(part.slot).is_none();
            gathering.parts.iter().all(over)
        });
        if !done {
            return;
        }
        let Some(gathering) = self.gathering.take() else {
            return;
        };
        self.wait = Wait::Nothing;
        if gathering.error.is_none() {
            self.counts.gathered += 1;
            self.counts.gathered_rows += gathering.rows;
            self.counts.gathered_bytes += gathering.share.bytes();
        }
        self.gathered = Some(Box::new(gathering.finish()));
    }

    /// Whether the slot's shard still owes rows.
    pub(crate) fn gather_runs(&self, slot: Slot) -> bool {
        self.gathering.as_ref().is_some_and(|gathering| {
            let runs = |part: &Part| part.slot == slot && part.state == PartState::Running;
            gathering.parts.iter().any(runs)
        })
    }
}

impl Gathering {
    fn part(&mut self, slot: Slot) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.slot == slot)
    }

    fn is_home(&self, slot: Slot) -> bool {
        self.parts.first().is_some_and(|part| part.slot == slot)
    }

    fn finish(self) -> Result<GatheredRows, PgError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut tables = Vec::with_capacity(self.types.len());
        for ty in self.types {
            let ty = ty.ok_or_else(|| {
                PgError::error("XX000", "the home shard did not describe gathered rows")
            })?;
            tables.push((ty, Vec::with_capacity(self.parts.len())));
        }
        for part in self.parts {
            for (table, rows) in tables.iter_mut().zip(part.rows) {
                table.1.push(rows);
            }
        }
        Ok(GatheredRows {
            gather: self.gather,
            epoch: self.epoch,
            tables,
            share: self.share,
        })
    }
}
