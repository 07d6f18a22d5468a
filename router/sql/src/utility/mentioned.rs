//! Names in the parts of DDL whose grammar is not read.

use crate::cursor::Cursor;
use crate::facts::Name;
use crate::lexer::{Kind, Token};

/// Every name that might be a relation's: dotted chains that are not called. Too many is right here, too few is not.
pub(super) fn names(text: &str, tokens: &[Token]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    let mut cursor = Cursor::new(text, tokens);
    while !cursor.is_end() {
        let Some(parts) = cursor.parts() else {
            cursor.advance(1);
            continue;
        };
        if cursor.is_kind(Kind::LParen) {
            continue;
        }
        // `a.b` is a relation b in a schema a, or a column b of a relation a.
        if let [.., _, _] = parts.as_slice() {
            push(&mut names, parts.get(..parts.len() - 1).unwrap_or_default());
        }
        push(&mut names, &parts);
        if names.len() > NAMES_MAX {
            break;
        }
    }
    names
}

/// The guard on the number of tokens keeps any list far below this.
const NAMES_MAX: usize = 10_000;

fn push(names: &mut Vec<Name>, parts: &[String]) {
    let Some((name, before)) = parts.split_last() else {
        return;
    };
    let name = Name {
        schema: before.last().cloned(),
        name: name.clone(),
    };
    names.push(name);
}

/// Sorts out what was said twice.
pub(super) fn distinct(mut names: Vec<Name>) -> Vec<Name> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The relations that a table's definition or change refers to: foreign keys, LIKE, INHERITS, partitions.
pub(super) fn references(text: &str, tokens: &[Token]) -> Vec<Name> {
    let mut names = Vec::new();
    let mut cursor = Cursor::new(text, tokens);
    let mut before = None;
    while let Some(token) = cursor.peek() {
        let listed = matches!(before, Some(Kind::LParen | Kind::Comma));
        let single = cursor.accept(&["references"])
            || cursor.accept(&["partition", "of"])
            || cursor.accept(&["attach", "partition"])
            || cursor.accept(&["detach", "partition"])
            || cursor.accept(&["inherit"])
            || cursor.accept(&["owned", "by"])
            || (listed && cursor.accept(&["like"]));
        if single {
            names.extend(cursor.relation());
        } else if cursor.accept(&["inherits"]) {
            if let Some(group) = cursor.group() {
                names.extend(
                    Cursor::new(text, group)
                        .list(Cursor::name)
                        .unwrap_or_default(),
                );
            }
        } else {
            cursor.advance(1);
        }
        before = Some(token.kind);
    }
    distinct(names)
}
