//! COPY.

use crate::cursor::Cursor;
use crate::facts::{Command, Copy};
use crate::lexer::Kind;
use crate::query;

/// The options are left to the server, except that a WHERE clause is not understood.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Command, String> {
    let odd = || "this form of COPY is not understood".to_owned();
    cursor.expect(&["copy"]).ok_or_else(odd)?;
    if cursor.is_kind(Kind::LParen) {
        let group = cursor.group().ok_or_else(odd)?;
        let query = query::parse(cursor.text(), group)?;
        cursor.expect(&["to"]).ok_or_else(odd)?;
        let client = place(cursor).ok_or_else(odd)?;
        options(cursor).ok_or_else(odd)?;
        let (relation, columns) = (None, Vec::new());
        return Ok(Command::Copy(Copy {
            relation,
            query: Some(Box::new(query)),
            columns,
            from: false,
            client,
        }));
    }
    table(cursor).ok_or_else(odd).map(Command::Copy)
}

fn table(cursor: &mut Cursor<'_>) -> Option<Copy> {
    if cursor.peek_at(1).is_some_and(|t| t.kind.is_name()) {
        cursor.accept(&["binary"]);
    }
    let relation = Some(cursor.name()?);
    let mut columns = Vec::new();
    if cursor.is_kind(Kind::LParen) {
        let mut inside = Cursor::new(cursor.text(), cursor.group()?);
        columns = inside.list(Cursor::ident)?;
        inside.end()?;
    }
    let from = cursor.accept_any(&["from", "to"])? == "from";
    let client = place(cursor)?;
    options(cursor)?;
    Some(Copy {
        relation,
        query: None,
        columns,
        from,
        client,
    })
}

/// STDIN, STDOUT (either may be said for the other), a file or a program. True if it is the client.
fn place(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.accept_any(&["stdin", "stdout"]).is_some() {
        return Some(true);
    }
    cursor.accept(&["program"]);
    cursor.string()?;
    Some(false)
}

fn options(cursor: &mut Cursor<'_>) -> Option<()> {
    let no_condition = !cursor.seek(|c| c.is(&["where"]));
    let no_query = !cursor
        .rest()
        .iter()
        .any(|t| t.is_word(cursor.text(), "select"));
    cursor.advance(cursor.rest().len());
    (no_condition && no_query).then_some(())
}
