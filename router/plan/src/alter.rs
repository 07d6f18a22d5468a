//! What may not be done to a table that is on every shard, because the guard, the key, or the agreement of the shards
//! would be lost.

use crate::decision::Refusal;
use crate::path::Target;
use crate::reach;
use crate::references;
use crate::snapshot::{Placement, Relation};
use crate::stored;
use crate::unique;
use crate::utility::{Planned, distribution};

/// The name of the constraint that keeps rows on their shard.
const GUARD: &str = "shardgate_owns";

/// Checks a statement on a distributed or reference table.
pub(crate) fn check(planned: &Planned<'_>, relation: &Relation) -> Result<(), Refusal> {
    let utility = planned.utility;
    let table = &relation.name;
    let named = |word: &str| {
        planned
            .facts
            .identifiers
            .iter()
            .any(|identifier| identifier == word)
    };
    if named(GUARD) {
        return Err(refuse(
            format!("constraint \"{GUARD}\" of table \"{table}\" cannot be changed"),
            "It keeps the rows on the shard that their key says.",
            "Use undistribute_table to take it away.",
        ));
    }
    if matches!(
        utility.tag,
        "CREATE TRIGGER" | "CREATE RULE" | "CREATE POLICY"
    ) {
        return Err(refuse(
            format!("{} on table \"{table}\" is not supported", utility.tag),
            "What it reads or writes is not proven to lie on one shard.",
            "Undistribute the table first, or do its work in the application.",
        ));
    }
    if utility.tag != "ALTER TABLE" && utility.tag != "CREATE INDEX" {
        return Ok(());
    }
    if let Some(word) = ["inherit", "attach", "detach"]
        .into_iter()
        .find(|word| named(word))
    {
        return Err(refuse(
            format!(
                "ALTER TABLE .. {} on table \"{table}\" is not supported",
                word.to_uppercase()
            ),
            "Parents, children and partitions of distributed tables are not supported.",
            "Undistribute the table first.",
        ));
    }
    if named("level") && named("security") {
        return Err(refuse(
            format!("row level security on table \"{table}\" is not supported"),
            "A policy may read other tables, and its reads are not proven to lie on one shard.",
            "Undistribute the table first, or filter in the application.",
        ));
    }
    if let Some((_, key)) = distribution(relation)
        && utility.changed_columns.iter().any(|column| column == key)
    {
        return Err(refuse(
            format!(
                "the sharding key \"{key}\" of table \"{table}\" cannot be renamed, dropped or retyped"
            ),
            "The rows are placed by it.",
            "Undistribute the table first.",
        ));
    }
    if utility.tag == "ALTER TABLE" && named("nextval") {
        return Err(refuse(
            format!("nextval in ALTER TABLE of \"{table}\" is not supported"),
            "Each shard would draw from a sequence of its own, and they would give the same numbers.",
            "Give the column its values in the application.",
        ));
    }
    stored::of_table(utility, relation, planned.snapshot)?;
    foreign_keys(planned, relation)?;
    unique_keys(planned, relation)
}

/// Foreign keys hold on each shard by itself: the other table must be a full copy, or co-located and referred to by the
/// sharding keys of both.
fn foreign_keys(planned: &Planned<'_>, relation: &Relation) -> Result<(), Refusal> {
    // Without the text nothing is known of the columns.
    let written = planned.text.and_then(references::added);
    for name in &planned.utility.others {
        let pairs = |own: &str, other: &str| {
            let mut references = written
                .iter()
                .flatten()
                .filter(|r| r.table == *name)
                .peekable();
            references.peek().is_some() && references.all(|reference| reference.pairs(own, other))
        };
        let fits = match (planned.target(name), distribution(relation)) {
            (Target::Known(other), Some((own, key))) => match other.placement {
                Placement::Reference => true,
                Placement::Distributed {
                    distribution,
                    key: at,
                } => {
                    let other = other.columns.get(at);
                    distribution == own && other.is_some_and(|other| pairs(key, &other.name))
                }
                Placement::Home => false,
            },
            (Target::Known(other), None) => other.placement == Placement::Reference,
            (Target::Unknown, _) => true,
            (Target::Temporary | Target::System | Target::Ambiguous(_), _) => false,
        };
        if !fits {
            return Err(refuse(
                format!(
                    "table \"{}\" cannot refer to table \"{}\"",
                    relation.name, name.name
                ),
                "A foreign key is checked on each shard by itself, so the other table must be a reference table, or co-located and joined by the sharding keys.",
                "Make the other table a reference table, or distribute both by the key that joins them; name both sharding keys, in the same place of their lists.",
            ));
        }
    }
    Ok(())
}

/// A unique index holds on each shard by itself, so it must contain the key.
fn unique_keys(planned: &Planned<'_>, relation: &Relation) -> Result<(), Refusal> {
    let Some((_, key)) = distribution(relation) else {
        return Ok(());
    };
    // Without the text nothing is known of them, so what may add one is refused.
    let may_add = planned.utility.tag == "CREATE INDEX"
        || planned.facts.identifiers.iter().any(|word| word == "add");
    let added = planned
        .text
        .and_then(unique::added)
        .unwrap_or_else(|| if may_add { vec![None] } else { Vec::new() });
    for columns in &added {
        let contains = columns
            .as_ref()
            .is_some_and(|columns| columns.iter().any(|column| column == key));
        if !contains {
            return Err(refuse(
                format!(
                    "a unique index or constraint on table \"{}\" must contain its sharding key \"{key}\"",
                    relation.name
                ),
                "It is enforced on each shard by itself; without the key, equal values could lie on two shards. Only plain lists of columns are understood.",
                format!("Add \"{key}\" to its columns."),
            ));
        }
    }
    Ok(())
}

fn refuse(message: String, detail: &str, hint: impl Into<String>) -> Refusal {
    Refusal::unsupported(message, detail, hint)
}

/// The table is not on home alone, for LOCK and COPY.
pub(crate) fn is_spread(target: &Target<'_>, planned: &crate::snapshot::Snapshot) -> bool {
    match target {
        Target::Known(relation) | Target::Ambiguous(relation) => {
            !reach::of_relation(relation, planned).is_home_only()
        }
        Target::Temporary | Target::System | Target::Unknown => false,
    }
}
