//! The first pass: both sides in slices, each with the number of its rows and two sums of their hashes.
//!
//! Slices go by a hash of what tells a row apart, so they are of one size however the keys lie. The sums are of all rows
//! of a slice, in any order, and a row that is there twice counts twice.

use super::Sides;
use super::shape::Shape;
use crate::connect::Backend;
use crate::error::CatalogError;
use futures_util::future::try_join;
use std::collections::BTreeMap;

const SLICES_MIN: u64 = 64;
const SLICES_MAX: u64 = 65_536;
/// Rows of one slice, about: what is read row by row for one row that differs.
const SLICE_ROWS: u64 = 256;
/// The seed of the slice's hash; the row's hashes have the seeds 0 and 1.
const SEED: i64 = 2;

/// What was found in one pass.
pub(super) struct Compared {
    /// On the source.
    pub rows: u64,
    /// The slices' number less one.
    pub mask: i64,
    /// Those that differ, each with the rows of its larger side.
    pub different: BTreeMap<i64, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    rows: i64,
    first: String,
    second: String,
}

/// The slice of a row, over the columns of `Shape::moved`.
pub(super) fn slice_sql(mask: i64) -> String {
    format!("(hashtextextended(i, {SEED}) & {mask})")
}

/// The two hashes of a row's text.
pub(super) const HASHES: &str = "hashtextextended(x, 0) AS h1, hashtextextended(x, 1) AS h2";

pub(super) async fn compare(sides: Sides<'_>, shape: &Shape) -> Result<Compared, CatalogError> {
    let slices = (shape.rows_estimate / SLICE_ROWS)
        .clamp(SLICES_MIN, SLICES_MAX)
        .next_power_of_two();
    let mask = i64::try_from(slices - 1).unwrap_or(0);
    let (source, target) = try_join(
        sums(sides.source, shape, mask),
        sums(sides.target, shape, mask),
    )
    .await?;
    let count = |sum: &Sum| u64::try_from(sum.rows).unwrap_or_default();
    let mut different = BTreeMap::new();
    for (slice, sum) in source.iter().chain(&target) {
        if source.get(slice) != target.get(slice) {
            let rows = different.entry(*slice).or_default();
            *rows = count(sum).max(*rows);
        }
    }
    Ok(Compared {
        rows: source.values().map(count).sum(),
        mask,
        different,
    })
}

async fn sums(
    backend: &Backend,
    shape: &Shape,
    mask: i64,
) -> Result<BTreeMap<i64, Sum>, CatalogError> {
    let sql = format!(
        "SELECT slice, count(*), sum(h1)::text, sum(h2)::text FROM (SELECT {} AS slice, {HASHES} FROM {} AS m OFFSET 0) AS s \
         GROUP BY slice",
        slice_sql(mask),
        shape.moved("", "")
    );
    let rows = backend
        .query(&sql, &[])
        .await
        .map_err(|error| backend.err(&error))?;
    let sum = |row: &tokio_postgres::Row| Sum {
        rows: row.get(1),
        first: row.get(2),
        second: row.get(3),
    };
    Ok(rows.iter().map(|row| (row.get(0), sum(row))).collect())
}
