//! Scalar expressions.

use super::{DEPTH_MAX, Lower, Lowered, ident, label, name, too_deep, unsupported};
use crate::facts::{Expr, Literal, Name, Opaque, Quantifier, TypeName};
use crate::query::lower::function::bare_call;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, Expr as Sp, Ident, Subscript, UnaryOperator, Value,
};

/// Syntax over its children.
pub(super) fn other(what: &'static str, children: Vec<Expr>) -> Expr {
    Expr::Other { what, children }
}

impl Lower<'_> {
    pub(super) fn exprs(&mut self, exprs: Vec<Sp>) -> Lowered<Vec<Expr>> {
        exprs.into_iter().map(|e| self.expr(e)).collect()
    }

    pub(super) fn optional_expr(&mut self, expr: Option<Sp>) -> Lowered<Option<Expr>> {
        expr.map(|e| self.expr(e)).transpose()
    }

    pub(super) fn boxed(&mut self, expr: Sp) -> Lowered<Box<Expr>> {
        self.expr(expr).map(Box::new)
    }

    pub(super) fn expr(&mut self, expr: Sp) -> Lowered<Expr> {
        self.deeper(|l| l.expr_here(expr))
    }

    /// One level of an expression. The rarer half of the variants is read by `rare`.
    fn expr_here(&mut self, expr: Sp) -> Lowered<Expr> {
        match expr {
            Sp::Identifier(column) => self.identifier(column),
            Sp::CompoundIdentifier(parts) => column(parts),
            Sp::Nested(inner) => self.expr(*inner),
            Sp::Value(value) => literal(value.value),
            Sp::BinaryOp { left, op, right } => self.binary(*left, op, *right),
            Sp::UnaryOp { op, expr } => self.unary(op, *expr),
            Sp::IsNull(e) => Ok(Expr::IsNull { expr: self.boxed(*e)?, negated: false }),
            Sp::IsNotNull(e) => Ok(Expr::IsNull { expr: self.boxed(*e)?, negated: true }),
            Sp::IsDistinctFrom(a, b) => {
                Ok(Expr::IsDistinct { left: self.boxed(*a)?, right: self.boxed(*b)?, negated: false })
            }
            Sp::IsNotDistinctFrom(a, b) => {
                Ok(Expr::IsDistinct { left: self.boxed(*a)?, right: self.boxed(*b)?, negated: true })
            }
            Sp::InList { expr, list, negated } => self.in_list(*expr, list, negated),
            Sp::InSubquery { expr, subquery, negated } => {
                Ok(Expr::InSubquery { expr: self.boxed(*expr)?, query: Box::new(self.query(*subquery)?), negated })
            }
            Sp::Between { expr, negated, low, high } => {
                let (expr, low, high) = (self.boxed(*expr)?, self.boxed(*low)?, self.boxed(*high)?);
                Ok(Expr::Between { expr, low, high, negated, symmetric: false })
            }
            Sp::AnyOp { left, compare_op, right, is_some: _ } => self.quantified(*left, compare_op, false, *right),
            Sp::AllOp { left, compare_op, right } => self.quantified(*left, compare_op, true, *right),
            Sp::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                Ok(Expr::Cast { expr: self.boxed(*expr)?, ty: self.data_type(data_type)? })
            }
            Sp::TypedString(typed) => {
                let expr = Box::new(literal(typed.value.value)?);
                Ok(Expr::Cast { expr, ty: self.data_type(typed.data_type)? })
            }
            Sp::Function(call) => self.function(call),
            Sp::Case { operand, conditions, else_result, case_token: _, end_token: _ } => {
                let operand = operand.map(|e| self.boxed(*e)).transpose()?;
                let when = |w: CaseWhen| Ok((self.expr(w.condition)?, self.expr(w.result)?));
                let whens = conditions.into_iter().map(when).collect::<Lowered<_>>()?;
                let otherwise = else_result.map(|e| self.boxed(*e)).transpose()?;
                Ok(Expr::Case { operand, whens, otherwise })
            }
            Sp::Exists { subquery, negated } => Ok(Expr::Exists { query: Box::new(self.query(*subquery)?), negated }),
            Sp::Subquery(query) => Ok(Expr::Subquery(Box::new(self.query(*query)?))),
            Sp::Tuple(items) => Ok(Expr::Row(self.exprs(items)?)),
            Sp::Array(array) => Ok(Expr::Array(self.exprs(array.elem)?)),
            Sp::Collate { expr, collation } => {
                Ok(Expr::Collate { expr: self.boxed(*expr)?, collation: name(collation)? })
            }
            rest @ (Sp::CompoundFieldAccess { .. }
            | Sp::JsonAccess { .. }
            | Sp::IsFalse(_)
            | Sp::IsNotFalse(_)
            | Sp::IsTrue(_)
            | Sp::IsNotTrue(_)
            | Sp::IsUnknown(_)
            | Sp::IsNotUnknown(_)
            | Sp::IsJson { .. }
            | Sp::IsNormalized { .. }
            | Sp::InUnnest { .. }
            | Sp::Like { .. }
            | Sp::ILike { .. }
            | Sp::SimilarTo { .. }
            | Sp::RLike { .. }
            | Sp::Convert { .. }
            | Sp::Cast { .. }
            | Sp::AtTimeZone { .. }
            | Sp::Extract { .. }
            | Sp::Ceil { .. }
            | Sp::Floor { .. }
            | Sp::Position { .. }
            | Sp::Substring { .. }
            | Sp::Trim { .. }
            | Sp::Overlay { .. }
            | Sp::Prefixed { .. }
            | Sp::GroupingSets(_)
            | Sp::Cube(_)
            | Sp::Rollup(_)
            | Sp::Struct { .. }
            | Sp::Named { .. }
            | Sp::Dictionary(_)
            | Sp::Map(_)
            | Sp::Interval(_)
            | Sp::MatchAgainst { .. }
            | Sp::Wildcard(_)
            | Sp::QualifiedWildcard(..)
            | Sp::OuterJoin(_)
            | Sp::Prior(_)
            | Sp::Lambda(_)
            | Sp::MemberOf(_)) => self.rare(rest),
        }
    }

    fn rare(&mut self, expr: Sp) -> Lowered<Expr> {
        match expr {
            Sp::CompoundFieldAccess { root, access_chain } => self.access(*root, access_chain),
            Sp::IsFalse(e) => Ok(other("is false", vec![self.expr(*e)?])),
            Sp::IsNotFalse(e) => Ok(other("is not false", vec![self.expr(*e)?])),
            Sp::IsTrue(e) => Ok(other("is true", vec![self.expr(*e)?])),
            Sp::IsNotTrue(e) => Ok(other("is not true", vec![self.expr(*e)?])),
            Sp::IsUnknown(e) => Ok(other("is unknown", vec![self.expr(*e)?])),
            Sp::IsNotUnknown(e) => Ok(other("is not unknown", vec![self.expr(*e)?])),
            Sp::IsNormalized { expr, form: _, negated: _ } => Ok(other("is normalized", vec![self.expr(*expr)?])),
            Sp::Like { negated, any, expr, pattern, escape_char } => {
                let op = if negated { "!~~" } else { "~~" };
                self.like(op, any, *expr, *pattern, escape_char.map(|e| *e))
            }
            Sp::ILike { negated, any, expr, pattern, escape_char } => {
                let op = if negated { "!~~*" } else { "~~*" };
                self.like(op, any, *expr, *pattern, escape_char.map(|e| *e))
            }
            Sp::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut children = vec![self.expr(*pattern)?];
                children.extend(self.optional_expr(escape_char.map(|e| *e))?);
                let right = Box::new(other("similar to", children));
                let op = if negated { "!~" } else { "~" }.to_owned();
                Ok(Expr::Binary { op, schema: None, left: self.boxed(*expr)?, right })
            }
            Sp::AtTimeZone { timestamp, time_zone } => {
                Ok(other("at time zone", vec![self.expr(*timestamp)?, self.expr(*time_zone)?]))
            }
            Sp::Extract { field: _, syntax: _, expr } => Ok(other("extract", vec![self.expr(*expr)?])),
            Sp::Position { expr, r#in } => Ok(other("position", vec![self.expr(*expr)?, self.expr(*r#in)?])),
            Sp::Substring { expr, substring_from, substring_for, special, shorthand: _ } => {
                let plain = special || (substring_from.is_none() && substring_for.is_none());
                let mut args = vec![self.expr(*expr)?];
                args.extend(self.optional_expr(substring_from.map(|e| *e))?);
                args.extend(self.optional_expr(substring_for.map(|e| *e))?);
                // With commas it is an ordinary call, which a user's function may answer.
                Ok(if plain { bare_call("substring", args) } else { other("substring", args) })
            }
            Sp::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                let mut children = vec![self.expr(*expr)?];
                children.extend(self.optional_expr(trim_what.map(|e| *e))?);
                children.extend(self.exprs(trim_characters.unwrap_or_default())?);
                Ok(other("trim", children))
            }
            Sp::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut children = vec![self.expr(*expr)?, self.expr(*overlay_what)?, self.expr(*overlay_from)?];
                children.extend(self.optional_expr(overlay_for.map(|e| *e))?);
                Ok(other("overlay", children))
            }
            Sp::Named { expr, name } => {
                label(name)?;
                self.expr(*expr)
            }
            Sp::Interval(interval) => {
                let expr = self.boxed(*interval.value)?;
                let name = Name { schema: Some("pg_catalog".to_owned()), name: "interval".to_owned() };
                Ok(Expr::Cast { expr, ty: TypeName { name, modifiers: Vec::new(), array: false } })
            }
            Sp::QualifiedWildcard(row, _) => {
                name(row)?;
                Ok(other("whole row", Vec::new()))
            }
            Sp::GroupingSets(sets) | Sp::Cube(sets) | Sp::Rollup(sets) => {
                let mut children = Vec::new();
                for set in sets {
                    children.extend(self.exprs(set)?);
                }
                Ok(other("grouping sets", children))
            }
            // Grammar of other dialects, and of this one what has no place here.
            Sp::JsonAccess { .. } => unsupported("access with a colon"),
            Sp::IsJson { .. } => unsupported("IS JSON"),
            Sp::InUnnest { .. } => unsupported("IN UNNEST"),
            Sp::RLike { .. } => unsupported("RLIKE"),
            Sp::Convert { .. } => unsupported("CONVERT"),
            Sp::Cast { .. } => unsupported("a cast of another dialect"),
            Sp::Ceil { .. } | Sp::Floor { .. } => unsupported("CEIL TO"),
            Sp::Prefixed { .. } => unsupported("a string with an introducer"),
            Sp::Struct { .. } | Sp::Dictionary(_) | Sp::Map(_) => unsupported("a structure"),
            Sp::MatchAgainst { .. } => unsupported("MATCH"),
            Sp::Wildcard(_) => unsupported("* as a value"),
            Sp::OuterJoin(_) | Sp::Prior(_) | Sp::Lambda(_) | Sp::MemberOf(_) => unsupported("an expression"),
            Sp::Identifier(_)
            | Sp::CompoundIdentifier(_)
            | Sp::Nested(_)
            | Sp::Value(_)
            | Sp::BinaryOp { .. }
            | Sp::UnaryOp { .. }
            | Sp::IsNull(_)
            | Sp::IsNotNull(_)
            | Sp::IsDistinctFrom(..)
            | Sp::IsNotDistinctFrom(..)
            | Sp::InList { .. }
            | Sp::InSubquery { .. }
            | Sp::Between { .. }
            | Sp::AnyOp { .. }
            | Sp::AllOp { .. }
            | Sp::TypedString(_)
            | Sp::Function(_)
            | Sp::Case { .. }
            | Sp::Exists { .. }
            | Sp::Subquery(_)
            | Sp::Tuple(_)
            | Sp::Array(_)
            | Sp::Collate { .. } => unsupported("an expression"),
        }
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
        Ok(Expr::Column { schema: None, table: None, column: ident(column)? })
    }

    /// A chain of binary operators, which leans to the left and may be long. ANDs and ORs become flat lists.
    fn binary(&mut self, left: Sp, op: BinaryOperator, right: Sp) -> Lowered<Expr> {
        let mut rights = vec![(op, right)];
        let mut leftmost = left;
        while let Sp::BinaryOp { left, op, right } = leftmost {
            rights.push((op, *right));
            leftmost = *left;
        }
        let mut result = self.expr(leftmost)?;
        let mut levels = 0;
        while let Some((op, right)) = rights.pop() {
            let right = self.expr(right)?;
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

    fn unary(&mut self, op: UnaryOperator, expr: Sp) -> Lowered<Expr> {
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
            UnaryOperator::BangNot | UnaryOperator::PGPostfixFactorial | UnaryOperator::PGPrefixFactorial => {
                return unsupported("a factorial");
            }
        };
        if matches!(symbol, "+" | "-") {
            // A sign binds tighter than these for Postgres, and looser for the parser.
            if matches!(expr, Sp::BinaryOp { .. } | Sp::Collate { .. } | Sp::AtTimeZone { .. }) {
                return unsupported("a sign before an operator of higher rank");
            }
            if let (Sp::Value(value), "-") = (&expr, symbol) {
                if let Value::Number(number, false) = &value.value {
                    return Ok(Expr::Literal(Literal::Number(format!("-{number}"))));
                }
            }
        }
        Ok(Expr::Unary { op: symbol.to_owned(), expr: self.boxed(expr)? })
    }

    fn in_list(&mut self, expr: Sp, mut list: Vec<Sp>, negated: bool) -> Lowered<Expr> {
        let expr = self.boxed(expr)?;
        // `IN ((SELECT ..))` is IN with a subquery, however many parentheses there are.
        if list.len() == 1 {
            match list.pop().map(unnest) {
                Some(Sp::Subquery(query)) => {
                    return Ok(Expr::InSubquery { expr, query: Box::new(self.query(*query)?), negated });
                }
                only => list.extend(only),
            }
        }
        Ok(Expr::InList { expr, list: self.exprs(list)?, negated })
    }

    fn quantified(&mut self, left: Sp, op: BinaryOperator, all: bool, right: Sp) -> Lowered<Expr> {
        let left = self.boxed(left)?;
        let (op, schema) = operator(op)?;
        Ok(Expr::Quantified { op, schema, all, left, right: self.quantifier(right)? })
    }

    fn quantifier(&mut self, right: Sp) -> Lowered<Quantifier> {
        let right = unnest(right);
        if let Sp::Subquery(query) = right {
            return Ok(Quantifier::Subquery(Box::new(self.query(*query)?)));
        }
        Ok(Quantifier::Array(self.boxed(right)?))
    }

    /// LIKE is the operator `~~`, which a user may have made anew.
    fn like(&mut self, op: &str, any: bool, expr: Sp, pattern: Sp, escape: Option<Sp>) -> Lowered<Expr> {
        let (op, left) = (op.to_owned(), self.boxed(expr)?);
        if any {
            if escape.is_some() {
                return unsupported("LIKE ANY with ESCAPE");
            }
            let right = self.quantifier(pattern)?;
            return Ok(Expr::Quantified { op, schema: None, all: false, left, right });
        }
        let pattern = self.expr(pattern)?;
        let right = match self.optional_expr(escape)? {
            None => pattern,
            Some(escape) => other("escape", vec![pattern, escape]),
        };
        Ok(Expr::Binary { op, schema: None, left, right: Box::new(right) })
    }

    /// `a.b[1].c`, `(row).field`, `(row).*`.
    fn access(&mut self, root: Sp, chain: Vec<AccessExpr>) -> Lowered<Expr> {
        let mut chain = chain.into_iter().peekable();
        // The names at the beginning are the column's.
        let root = match root {
            Sp::Identifier(first) => {
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
            }
            root => self.expr(root)?,
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
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    what = "subscript";
                    children.extend(self.optional_expr(lower_bound)?);
                    children.extend(self.optional_expr(upper_bound)?);
                }
                AccessExpr::Subscript(Subscript::Slice { stride: Some(_), .. }) => return unsupported("a stride"),
            }
        }
        Ok(other(what, children))
    }

    /// `(row).*` in a target list: nobody here knows how many columns it has.
    pub(super) fn composite_star(&mut self, row: Sp) -> Lowered<Expr> {
        let children = vec![self.expr(row)?];
        let what = "the columns of a composite value".to_owned();
        Ok(Expr::Opaque(Box::new(Opaque { what, relations: Vec::new(), subqueries: Vec::new(), children })))
    }
}

