//! What must not stand in a write that several shards carry out, because they could compute it otherwise than one server.

use crate::conversions::{self, class_of_oid};
use crate::decision::{Param, Refusal};
use crate::functions::{Class, class};
use crate::ir::{Change, Predicate, Scoped, ScopedBody, Selected, Tree};
use crate::proof::{is_distributed, is_reference};
use crate::query::Planned;
use crate::snapshot::Oid;
use crate::spread::clock;
use shardgate_shard_map::KeyType;
use shardgate_sql::lexer::{Token, lex};

/// Rows of a table have them, and what they say differs from server to server.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "cmin", "cmax", "tableoid"];

/// Aggregates that do not depend on the order of the rows, in whatever type.
const UNORDERED: &[&str] = &[
    "count", "min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or", "bit_xor",
];

impl Planned<'_, '_> {
    pub(super) fn spread_checks(&self, scoped: &Scoped, change: &Change) -> Result<(), String> {
        let (seen, traits) = (&self.resolver.seen, self.traits);
        if traits.temporary {
            return Err("it uses a temporary object".to_owned());
        }
        if let Some(why) = traits.taints.as_ref().or(traits.needs_pin.as_ref()) {
            return Err(format!(
                "it must run on the session's own connection ({why})"
            ));
        }
        if seen.locking || seen.into {
            return Err("it locks rows, or makes a table".to_owned());
        }
        if let Some(ty) = &seen.catalog_type {
            return Err(format!(
                "a value of type {ty} is a number of one server's catalog"
            ));
        }
        if let Some(view) = &seen.home_view {
            return Err(format!("{view} is on the home shard alone"));
        }
        for leaf in &self.resolver.leaves {
            if !is_distributed(leaf) && !is_reference(leaf) {
                return Err(format!(
                    "relation {} is on the home shard alone",
                    leaf.label
                ));
            }
            if leaf.occurrence.as_ref().is_some_and(|place| place.sample) {
                return Err("TABLESAMPLE takes other rows on each shard".to_owned());
            }
        }
        let mut words = self.facts.identifiers.iter();
        if let Some(word) = words.find(|word| SYSTEM_COLUMNS.contains(&word.as_str())) {
            return Err(format!(
                "system column \"{word}\" differs from shard to shard"
            ));
        }
        self.functions_alike(scoped, change)
    }

    /// Parameters whose types are known, and are none of dates and times. `bare`: those that are assigned as they are.
    pub(super) fn timeless_params(&self, bare: &[(u16, bool)]) -> Vec<u16> {
        const FAMILIES: [KeyType; 4] =
            [KeyType::Int8, KeyType::Text, KeyType::Uuid, KeyType::Bytea];
        let timeless = |number: &u16| match self.resolver.declared(*number) {
            Some(oid) => !may_be_time(oid),
            None => {
                let agreed = |ty: &KeyType| self.resolver.uses.agree(*number, *ty, false);
                FAMILIES.iter().any(agreed) || bare.contains(&(*number, true))
            }
        };
        (1..=self.facts.params).filter(timeless).collect()
    }

    /// Functions that answer alike on all shards, or by row.
    fn functions_alike(&self, scoped: &Scoped, change: &Change) -> Result<(), String> {
        let functions = &self.resolver.seen.functions;
        let of = |wanted: Class| {
            functions
                .iter()
                .find(|name| class(name, self.snapshot) == wanted)
        };
        if let Some(name) = of(Class::Setting) {
            return Err(format!(
                "function {} tells of one server's settings",
                name.name
            ));
        }
        let once = has_queries(scoped, change);
        let volatile = of(Class::Volatile);
        if let Some(name) = volatile.filter(|_| once && !change.insert) {
            return Err(format!(
                "function {} may stand where it is called once for the whole statement",
                name.name
            ));
        }
        let mentions_copies = self.resolver.leaves.iter().any(is_reference);
        if let Some(name) = functions.iter().find(|name| {
            let known = UNORDERED.contains(&name.name.as_str());
            !known && crate::functions::may_aggregate(name, self.snapshot)
        }) && mentions_copies
        {
            return Err(format!(
                "aggregate {} may depend on the order of rows, which differs from copy to copy of a reference table",
                name.name
            ));
        }
        let text = self.text.unwrap_or_default();
        if once && mentions_copies && !change.insert && picks_rows(text) {
            return Err(
                "a query in it may take other rows of a reference table on each shard".to_owned(),
            );
        }
        Ok(())
    }
}

