//! SET, RESET and SHOW in all their forms, and SET CONSTRAINTS.

use super::transaction::modes;
use crate::cursor::Cursor;
use crate::facts::{Command, SetValue, TransactionModes};
use crate::lexer::Kind;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Command> {
    match cursor.accept_any(&["set", "reset", "show"])? {
        "set" => set(cursor),
        "reset" => {
            if cursor.accept(&["all"]) {
                return Some(Command::ResetAll);
            }
            Some(Command::Reset(read_name(cursor)?))
        }
        _ => {
            if cursor.accept(&["all"]) {
                return Some(Command::ShowAll);
            }
            Some(Command::Show(read_name(cursor)?))
        }
    }
}

/// The name in RESET and SHOW, where some settings have a spelling of their own.
fn read_name(cursor: &mut Cursor<'_>) -> Option<String> {
    let special: &[(&[&str], &str)] = &[
        (&["time", "zone"], "timezone"),
        (
            &["transaction", "isolation", "level"],
            "transaction_isolation",
        ),
        (&["session", "authorization"], "session_authorization"),
    ];
    match special.iter().find(|(words, _)| cursor.accept(words)) {
        Some((_, name)) => Some((*name).to_owned()),
        None => variable(cursor),
    }
}

/// A setting's name. Settings are found whatever the case, also between quotes.
fn variable(cursor: &mut Cursor<'_>) -> Option<String> {
    Some(cursor.parts()?.join(".").to_ascii_lowercase())
}

fn set(cursor: &mut Cursor<'_>) -> Option<Command> {
    if cursor.accept(&["constraints"]) {
        return constraints(cursor);
    }
    if cursor.accept(&["session", "characteristics", "as", "transaction"]) {
        return Some(Command::SetTransaction {
            session: true,
            modes: modes(cursor, false)?,
        });
    }
    // SESSION is noise unless AUTHORIZATION follows.
    let local = cursor.accept(&["local"]);
    if !local && cursor.is(&["session"]) && !cursor.is(&["session", "authorization"]) {
        let assigned = cursor
            .peek_at(1)
            .is_some_and(|t| t.is_op(cursor.text(), "=") || t.is_word(cursor.text(), "to"));
        if !assigned {
            cursor.advance(1);
        }
    }
    if cursor.accept(&["transaction", "snapshot"]) {
        cursor.string()?;
        let modes = TransactionModes {
            snapshot: true,
            ..TransactionModes::default()
        };
        return Some(Command::SetTransaction {
            session: false,
            modes,
        });
    }
    if cursor.is(&["transaction"]) && cursor.peek_at(1).is_some_and(|t| t.kind == Kind::Word) {
        cursor.advance(1);
        return Some(Command::SetTransaction {
            session: false,
            modes: modes(cursor, false)?,
        });
    }
    let (name, value) = special(cursor).or_else(|| generic(cursor))?;
    Some(Command::Set { local, name, value })
}

/// SET CONSTRAINTS ALL | names, DEFERRED | IMMEDIATE.
fn constraints(cursor: &mut Cursor<'_>) -> Option<Command> {
    if !cursor.accept(&["all"]) {
        cursor.list(Cursor::name)?;
    }
    cursor.accept_any(&["deferred", "immediate"])?;
    Some(Command::SetConstraints)
}

/// The spellings that have no `=` or TO. Nothing is stepped over if it is none of them.
fn special(cursor: &mut Cursor<'_>) -> Option<(String, Option<SetValue>)> {
    let start = *cursor;
    let result = special_form(cursor);
    if result.is_none() || !cursor.is_end() {
        *cursor = start;
        return None;
    }
    result
}

fn special_form(cursor: &mut Cursor<'_>) -> Option<(String, Option<SetValue>)> {
    if cursor.accept(&["time", "zone"]) {
        if cursor.accept_any(&["local", "default"]).is_some() {
            return Some(("timezone".to_owned(), None));
        }
        return Some(("timezone".to_owned(), Some(value(cursor)?)));
    }
    if cursor.accept(&["names"]) {
        if cursor.is_end() || cursor.accept(&["default"]) {
            return Some(("client_encoding".to_owned(), None));
        }
        return Some(("client_encoding".to_owned(), Some(value(cursor)?)));
    }
    if cursor.accept(&["schema"]) {
        return Some(("search_path".to_owned(), Some(string_value(cursor)?)));
    }
    if cursor.accept(&["session", "authorization"]) {
        let name = "session_authorization".to_owned();
        return if cursor.accept(&["default"]) {
            Some((name, None))
        } else {
            Some((name, Some(value(cursor)?)))
        };
    }
    if cursor.is(&["role"]) && !cursor.peek_at(1).is_some_and(|t| t.kind == Kind::Op) {
        cursor.advance(1);
        return Some(("role".to_owned(), Some(value(cursor)?)));
    }
    if cursor.accept(&["xml", "option"]) {
        let start = cursor.peek()?.range();
        let item = cursor.accept_any(&["document", "content"])?;
        return Some((
            "xmloption".to_owned(),
            Some(SetValue {
                items: vec![item.to_owned()],
                text: start,
            }),
        ));
    }
    None
}

/// One string constant.
fn string_value(cursor: &mut Cursor<'_>) -> Option<SetValue> {
    let text = cursor.peek()?.range();
    Some(SetValue {
        items: vec![cursor.string()?],
        text,
    })
}

/// One value: a string, a word or a number.
fn value(cursor: &mut Cursor<'_>) -> Option<SetValue> {
    let start = cursor.peek()?.start;
    let (item, end) = item(cursor)?;
    Some(SetValue {
        items: vec![item],
        text: start..end,
    })
}

fn generic(cursor: &mut Cursor<'_>) -> Option<(String, Option<SetValue>)> {
    let name = variable(cursor)?;
    if !cursor.accept_op("=") {
        cursor.expect(&["to"])?;
    }
    if cursor.accept(&["default"]) {
        return Some((name, None));
    }
    let start = cursor.peek()?.start;
    let list = cursor.list(item)?;
    let end = list.last()?.1;
    let items = list.into_iter().map(|(item, _)| item).collect();
    Some((
        name,
        Some(SetValue {
            items,
            text: start..end,
        }),
    ))
}

/// An item of a value list without its quotes, and the byte at which it ends.
fn item(cursor: &mut Cursor<'_>) -> Option<(String, usize)> {
    let text = cursor.text();
    let negative = cursor.accept_op("-");
    let signed = negative || cursor.accept_op("+");
    let token = cursor.next()?;
    let item = match token.kind {
        Kind::Number => format!("{}{}", if negative { "-" } else { "" }, token.raw(text)),
        _ if signed => return None,
        Kind::Word => {
            let word = token.name(text)?;
            // `true`, `on` and words that are not reserved may stand here.
            if crate::keywords::is_reserved(&word)
                && !matches!(word.as_str(), "true" | "false" | "on")
            {
                return None;
            }
            word
        }
        Kind::QuotedIdent | Kind::UnicodeIdent(_) => token.name(text)?,
        _ => token.string(text)?,
    };
    Some((item, token.end))
}
