//! Rows travel by the places of their columns, so the columns must be the same ones where they come from and where they go.
//!
//! A change of the schema may stand between the two. So every shard says, in the transaction in which it reads, what columns
//! its rows have, and home says it in the transaction in which the statement will run: from then on that is locked there.
//! Where they differ the rows are thrown away and gathered again.

use super::{GatheredRows, Session, TableRows};
use crate::api::{Output, Slot};
use crate::owed::{Entry, Kind, Purpose};
use crate::session::Wait;
use shardgate_wire::PgError;
use shardgate_wire::backend::row_description;
use shardgate_wire::frontend::put;

/// How often one statement's rows are gathered before it is given up.
const TRIES_MAX: u8 = 20;

/// Names, types and modifiers of a row's columns, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<(Vec<u8>, u32, i32)>);

impl Columns {
    /// Those that a RowDescription says. `frame`: the whole message. None: it says none.
    pub fn read(frame: &[u8]) -> Option<Columns> {
        let fields = row_description(frame.get(5..)?).ok()?;
        let column = |field: &shardgate_wire::backend::Field<'_>| {
            (field.name.to_vec(), field.type_oid, field.modifier)
        };
        Some(Columns(fields.iter().map(column).collect()))
    }
}

impl GatheredRows {
    /// Home was not asked for its columns yet.
    pub fn is_unseen(&self) -> bool {
        self.at_home.is_empty()
    }

    /// Home has rows of the same columns.
    fn fit(&self) -> bool {
        let fits = |(table, (_, at_home)): (&TableRows, &(u32, Columns))| {
            table.columns.iter().all(|columns| columns == at_home)
        };
        self.tables.iter().zip(&self.at_home).all(fits)
    }
}

impl Session {
    /// Sees that home's tables have the columns that the rows have, in the transaction in which the statement is to run.
    /// None: an answer is awaited, or the rows were of no use and are gathered again.
    ///
    /// # Errors
    /// They never fit.
    pub(super) fn fitting(
        &mut self,
        slot: Slot,
        rows: GatheredRows,
        out: &mut Output,
    ) -> Result<Option<GatheredRows>, PgError> {
        if rows.at_home.len() == rows.tables.len() {
            if rows.fit() {
                return Ok(Some(rows));
            }
            self.gather_again(slot, rows, out)?;
            return Ok(None);
        }
        if let Some((place, buffer)) = self.reach(slot, out) {
            for table in &rows.gather.tables {
                put::parse(buffer, b"", table.describe_row().as_bytes(), &[]);
                put::describe(buffer, b'S', b"");
                for kind in [Kind::Parse, Kind::DescribeStatement] {
                    place.push(Entry::router(kind, Purpose::Columns));
                }
            }
            put::flush(buffer);
            place.unnamed = None;
            place.unsynced = true;
        }
        self.gathered = Some(Box::new(Ok(rows)));
        self.wait = Wait::Drain(slot);
        Ok(None)
    }

    fn gather_again(
        &mut self,
        slot: Slot,
        rows: GatheredRows,
        out: &mut Output,
    ) -> Result<(), PgError> {
        self.gather_tries += 1;
        if self.gather_tries >= TRIES_MAX {
            return Err(PgError::error(
                "40001",
                "the columns of a table that is gathered changed again and again",
            )
            .detail(format!(
                "Its rows were gathered {TRIES_MAX} times, and each time home and another shard disagreed about its columns."
            ))
            .hint("Try again. If it stays so, compare the table's definition on all shards."));
        }
        if self.portals.is_empty() && !self.batch.executed {
            // What home has locked is let go, and the statement is planned anew.
            self.drain(slot, out);
            return Ok(());
        }
        let gather = rows.gather.clone();
        drop(rows);
        self.start_gathering(&gather, out)
    }

    /// Home describes one table: the row, and its columns. `frame`: the RowDescription.
    pub(crate) fn columns_at_home(&mut self, frame: &[u8]) {
        let Some(Ok(rows)) = self.gathered.as_deref_mut() else {
            return;
        };
        let Some(Columns(mut all)) = Columns::read(frame) else {
            return;
        };
        if !all.is_empty() {
            let (_, ty, _) = all.remove(0);
            rows.at_home.push((ty, Columns(all)));
        }
    }

    /// Home cannot describe a table: that is the statement's error.
    pub(crate) fn columns_failed(&mut self, slot: Slot, error: PgError, out: &mut Output) {
        self.gathered = Some(Box::new(Err(error)));
        self.drain(slot, out);
    }
}
