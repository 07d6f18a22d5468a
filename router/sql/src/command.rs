//! Transaction control, settings, prepared statements, cursors and the rest of what the session carries out.
//!
//! All of it is read by hand from the tokens. A form that is not known to the last token is not understood at all.

mod copy;
mod cursors;
mod prepared;
mod setting;
mod transaction;

use crate::cursor::Cursor;
use crate::facts::Command;
use crate::lexer::{Kind, Token};

/// Reads a session command. Err is the reason, for people.
pub(crate) fn parse(text: &str, tokens: &[Token]) -> Result<Command, String> {
    let mut cursor = Cursor::new(text, tokens);
    let verb = cursor.word().ok_or("it does not begin with a word")?;
    // COPY holds a query, whose own reason is worth telling.
    if verb == "copy" {
        return copy::parse(&mut cursor);
    }
    if verb == "execute" {
        return prepared::execute(&mut cursor);
    }
    let command = match verb.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            transaction::parse(&mut cursor)
        }
        "set" | "reset" | "show" => setting::parse(&mut cursor),
        "prepare" | "deallocate" => prepared::parse(&mut cursor),
        "declare" | "fetch" | "move" | "close" => cursors::parse(&mut cursor),
        "discard" => discard(&mut cursor),
        "listen" | "unlisten" | "notify" => notify(&mut cursor),
        "lock" => lock(&mut cursor),
        _ => None,
    };
    let whole = command.filter(|_| cursor.is_end());
    whole.ok_or_else(|| {
        format!(
            "this form of {} is not understood",
            verb.to_ascii_uppercase()
        )
    })
}

fn discard(cursor: &mut Cursor<'_>) -> Option<Command> {
    cursor.expect(&["discard"])?;
    Some(
        match cursor.accept_any(&["all", "plans", "sequences", "temp", "temporary"])? {
            "all" => Command::DiscardAll,
            "plans" => Command::Discard("PLANS".to_owned()),
            "sequences" => Command::Discard("SEQUENCES".to_owned()),
            _ => Command::Discard("TEMP".to_owned()),
        },
    )
}

fn notify(cursor: &mut Cursor<'_>) -> Option<Command> {
    if cursor.accept(&["listen"]) {
        return Some(Command::Listen(cursor.ident()?));
    }
    if cursor.accept(&["unlisten"]) {
        if cursor.accept_op("*") {
            return Some(Command::Unlisten(None));
        }
        return Some(Command::Unlisten(Some(cursor.ident()?)));
    }
    cursor.expect(&["notify"])?;
    let channel = cursor.ident()?;
    if cursor.accept_kind(Kind::Comma) {
        cursor.string()?;
    }
    Some(Command::Notify(channel))
}

fn lock(cursor: &mut Cursor<'_>) -> Option<Command> {
    cursor.expect(&["lock"])?;
    cursor.accept(&["table"]);
    let names = cursor.list(Cursor::relation)?;
    if cursor.accept(&["in"]) {
        let modes: &[&[&str]] = &[
            &["access", "share"],
            &["row", "share"],
            &["row", "exclusive"],
            &["share", "update", "exclusive"],
            &["share", "row", "exclusive"],
            &["share"],
            &["exclusive"],
            &["access", "exclusive"],
        ];
        modes.iter().find(|mode| cursor.accept(mode))?;
        cursor.expect(&["mode"])?;
    }
    cursor.accept(&["nowait"]);
    Some(Command::Lock(names))
}
