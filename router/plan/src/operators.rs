//! Whether an operator's name certainly means the one of pg_catalog.
//!
//! Postgres prefers the operator whose argument types match exactly, wherever in search_path it is (parse_oper.c), so
//! a user's `=` for one of the key's types would win over pg_catalog's. Only its existence counts here.

use crate::resolve::Resolver;
use crate::snapshot::UserOperator;
use crate::value::{Family, family};
use shardgate_shard_map::KeyType;

/// The types for which an operator may be taken instead of the family's own: the members, and numeric beside the
/// integers (`int8 = 5.0`).
pub(crate) fn family_types(family: Family) -> &'static [u32] {
    match family {
        Family::Int => &[20, 21, 23, 1700],
        Family::Text => &[25, 1043],
        Family::Uuid => &[2950],
        Family::Bytea => &[17],
        Family::Date => &[1082],
        Family::Timestamp => &[1114],
        Family::Timestamptz => &[1184],
    }
}

/// Further types of pg_catalog to which a value of the family is converted without being asked (pg_cast, castcontext i).
fn wider_types(family: Family) -> &'static [u32] {
    match family {
        // float4, float8, oid
        Family::Int => &[700, 701, 26],
        // bpchar, name, regclass
        Family::Text => &[1042, 19, 2205],
        Family::Date => &[1114, 1184],
        Family::Timestamp => &[1184],
        Family::Uuid | Family::Bytea | Family::Timestamptz => &[],
    }
}

/// any, anyarray, anyelement, anynonarray, anyenum, anyrange, anycompatible and its kin, unknown, record.
const POLYMORPHIC: &[u32] = &[
    2276, 2277, 2283, 2776, 3500, 3831, 5077, 5078, 5079, 5080, 705, 2249,
];

fn may_take(operator: &UserOperator, types: &[u32]) -> bool {
    [operator.left, operator.right]
        .iter()
        .any(|ty| types.contains(ty) || POLYMORPHIC.contains(ty))
}

impl Resolver<'_> {
    /// `=` between values of the type's family is pg_catalog's.
    pub(crate) fn equality_is_builtin(&self, ty: KeyType) -> bool {
        self.operator_is_builtin("=", None, Some(ty))
    }

    /// The operator means pg_catalog's. `ty`: the type of one operand, if it is known.
    pub(crate) fn operator_is_builtin(
        &self,
        op: &str,
        schema: Option<&str>,
        ty: Option<KeyType>,
    ) -> bool {
        match schema {
            Some("pg_catalog") => return true,
            Some(_) => return false,
            None => {}
        }
        let mut named = self
            .snapshot
            .operators
            .iter()
            .filter(|operator| operator.name == op);
        match ty {
            Some(ty) => !named.any(|operator| may_take(operator, family_types(family(ty)))),
            None => named.next().is_none(),
        }
    }

    /// A user's operator of the name takes a type to which a value of `ty` is converted.
    fn may_convert(&self, op: &str, ty: KeyType) -> bool {
        let family = family(ty);
        let casts = &self.snapshot.casts;
        let reached = |operand: u32| {
            let from = |from: &u32| casts.contains(&(*from, operand));
            wider_types(family).contains(&operand) || family_types(family).iter().any(from)
        };
        let mut named = self.snapshot.operators.iter().filter(|o| o.name == op);
        named.any(|operator| reached(operator.left) || reached(operator.right))
    }

    /// Notes an operator, and that it may run a user's function.
    pub(crate) fn note_operator(&mut self, op: &str, schema: Option<&str>, ty: Option<KeyType>) {
        self.seen.operator(op, schema);
        // The other operand's type is not known: it may fit a user's operator for which this one is converted.
        let converted =
            schema != Some("pg_catalog") && ty.is_some_and(|ty| self.may_convert(op, ty));
        if converted || !self.operator_is_builtin(op, schema, ty) {
            self.seen.user_operator.get_or_insert_with(|| op.to_owned());
        }
    }
}

/// Operators that compare two values of one type, give a boolean, and never accept NULL.
pub(crate) fn is_comparison(op: &str) -> bool {
    matches!(op, "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=")
}
