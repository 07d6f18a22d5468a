//! Foreign keys of a table that is to be distributed: may each shard check them by itself?
//!
//! They hold if every shard has all rows that are referred to (reference tables), or if both tables are co-located and
//! the foreign key pairs their sharding keys.

use crate::error::PgError;
use crate::raw::RawTable;
use crate::table::Table;
use crate::table_checks::Target;
use std::collections::HashMap;

/// Refuses a foreign key that one shard alone could not check.
pub(crate) fn check(table: &Table, target: Target, others: &[RawTable]) -> Result<(), PgError> {
    let placements: HashMap<u32, &RawTable> =
        others.iter().map(|other| (other.relation, other)).collect();
    for key in &table.foreign_keys {
        let other = if key.other == table.oid {
            Some(target)
        } else {
            placements.get(&key.other).copied().and_then(target_of)
        };
        let (child, parent) = if key.outgoing {
            (Some(target), other)
        } else {
            (other, Some(target))
        };
        let (child_columns, parent_columns) = if key.outgoing {
            (&key.columns, &key.other_columns)
        } else {
            (&key.other_columns, &key.columns)
        };
        let holds = match (child, parent) {
            // Every shard has all of the rows that are referred to, and so has home for its own tables.
            (_, Some(Target::Reference)) => true,
            (
                Some(Target::Distributed {
                    distribution: a,
                    key: ka,
                }),
                Some(Target::Distributed {
                    distribution: b,
                    key: kb,
                }),
            ) => {
                a == b
                    && child_columns
                        .iter()
                        .zip(parent_columns)
                        .any(|(x, y)| *x == ka && *y == kb)
            }
            (_, None | Some(Target::Distributed { .. })) => false,
        };
        if !holds {
            return Err(foreign_key_refused(
                table,
                key.outgoing,
                &key.name,
                &key.other_name,
                other,
            ));
        }
    }
    Ok(())
}

fn target_of(other: &RawTable) -> Option<Target> {
    match (other.kind.as_str(), other.distribution, other.key_attnum) {
        ("distributed", Some(distribution), Some(key)) => {
            Some(Target::Distributed { distribution, key })
        }
        ("reference", _, _) => Some(Target::Reference),
        _ => None,
    }
}

fn foreign_key_refused(
    table: &Table,
    outgoing: bool,
    name: &str,
    other: &str,
    placement: Option<Target>,
) -> PgError {
    let message = if outgoing {
        format!(
            "foreign key \"{name}\" of table \"{}\" refers to {other}",
            table.display()
        )
    } else {
        format!(
            "foreign key \"{name}\" of {other} refers to table \"{}\"",
            table.display()
        )
    };
    let (detail, hint) = match placement {
        None => (
            format!("{other} is a home table, whose rows no other shard has."),
            if outgoing {
                format!(
                    "Make {other} a reference table first (create_reference_table), or drop the foreign key."
                )
            } else {
                "Drop the foreign key, distribute both tables, and add it again.".to_owned()
            },
        ),
        Some(Target::Reference) => (
            format!(
                "{other} is a reference table: its rows are on every shard, the others are not."
            ),
            "Make both tables reference tables, or drop the foreign key.".to_owned(),
        ),
        Some(Target::Distributed { .. }) => (
            "Rows that refer to each other may lie on different shards.".to_owned(),
            format!(
                "Let the foreign key pair both sharding keys and the tables be co-located (colocate_with => '{other}')."
            ),
        ),
    };
    PgError::new("0A000", message).detail(detail).hint(hint)
}
