//! All relations that a query names, whatever the scope: names of WITH queries are among them.

use crate::facts::{
    Body, Distinct, Expr, FromItem, GroupBy, InsertSource, Item, JoinCondition, Name, Opaque,
    Quantifier, Query, Select,
};

/// The names without duplicates, in the order found. The nesting of a query is limited, so the recursion is too.
pub(super) fn of(query: &Query) -> Vec<Name> {
    let mut found = Found(Vec::new());
    found.query(query);
    super::mentioned::distinct(found.0)
}

struct Found(Vec<Name>);

impl Found {
    fn query(&mut self, query: &Query) {
        for cte in &query.ctes {
            self.query(&cte.query);
        }
        match &query.body {
            Body::Select(select) => self.select(select),
            Body::Values(rows) => rows.iter().for_each(|row| self.exprs(row)),
            Body::SetOperation { left, right, .. } => {
                self.query(left);
                self.query(right);
            }
            Body::Insert(insert) => {
                self.0.push(insert.target.name.clone());
                match &insert.source {
                    InsertSource::DefaultValues => {}
                    InsertSource::Values(rows) => rows.iter().for_each(|row| self.exprs(row)),
                    InsertSource::Query(query) => self.query(query),
                }
                if let Some((assignments, filter)) =
                    insert.on_conflict.as_ref().and_then(|c| c.update.as_ref())
                {
                    assignments.iter().for_each(|a| self.expr(&a.value));
                    self.exprs(filter);
                }
                self.items(&insert.returning);
            }
            Body::Update(update) => {
                self.0.push(update.target.name.clone());
                update.assignments.iter().for_each(|a| self.expr(&a.value));
                update.from.iter().for_each(|item| self.source(item));
                self.exprs(&update.filter);
                self.items(&update.returning);
            }
            Body::Delete(delete) => {
                self.0.push(delete.target.name.clone());
                delete.using.iter().for_each(|item| self.source(item));
                self.exprs(&delete.filter);
                self.items(&delete.returning);
            }
            Body::Opaque(opaque) => self.opaque(opaque),
        }
        self.exprs(&query.order_by);
        self.exprs(&query.limit);
        self.exprs(&query.offset);
    }

    fn select(&mut self, select: &Select) {
        if let Distinct::On(exprs) = &select.distinct {
            self.exprs(exprs);
        }
        self.items(&select.items);
        self.0.extend(select.into.clone());
        select.from.iter().for_each(|item| self.source(item));
        self.exprs(&select.filter);
        match &select.group_by {
            GroupBy::None => {}
            GroupBy::Exprs(exprs) | GroupBy::Sets(exprs) => self.exprs(exprs),
        }
        self.exprs(&select.having);
        self.exprs(&select.windows);
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Expr { expr, .. } => self.expr(expr),
                Item::Star | Item::QualifiedStar(_) => {}
            }
        }
    }

    fn source(&mut self, item: &FromItem) {
        match item {
            FromItem::Relation(relation) => self.0.push(relation.name.clone()),
            FromItem::Derived { query, .. } => self.query(query),
            FromItem::Function { calls, .. } => self.exprs(calls),
            FromItem::Join(join) => {
                self.source(&join.left);
                self.source(&join.right);
                if let JoinCondition::On(expr) = &join.condition {
                    self.expr(expr);
                }
            }
            FromItem::Opaque(opaque) => self.opaque(opaque),
        }
    }

    fn opaque(&mut self, opaque: &Opaque) {
        self.0.extend(opaque.relations.iter().cloned());
        opaque.subqueries.iter().for_each(|query| self.query(query));
        self.exprs(&opaque.children);
    }

    fn exprs<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>) {
        exprs.into_iter().for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Column { .. } | Expr::Literal(_) | Expr::Param(_) | Expr::Default => {}
            Expr::Cast { expr, .. }
            | Expr::Not(expr)
            | Expr::Unary { expr, .. }
            | Expr::IsNull { expr, .. }
            | Expr::Collate { expr, .. } => self.expr(expr),
            Expr::And(list) | Expr::Or(list) | Expr::Row(list) | Expr::Array(list) => {
                self.exprs(list)
            }
            Expr::Other { children, .. } => self.exprs(children),
            Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            Expr::InList { expr, list, .. } => {
                self.expr(expr);
                self.exprs(list);
            }
            Expr::InSubquery { expr, query, .. } => {
                self.expr(expr);
                self.query(query);
            }
            Expr::Quantified { left, right, .. } => {
                self.expr(left);
                match right {
                    Quantifier::Array(expr) => self.expr(expr),
                    Quantifier::Subquery(query) => self.query(query),
                }
            }
            Expr::Between {
                expr, low, high, ..
            } => {
                self.expr(expr);
                self.expr(low);
                self.expr(high);
            }
            Expr::Exists { query, .. } | Expr::Subquery(query) => self.query(query),
            Expr::Function(call) => {
                self.exprs(&call.args);
                self.exprs(&call.extra);
                self.exprs(call.over.iter().flatten());
            }
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => {
                self.exprs(operand.as_deref());
                for (when, then) in whens {
                    self.expr(when);
                    self.expr(then);
                }
                self.exprs(otherwise.as_deref());
            }
            Expr::Opaque(opaque) => self.opaque(opaque),
        }
    }
}
