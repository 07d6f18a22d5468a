//! EXPLAIN, and our own `EXPLAIN (ROUTE)`.

use crate::analyze::analyze;
use crate::cursor::Cursor;
use crate::facts::Statement;
use crate::lexer::{Kind, Token};

/// Reads an EXPLAIN. Err is the reason, for people.
pub(crate) fn parse(text: &str, tokens: &[Token]) -> Result<Statement, String> {
    let mut cursor = Cursor::new(text, tokens);
    let odd = || "this form of EXPLAIN is not understood".to_owned();
    cursor.expect(&["explain"]).ok_or_else(odd)?;
    let (analyze_it, route) = options(&mut cursor).ok_or_else(odd)?;
    let inner_text = cursor.rest_range().ok_or_else(odd)?;
    // Only our own form explains every statement; none explains itself, so the recursion ends here.
    let explainable = [
        "select", "with", "values", "table", "insert", "update", "delete", "merge", "declare",
        "create", "refresh", "execute",
    ];
    let known = cursor.is_kind(Kind::LParen) || explainable.iter().any(|w| cursor.is(&[w]));
    if cursor.is(&["explain"]) || (!known && !route) {
        return Err(odd());
    }
    let inner = Box::new(analyze(text.get(inner_text.clone()).unwrap_or_default()));
    Ok(Statement::Explain {
        analyze: analyze_it,
        route,
        inner,
        inner_text,
    })
}

/// Whether ANALYZE and ROUTE are on.
fn options(cursor: &mut Cursor<'_>) -> Option<(bool, bool)> {
    let mut inside = *cursor;
    // A parenthesis may also begin the query itself.
    inside.advance(1);
    let begins_query = ["select", "with", "values", "table"]
        .iter()
        .any(|w| inside.is(&[w]));
    if !cursor.is_kind(Kind::LParen) || begins_query || inside.is_kind(Kind::LParen) {
        let analyze_it = cursor.accept_any(&["analyze", "analyse"]).is_some();
        cursor.accept(&["verbose"]);
        return Some((analyze_it, false));
    }
    let mut inside = Cursor::new(cursor.text(), cursor.group()?);
    let (mut analyze_it, mut route) = (false, false);
    for (name, on) in inside.list(option)? {
        match name.as_str() {
            // The last one counts, as for Postgres.
            "analyze" | "analyse" => analyze_it = on?,
            "route" => route = on?,
            _ => {}
        }
    }
    inside.end()?;
    Some((analyze_it, route))
}

/// An option's name, and its value if it can be read as on or off.
fn option(cursor: &mut Cursor<'_>) -> Option<(String, Option<bool>)> {
    let name = cursor.label()?;
    let value = match cursor.peek() {
        None => return Some((name, Some(true))),
        Some(token) if token.kind == Kind::Comma => return Some((name, Some(true))),
        Some(token) => token
            .string(cursor.text())
            .unwrap_or_else(|| token.raw(cursor.text()).to_owned()),
    };
    cursor.advance(1);
    let on = match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    };
    Some((name, on))
}
