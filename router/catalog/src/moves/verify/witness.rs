//! Which rows have changed since: a replication slot of our own on the source, read by SQL.
//!
//! What was verified and has not changed since is still equal. So before the verification begins a slot is made, and
//! what has passed through it names every row to be looked at again, deleted ones as well. It is drained while the
//! application writes, so that little is left for the moment in which nobody may.

use super::pgoutput::{self, Column};
use super::{Sides, Subject};
use crate::connect::Backend;
use crate::error::CatalogError;
use crate::quote::ident;
use std::collections::{BTreeMap, BTreeSet};

/// Changes that are read in one statement, about: a transaction is never cut.
const CHANGES_MAX: i32 = 10_000;

/// A slot that sees what the move's publications publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    slot: String,
    /// As `publication_names` is written: quoted, with commas.
    publications: String,
}

/// The rows that have changed, by their tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    tables: BTreeMap<(String, String), BTreeSet<ChangedRow>>,
}

/// The texts of the key's columns; in a table without a key the distribution's key alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangedRow(pub Vec<String>);

impl Changed {
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(BTreeSet::is_empty)
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeSet::len).sum()
    }

    pub(super) fn of(&self, subject: &Subject) -> Option<&BTreeSet<ChangedRow>> {
        self.tables
            .get(&(subject.schema.clone(), subject.name.clone()))
    }
}

impl Witness {
    /// Makes the slot. A temporary one goes with the connection, and what it has seen is lost with it.
    ///
    /// It waits for every transaction that is writing on the source's server, in any database.
    pub async fn open(
        source: &Backend,
        slot: &str,
        publications: &[String],
        temporary: bool,
    ) -> Result<Witness, CatalogError> {
        source
            .query_one(
                "SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput', $2)",
                &[&slot, &temporary],
            )
            .await
            .map_err(|error| source.err(&error))?;
        let names: Vec<String> = publications.iter().map(|name| ident(name)).collect();
        Ok(Witness {
            slot: slot.to_owned(),
            publications: names.join(", "),
        })
    }

    /// Adds what has changed since it was opened or last drained, up to everything that is flushed now.
    ///
    /// `sides.source` is the connection that opened it, if it is temporary.
    pub async fn drain(
        &self,
        sides: Sides<'_>,
        subjects: &[Subject],
        changed: &mut Changed,
    ) -> Result<(), CatalogError> {
        let source = sides.source;
        let mut names = BTreeMap::new();
        for subject in subjects {
            let shape = super::Shape::read(sides, subject).await?;
            let columns = match shape.has_key() {
                true => shape
                    .identity
                    .iter()
                    .map(|column| column.name.clone())
                    .collect(),
                false => vec![subject.key.clone()],
            };
            names.insert((subject.schema.clone(), subject.name.clone()), columns);
        }
        // What comes later is not waited for: while the application writes quickly there would be no end.
        let flushed = source
            .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
            .await
            .map_err(|error| source.err(&error))?;
        let until: String = flushed.get(0);
        loop {
            let rows = source
                .query(
                    "SELECT data FROM pg_logical_slot_get_binary_changes($1::text::name, $4::text::pg_lsn, $2, \
                     'proto_version', '1', 'publication_names', $3)",
                    &[&self.slot, &CHANGES_MAX, &self.publications, &until],
                )
                .await
                .map_err(|error| source.err(&error))?;
            let mut reader = pgoutput::Reader::default();
            for row in &rows {
                let Some(tuples) = reader.read(row.get(0)) else {
                    let what = format!(
                        "replication slot \"{}\" sent what cannot be read",
                        self.slot
                    );
                    return Err(CatalogError::Damaged { what });
                };
                for tuple in tuples {
                    note(&tuple, &names, changed);
                }
            }
            if rows.len() < usize::try_from(CHANGES_MAX).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    /// Removes the slot.
    pub async fn close(self, source: &Backend) -> Result<(), CatalogError> {
        source
            .query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text::name", &[&self.slot])
            .await
            .map_err(|error| source.err(&error))?;
        Ok(())
    }
}

fn note(
    tuple: &pgoutput::Tuple,
    names: &BTreeMap<(String, String), Vec<String>>,
    changed: &mut Changed,
) {
    let table = (tuple.schema.clone(), tuple.table.clone());
    let Some(columns) = names.get(&table) else {
        return;
    };
    let value = |name: &String| {
        let found = tuple.columns.iter().find(|(column, _)| column == name);
        match found.map(|(_, value)| value) {
            Some(Column::Text(text)) => Some(text.clone()),
            // An old tuple that is there for other columns' sake; a new one always comes with the whole key.
            Some(Column::Null | Column::Unchanged) | None => None,
        }
    };
    if let Some(values) = columns.iter().map(value).collect::<Option<Vec<String>>>() {
        changed
            .tables
            .entry(table)
            .or_default()
            .insert(ChangedRow(values));
    }
}