/// Takes parentheses off.
fn unnest(mut expr: Sp) -> Sp {
    while let Sp::Nested(inner) = expr {
        expr = *inner;
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
    Ok(Expr::Column { schema, table, column })
}

/// Joins two operands. ANDs and ORs grow flat, since their order and grouping do not matter.
fn combine(op: BinaryOperator, left: Expr, right: Expr) -> Lowered<Expr> {
    match op {
        BinaryOperator::And => {
            let mut items = if let Expr::And(items) = left { items } else { vec![left] };
            if let Expr::And(more) = right { items.extend(more) } else { items.push(right) }
            Ok(Expr::And(items))
        }
        BinaryOperator::Or => {
            let mut items = if let Expr::Or(items) = left { items } else { vec![left] };
            if let Expr::Or(more) = right { items.extend(more) } else { items.push(right) }
            Ok(Expr::Or(items))
        }
        BinaryOperator::Overlaps => Ok(other("overlaps", vec![left, right])),
        op => {
            let (op, schema) = operator(op)?;
            Ok(Expr::Binary { op, schema, left: Box::new(left), right: Box::new(right) })
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
            return Ok((if symbol == "!=" { "<>".to_owned() } else { symbol }, schema));
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
        Value::SingleQuotedByteStringLiteral(raw) | Value::HexStringLiteral(raw) | Value::NationalStringLiteral(raw) => {
            Literal::Other(raw)
        }
        Value::Placeholder(text) => {
            let number = text.strip_prefix('$').and_then(|n| n.parse().ok());
            return number.filter(|n| *n > 0).map(Expr::Param).ok_or("a parameter's number is out of range".to_owned());
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
