//! What a stored expression calls, read from Postgres's own node tree (`pg_node_tree` as text).
//!
//! The tree names every function by id, also those behind operators and casts, so nothing is resolved by name and
//! nobody's search_path matters. Constants are printed as bytes and cannot look like a node.

use crate::raw::RawExpression;
use std::collections::HashSet;

/// The function of `nextval`, which marks a default that draws from a sequence.
pub(crate) const NEXTVAL: u32 = 1574;

/// Node types whose functions are all named in fields that are read below, or that call none.
const KNOWN: &[&str] = &[
    "ALTERNATIVESUBPLAN",
    "ARRAY",
    "ARRAYCOERCEEXPR",
    "ARRAYEXPR",
    "BOOLEANTEST",
    "BOOLEXPR",
    "CASE",
    "CASEEXPR",
    "CASETESTEXPR",
    "CASEWHEN",
    "WHEN",
    "COALESCE",
    "COALESCEEXPR",
    "COERCETODOMAIN",
    "COERCETODOMAINVALUE",
    "COERCEVIAIO",
    "COLLATE",
    "COLLATEEXPR",
    "CONST",
    "CONVERTROWTYPEEXPR",
    "DISTINCTEXPR",
    "FIELDSELECT",
    "FIELDSTORE",
    "FUNCEXPR",
    "MINMAX",
    "MINMAXEXPR",
    "NAMEDARGEXPR",
    "NEXTVALUEEXPR",
    "NULLIFEXPR",
    "NULLTEST",
    "OPEXPR",
    "RELABELTYPE",
    "ROW",
    "ROWEXPR",
    "SCALARARRAYOPEXPR",
    "SQLVALUEFUNCTION",
    "SUBSCRIPTINGREF",
    "VAR",
];

/// Fields that hold a function's id.
const FUNCTION_FIELDS: &[&str] = &[":funcid", ":opfuncid", ":hashfuncid", ":negfuncid"];

/// Fields that hold the id of a type into which a value is turned, where a user's code may run.
const TYPE_FIELDS: &[&str] = &[":resulttype"];

/// Reads one expression or a list of them.
pub(crate) fn read(tree: &str) -> RawExpression {
    let mut functions = HashSet::new();
    let mut types = HashSet::new();
    let mut strange = false;
    let mut words = tree
        .split_ascii_whitespace()
        .map(|word| word.trim_matches(['(', ')', '}']))
        .peekable();
    while let Some(word) = words.next() {
        if let Some(node) = word.strip_prefix('{') {
            strange |= !KNOWN.contains(&node);
            if node == "NEXTVALUEEXPR" {
                functions.insert(NEXTVAL);
            }
        } else if FUNCTION_FIELDS.contains(&word) {
            match words.peek().and_then(|id| id.parse().ok()) {
                // 0: no function of this kind.
                Some(0) => {}
                Some(id) => {
                    functions.insert(id);
                }
                None => strange = true,
            }
        } else if TYPE_FIELDS.contains(&word)
            && let Some(id) = words.peek().and_then(|id| id.parse().ok())
        {
            types.insert(id);
        }
    }
    let sorted = |set: HashSet<u32>| {
        let mut list: Vec<u32> = set.into_iter().collect();
        list.sort_unstable();
        list
    };
    RawExpression {
        functions: sorted(functions),
        types: sorted(types),
        strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_calls_operators_and_sequences_are_found() {
        let check = |tree: &str, functions: &[u32], strange: bool| {
            let read = read(tree);
            assert_eq!(
                (read.functions.as_slice(), read.strange),
                (functions, strange),
                "{tree}"
            );
        };
        check(
            "{CONST :consttype 23 :constvalue 4 [ 1 0 0 0 0 0 0 0 ]}",
            &[],
            false,
        );
        check(
            "({OPEXPR :opno 521 :opfuncid 147 :opresulttype 16 :args ({FUNCEXPR :funcid 16400 :args <>} {CONST :constisnull true})})",
            &[147, 16400],
            false,
        );
        check("{NEXTVALUEEXPR :seqid 16390 :typeId 20}", &[NEXTVAL], false);
        check("{SUBLINK :subLinkType 4}", &[], true);
    }
}
