//! What each function outside of pg_catalog may leave behind, concluded from bodies and declarations; and which
//! expressions run code that planning does not see.
//!
//! Cautious by construction: a name that is not known to be harmless makes its caller opaque.

use crate::fingerprint::FIRST_USER_OID;
use crate::raw::{
    RawBody, RawExpression, RawFunction, RawOperator, RawSnapshot, RawSystemFunction,
};
use shardgate_plan::snapshot::FunctionClass;
use std::collections::{HashMap, HashSet};

/// Functions of pg_catalog that are not immutable and still leave nothing behind and run no other code. They read the
/// clock, the session's own settings and name, or format values.
const TAME: &[&str] = &[
    "age",
    "array_agg",
    "array_to_json",
    "array_to_string",
    "avg",
    "clock_timestamp",
    "concat",
    "concat_ws",
    "count",
    "current_database",
    "current_schema",
    "current_setting",
    "current_user",
    "date",
    "date_bin",
    "date_part",
    "date_trunc",
    "extract",
    "format",
    "gen_random_uuid",
    "generate_series",
    "isfinite",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "make_timestamptz",
    "max",
    "min",
    "now",
    "pg_typeof",
    "random",
    "row_to_json",
    "session_user",
    "statement_timestamp",
    "string_agg",
    "sum",
    "text",
    "time",
    "timeofday",
    "timestamp",
    "timestamptz",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "plainto_tsquery",
    "transaction_timestamp",
];

/// Operators of date and time types whose result depends on the session's time zone.
const TAME_PREFIXES: &[&str] = &[
    "timestamptz_",
    "timestamp_",
    "date_",
    "interval_pl_",
    "time_",
    "timetz_",
];

/// Leaves nothing behind, runs no other code.
pub(crate) fn is_tame(function: &RawSystemFunction) -> bool {
    function.volatility == 'i'
        || TAME.contains(&function.name.as_str())
        || (function.volatility == 's'
            && TAME_PREFIXES
                .iter()
                .any(|prefix| function.name.starts_with(prefix)))
}

/// The classes of all functions of one snapshot.
pub(crate) struct Classes {
    by_id: HashMap<u32, FunctionClass>,
    tame: HashSet<u32>,
    names: HashMap<u32, String>,
    of_extensions: HashSet<u32>,
    /// Types into which no value can be turned without running an unknown function.
    unsafe_types: HashSet<u32>,
}

impl Classes {
    pub(crate) fn conclude(raw: &RawSnapshot) -> Classes {
        let tame: HashSet<u32> = raw
            .system_functions
            .iter()
            .filter(|f| is_tame(f))
            .map(|f| f.oid)
            .collect();
        let names = raw
            .functions
            .iter()
            .map(|f| (f.oid, format!("{}.{}", f.schema, f.name)))
            .chain(raw.system_functions.iter().map(|f| (f.oid, f.name.clone())))
            .collect();
        let by_id = fixpoint(raw);
        let mut classes = Classes {
            by_id,
            tame,
            names,
            of_extensions: raw
                .functions
                .iter()
                .filter(|f| f.extension)
                .map(|f| f.oid)
                .collect(),
            unsafe_types: HashSet::new(),
        };
        classes.unsafe_types = classes.types_with_code(raw);
        classes
    }

    /// The worst class of all functions that share a name.
    pub(crate) fn by_name(&self, functions: &[RawFunction]) -> HashMap<String, FunctionClass> {
        let mut worst: HashMap<String, FunctionClass> = HashMap::new();
        for function in functions {
            let class = self
                .by_id
                .get(&function.oid)
                .copied()
                .unwrap_or(FunctionClass::Opaque);
            let entry = worst.entry(function.name.clone()).or_insert(class);
            *entry = (*entry).max(class);
        }
        worst
    }

    /// Why an expression runs code that planning does not see; None if it does not.
    pub(crate) fn code_in(&self, expression: &RawExpression) -> Option<String> {
        if expression.strange {
            return Some("has a part that is not understood".to_owned());
        }
        if expression
            .types
            .iter()
            .any(|ty| self.unsafe_types.contains(ty))
        {
            return Some("uses a domain that calls a function".to_owned());
        }
        expression.functions.iter().find_map(|id| {
            let known = matches!(
                self.by_id.get(id),
                Some(FunctionClass::Pure | FunctionClass::Clean)
            );
            (!known && !self.tame.contains(id)).then(|| format!("calls {}", self.name(*id)))
        })
    }

    /// Every function is of pg_catalog and harmless: any shard computes the same.
    pub(crate) fn is_plain(&self, expression: &RawExpression) -> bool {
        !expression.strange
            && expression.functions.iter().all(|id| self.tame.contains(id))
            && !expression
                .types
                .iter()
                .any(|ty| self.unsafe_types.contains(ty))
    }

