//! Columns, fields and constants.

use super::expr::other;
use super::{Lower, Lowered, ident, label, unsupported};
use crate::facts::{Expr, Literal, Opaque};
use sqlparser::ast::{AccessExpr, Expr as Sp, Ident, Subscript, Value};

impl Lower<'_> {
    pub(super) fn identifier(&mut self, column: Ident) -> Lowered<Expr> {
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

    /// `a.b[1].c`, `(row).field`, `(row).*`.
    pub(super) fn access(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
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

/// `t.c`, `s.t.c`, `d.s.t.c`.
pub(super) fn column(mut names: Vec<Ident>) -> Lowered<Expr> {
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
