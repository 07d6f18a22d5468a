//! Code that planning does not see into and that may reach a table of which the home shard has only a part: functions,
//! operators and types of the user, and triggers, policies, defaults and checks of home tables. It is refused.
//!
//! Which code that is, the catalog concludes; see `Snapshot::blind_functions`. A database of home tables has none.

use crate::decision::Refusal;
use crate::ir::LeafRelation;
use crate::path::{Target, is_temporary};
use crate::query::{Checked, Planned};
use crate::reach::any_spread;
use crate::snapshot::{Relation, Snapshot};
use crate::utility;
use shardgate_sql::facts::{Facts, Name};

const HINT_DECLARE: &str = "If it needs only home tables, declare that: INSERT INTO shardgate.function_class VALUES ('name(types)', 'clean'). Otherwise choose the shard by hand with SET shardgate.shard.";

impl Planned<'_, '_> {
    /// Functions, operators and types of the statement and of its views, and the code of its relations.
    pub(crate) fn nothing_blind(&self) -> Checked {
        let seen = &self.resolver.seen;
        let snapshot = self.snapshot;
        // Of what a function of the system reads, `functions` knows.
        let system = |name: &Name| {
            name.schema.as_deref() == Some("pg_catalog")
                && !snapshot.catalog_functions.contains(&name.name)
        };
        let mut called = seen.functions.iter().filter(|name| !system(name));
        if let Some(refusal) = called.find_map(|name| of_function(&name.name, snapshot)) {
            return Err(refusal);
        }
        // `row.f` may be a call of f(row): wherever the word stands.
        let mut words = self.facts.identifiers.iter();
        if let Some(word) = words.find(|word| snapshot.blind_of_row.contains(*word))
            && let Some(refusal) = of_function(word, snapshot)
        {
            return Err(refusal);
        }
        let mut operators = seen.operators.iter();
        if let Some((op, why)) =
            operators.find_map(|op| Some((op, snapshot.blind_operators.get(op)?)))
        {
            return Err(refuse(format!("operator {op}"), why));
        }
        // Of syntax that is not modelled, every word may be a call.
        if seen.opaque.is_some() {
            let mut words = self.facts.identifiers.iter();
            if let Some(refusal) = words.find_map(|word| of_function(word, snapshot)) {
                return Err(refusal);
            }
            if let Some((op, why)) = snapshot.blind_operators.iter().min() {
                return Err(refuse(format!("operator {op}"), why));
            }
        }
        if let Some(why) = &snapshot.blind_cast {
            return Err(refuse("the statement's expressions".to_owned(), why));
        }
        if let Some(what) = seen
            .temporary_code
            .as_ref()
            .filter(|_| any_spread(snapshot))
        {
            return Err(of_temporary_code(what));
        }
        // Only the first type of the user is noted, so any of them may be met.
        if seen.user_type.is_some() {
            let mut types = snapshot.types.iter();
            if let Some(refusal) = types.find_map(|ty| of_function(ty, snapshot)) {
                return Err(refusal);
            }
        }
        for leaf in &self.resolver.leaves {
            if let LeafRelation::Known(relation) = &leaf.relation
                && let Some(refusal) = of_relation(relation, leaf.written)
            {
                return Err(refusal);
            }
        }
        Ok(())
    }
}

/// Statements that run expressions which they hold, or code that is stored with a relation.
const RUN_EXPRESSIONS: &[&str] = &[
    "ALTER DOMAIN",
    "ALTER TABLE",
    "CREATE INDEX",
    "CREATE MATERIALIZED VIEW",
    "CREATE TABLE AS",
];
const RUN_STORED_CODE: &[&str] = &["REFRESH MATERIALIZED VIEW", "TRUNCATE TABLE"];

impl utility::Planned<'_> {
    /// DDL and TRUNCATE run no code that may reach other tables.
    pub(crate) fn nothing_blind(&self) -> Checked {
        let targets = self.targets();
        let relations: Vec<&Relation> = targets
            .iter()
            .filter_map(|target| match target {
                Target::Known(relation) | Target::Ambiguous(relation) => Some(relation.as_ref()),
                Target::Temporary | Target::System | Target::Unknown => None,
            })
            .collect();
        if RUN_STORED_CODE.contains(&self.utility.tag) {
            let mut relations = relations.iter();
            return relations
                .find_map(|relation| of_relation(relation, true))
                .map_or(Ok(()), Err);
        }
        if !RUN_EXPRESSIONS.contains(&self.utility.tag) {
            return Ok(());
        }
        // The expressions of DDL are not modelled: every word may be a call that is no column of the table.
        let is_column = |word: &String| {
            let mut columns = relations.iter().flat_map(|relation| &relation.columns);
            columns.any(|column| column.name == *word)
        };
        let mut words = self
            .facts
            .identifiers
            .iter()
            .filter(|word| !is_column(word));
        words
            .find_map(|word| of_function(word, self.snapshot))
            .map_or(Ok(()), Err)
    }
}

/// Operators, casts and temporary code in a statement that is not understood: it may use any of them.
pub(crate) fn in_text(facts: &Facts, snapshot: &Snapshot) -> Option<Refusal> {
    let operator = snapshot.blind_operators.iter().min();
    if let Some((op, why)) = operator {
        return Some(refuse(format!("operator {op}"), why));
    }
    if let Some(why) = &snapshot.blind_cast {
        return Some(refuse("the statement's expressions".to_owned(), why));
    }
    let temporary = facts.identifiers.iter().find(|word| is_temporary(word));
    let word = temporary.filter(|_| any_spread(snapshot))?;
    Some(of_temporary_code(&format!("what is in {word}")))
}

fn of_temporary_code(what: &str) -> Refusal {
    Refusal::unsupported(
        format!("{what} cannot be used here"),
        "What code of a temporary schema reads is not known to the router, and some tables are not on the home shard alone.",
        "Create it in a schema of its own, or choose the shard by hand with SET shardgate.shard.",
    )
}

/// The refusal to call a function, if it may reach more than home tables.
pub(crate) fn of_function(name: &str, snapshot: &Snapshot) -> Option<Refusal> {
    let why = snapshot.blind_functions.get(name)?;
    Some(refuse(format!("function {name}"), why))
}

/// The refusal to change or read a relation, if that runs such code.
pub(crate) fn of_relation(relation: &Relation, written: bool) -> Option<Refusal> {
    let (verb, why) = match (&relation.blind_code, &relation.blind_read) {
        (Some(why), _) if written => ("changed", why),
        (_, Some(why)) => ("read", why),
        (Some(_) | None, None) => return None,
    };
    Some(Refusal::unsupported(
        format!("table \"{}\" cannot be {verb} here", relation.name),
        detail(why),
        HINT_DECLARE,
    ))
}

pub(crate) fn refuse(what: String, why: &str) -> Refusal {
    Refusal::unsupported(
        format!("{what} cannot be called here"),
        detail(why),
        HINT_DECLARE,
    )
}

pub(crate) fn detail(why: &str) -> String {
    format!(
        "It may reach more than home tables: {why}. On the home shard it would see only a part of the rows of distributed tables."
    )
}