    /// The function of a type, cast, operator or event trigger may leave something behind or run other code. Those of
    /// extensions do not. 0 is none.
    pub(crate) fn is_opaque(&self, id: u32) -> bool {
        let clean = matches!(
            self.by_id.get(&id),
            Some(FunctionClass::Pure | FunctionClass::Clean)
        );
        id >= FIRST_USER_OID && !clean && !self.of_extensions.contains(&id)
    }

    /// Names of operators whose function is opaque.
    pub(crate) fn opaque_operators(&self, operators: &[RawOperator]) -> HashSet<String> {
        let opaque = operators
            .iter()
            .filter(|operator| self.is_opaque(operator.function));
        opaque.map(|operator| operator.name.clone()).collect()
    }

    pub(crate) fn is_unsafe_type(&self, id: u32) -> bool {
        self.unsafe_types.contains(&id)
    }

    fn name(&self, id: u32) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("function {id}"))
    }

    /// Domains whose checks run code, and arrays and domains over them.
    fn types_with_code(&self, raw: &RawSnapshot) -> HashSet<u32> {
        let mut found: HashSet<u32> = raw
            .types
            .iter()
            .filter(|ty| ty.checks.iter().any(|check| self.code_in(check).is_some()))
            .map(|ty| ty.oid)
            .collect();
        loop {
            let before = found.len();
            let over: Vec<u32> = raw
                .types
                .iter()
                .filter(|ty| found.contains(&ty.base))
                .map(|ty| ty.oid)
                .collect();
            found.extend(over);
            if found.len() == before {
                return found;
            }
        }
    }
}

/// Begins with every readable body clean, and takes away what calls something that is not, until nothing changes.
fn fixpoint(raw: &RawSnapshot) -> HashMap<u32, FunctionClass> {
    let mut classes: HashMap<u32, FunctionClass> = raw
        .functions
        .iter()
        .map(|f| (f.oid, first_class(f)))
        .collect();
    let unsafe_names = unsafe_names(raw);
    let mut system: HashMap<&str, bool> = HashMap::new();
    for function in &raw.system_functions {
        *system.entry(function.name.as_str()).or_insert(true) &= is_tame(function);
    }
    let mut by_name: HashMap<&str, Vec<u32>> = HashMap::new();
    for function in &raw.functions {
        by_name
            .entry(function.name.as_str())
            .or_default()
            .push(function.oid);
    }
    // Operators are not among the calls: one with an unknown function might be in any body.
    let foreign_operator = raw.operators.iter().any(|operator| {
        !operator.extension
            && classes.get(&operator.function).copied() == Some(FunctionClass::Opaque)
    });
    loop {
        let mut changed = false;
        for function in &raw.functions {
            let RawBody::Read { calls, names } = &function.body else {
                continue;
            };
            if function.declared.is_some()
                || classes.get(&function.oid) == Some(&FunctionClass::Opaque)
            {
                continue;
            }
            let clean_user = |name: &str| {
                by_name.get(name).is_none_or(|ids| {
                    ids.iter()
                        .all(|id| classes.get(id) < Some(&FunctionClass::Opaque))
                })
            };
            let harmless = |name: &String| {
                let name = name.as_str();
                let tame_system = system.get(name).copied();
                let known = by_name.contains_key(name) || tame_system.is_some();
                known && tame_system.unwrap_or(true) && clean_user(name)
            };
            let clean = !foreign_operator
                && calls.iter().all(harmless)
                && names
                    .iter()
                    .all(|name| clean_user(name) && !unsafe_names.contains(name.as_str()));
            if !clean {
                classes.insert(function.oid, FunctionClass::Opaque);
                changed = true;
            }
        }
        if !changed {
            return classes;
        }
    }
}

fn first_class(function: &RawFunction) -> FunctionClass {
    match (function.declared.as_deref(), &function.body) {
        (Some("pure"), _) => FunctionClass::Pure,
        (Some("clean"), _) => FunctionClass::Clean,
        (Some(_), _) | (None, RawBody::Opaque(_)) => FunctionClass::Opaque,
        (None, RawBody::Read { .. }) => FunctionClass::Clean,
    }
}

/// Relations and types that run code when they are read: views, foreign tables, row security, checked domains.
fn unsafe_names(raw: &RawSnapshot) -> HashSet<&str> {
    let relations = raw
        .relations
        .iter()
        .filter(|relation| {
            relation.row_security
                || !relation.rules.is_empty()
                || matches!(relation.kind, 'v' | 'f')
        })
        .map(|relation| relation.name.as_str());
    let types = raw
        .types
        .iter()
        .filter(|ty| !ty.checks.is_empty())
        .map(|ty| ty.name.as_str());
    relations.chain(types).collect()
}
