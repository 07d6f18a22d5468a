//! Scalar expressions.

use super::value::{column, literal};
use super::{Lower, Lowered, name, unsupported};
use crate::facts::{Expr, Name, TypeName};
use sqlparser::ast::{CaseWhen, CastKind, Expr as Sp};

/// Syntax over its children.
pub(super) fn other(what: &'static str, children: Vec<Expr>) -> Expr {
    Expr::Other { what, children }
}

impl Lower<'_> {
    pub(super) fn exprs(&mut self, exprs: Vec<Sp>) -> Lowered<Vec<Expr>> {
        // A loop needs far less of the stack than a chain of adapters.
        let mut result = Vec::with_capacity(exprs.len());
        for expr in exprs {
            result.push(self.expr(expr)?);
        }
        Ok(result)
    }

    pub(super) fn optional_expr(&mut self, expr: Option<Sp>) -> Lowered<Option<Expr>> {
        expr.map(|e| self.expr(e)).transpose()
    }

    pub(super) fn optional_boxed(&mut self, expr: Option<Box<Sp>>) -> Lowered<Option<Expr>> {
        expr.map(|e| self.unboxed(e)).transpose()
    }

    pub(super) fn boxed(&mut self, expr: Box<Sp>) -> Lowered<Box<Expr>> {
        self.unboxed(expr).map(Box::new)
    }

    pub(super) fn expr(&mut self, expr: Sp) -> Lowered<Expr> {
        self.unboxed(Box::new(expr))
    }

    /// One level of an expression. The parser's values are large, so they are handed on in their boxes: what this
    /// recursion needs of the stack for each level stays small.
    pub(super) fn unboxed(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let expr = unnest(expr);
        self.enter()?;
        let result = match &*expr {
            Sp::Identifier(_) | Sp::CompoundIdentifier(_) | Sp::Value(_) | Sp::TypedString(_) => {
                self.leaf(expr)
            }
            Sp::BinaryOp { .. } => self.binary(expr),
            Sp::UnaryOp { .. } => self.unary(expr),
            Sp::IsNull(_)
            | Sp::IsNotNull(_)
            | Sp::IsFalse(_)
            | Sp::IsNotFalse(_)
            | Sp::IsTrue(_)
            | Sp::IsNotTrue(_)
            | Sp::IsUnknown(_)
            | Sp::IsNotUnknown(_)
            | Sp::IsNormalized { .. } => self.test(expr),
            Sp::IsDistinctFrom(..) | Sp::IsNotDistinctFrom(..) => self.distinct(expr),
            Sp::InList { .. } | Sp::InSubquery { .. } => self.membership(expr),
            Sp::Between { .. } => self.between(expr),
            Sp::AnyOp { .. } | Sp::AllOp { .. } => self.quantified(expr),
            Sp::Cast { .. } | Sp::Interval(_) => self.cast(expr),
            Sp::Function(_) => self.call(expr),
            Sp::Case { .. } => self.case(expr),
            Sp::Exists { .. } | Sp::Subquery(_) => self.subquery(expr),
            Sp::Tuple(_)
            | Sp::Array(_)
            | Sp::GroupingSets(_)
            | Sp::Cube(_)
            | Sp::Rollup(_)
            | Sp::QualifiedWildcard(..) => self.list(expr),
            Sp::Collate { .. } => self.collate(expr),
            Sp::CompoundFieldAccess { .. } => self.access(expr),
            Sp::Like { .. } | Sp::ILike { .. } | Sp::SimilarTo { .. } => self.pattern(expr),
            Sp::AtTimeZone { .. }
            | Sp::Extract { .. }
            | Sp::Position { .. }
            | Sp::Substring { .. }
            | Sp::Trim { .. }
            | Sp::Overlay { .. }
            | Sp::Named { .. } => self.syntax(expr),
            // Grammar of other dialects, and of this one what has no place here.
            Sp::Nested(_)
            | Sp::JsonAccess { .. }
            | Sp::IsJson { .. }
            | Sp::InUnnest { .. }
            | Sp::RLike { .. }
            | Sp::Convert { .. }
            | Sp::Ceil { .. }
            | Sp::Floor { .. }
            | Sp::Prefixed { .. }
            | Sp::Struct { .. }
            | Sp::Dictionary(_)
            | Sp::Map(_)
            | Sp::MatchAgainst { .. }
            | Sp::Wildcard(_)
            | Sp::OuterJoin(_)
            | Sp::Prior(_)
            | Sp::Lambda(_)
            | Sp::MemberOf(_) => unsupported("an expression"),
        };
        self.leave();
        result
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    fn leaf(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::Identifier(column) => self.identifier(column),
            Sp::CompoundIdentifier(parts) => column(parts),
            Sp::Value(value) => literal(value.value),
            Sp::TypedString(typed) => {
                let expr = Box::new(literal(typed.value.value)?);
                Ok(Expr::Cast {
                    expr,
                    ty: self.data_type(typed.data_type)?,
                })
            }
            _ => unsupported("an expression"),
        }
    }

    /// `x IS NULL`, `x IS TRUE` and their kin.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    fn test(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let (what, inner) = match *expr {
            Sp::IsNull(e) => {
                return Ok(Expr::IsNull {
                    expr: self.boxed(e)?,
                    negated: false,
                });
            }
            Sp::IsNotNull(e) => {
                return Ok(Expr::IsNull {
                    expr: self.boxed(e)?,
                    negated: true,
                });
            }
            Sp::IsFalse(e) => ("is false", e),
            Sp::IsNotFalse(e) => ("is not false", e),
            Sp::IsTrue(e) => ("is true", e),
            Sp::IsNotTrue(e) => ("is not true", e),
            Sp::IsUnknown(e) => ("is unknown", e),
            Sp::IsNotUnknown(e) => ("is not unknown", e),
            Sp::IsNormalized {
                expr,
                form: _,
                negated: _,
            } => ("is normalized", expr),
            _ => return unsupported("a test"),
        };
        Ok(other(what, vec![self.unboxed(inner)?]))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    fn cast(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => Ok(Expr::Cast {
                expr: self.boxed(expr)?,
                ty: self.data_type(data_type)?,
            }),
            Sp::Interval(interval) => {
                let expr = self.boxed(interval.value)?;
                let name = Name {
                    schema: Some("pg_catalog".to_owned()),
                    name: "interval".to_owned(),
                };
                Ok(Expr::Cast {
                    expr,
                    ty: TypeName {
                        name,
                        modifiers: Vec::new(),
                        array: false,
                    },
                })
            }
            _ => unsupported("a cast of another dialect"),
        }
    }

    fn call(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::Function(call) = *expr else {
            return unsupported("a call");
        };
        self.function(call)
    }

    fn case(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::Case {
            operand,
            conditions,
            else_result,
            case_token: _,
            end_token: _,
        } = *expr
        else {
            return unsupported("CASE");
        };
        let operand = operand.map(|e| self.boxed(e)).transpose()?;
        let when = |w: CaseWhen| Ok((self.expr(w.condition)?, self.expr(w.result)?));
        let whens = conditions.into_iter().map(when).collect::<Lowered<_>>()?;
        let otherwise = else_result.map(|e| self.boxed(e)).transpose()?;
        Ok(Expr::Case {
            operand,
            whens,
            otherwise,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    fn subquery(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::Exists { subquery, negated } => Ok(Expr::Exists {
                query: self.boxed_query(subquery)?,
                negated,
            }),
            Sp::Subquery(query) => Ok(Expr::Subquery(self.boxed_query(query)?)),
            _ => unsupported("a subquery"),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    fn list(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::Tuple(items) => Ok(Expr::Row(self.exprs(items)?)),
            Sp::Array(array) => Ok(Expr::Array(self.exprs(array.elem)?)),
            Sp::GroupingSets(sets) | Sp::Cube(sets) | Sp::Rollup(sets) => {
                let mut children = Vec::new();
                for set in sets {
                    children.extend(self.exprs(set)?);
                }
                Ok(other("grouping sets", children))
            }
            Sp::QualifiedWildcard(row, _) => {
                name(row)?;
                Ok(other("whole row", Vec::new()))
            }
            _ => unsupported("a list"),
        }
    }

    fn collate(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::Collate { expr, collation } = *expr else {
            return unsupported("COLLATE");
        };
        Ok(Expr::Collate {
            expr: self.boxed(expr)?,
            collation: name(collation)?,
        })
    }
}

/// Takes parentheses off.
fn unnest(mut expr: Box<Sp>) -> Box<Sp> {
    while let Sp::Nested(_) = *expr {
        let Sp::Nested(inner) = *expr else { break };
        expr = inner;
    }
    expr
}
