//! The body of a view as facts.

use shardgate_sql::facts::Query;

/// The analysed body; None if it could not be analysed. `definition` has every name qualified.
pub(crate) fn analyse(definition: &str) -> Option<Query> {
    shardgate_sql::analyze_view(definition)
}
