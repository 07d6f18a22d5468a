//! Values that DDL on several shards stores: refused unless every shard is known to compute the same.
//!
//! `ADD COLUMN at timestamptz DEFAULT now()` fills the rows that are there with the time, or the number of a sequence, or
//! the setting, of each shard by itself. The copies of a reference table would differ, and the rows of a distributed table
//! would not be what one server gives.

use crate::conversions::{class_of_oid, converts};
use crate::decision::Refusal;
use crate::snapshot::{Placement, Relation, Snapshot};
use crate::steady::Steady;
use shardgate_sql::facts::{Stored, StoredValue, Utility};

/// ALTER TABLE of a distributed or reference table.
pub(crate) fn of_table(
    utility: &Utility,
    relation: &Relation,
    snapshot: &Snapshot,
) -> Result<(), Refusal> {
    let copies = relation.placement == Placement::Reference;
    for stored in &utility.stored {
        one(stored, relation, snapshot, copies)?;
    }
    Ok(())
}

fn one(
    stored: &Stored,
    relation: &Relation,
    snapshot: &Snapshot,
    copies: bool,
) -> Result<(), Refusal> {
    let (table, column) = (&relation.name, &stored.column);
    let constants = Steady {
        snapshot,
        relation: None,
    };
    match &stored.value {
        StoredValue::Drawn => Err(Refusal::unsupported(
            format!(
                "column \"{column}\" of table \"{table}\" cannot draw its values from a sequence of its own"
            ),
            "Each shard would have a sequence of its own, and they would give the same numbers.",
            "Add a column of type bigint without a default, and give it its values in the application.",
        )),
        StoredValue::Unread => Err(Refusal::unsupported(
            format!(
                "the expression for column \"{column}\" of table \"{table}\" is not understood"
            ),
            "Each shard computes it by itself, and it is not known to give the same everywhere.",
            "Write a constant, or fill the column through the application.",
        )),
        StoredValue::Added(expr) if !constants.fits(expr, stored.ty.as_ref()) => {
            Err(Refusal::unsupported(
                format!(
                    "the default of new column \"{column}\" of table \"{table}\" must be a constant"
                ),
                "The rows that are there get it at once. Each shard would compute it by itself, from its own clock, sequences and settings.",
                if copies {
                    "Add the column without a default, then fill it."
                } else {
                    "Add the column without a default, set the default with ALTER TABLE .. ALTER COLUMN .. SET DEFAULT, then fill the rows with UPDATE. Dates need the form 2026-01-31, and a time zone where the type has one."
                },
            ))
        }
        // What a later row gets is computed on the one shard that has it; copies have it on all of them.
        StoredValue::Default(expr) if copies => {
            let column_type = relation.columns.iter().find(|known| known.name == *column);
            let fits = column_type.is_some_and(|known| constants.fits_oid(expr, known.ty));
            if fits {
                return Ok(());
            }
            Err(Refusal::unsupported(
                format!(
                    "the default of column \"{column}\" of reference table \"{table}\" must be a constant"
                ),
                "Every shard has a copy of the table, and would compute the value by itself.",
                "Give the column its values in the statements.",
            ))
        }
        StoredValue::Retyped(using) => {
            let rows = Steady {
                snapshot,
                relation: Some(relation),
            };
            let steady = match (using, &stored.ty) {
                (Some(expr), ty) => rows.fits(expr, ty.as_ref()),
                (None, Some(ty)) => {
                    let known = relation.columns.iter().find(|known| known.name == *column);
                    !ty.array
                        && known.is_some_and(|known| {
                            converts(class_of_oid(known.ty), rows.class_of(ty))
                        })
                }
                (None, None) => false,
            };
            if steady {
                return Ok(());
            }
            Err(Refusal::unsupported(
                format!(
                    "the new type of column \"{column}\" of table \"{table}\" is not supported"
                ),
                "Each shard converts its rows by itself, and the conversion is not known to be free of settings such as the time zone.",
                "Add a column of the new type, fill it with UPDATE, then drop the old column and rename the new one. A time zone can be named: USING x AT TIME ZONE 'UTC'.",
            ))
        }
        StoredValue::Added(_) | StoredValue::Default(_) => Ok(()),
    }
}

/// CREATE DOMAIN and ALTER DOMAIN: a column of that type, when it is added, would be filled by the domain's default.
pub(crate) fn of_domain(utility: &Utility, snapshot: &Snapshot) -> Result<(), Refusal> {
    let constants = Steady {
        snapshot,
        relation: None,
    };
    for stored in &utility.stored {
        let steady = match &stored.value {
            StoredValue::Default(expr) => constants.fits_any(expr),
            StoredValue::Added(_)
            | StoredValue::Retyped(_)
            | StoredValue::Drawn
            | StoredValue::Unread => false,
        };
        if !steady {
            return Err(Refusal::unsupported(
                "the default of a domain must be a constant while there are several shards",
                "A new column of that type would be filled by each shard for itself, from its own clock, sequences and settings.",
                "Give the default to the columns instead.",
            ));
        }
    }
    Ok(())
}
