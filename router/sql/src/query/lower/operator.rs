//! Operators, and what compares by them: IN, ANY, BETWEEN, IS DISTINCT FROM.

use super::expr::other;
use super::{DEPTH_MAX, Lower, Lowered, too_deep, unsupported};
use crate::facts::{Expr, Literal, Quantifier};
use sqlparser::ast::{BinaryOperator, Expr as Sp, UnaryOperator, Value};

impl Lower<'_> {
    /// A chain of binary operators, which leans to the left and may be long. ANDs and ORs become flat lists.
    pub(super) fn binary(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let mut rights = Vec::new();
        let mut leftmost = expr;
        while let Sp::BinaryOp { .. } = *leftmost {
            let Sp::BinaryOp { left, op, right } = *leftmost else {
                return unsupported("an operator");
            };
            rights.push((op, right));
            leftmost = left;
        }
        let mut result = self.unboxed(leftmost)?;
        let mut levels = 0;
        while let Some((op, right)) = rights.pop() {
            let right = self.unboxed(right)?;
            let flat = match (&op, &result) {
                (BinaryOperator::And, Expr::And(_)) | (BinaryOperator::Or, Expr::Or(_)) => true,
                (_, _) => false,
            };
            if !flat {
                levels += 1;
                if self.depth + levels > DEPTH_MAX {
                    return Err(too_deep());
                }
            }
            result = combine(op, result, right)?;
        }
        Ok(result)
    }

    pub(super) fn unary(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::UnaryOp { op, expr } = *expr else {
            return unsupported("an operator");
        };
        let symbol = match op {
            UnaryOperator::Not => return Ok(Expr::Not(self.boxed(expr)?)),
            UnaryOperator::Plus => "+",
            UnaryOperator::Minus => "-",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGCubeRoot => "||/",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::Hash => "#",
            UnaryOperator::AtDashAt => "@-@",
            UnaryOperator::DoubleAt => "@@",
            UnaryOperator::QuestionDash => "?-",
            UnaryOperator::QuestionPipe => "?|",
            UnaryOperator::BangNot
            | UnaryOperator::PGPostfixFactorial
            | UnaryOperator::PGPrefixFactorial => {
                return unsupported("a factorial");
            }
        };
        if matches!(symbol, "+" | "-") {
            // A sign binds tighter than these for Postgres, and looser for the parser.
            if matches!(
                *expr,
                Sp::BinaryOp { .. } | Sp::Collate { .. } | Sp::AtTimeZone { .. }
            ) {
                return unsupported("a sign before an operator of higher rank");
            }
            if let (Sp::Value(value), "-") = (&*expr, symbol)
                && let Value::Number(number, false) = &value.value
            {
                return Ok(Expr::Literal(Literal::Number(format!("-{number}"))));
            }
        }
        Ok(Expr::Unary {
            op: symbol.to_owned(),
            expr: self.boxed(expr)?,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn membership(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::InSubquery {
                expr,
                subquery,
                negated,
            } => Ok(Expr::InSubquery {
                expr: self.boxed(expr)?,
                query: self.boxed_query(subquery)?,
                negated,
            }),
            Sp::InList {
                expr,
                list,
                negated,
            } => {
                let expr = self.boxed(expr)?;
                let mut list = self.exprs(list)?;
                // `IN ((SELECT ..))` is IN with a subquery, however many parentheses there are.
                if list.len() == 1 && matches!(list.first(), Some(Expr::Subquery(_))) {
                    let Some(Expr::Subquery(query)) = list.pop() else {
                        return unsupported("IN");
                    };
                    return Ok(Expr::InSubquery {
                        expr,
                        query,
                        negated,
                    });
                }
                Ok(Expr::InList {
                    expr,
                    list,
                    negated,
                })
            }
            _ => unsupported("IN"),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn quantified(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let (left, op, all, right) = match *expr {
            Sp::AnyOp {
                left,
                compare_op,
                right,
                is_some: _,
            } => (left, compare_op, false, right),
            Sp::AllOp {
                left,
                compare_op,
                right,
            } => (left, compare_op, true, right),
            _ => return unsupported("ANY"),
        };
        let left = self.boxed(left)?;
        let (op, schema) = operator(op)?;
        Ok(Expr::Quantified {
            op,
            schema,
            all,
            left,
            right: self.quantifier(right)?,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn quantifier(&mut self, right: Box<Sp>) -> Lowered<Quantifier> {
        Ok(match self.unboxed(right)? {
            Expr::Subquery(query) => Quantifier::Subquery(query),
            right => Quantifier::Array(Box::new(right)),
        })
    }

    pub(super) fn between(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::Between {
            expr,
            negated,
            low,
            high,
        } = *expr
        else {
            return unsupported("BETWEEN");
        };
        let (expr, low, high) = (self.boxed(expr)?, self.boxed(low)?, self.boxed(high)?);
        Ok(Expr::Between {
            expr,
            low,
            high,
            negated,
            symmetric: false,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn distinct(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let (left, right, negated) = match *expr {
            Sp::IsDistinctFrom(left, right) => (left, right, false),
            Sp::IsNotDistinctFrom(left, right) => (left, right, true),
            _ => return unsupported("a comparison"),
        };
        Ok(Expr::IsDistinct {
            left: self.boxed(left)?,
            right: self.boxed(right)?,
            negated,
        })
    }
}

/// Joins two operands. ANDs and ORs grow flat, since their order and grouping do not matter.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is refused, not ignored"
)]
fn combine(op: BinaryOperator, left: Expr, right: Expr) -> Lowered<Expr> {
    match op {
        BinaryOperator::And => {
            let mut items = if let Expr::And(items) = left {
                items
            } else {
                vec![left]
            };
            if let Expr::And(more) = right {
                items.extend(more)
            } else {
                items.push(right)
            }
            Ok(Expr::And(items))
        }
        BinaryOperator::Or => {
            let mut items = if let Expr::Or(items) = left {
                items
            } else {
                vec![left]
            };
            if let Expr::Or(more) = right {
                items.extend(more)
            } else {
                items.push(right)
            }
            Ok(Expr::Or(items))
        }
        BinaryOperator::Overlaps => Ok(other("overlaps", vec![left, right])),
        op => {
            let (op, schema) = operator(op)?;
            Ok(Expr::Binary {
                op,
                schema,
                left: Box::new(left),
                right: Box::new(right),
            })
        }
    }
}

/// The operator's name, and its schema for `OPERATOR(schema.op)`.
fn operator(op: BinaryOperator) -> Lowered<(String, Option<String>)> {
    let symbol = match op {
        BinaryOperator::Custom(symbol) => return Ok((symbol, None)),
        BinaryOperator::PGCustomBinaryOperator(mut parts) => {
            let symbol = parts.pop().ok_or("an operator has no name")?;
            let schema = parts.pop();
            if !parts.is_empty() || schema.as_ref().is_some_and(|s| s.contains('"')) {
                return unsupported("the name of an operator");
            }
            return Ok((
                if symbol == "!=" {
                    "<>".to_owned()
                } else {
                    symbol
                },
                schema,
            ));
        }
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::PGExp => "^",
        BinaryOperator::Gt => ">",
        BinaryOperator::Lt => "<",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        // All other operators are given to the parser as custom ones.
        BinaryOperator::And
        | BinaryOperator::Or
        | BinaryOperator::StringConcat
        | BinaryOperator::Spaceship
        | BinaryOperator::Xor
        | BinaryOperator::BitwiseOr
        | BinaryOperator::BitwiseAnd
        | BinaryOperator::BitwiseXor
        | BinaryOperator::DuckIntegerDivide
        | BinaryOperator::MyIntegerDivide
        | BinaryOperator::Match
        | BinaryOperator::Regexp
        | BinaryOperator::Glob
        | BinaryOperator::PGBitwiseXor
        | BinaryOperator::PGBitwiseShiftLeft
        | BinaryOperator::PGBitwiseShiftRight
        | BinaryOperator::PGOverlap
        | BinaryOperator::PGRegexMatch
        | BinaryOperator::PGRegexIMatch
        | BinaryOperator::PGRegexNotMatch
        | BinaryOperator::PGRegexNotIMatch
        | BinaryOperator::PGLikeMatch
        | BinaryOperator::PGILikeMatch
        | BinaryOperator::PGNotLikeMatch
        | BinaryOperator::PGNotILikeMatch
        | BinaryOperator::PGStartsWith
        | BinaryOperator::Arrow
        | BinaryOperator::LongArrow
        | BinaryOperator::HashArrow
        | BinaryOperator::HashLongArrow
        | BinaryOperator::AtAt
        | BinaryOperator::AtArrow
        | BinaryOperator::ArrowAt
        | BinaryOperator::HashMinus
        | BinaryOperator::AtQuestion
        | BinaryOperator::Question
        | BinaryOperator::QuestionAnd
        | BinaryOperator::QuestionPipe
        | BinaryOperator::Overlaps
        | BinaryOperator::DoubleHash
        | BinaryOperator::LtDashGt
        | BinaryOperator::AndLt
        | BinaryOperator::AndGt
        | BinaryOperator::LtLtPipe
        | BinaryOperator::PipeGtGt
        | BinaryOperator::AndLtPipe
        | BinaryOperator::PipeAndGt
        | BinaryOperator::LtCaret
        | BinaryOperator::GtCaret
        | BinaryOperator::QuestionHash
        | BinaryOperator::QuestionDash
        | BinaryOperator::QuestionDashPipe
        | BinaryOperator::QuestionDoublePipe
        | BinaryOperator::At
        | BinaryOperator::TildeEq
        | BinaryOperator::Assignment => return unsupported("an operator"),
    };
    Ok((symbol.to_owned(), None))
}
