//! What a walk over a statement came across, whatever the scopes: the material for traits and refusals.

use crate::path::is_temporary;
use shardgate_sql::facts::Name;
use std::collections::{BTreeSet, HashSet};

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) functions: BTreeSet<Name>,
    /// Every operator, by name: those that IN, CASE and joins stand for too.
    pub(crate) operators: BTreeSet<String>,
    /// An operator that may be a user's, by name and operand types.
    pub(crate) user_operator: Option<String>,
    /// A function, operator or type of the session's temporary schema: the catalog has not read it.
    pub(crate) temporary_code: Option<String>,
    /// A cast to a type outside of pg_catalog.
    pub(crate) user_type: Option<String>,
    /// A cast to a type whose values are numbers of the catalog, which differ from shard to shard: regclass and its kin.
    pub(crate) catalog_type: Option<String>,
    /// Syntax that is not modelled.
    pub(crate) opaque: Option<String>,
    /// FOR UPDATE and its kin.
    pub(crate) locking: bool,
    /// INSERT, UPDATE, DELETE anywhere.
    pub(crate) writes: bool,
    /// SELECT INTO.
    pub(crate) into: bool,
    /// SELECT INTO TEMP.
    pub(crate) into_temporary: bool,
    /// A view whose body could not be analysed.
    pub(crate) blind_view: Option<String>,
    /// A view that only the home shard has.
    pub(crate) home_view: Option<String>,
    /// A view that is the target of a change.
    pub(crate) changed_view: Option<String>,
    /// Tables of column references that name a schema too: `schema.table.column`, `schema.table.*`.
    pub(crate) qualified: HashSet<String>,
    /// Names that the walk understood, as relation, alias, column, function, type or CTE (rule R6).
    pub(crate) names: HashSet<String>,
}

impl Seen {
    pub(crate) fn name(&mut self, name: &Name) {
        self.names.insert(name.name.clone());
        self.names.extend(name.schema.clone());
    }

    pub(crate) fn word(&mut self, word: &str) {
        if !self.names.contains(word) {
            self.names.insert(word.to_owned());
        }
    }

    pub(crate) fn operator(&mut self, op: &str, schema: Option<&str>) {
        if !self.operators.contains(op) {
            self.operators.insert(op.to_owned());
        }
        self.in_schema("operator", op, schema);
    }

    /// Notes code of a temporary schema.
    pub(crate) fn in_schema(&mut self, what: &str, name: &str, schema: Option<&str>) {
        if schema.is_some_and(is_temporary) {
            self.temporary_code
                .get_or_insert_with(|| format!("{what} pg_temp.{name}"));
        }
    }

    pub(crate) fn function(&mut self, name: &Name) {
        self.name(name);
        self.in_schema("function", &name.name, name.schema.as_deref());
        self.functions.insert(name.clone());
    }

    pub(crate) fn opaque(&mut self, what: &str) {
        self.opaque.get_or_insert_with(|| what.to_owned());
    }
}
