//! Queries around their bodies: WITH lists, set operations, ORDER BY, LIMIT, VALUES.

use super::types::column_names;
use super::{Lower, Lowered, ident, unsupported};
use crate::facts::{Body, Cte, Expr, Literal, Query, SetOperation};
use sqlparser::ast::{
    self, Expr as Sp, Fetch, LimitClause, OrderByKind, SetExpr, SetOperator, SetQuantifier,
    Statement, TableAlias,
};

/// A query of nothing but its body.
fn bare(body: Body) -> Query {
    Query {
        recursive: false,
        ctes: Vec::new(),
        body,
        order_by: Vec::new(),
        limit: None,
        offset: None,
        with_ties: false,
        locking: false,
    }
}

impl Lower<'_> {
    pub(super) fn boxed_query(&mut self, query: Box<ast::Query>) -> Lowered<Box<Query>> {
        self.query(query).map(Box::new)
    }

    pub(in crate::query) fn query(&mut self, query: Box<ast::Query>) -> Lowered<Query> {
        self.enter()?;
        let result = self.query_here(query)?;
        self.leave();
        Ok(result)
    }

    fn query_here(&mut self, query: Box<ast::Query>) -> Lowered<Query> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = *query;
        if for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return unsupported("a query clause of another dialect");
        }
        let (recursive, ctes) = self.ctes(with)?;
        let mut result = self.body(body)?;
        if !ctes.is_empty() {
            if !result.ctes.is_empty() {
                return unsupported("a second WITH in parentheses");
            }
            (result.recursive, result.ctes) = (recursive, ctes);
        }
        let order_by = self.order_by(order_by)?;
        if !order_by.is_empty() {
            if !result.order_by.is_empty() {
                return unsupported("a second ORDER BY in parentheses");
            }
            result.order_by = order_by;
        }
        let (limit, offset) = self.limit(limit_clause)?;
        let (fetch, with_ties) = self.fetch(fetch)?;
        let twice = (limit.is_some() && fetch.is_some())
            || (result.limit.is_some() && (limit.is_some() || fetch.is_some()))
            || (result.offset.is_some() && offset.is_some());
        if twice {
            return unsupported("a second LIMIT or OFFSET");
        }
        result.limit = result.limit.or(limit).or(fetch);
        result.offset = result.offset.or(offset);
        result.with_ties |= with_ties;
        result.locking |= !locks.is_empty();
        Ok(result)
    }

    fn ctes(&mut self, with: Option<ast::With>) -> Lowered<(bool, Vec<Cte>)> {
        let Some(with) = with else {
            return Ok((false, Vec::new()));
        };
        let mut ctes = Vec::with_capacity(with.cte_tables.len());
        for cte in with.cte_tables {
            ctes.push(self.cte(cte)?);
        }
        Ok((with.recursive, ctes))
    }

    fn cte(&mut self, cte: ast::Cte) -> Lowered<Cte> {
        let ast::Cte {
            alias,
            query,
            from,
            materialized: _,
            closing_paren_token: _,
        } = cte;
        let TableAlias {
            explicit: _,
            name,
            columns,
            at,
        } = alias;
        if from.is_some() || at.is_some() {
            return unsupported("a WITH query of another dialect");
        }
        Ok(Cte {
            name: ident(name)?,
            columns: column_names(columns)?,
            query: self.query(query)?,
        })
    }

    fn order_by(&mut self, order: Option<ast::OrderBy>) -> Lowered<Vec<Expr>> {
        match order {
            None => Ok(Vec::new()),
            Some(ast::OrderBy {
                kind: OrderByKind::Expressions(items),
                interpolate: None,
            }) => self.order(items),
            Some(_) => unsupported("ORDER BY ALL"),
        }
    }

    fn limit(&mut self, clause: Option<LimitClause>) -> Lowered<(Option<Expr>, Option<Expr>)> {
        match clause {
            None => Ok((None, None)),
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) if limit_by.is_empty() => Ok((
                self.limit_value(limit)?,
                self.optional_expr(offset.map(|o| o.value))?,
            )),
            Some(LimitClause::LimitOffset { .. }) => unsupported("LIMIT BY"),
            Some(LimitClause::OffsetCommaLimit { .. }) => unsupported("LIMIT with a comma"),
        }
    }

    /// LIMIT ALL is no limit.
    fn limit_value(&mut self, limit: Option<Sp>) -> Lowered<Option<Expr>> {
        match limit {
            Some(Sp::Identifier(word)) if word.quote_style.is_none() && word.value == "all" => {
                Ok(None)
            }
            limit => self.optional_expr(limit),
        }
    }

    fn fetch(&mut self, fetch: Option<Fetch>) -> Lowered<(Option<Expr>, bool)> {
        match fetch {
            None => Ok((None, false)),
            Some(Fetch { percent: true, .. }) => unsupported("FETCH PERCENT"),
            Some(Fetch {
                with_ties,
                percent: false,
                quantity,
            }) => {
                let one = || Expr::Literal(Literal::Number("1".to_owned()));
                Ok((
                    Some(self.optional_expr(quantity)?.unwrap_or_else(one)),
                    with_ties,
                ))
            }
        }
    }

    /// A body becomes a query, since one in parentheses brings its own clauses.
    fn body(&mut self, body: Box<SetExpr>) -> Lowered<Query> {
        match &*body {
            SetExpr::SetOperation { .. } => {
                self.enter()?;
                let result = self.set_operation(body)?;
                self.leave();
                Ok(result)
            }
            SetExpr::Query(_) => {
                let SetExpr::Query(query) = *body else {
                    return unsupported("a query");
                };
                self.query(query)
            }
            SetExpr::Select(_) => self.select_body(body).map(bare),
            SetExpr::Values(_) => self.values_body(body).map(bare),
            SetExpr::Insert(_) => self.insert_body(body).map(bare),
            SetExpr::Update(_) => self.update_body(body).map(bare),
            SetExpr::Delete(_) => self.delete_body(body).map(bare),
            SetExpr::Merge(_) | SetExpr::Table(_) => unsupported("a part of the query"),
        }
    }

    fn set_operation(&mut self, body: Box<SetExpr>) -> Lowered<Query> {
        let SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            right,
        } = *body
        else {
            return unsupported("a set operation");
        };
        let kind = match op {
            SetOperator::Union => SetOperation::Union,
            SetOperator::Intersect => SetOperation::Intersect,
            SetOperator::Except => SetOperation::Except,
            SetOperator::Minus => return unsupported("MINUS"),
        };
        let all = match set_quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                return unsupported("BY NAME");
            }
        };
        let left = Box::new(self.body(left)?);
        let right = Box::new(self.body(right)?);
        Ok(bare(Body::SetOperation {
            kind,
            all,
            left,
            right,
        }))
    }

    fn select_body(&mut self, body: Box<SetExpr>) -> Lowered<Body> {
        let SetExpr::Select(select) = *body else {
            return unsupported("SELECT");
        };
        Ok(Body::Select(Box::new(self.select(select)?)))
    }

    fn values_body(&mut self, body: Box<SetExpr>) -> Lowered<Body> {
        let SetExpr::Values(values) = *body else {
            return unsupported("VALUES");
        };
        if values.explicit_row || values.value_keyword {
            return unsupported("VALUES ROW");
        }
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in values.rows {
            rows.push(self.exprs(row.content)?);
        }
        Ok(Body::Values(rows))
    }

    fn insert_body(&mut self, body: Box<SetExpr>) -> Lowered<Body> {
        let SetExpr::Insert(Statement::Insert(insert)) = *body else {
            return unsupported("INSERT");
        };
        Ok(Body::Insert(Box::new(self.insert(insert)?)))
    }

    fn update_body(&mut self, body: Box<SetExpr>) -> Lowered<Body> {
        let SetExpr::Update(Statement::Update(update)) = *body else {
            return unsupported("UPDATE");
        };
        Ok(Body::Update(Box::new(self.update(update)?)))
    }

    fn delete_body(&mut self, body: Box<SetExpr>) -> Lowered<Body> {
        let SetExpr::Delete(Statement::Delete(delete)) = *body else {
            return unsupported("DELETE");
        };
        Ok(Body::Delete(Box::new(self.delete(delete)?)))
    }
}
