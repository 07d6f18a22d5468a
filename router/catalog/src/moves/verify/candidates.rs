//! Rows that differ at first sight: in the slices that differ, or among those that have changed.

use super::Sides;
use super::read::{KeyedRow, by_keys, by_slices};
use super::shape::{RowId, Shape};
use super::slices::Compared;
use super::witness::ChangedRow;
use crate::error::CatalogError;
use futures_util::future::try_join;
use std::collections::{BTreeSet, HashMap};

/// So many rows of one side are held in memory at once, about.
const BATCH_ROWS: u64 = 100_000;

pub(super) struct Found {
    pub rows: Vec<RowId>,
    /// There are more than were asked for.
    pub more: bool,
}

/// Reads the slices that differ, a batch of them at a time.
pub(super) async fn of_slices(
    sides: Sides<'_>,
    shape: &Shape,
    compared: &Compared,
    most: usize,
) -> Result<Found, CatalogError> {
    let mut found = Found {
        rows: Vec::new(),
        more: false,
    };
    let mut left = compared.different.iter().peekable();
    while left.peek().is_some() {
        let mut batch = Vec::new();
        let mut rows = 0;
        while let Some((slice, count)) = left.next_if(|_| batch.is_empty() || rows < BATCH_ROWS) {
            batch.push(*slice);
            rows += *count;
        }
        let (source, target) = try_join(
            by_slices(sides.source, shape, compared.mask, &batch),
            by_slices(sides.target, shape, compared.mask, &batch),
        )
        .await?;
        found.rows.extend(differing(source, target));
        if found.rows.len() > most {
            found.rows.truncate(most);
            found.more = true;
            break;
        }
    }
    Ok(found)
}

/// Keyed rows are named already; for a table without a key all rows of the changed rows' keys are compared.
pub(super) async fn of_changed(
    sides: Sides<'_>,
    shape: &Shape,
    changed: &BTreeSet<ChangedRow>,
    most: usize,
) -> Result<Found, CatalogError> {
    let mut rows: Vec<RowId> = if shape.has_key() {
        changed
            .iter()
            .map(|row| RowId::Key(row.0.clone()))
            .collect()
    } else {
        let keys: Vec<&str> = changed
            .iter()
            .filter_map(|row| row.0.first().map(String::as_str))
            .collect();
        let (source, target) = try_join(
            by_keys(sides.source, shape, &keys),
            by_keys(sides.target, shape, &keys),
        )
        .await?;
        differing(source, target)
    };
    let more = rows.len() > most;
    rows.truncate(most);
    Ok(Found { rows, more })
}

fn differing(source: HashMap<RowId, KeyedRow>, mut target: HashMap<RowId, KeyedRow>) -> Vec<RowId> {
    let mut out = Vec::new();
    for (id, row) in source {
        if target.remove(&id) != Some(row) {
            out.push(id);
        }
    }
    out.extend(target.into_keys());
    out
}
