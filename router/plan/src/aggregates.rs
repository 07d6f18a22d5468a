//! Which queries aggregate: such a query without GROUP BY answers a row even if no input row passes its filter.
//!
//! An aggregate belongs to the innermost query that any column of its arguments is of, or if there are none, to the
//! query that it stands in (parse_agg.c, `check_agglevels_and_constraints`). Where that is not certain, all queries
//! around it are taken to aggregate, which can only make fewer relations bound.

use crate::functions::{may_aggregate, named_like_aggregate};
use crate::resolve::Resolver;
use crate::scope::{Lookup, Scope};
use shardgate_sql::facts::{Expr, Function};

type Named<'e> = (Option<&'e str>, &'e str);

impl<'a> Resolver<'a> {
    /// Marks the level that a call belongs to, if it may be an aggregate's.
    pub(crate) fn note_aggregate(&self, function: &Function, scope: &Scope<'a>) {
        if function.over.is_some() || !may_aggregate(&function.name, self.snapshot) {
            return;
        }
        let mut columns = Vec::new();
        let understood =
            (function.args.iter().chain(&function.extra)).all(|expr| collect(expr, &mut columns));
        if !understood {
            return mark_all(scope);
        }
        if columns.is_empty() {
            return scope.aggregates.set(true);
        }
        for level in scope.levels() {
            let found: Vec<bool> = columns
                .iter()
                .filter_map(|(table, column)| level.has_column(*table, column))
                .collect();
            if !found.is_empty() {
                level.aggregates.set(true);
            }
            if found.contains(&true) {
                return;
            }
        }
        mark_all(scope);
    }

    /// `row.name` is a call of the function if the row has no such column.
    pub(crate) fn note_aggregate_of_row(&self, expr: &Expr, name: &str, scope: &Scope<'a>) {
        let column = matches!(self.column(expr, scope), Some(Lookup::Node(_)));
        if !column && named_like_aggregate(name, self.snapshot) {
            mark_all(scope);
        }
    }

    /// `(row).name` may be a call as well, and `(row).name[1]`; the name is not told.
    pub(crate) fn note_aggregate_of_field(&self, what: &str, children: &[Expr], scope: &Scope<'a>) {
        let column = |expr: &Expr| matches!(self.column(expr, scope), Some(Lookup::Node(_)));
        if what == "field" || (what == "subscript" && !children.first().is_some_and(column)) {
            mark_all(scope);
        }
    }
}

/// All levels may aggregate, for all that is known.
pub(crate) fn mark_all(scope: &Scope<'_>) {
    scope.levels().for_each(|level| level.aggregates.set(true));
}

/// The columns of an expression. False: which these are is not certain, for subqueries, or for syntax that
/// is not modelled.
fn collect<'e>(expr: &'e Expr, into: &mut Vec<Named<'e>>) -> bool {
    let mut all = |list: &'e [Expr]| list.iter().all(|expr| collect(expr, into));
    match expr {
        Expr::Column {
            schema,
            table,
            column,
        } => {
            into.push((table.as_deref(), column));
            // Tables of two schemas may share a name.
            schema.is_none()
        }
        Expr::Literal(_) | Expr::Param(_) | Expr::Default => true,
        Expr::Cast { expr, .. }
        | Expr::Not(expr)
        | Expr::Unary { expr, .. }
        | Expr::IsNull { expr, .. }
        | Expr::Collate { expr, .. } => collect(expr, into),
        Expr::And(list) | Expr::Or(list) | Expr::Row(list) | Expr::Array(list) => all(list),
        Expr::Other { children, .. } => all(children),
        Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => {
            collect(left, into) && collect(right, into)
        }
        Expr::InList { expr, list, .. } => all(list) && collect(expr, into),
        Expr::Between {
            expr, low, high, ..
        } => collect(expr, into) && collect(low, into) && collect(high, into),
        Expr::Function(function) => {
            let over = function.over.iter().flatten();
            let mut parts = function.args.iter().chain(&function.extra).chain(over);
            parts.all(|expr| collect(expr, into))
        }
        Expr::Case {
            operand,
            whens,
            otherwise,
        } => {
            let whens = whens.iter().flat_map(|(when, then)| [when, then]);
            let mut parts = (operand.iter().chain(otherwise))
                .map(AsRef::as_ref)
                .chain(whens);
            parts.all(|expr| collect(expr, into))
        }
        Expr::InSubquery { .. }
        | Expr::Quantified { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::Opaque(_) => false,
    }
}
