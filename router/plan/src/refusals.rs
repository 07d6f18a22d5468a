//! The refusals that several places share, in Postgres's manner: message, detail, hint.

use crate::decision::Refusal;
use crate::snapshot::{Column, Relation};

pub(crate) fn missing_key(relation: &Relation, key: &Column) -> Refusal {
    Refusal::unsupported(
        format!(
            "INSERT into \"{}\" gives no value for its sharding key \"{}\"",
            relation.name, key.name
        ),
        "The key decides on which shard a row lives; a default is not known before the row is there.",
        format!(
            "Name the column \"{}\" and give it a constant or a parameter in every row.",
            key.name
        ),
    )
}

pub(crate) fn key_not_computed(relation: &Relation, key: &Column, why: &str) -> Refusal {
    Refusal::unsupported(
        format!(
            "the sharding key \"{}\" of a new row of \"{}\" is not known",
            key.name, relation.name
        ),
        format!(
            "The value of \"{}\" does not tell its shard: {why}.",
            key.name
        ),
        "Give the key as a constant or a parameter of the column's type.",
    )
}

pub(crate) fn key_change(relation: &Relation, key: &Column) -> Refusal {
    Refusal::unsupported(
        format!(
            "UPDATE of the sharding key \"{}\" of \"{}\" is not supported",
            key.name, relation.name
        ),
        "The new key is not a constant or a column that is bound to one shard, so the row might have to move.",
        "Delete the row and insert it with its new key, in two statements.",
    )
}

pub(crate) fn sequence_default(relation: &Relation, column: &Column) -> Refusal {
    Refusal::unsupported(
        format!(
            "column \"{}\" of distributed table \"{}\" would draw from a sequence",
            column.name, relation.name
        ),
        "Each shard has a sequence of its own, and two shards would give the same number.",
        format!("Give a value for \"{}\" in every row.", column.name),
    )
}

pub(crate) fn other_default(relation: &Relation, column: &Column) -> Refusal {
    Refusal::unsupported(
        format!(
            "the default of column \"{}\" of distributed table \"{}\" is not known to be plain",
            column.name, relation.name
        ),
        "It may read tables, of which a shard has only a part.",
        format!("Give a value for \"{}\" in every row.", column.name),
    )
}
