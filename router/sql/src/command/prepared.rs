//! PREPARE, EXECUTE, DEALLOCATE and PREPARE TRANSACTION.

use crate::analyze::{analyze, is_query};
use crate::cursor::Cursor;
use crate::facts::Command;
use crate::lexer::Kind;
use crate::query;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Command> {
    if cursor.accept(&["prepare", "transaction"]) {
        return Some(Command::PrepareTransaction(cursor.string()?));
    }
    if cursor.accept(&["deallocate"]) {
        if cursor.peek_at(1).is_some() {
            cursor.accept(&["prepare"]);
        }
        if cursor.accept(&["all"]) {
            return Some(Command::Deallocate(None));
        }
        return Some(Command::Deallocate(Some(cursor.ident()?)));
    }
    cursor.expect(&["prepare"])?;
    let name = cursor.ident()?;
    if cursor.is_kind(Kind::LParen) {
        cursor.group()?;
    }
    cursor.expect(&["as"])?;
    // Only queries can be prepared, so that no PREPARE is inside of another.
    if !is_query(cursor) {
        return None;
    }
    let body_text = cursor.rest_range()?;
    let body = Box::new(analyze(cursor.text().get(body_text.clone())?));
    cursor.advance(cursor.rest().len());
    Some(Command::Prepare {
        name,
        body,
        body_text,
    })
}

pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Command, String> {
    let odd = || "this form of EXECUTE is not understood".to_owned();
    cursor.expect(&["execute"]).ok_or_else(odd)?;
    let name = cursor.ident().ok_or_else(odd)?;
    let mut args = Vec::new();
    if cursor.is_kind(Kind::LParen) {
        let group = cursor.group().ok_or_else(odd)?;
        args = query::parse_list(cursor.text(), group)?;
    }
    cursor.end().ok_or_else(odd)?;
    Ok(Command::Execute { name, args })
}
