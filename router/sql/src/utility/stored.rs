//! The values that ALTER TABLE computes and stores: defaults of new columns, new types, sequences of columns.
//!
//! Only the parts that make values are read. What stands there and is not understood is told to be there.

use crate::cursor::Cursor;
use crate::facts::{Expr, Stored, StoredValue, TypeName};
use crate::lexer::{Kind, lex};
use crate::query;

/// Words that end a column's type.
const TYPE_ENDS: &[&str] = &[
    "default",
    "not",
    "null",
    "constraint",
    "unique",
    "primary",
    "check",
    "references",
    "generated",
    "collate",
    "storage",
    "compression",
    "options",
    "using",
];

/// Words that end a column's default.
const DEFAULT_ENDS: &[&str] = &[
    "not",
    "null",
    "constraint",
    "unique",
    "primary",
    "check",
    "references",
    "generated",
    "collate",
    "deferrable",
    "initially",
];

/// Types that are no types: each makes a sequence.
const SERIALS: &[&str] = &[
    "serial",
    "serial2",
    "serial4",
    "serial8",
    "smallserial",
    "bigserial",
];

/// The actions behind `ALTER TABLE name`.
pub(super) fn of_table(cursor: &Cursor<'_>) -> Vec<Stored> {
    let mut found = Vec::new();
    let mut cursor = *cursor;
    loop {
        if cursor.accept(&["add"]) {
            found.extend(added(&mut cursor));
        } else if cursor.accept(&["alter"]) && !cursor.is(&["constraint"]) {
            cursor.accept(&["column"]);
            found.extend(altered(&mut cursor));
        }
        // The next action stands behind a comma outside of parentheses.
        if !cursor.seek(|c| c.is_kind(Kind::Comma)) {
            return found;
        }
        cursor.advance(1);
    }
}

/// What stands behind `DEFAULT` in CREATE DOMAIN, or behind `SET DEFAULT` in ALTER DOMAIN.
pub(super) fn of_domain(cursor: &Cursor<'_>) -> Option<Stored> {
    let mut cursor = *cursor;
    if !cursor.seek(|c| c.is(&["default"])) {
        return None;
    }
    cursor.advance(1);
    // DROP DEFAULT ends with the word.
    cursor.peek()?;
    let value = expression(take(&mut cursor, DEFAULT_ENDS));
    Some(Stored {
        column: String::new(),
        ty: None,
        value: value.map_or(StoredValue::Unread, |expr| {
            StoredValue::Default(Box::new(expr))
        }),
    })
}

/// Behind ADD.
fn added(cursor: &mut Cursor<'_>) -> Option<Stored> {
    let constraint = [
        "constraint",
        "check",
        "unique",
        "primary",
        "foreign",
        "exclude",
    ];
    if constraint.iter().any(|word| cursor.is(&[word])) {
        return None;
    }
    cursor.accept(&["column"]);
    cursor.accept(&["if", "not", "exists"]);
    let column = cursor.label()?;
    // Also in quotes.
    let serial = cursor
        .clone()
        .label()
        .is_some_and(|word| SERIALS.contains(&word.as_str()));
    let ty = type_name(take(cursor, TYPE_ENDS));
    let mut value = None;
    // The constraints of the column, in any order.
    while !cursor.is_end() && !cursor.is_kind(Kind::Comma) {
        if cursor.accept(&["default"]) {
            value = Some(match expression(take(cursor, DEFAULT_ENDS)) {
                Some(expr) => StoredValue::Added(Box::new(expr)),
                None => StoredValue::Unread,
            });
        } else if cursor.accept(&["as", "identity"]) {
            value = Some(StoredValue::Drawn);
        } else {
            // These defaults are no values; a group belongs to CHECK, GENERATED and the like.
            let known = cursor.accept(&["set", "default"])
                || cursor.accept(&["generated", "by", "default"])
                || cursor.group().is_some();
            cursor.advance(usize::from(!known));
        }
    }
    if serial {
        value = Some(StoredValue::Drawn);
    }
    let value = value?;
    Some(Stored { column, ty, value })
}

/// Behind ALTER COLUMN.
fn altered(cursor: &mut Cursor<'_>) -> Option<Stored> {
    let column = cursor.label()?;
    if cursor.accept(&["add", "generated"]) {
        return Some(Stored {
            column,
            ty: None,
            value: StoredValue::Drawn,
        });
    }
    if cursor.accept(&["set", "default"]) {
        let value = match expression(take(cursor, &[])) {
            Some(expr) => StoredValue::Default(Box::new(expr)),
            None => StoredValue::Unread,
        };
        return Some(Stored {
            column,
            ty: None,
            value,
        });
    }
    if !cursor.accept(&["set", "data", "type"]) && !cursor.accept(&["type"]) {
        return None;
    }
    let ty = type_name(take(cursor, TYPE_ENDS));
    if cursor.accept(&["collate"]) {
        cursor.parts()?;
    }
    let value = if cursor.accept(&["using"]) {
        match expression(take(cursor, &[])) {
            Some(expr) => StoredValue::Retyped(Some(Box::new(expr))),
            None => StoredValue::Unread,
        }
    } else {
        StoredValue::Retyped(None)
    };
    Some(Stored { column, ty, value })
}

/// The text up to a comma or one of the words, outside of parentheses; at least one token is taken.
fn take<'a>(cursor: &mut Cursor<'a>, ends: &[&str]) -> &'a str {
    let text = cursor.text();
    let Some(first) = cursor.peek() else {
        return "";
    };
    let begin = first.start;
    let mut end = begin;
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        let stops = depth == 0
            && (token.kind == Kind::Comma
                || (end > begin && ends.iter().any(|word| token.is_word(text, word))));
        if stops {
            break;
        }
        match token.kind {
            Kind::LParen | Kind::LBracket => depth += 1,
            Kind::RParen | Kind::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        end = token.end;
        cursor.advance(1);
    }
    text.get(begin..end).unwrap_or_default()
}

/// One expression and nothing else.
fn expression(text: &str) -> Option<Expr> {
    let tokens = lex(text).ok()?;
    let mut list = query::parse_list(text, &tokens).ok()?;
    let expr = list.pop()?;
    list.is_empty().then_some(expr)
}

fn type_name(text: &str) -> Option<TypeName> {
    match expression(&format!("cast(null as {text})"))? {
        Expr::Cast { ty, .. } => Some(ty),
        _ => None,
    }
}
