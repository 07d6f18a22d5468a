//! Scalar expressions.

use super::{DEPTH_MAX, Lower, Lowered, ident, label, name, too_deep, unsupported};
use crate::facts::{Expr, Literal, Name, Opaque, Quantifier, TypeName};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, Expr as Sp, Ident, Subscript, UnaryOperator,
    Value,
};

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
    fn distinct(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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

    fn between(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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

    fn identifier(&mut self, column: Ident) -> Lowered<Expr> {
        if column.quote_style.is_none() {
            if column.value == "default" {
                return Ok(Expr::Default);
            }
            if let Some(what) = super::function::keyword_value(&column.value) {
                return Ok(other(what, Vec::new()));
            }
        }
        Ok(Expr::Column {
            schema: None,
            table: None,
            column: ident(column)?,
        })
    }

    /// A chain of binary operators, which leans to the left and may be long. ANDs and ORs become flat lists.
    fn binary(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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

    fn unary(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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
    fn membership(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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
    fn quantified(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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

    /// `a.b[1].c`, `(row).field`, `(row).*`.
    fn access(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let Sp::CompoundFieldAccess { root, access_chain } = *expr else {
            return unsupported("a field");
        };
        let mut chain = access_chain.into_iter().peekable();
        // The names at the beginning are the column's.
        let root = if let Sp::Identifier(_) = *root {
            let Sp::Identifier(first) = *root else {
                return unsupported("a field");
            };
            let mut names = vec![first];
            while let Some(AccessExpr::Dot(Sp::Identifier(_))) = chain.peek() {
                if let Some(AccessExpr::Dot(Sp::Identifier(next))) = chain.next() {
                    names.push(next);
                }
            }
            if names.len() == 1 {
                let only = names.pop().ok_or("a name is empty")?;
                self.identifier(only)?
            } else {
                column(names)?
            }
        } else {
            self.unboxed(root)?
        };
        let mut children = vec![root];
        let mut what = "field";
        for step in chain {
            match step {
                AccessExpr::Dot(Sp::Identifier(field)) => {
                    label(field)?;
                }
                AccessExpr::Dot(_) => return unsupported("an expression behind a dot"),
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    what = "subscript";
                    children.push(self.expr(index)?);
                }
                AccessExpr::Subscript(Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    stride: None,
                }) => {
                    what = "subscript";
                    children.extend(self.optional_expr(lower_bound)?);
                    children.extend(self.optional_expr(upper_bound)?);
                }
                AccessExpr::Subscript(Subscript::Slice {
                    stride: Some(_), ..
                }) => return unsupported("a stride"),
            }
        }
        Ok(other(what, children))
    }

    /// `(row).*` in a target list: nobody here knows how many columns it has.
    pub(super) fn composite_star(&mut self, row: Sp) -> Lowered<Expr> {
        let children = vec![self.expr(row)?];
        let what = "the columns of a composite value".to_owned();
        Ok(Expr::Opaque(Box::new(Opaque {
            what,
            relations: Vec::new(),
            subqueries: Vec::new(),
            children,
        })))
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

/// `t.c`, `s.t.c`, `d.s.t.c`.
fn column(mut names: Vec<Ident>) -> Lowered<Expr> {
    if names.len() > 4 {
        return unsupported("a column of more than four parts");
    }
    if names.len() == 4 {
        names.remove(0);
    }
    let column = label(names.pop().ok_or("a name is empty")?)?;
    let table = names.pop();
    let schema = names.pop();
    let (schema, table) = match (schema, table) {
        (Some(schema), Some(table)) => (Some(ident(schema)?), Some(label(table)?)),
        (None, Some(table)) => (None, Some(ident(table)?)),
        (_, None) => (None, None),
    };
    Ok(Expr::Column {
        schema,
        table,
        column,
    })
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

pub(super) fn literal(value: Value) -> Lowered<Expr> {
    let literal = match value {
        Value::Null => Literal::Null,
        Value::Boolean(value) => Literal::Bool(value),
        Value::Number(number, _) => Literal::Number(number),
        Value::SingleQuotedString(text) => Literal::String(text),
        Value::SingleQuotedByteStringLiteral(raw)
        | Value::HexStringLiteral(raw)
        | Value::NationalStringLiteral(raw) => Literal::Other(raw),
        Value::Placeholder(text) => {
            let number = text.strip_prefix('$').and_then(|n| n.parse().ok());
            return number
                .filter(|n| *n > 0)
                .map(Expr::Param)
                .ok_or("a parameter's number is out of range".to_owned());
        }
        // All strings are given to the parser as plain ones.
        Value::DollarQuotedString(_)
        | Value::TripleSingleQuotedString(_)
        | Value::TripleDoubleQuotedString(_)
        | Value::EscapedStringLiteral(_)
        | Value::UnicodeStringLiteral(_)
        | Value::DoubleQuotedByteStringLiteral(_)
        | Value::TripleSingleQuotedByteStringLiteral(_)
        | Value::TripleDoubleQuotedByteStringLiteral(_)
        | Value::SingleQuotedRawStringLiteral(_)
        | Value::DoubleQuotedRawStringLiteral(_)
        | Value::TripleSingleQuotedRawStringLiteral(_)
        | Value::TripleDoubleQuotedRawStringLiteral(_)
        | Value::QuoteDelimitedStringLiteral(_)
        | Value::NationalQuoteDelimitedStringLiteral(_)
        | Value::DoubleQuotedString(_) => return unsupported("a constant"),
    };
    Ok(Expr::Literal(literal))
}
