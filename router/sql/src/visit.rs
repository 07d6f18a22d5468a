//! A walk over every expression of a query, wherever it stands.

use crate::facts::{
    Body, Distinct, Expr, FromItem, Function, GroupBy, Insert, InsertSource, Item, Join,
    JoinCondition, Opaque, Quantifier, Query, Select,
};

/// Calls `f` with each expression of the query and of all queries in it, an expression before its parts. `f` may put
/// another in its place; then the parts of that one are visited.
///
/// Recursive; queries are nested no deeper than the analysis allows.
pub(crate) fn each_expr_mut(query: &mut Query, f: &mut dyn FnMut(&mut Expr)) {
    for cte in &mut query.ctes {
        each_expr_mut(&mut cte.query, f);
    }
    body(&mut query.body, f);
    exprs(&mut query.order_by, f);
    exprs(&mut query.limit, f);
    exprs(&mut query.offset, f);
}

fn exprs<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, f: &mut dyn FnMut(&mut Expr)) {
    for one in exprs {
        expr(one, f);
    }
}

fn body(body: &mut Body, f: &mut dyn FnMut(&mut Expr)) {
    match body {
        Body::Select(one) => select(one, f),
        Body::Values(rows) => exprs(rows.iter_mut().flatten(), f),
        Body::SetOperation { left, right, .. } => {
            each_expr_mut(left, f);
            each_expr_mut(right, f);
        }
        Body::Insert(one) => insert(one, f),
        Body::Update(update) => {
            exprs(update.assignments.iter_mut().map(|a| &mut a.value), f);
            from_items(&mut update.from, f);
            exprs(&mut update.filter, f);
            items(&mut update.returning, f);
        }
        Body::Delete(delete) => {
            from_items(&mut delete.using, f);
            exprs(&mut delete.filter, f);
            items(&mut delete.returning, f);
        }
        Body::Opaque(one) => opaque(one, f),
    }
}

fn select(select: &mut Select, f: &mut dyn FnMut(&mut Expr)) {
    match &mut select.distinct {
        Distinct::No | Distinct::All => {}
        Distinct::On(on) => exprs(on, f),
    }
    items(&mut select.items, f);
    from_items(&mut select.from, f);
    exprs(&mut select.filter, f);
    match &mut select.group_by {
        GroupBy::None => {}
        GroupBy::Exprs(by) | GroupBy::Sets(by) => exprs(by, f),
    }
    exprs(&mut select.having, f);
    exprs(&mut select.windows, f);
}

fn items(items: &mut [Item], f: &mut dyn FnMut(&mut Expr)) {
    for item in items {
        match item {
            Item::Expr { expr: one, .. } => expr(one, f),
            Item::Star | Item::QualifiedStar(_) => {}
        }
    }
}

fn from_items(from: &mut [FromItem], f: &mut dyn FnMut(&mut Expr)) {
    for item in from {
        from_item(item, f);
    }
}

fn from_item(item: &mut FromItem, f: &mut dyn FnMut(&mut Expr)) {
    match item {
        FromItem::Relation(_) => {}
        FromItem::Derived { query, .. } => each_expr_mut(query, f),
        FromItem::Function { calls, .. } => exprs(calls, f),
        FromItem::Join(one) => join(one, f),
        FromItem::Opaque(one) => opaque(one, f),
    }
}

fn join(join: &mut Join, f: &mut dyn FnMut(&mut Expr)) {
    from_item(&mut join.left, f);
    from_item(&mut join.right, f);
    match &mut join.condition {
        JoinCondition::On(on) => expr(on, f),
        JoinCondition::None | JoinCondition::Using(_) | JoinCondition::Natural => {}
    }
}

fn insert(insert: &mut Insert, f: &mut dyn FnMut(&mut Expr)) {
    match &mut insert.source {
        InsertSource::DefaultValues => {}
        InsertSource::Values(rows) => exprs(rows.iter_mut().flatten(), f),
        InsertSource::Query(query) => each_expr_mut(query, f),
    }
    if let Some(conflict) = &mut insert.on_conflict
        && let Some((assignments, filter)) = &mut conflict.update
    {
        exprs(assignments.iter_mut().map(|a| &mut a.value), f);
        exprs(filter, f);
    }
    items(&mut insert.returning, f);
}

fn opaque(opaque: &mut Opaque, f: &mut dyn FnMut(&mut Expr)) {
    for query in &mut opaque.subqueries {
        each_expr_mut(query, f);
    }
    exprs(&mut opaque.children, f);
}

fn function(function: &mut Function, f: &mut dyn FnMut(&mut Expr)) {
    exprs(&mut function.args, f);
    exprs(&mut function.extra, f);
    exprs(function.over.iter_mut().flatten(), f);
}

fn expr(one: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    f(one);
    match one {
        Expr::Column { .. } | Expr::Literal(_) | Expr::Param(_) | Expr::Default => {}
        Expr::Cast { expr: inner, .. }
        | Expr::Not(inner)
        | Expr::Unary { expr: inner, .. }
        | Expr::IsNull { expr: inner, .. }
        | Expr::Collate { expr: inner, .. } => expr(inner, f),
        Expr::And(parts) | Expr::Or(parts) | Expr::Row(parts) | Expr::Array(parts) => {
            exprs(parts, f);
        }
        Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => {
            expr(left, f);
            expr(right, f);
        }
        Expr::InList {
            expr: inner, list, ..
        } => {
            expr(inner, f);
            exprs(list, f);
        }
        Expr::InSubquery {
            expr: inner, query, ..
        } => {
            expr(inner, f);
            each_expr_mut(query, f);
        }
        Expr::Quantified { left, right, .. } => {
            expr(left, f);
            match right {
                Quantifier::Array(array) => expr(array, f),
                Quantifier::Subquery(query) => each_expr_mut(query, f),
            }
        }
        Expr::Between {
            expr: inner,
            low,
            high,
            ..
        } => {
            expr(inner, f);
            expr(low, f);
            expr(high, f);
        }
        Expr::Exists { query, .. } | Expr::Subquery(query) => each_expr_mut(query, f),
        Expr::Function(one) => function(one, f),
        Expr::Case {
            operand,
            whens,
            otherwise,
        } => {
            exprs(operand.as_deref_mut(), f);
            for (when, then) in whens {
                expr(when, f);
                expr(then, f);
            }
            exprs(otherwise.as_deref_mut(), f);
        }
        Expr::Other { children, .. } => exprs(children, f),
        Expr::Opaque(one) => opaque(one, f),
    }
}
