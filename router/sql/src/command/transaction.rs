//! BEGIN to ROLLBACK PREPARED.

use crate::cursor::Cursor;
use crate::facts::{Command, Isolation, TransactionModes};
use crate::lexer::Kind;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Command> {
    match cursor.accept_any(&[
        "begin",
        "start",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint",
        "release",
    ])? {
        "begin" => {
            noise(cursor);
            Some(Command::Begin(modes(cursor, true)?))
        }
        "start" => {
            cursor.expect(&["transaction"])?;
            Some(Command::Begin(modes(cursor, true)?))
        }
        "commit" if cursor.accept(&["prepared"]) => Some(Command::CommitPrepared(cursor.string()?)),
        "commit" | "end" => {
            noise(cursor);
            Some(Command::Commit {
                chain: chain(cursor)?,
            })
        }
        "rollback" if cursor.accept(&["prepared"]) => {
            Some(Command::RollbackPrepared(cursor.string()?))
        }
        "rollback" => {
            noise(cursor);
            if cursor.accept(&["to"]) {
                savepoint_word(cursor);
                return Some(Command::RollbackTo(cursor.ident()?));
            }
            Some(Command::Rollback {
                chain: chain(cursor)?,
            })
        }
        "abort" => {
            noise(cursor);
            Some(Command::Rollback {
                chain: chain(cursor)?,
            })
        }
        "savepoint" => Some(Command::Savepoint(cursor.ident()?)),
        _ => {
            savepoint_word(cursor);
            Some(Command::ReleaseSavepoint(cursor.ident()?))
        }
    }
}

fn noise(cursor: &mut Cursor<'_>) {
    cursor.accept_any(&["work", "transaction"]);
}

/// SAVEPOINT before the name is noise, unless it is the name.
fn savepoint_word(cursor: &mut Cursor<'_>) {
    if cursor.peek_at(1).is_some() {
        cursor.accept(&["savepoint"]);
    }
}

fn chain(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.accept(&["and"]) {
        return Some(false);
    }
    let no = cursor.accept(&["no"]);
    cursor.expect(&["chain"])?;
    Some(!no)
}

/// A list of transaction modes up to the end, with or without commas. A mode said twice counts as said last.
pub(super) fn modes(cursor: &mut Cursor<'_>, may_be_empty: bool) -> Option<TransactionModes> {
    let mut modes = TransactionModes::default();
    if cursor.is_end() {
        return may_be_empty.then_some(modes);
    }
    loop {
        if cursor.accept(&["isolation", "level"]) {
            let levels: &[(&[&str], Isolation)] = &[
                (&["read", "uncommitted"], Isolation::ReadUncommitted),
                (&["read", "committed"], Isolation::ReadCommitted),
                (&["repeatable", "read"], Isolation::RepeatableRead),
                (&["serializable"], Isolation::Serializable),
            ];
            let (_, level) = levels.iter().find(|(words, _)| cursor.accept(words))?;
            modes.isolation = Some(*level);
        } else if cursor.accept(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if cursor.accept(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if cursor.accept(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            cursor.expect(&["deferrable"])?;
            modes.deferrable = Some(true);
        }
        let comma = cursor.accept_kind(Kind::Comma);
        if !comma && cursor.is_end() {
            return Some(modes);
        }
    }
}
