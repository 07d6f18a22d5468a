//! Rows of distributed tables gathered from every shard, for a statement that home then runs over them.
//!
//! Each shard is asked for its rows on a connection of its own, which goes back as soon as that shard has answered: no
//! connection is held while another is waited for. One shard's tables are read in one transaction that sees one moment,
//! with its locks taken before. Home's own rows are no part of this: it reads them in the final statement. The client's
//! message stays in its buffer meanwhile; when all rows are there it is looked at again and finds them in
//! `Session::gathered`. An error, a cancel or a limit stops what still runs, and is the message's answer once every
//! connection has been given back.

mod answers;
pub(crate) mod budget;
mod position;
mod run;
mod shape;

pub(crate) use position::Positions;

use crate::api::{Output, Slot, Step, Wanted};
use crate::owed::{Entry, Kind, Purpose};
use crate::session::{Session, Wait};
use budget::Share;
use shape::Columns;
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
    /// One for each shard but home.
    parts: Vec<Part>,
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
    /// Of each table of the statement that it was asked for: what columns the rows have.
    columns: Vec<Option<Columns>>,
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
    tables: Vec<TableRows>,
    /// Of each table the object id of its row type on home, and its columns there, in the transaction in which the
    /// statement is going to run; fewer than there are tables while they are not known yet.
    at_home: Vec<(u32, Columns)>,
    share: Share,
}

/// All that was gathered of one table.
#[derive(Debug, Default)]
struct TableRows {
    rows: Vec<Rows>,
    columns: Vec<Columns>,
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
            let rows = (*gathered).inspect_err(|_| self.gather_epoch = None)?;
            // The schema may have been changed in the meantime: then they are the rows of another statement.
            if rows.epoch == self.snapshot.epoch.id && rows.gather == *gather {
                return Ok(Ready::Rows(rows));
            }
        }
        self.gather_epoch = None;
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
        match self.gathered.take() {
            // No other shard has any rows.
            Some(gathered) => Ok(Ready::Rows((*gathered)?)),
            None => Ok(Ready::Later),
        }
    }

    fn start_gathering(&mut self, gather: &Arc<Gather>, out: &mut Output) -> Result<(), PgError> {
        let home = self.snapshot.home;
        let mut shards: Vec<_> = self
            .snapshot
            .shards
            .iter()
            .filter(|shard| shard.id != home)
            .map(|shard| (shard.id, shard.name.clone()))
            .collect();
        shards.sort_by_key(|(id, _)| *id);
        let mut parts = Vec::with_capacity(shards.len());
        let mut own = Vec::new();
        for (id, name) in shards {
            let tables: VecDeque<usize> = (0..)
                .zip(&gather.tables)
                .filter(|(_, table)| table.shards.contains(&id))
                .map(|(index, _)| index)
                .collect();
            if tables.is_empty() {
                continue;
            }
            let (slot, attached) = match self.work_place(id) {
                Ok(found) => found,
                Err(error) => {
                    for part in &parts {
                        let part: &Part = part;
                        if !own.contains(&part.slot) {
                            self.close_place(part.slot, out);
                        }
                    }
                    return Err(error);
                }
            };
            if attached {
                own.push(slot);
            } else {
                out.steps.push(Step::Checkout {
                    slot,
                    shard: id,
                    wanted: Wanted::Primary,
                });
            }
            parts.push(Part {
                slot,
                name,
                state: PartState::Asked,
                tables,
                rows: gather.tables.iter().map(|_| Rows::default()).collect(),
                columns: vec![None; gather.tables.len()],
            });
        }
        self.gathering = Some(Box::new(Gathering {
            gather: gather.clone(),
            epoch: self.snapshot.epoch.id,
            parts,
            rows: 0,
            share: self.options.common.gather.budget.share(),
            error: None,
        }));
        self.gather_epoch = Some(self.snapshot.epoch.number);
        self.wait = Wait::Gather;
        for slot in own {
            self.gather_attached(slot, out);
        }
        self.gather_check(out);
        Ok(())
    }

    /// Asks the shard for the rows of all tables, as of one moment.
    pub(crate) fn gather_attached(&mut self, slot: Slot, out: &mut Output) {
        self.prepare_place(slot, out);
        let Some(gathering) = self.gathering.as_mut() else {
            return;
        };
        let gather = gathering.gather.clone();
        let Some(part) = gathering.part(slot) else {
            return;
        };
        part.state = PartState::Running;
        let asked: Vec<&Gathered> = part
            .tables
            .iter()
            .filter_map(|index| gather.tables.get(*index))
            .collect();
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        let shard = place.shard;
        let entry = |kind: Kind| Entry::router(kind, Purpose::Gather);
        place.query(&opening(&asked), Purpose::Gather, buffer);
        for table in asked {
            put::parse(buffer, b"", table.describe().as_bytes(), &[]);
            put::describe(buffer, b'S', b"");
            put::parse(buffer, b"", table.select_on(shard).as_bytes(), &[]);
            put::bind_for_binary(buffer);
            put::execute(buffer, b"", 0);
            for kind in [
                Kind::Parse,
                Kind::DescribeStatement,
                Kind::Parse,
                Kind::Bind,
                Kind::Execute { limited: false },
            ] {
                place.push(entry(kind));
            }
        }
        put::sync(buffer);
        place.push(entry(Kind::Sync));
        place.query("COMMIT", Purpose::Gather, buffer);
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
            let over = |part: &Part| part.state == PartState::Done && self.is_given_back(part.slot);
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

    fn finish(self) -> Result<GatheredRows, PgError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut tables: Vec<TableRows> = Vec::new();
        tables.resize_with(self.gather.tables.len(), TableRows::default);
        for part in self.parts {
            for ((table, rows), columns) in tables.iter_mut().zip(part.rows).zip(part.columns) {
                table.rows.push(rows);
                table.columns.extend(columns);
            }
        }
        Ok(GatheredRows {
            gather: self.gather,
            epoch: self.epoch,
            tables,
            at_home: Vec::new(),
            share: self.share,
        })
    }
}

/// Begins the transaction in which a shard's tables are read. Its snapshot comes behind the locks: one that was taken before
/// would find a table empty that is rewritten meanwhile.
fn opening(tables: &[&Gathered]) -> String {
    let names: Vec<&str> = tables.iter().map(|t| t.full_name.as_str()).collect();
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;LOCK TABLE {} IN ACCESS SHARE MODE",
        names.join(", ")
    )
}
