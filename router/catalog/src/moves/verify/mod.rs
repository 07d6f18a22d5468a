//! Verification of a move: are the moved rows the same on both shards, byte for byte, while the application writes?
//!
//! Both sides are summed up in slices, each side in one snapshot. Slices that differ are read row by row, and rows that
//! differ are looked at again after the stream has passed, until each is equal or proven different: rows in flight are no
//! differences. A [`Witness`] then tells which rows have changed since, so that a last look while nobody writes is short.
//!
//! Rows are compared by what their types' output functions print under fixed settings, which is what the stream carries
//! as well. `hash_record_extended` would take 1.0 for 1.00, 0 for -0.0, and `Abc` for `ABC` in citext, and has no answer
//! for json; `record_send` contains the OIDs of types, which differ between databases. The text tells all of these apart.

mod candidates;
mod pgoutput;
mod read;
mod rounds;
mod shape;
mod slices;
mod stream;
mod witness;

pub use witness::{Changed, Witness};

use crate::connect::Backend;
use crate::error::CatalogError;
use serde::Serialize;
use shape::Shape;
use std::time::Duration;

/// A table of which the moved rows are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub schema: String,
    pub name: String,
    /// The column of the distribution's key.
    pub key: String,
    /// An SQL expression over the table's columns: the rows that the move takes.
    pub predicate: String,
}

/// Both ends of the stream.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// Where the application writes.
    pub source: &'a Backend,
    /// What follows it.
    pub target: &'a Backend,
    /// The replication slots on the source through which the target follows; none: nothing is in flight.
    pub slots: &'a [String],
}

/// The limits of a verification.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many differences of a table are named; it is said when there are more.
    pub differences_max: usize,
    /// So many rows that differ at first sight are looked at again; beyond it the copy is plainly wrong.
    pub candidates_max: usize,
    /// Rows that are changed again and again are given up after so many looks, and are left to the look while nobody
    /// writes.
    pub rounds_max: u32,
    /// How long the target may take to apply what the source has written.
    pub stream_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            differences_max: 100,
            candidates_max: 100_000,
            rounds_max: 8,
            stream_wait: Duration::from_secs(60),
        }
    }
}

/// What is wrong with one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The source has it, the target has not.
    Missing,
    /// The target has it, the source has not.
    TooMany,
    /// Both have it, with different values.
    Changed,
}

/// One row that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// `schema.table`
    pub table: String,
    pub kind: Kind,
    /// `(id)=(7)`; for a table without a key the row itself, shortened.
    pub row: String,
    /// Of a changed row: the columns whose values differ.
    pub columns: Vec<String>,
}

/// What was compared of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// `schema.table`
    pub table: String,
    /// Moved rows on the source when it was summed up.
    pub rows: u64,
    /// Ascending.
    pub differences: Vec<Difference>,
    /// There are more differences than are named.
    pub more: bool,
    /// Rows that were changed so often that no look could settle them.
    pub unsettled: Vec<String>,
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub tables: Vec<TableReport>,
}

impl Report {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.tables.iter().flat_map(|table| &table.differences)
    }

    /// No row differs. Rows that could not be settled may still.
    pub fn is_equal(&self) -> bool {
        self.differences().next().is_none()
    }

    pub fn unsettled(&self) -> usize {
        self.tables.iter().map(|table| table.unsettled.len()).sum()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { table, row, .. } = self;
        match self.kind {
            Kind::Missing => write!(f, "table {table}: row {row} is missing on the target"),
            Kind::TooMany => write!(f, "table {table}: row {row} is on the target only"),
            Kind::Changed => {
                write!(
                    f,
                    "table {table}: row {row} differs in {}",
                    self.columns.join(", ")
                )
            }
        }
    }
}

/// Compares all moved rows while the application writes. Nothing is changed but settings of the two sessions.
///
/// Dropping the future leaves nothing behind.
///
/// # Errors
/// 55000 if a table has other columns on the target, or the target does not follow in time.
pub async fn verify(
    sides: Sides<'_>,
    subjects: &[Subject],
    limits: &Limits,
) -> Result<Report, CatalogError> {
    prepare(sides).await?;
    let mut report = Report::default();
    for subject in subjects {
        let shape = Shape::read(sides, subject).await?;
        // What was written long ago is not in flight: only what is written from here on can look different.
        stream::passed(sides, limits.stream_wait).await?;
        let compared = slices::compare(sides, &shape).await?;
        let found = candidates::of_slices(sides, &shape, &compared, limits.candidates_max).await?;
        let settled = rounds::settle(sides, &shape, found.rows, limits).await?;
        report
            .tables
            .push(finish(sides, &shape, compared.rows, settled, found.more, limits).await?);
    }
    Ok(report)
}

/// Compares the rows that have changed since the witness was opened. `Still`: nobody writes and the stream has passed, so
/// one look is enough.
///
/// # Errors
/// As for [`verify`].
pub async fn verify_changed(
    sides: Sides<'_>,
    subjects: &[Subject],
    changed: &Changed,
    still: bool,
    limits: &Limits,
) -> Result<Report, CatalogError> {
    prepare(sides).await?;
    let mut report = Report::default();
    for subject in subjects {
        let Some(rows) = changed.of(subject) else {
            continue;
        };
        let shape = Shape::read(sides, subject).await?;
        let found = candidates::of_changed(sides, &shape, rows, limits.candidates_max).await?;
        let settled = if still {
            rounds::compare_once(sides, &shape, found.rows).await?
        } else {
            rounds::settle(sides, &shape, found.rows, limits).await?
        };
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        report
            .tables
            .push(finish(sides, &shape, count, settled, found.more, limits).await?);
    }
    Ok(report)
}

async fn finish(
    sides: Sides<'_>,
    shape: &Shape,
    rows: u64,
    settled: rounds::Settled,
    more: bool,
    limits: &Limits,
) -> Result<TableReport, CatalogError> {
    let more = more || settled.different.len() > limits.differences_max;
    let mut different = settled.different;
    different.truncate(limits.differences_max);
    let mut differences = read::describe(sides, shape, different).await?;
    differences.sort();
    differences.dedup();
    let unsettled = settled
        .unsettled
        .iter()
        .map(|id| shape.describe(id))
        .collect();
    Ok(TableReport {
        table: shape.display(),
        rows,
        differences,
        more,
        unsettled,
    })
}

/// The settings that the text of values depends on and that connections of ours do not have already.
async fn prepare(sides: Sides<'_>) -> Result<(), CatalogError> {
    for backend in [sides.source, sides.target] {
        backend
            .run("SET lc_monetary = 'C'; SET extra_float_digits = 3")
            .await?;
    }
    Ok(())
}
