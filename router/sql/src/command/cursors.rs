//! DECLARE, FETCH, MOVE, CLOSE.

use crate::analyze::{analyze, is_query};
use crate::cursor::Cursor;
use crate::facts::Command;
use crate::lexer::Kind;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Command> {
    match cursor.accept_any(&["declare", "fetch", "move", "close"])? {
        "declare" => declare(cursor),
        "close" => {
            if cursor.accept(&["all"]) {
                return Some(Command::Close(None));
            }
            Some(Command::Close(Some(cursor.ident()?)))
        }
        _ => fetch(cursor),
    }
}

fn declare(cursor: &mut Cursor<'_>) -> Option<Command> {
    let name = cursor.ident()?;
    loop {
        if cursor.accept(&["no", "scroll"]) {
            continue;
        }
        if cursor
            .accept_any(&["binary", "asensitive", "insensitive", "scroll"])
            .is_none()
        {
            break;
        }
    }
    cursor.expect(&["cursor"])?;
    let hold = cursor.accept(&["with", "hold"]);
    if !hold {
        cursor.accept(&["without", "hold"]);
    }
    cursor.expect(&["for"])?;
    if !is_query(cursor) {
        return None;
    }
    let query_text = cursor.rest_range()?;
    let query = Box::new(analyze(cursor.text().get(query_text.clone())?));
    cursor.advance(cursor.rest().len());
    Some(Command::Declare {
        name,
        hold,
        query,
        query_text,
    })
}

/// FETCH [direction] [FROM | IN] cursor. The direction does not matter here, but must be one.
fn fetch(cursor: &mut Cursor<'_>) -> Option<Command> {
    let start = *cursor;
    let number = |cursor: &mut Cursor<'_>| {
        if !cursor.accept_op("-") {
            cursor.accept_op("+");
        }
        cursor.accept_kind(Kind::Number)
    };
    let mut direction = true;
    if cursor
        .accept_any(&["next", "prior", "first", "last"])
        .is_some()
    {
    } else if cursor.accept_any(&["absolute", "relative"]).is_some() {
        direction = number(cursor);
    } else if cursor.accept_any(&["forward", "backward"]).is_some() {
        if !cursor.accept(&["all"]) {
            number(cursor);
        }
    } else if !cursor.accept(&["all"]) {
        direction = number(cursor);
    }
    cursor.accept_any(&["from", "in"]);
    let named = if direction {
        cursor.ident().filter(|_| cursor.is_end())
    } else {
        None
    };
    if let Some(name) = named {
        return Some(Command::Fetch { cursor: name });
    }
    // The direction's word may itself be the cursor's name: `FETCH next`.
    *cursor = start;
    cursor.accept_any(&["from", "in"]);
    Some(Command::Fetch {
        cursor: cursor.ident()?,
    })
}