/// A parameter whose text may stand for the time at which it is read.
pub(super) fn clocked_param(params: &[Param<'_>], timeless: &[u16]) -> Option<Refusal> {
    let reads = |param: &Param<'_>| {
        !param.binary
            && param
                .value
                .and_then(|value| std::str::from_utf8(value).ok())
                .is_some_and(clock::says_time)
    };
    let mut numbered = (1_u16..).zip(params);
    let (number, _) =
        numbered.find(|(number, param)| !timeless.contains(number) && reads(param))?;
    Some(Refusal::unsupported(
        "a write of several shards has a parameter that may be read by the clock",
        format!("The value of ${number} may stand for the time at which each shard reads it."),
        "Write now() instead, give the time itself, or declare the parameter's type.",
    ))
}

/// A string constant of the type may be read by the clock.
pub(super) fn may_be_time(ty: Oid) -> bool {
    match class_of_oid(ty) {
        conversions::Class::Number
        | conversions::Class::Float
        | conversions::Class::Bool
        | conversions::Class::Text
        | conversions::Class::Uuid
        | conversions::Class::Json
        | conversions::Class::Bytes
        | conversions::Class::Plain => false,
        conversions::Class::Open
        | conversions::Class::Date
        | conversions::Class::Time
        | conversions::Class::TimeTz
        | conversions::Class::Timestamp
        | conversions::Class::TimestampTz
        | conversions::Class::Interval
        | conversions::Class::Other => true,
    }
}

/// There is something in it that runs once for the whole statement: a query, or a function in FROM.
pub(super) fn has_queries(scoped: &Scoped, change: &Change) -> bool {
    !scoped.alone.is_empty()
        || !scoped.subqueries.is_empty()
        || change.source.is_some()
        || !change.returning.is_empty()
        || selected_has_queries(&change.selected)
}

fn selected_has_queries(selected: &Selected) -> bool {
    !selected.subqueries.is_empty()
        || predicate_has_queries(&selected.filter)
        || selected.from.iter().any(tree_has_queries)
}

fn predicate_has_queries(predicate: &Predicate) -> bool {
    !predicate.memberships.is_empty() || !predicate.subqueries.is_empty()
}

fn tree_has_queries(tree: &Tree) -> bool {
    match tree {
        Tree::Leaf(..) => false,
        Tree::Derived { .. } | Tree::Rows { .. } => true,
        Tree::Join {
            left, right, on, ..
        } => tree_has_queries(left) || tree_has_queries(right) || predicate_has_queries(on),
    }
}

/// Some query in it may take rows that nothing but their place decides: LIMIT, DISTINCT ON, windows. The words are
/// reserved, so that they are no names.
pub(super) fn picks_rows(text: &str) -> bool {
    let Ok(tokens) = lex(text) else { return true };
    let pick = ["limit", "offset", "fetch", "over"];
    let distinct_on = |pair: &[Token]| match pair {
        [one, next] => one.is_word(text, "distinct") && next.is_word(text, "on"),
        _ => false,
    };
    tokens
        .iter()
        .any(|token| pick.iter().any(|word| token.is_word(text, word)))
        || tokens.windows(2).any(distinct_on)
}

/// The change of a statement that is nothing else.
pub(super) fn own_change(scoped: &mut Scoped) -> Option<&mut Change> {
    match &mut scoped.body {
        ScopedBody::Change(change) => Some(change),
        ScopedBody::Select(_) | ScopedBody::SetOperation(..) | ScopedBody::Expressions(_) => None,
    }
}
