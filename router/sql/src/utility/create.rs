//! CREATE.

use super::object::{self, Class, Object};
use super::{is_temporary, mentioned, on_relations, plain, relations, stored};
use crate::cursor::Cursor;
use crate::facts::{Name, Query, Scope, Utility};
use crate::lexer::{Kind, Token};
use crate::query;

/// None: not understood. Err: a query inside of it was not, with the reason.
type Created = Option<Result<Utility, String>>;

/// Behind CREATE.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Created {
    cursor.accept(&["or", "replace"]);
    if !cursor.is(&["default", "conversion"]) {
        cursor.accept_any(&["global", "local"]);
    }
    let mut temporary = false;
    let mut unique = false;
    while let Some(word) = cursor.accept_any(&[
        "temp",
        "temporary",
        "unlogged",
        "recursive",
        "unique",
        "constraint",
        "trusted",
        "default",
    ]) {
        temporary |= word.starts_with("temp");
        unique |= word == "unique";
    }
    let object = object::accept(cursor)?;
    if unique && object.create != "CREATE INDEX" {
        return None;
    }
    let created = match object.create {
        "CREATE TABLE" => table(cursor)?,
        "CREATE VIEW" => view(cursor, "CREATE VIEW")?,
        "CREATE MATERIALIZED VIEW" => view(cursor, "CREATE MATERIALIZED VIEW")?,
        "CREATE INDEX" => Ok(index(cursor)?),
        "CREATE SCHEMA" => Ok(schema(cursor)?),
        "CREATE STATISTICS" => Ok(statistics(cursor)?),
        "CREATE PUBLICATION" => Ok(Utility {
            others: rest_names(cursor),
            ..plain(object.create, Scope::Home)
        }),
        "CREATE LARGE OBJECT" | "CREATE SYSTEM" => return None,
        _ => Ok(other(cursor, object)?),
    };
    Some(created.map(|u| Utility {
        temporary: u.temporary || temporary,
        ..u
    }))
}

fn other(cursor: &mut Cursor<'_>, object: Object) -> Option<Utility> {
    match object.class {
        Class::Relation => {
            cursor.accept(&["if", "not", "exists"]);
            let name = cursor.name()?;
            let others = mentioned::references(cursor.text(), cursor.rest());
            Some(Utility {
                others: owners(others, object),
                ..on_relations(object.create, vec![name])
            })
        }
        Class::OnRelation => on_relation(cursor, object),
        Class::Everywhere => {
            cursor.accept(&["if", "not", "exists"]);
            let temporary = cursor.name().is_some_and(|name| is_temporary(&name));
            let stored = match object.create {
                "CREATE DOMAIN" => stored::of_domain(cursor).into_iter().collect(),
                _ => Vec::new(),
            };
            Some(Utility {
                temporary,
                stored,
                ..plain(object.create, Scope::AllShards)
            })
        }
        Class::Home => {
            let alone = matches!(
                object.create,
                "CREATE DATABASE" | "CREATE TABLESPACE" | "CREATE SUBSCRIPTION"
            );
            cursor.peek()?;
            Some(Utility {
                no_transaction: alone,
                ..plain(object.create, Scope::Home)
            })
        }
    }
}

/// `OWNED BY table.column`: the relation is what stands before the column. `OWNED BY NONE` names nothing.
pub(super) fn owners(names: Vec<Name>, object: Object) -> Vec<Name> {
    if !object.create.ends_with("SEQUENCE") {
        return names;
    }
    let owner = |name: Name| {
        name.schema.map(|table| Name {
            schema: None,
            name: table,
        })
    };
    names.into_iter().filter_map(owner).collect()
}

/// CREATE TRIGGER, POLICY, RULE.
fn on_relation(cursor: &mut Cursor<'_>, object: Object) -> Option<Utility> {
    cursor.ident()?;
    if object.create == "CREATE RULE" {
        // AS ON event TO table.
        cursor.expect(&["as", "on"])?;
        cursor.advance(1);
        cursor.expect(&["to"])?;
    } else {
        // The events of a trigger have no ON of their own.
        let found = cursor.seek(|c| c.is(&["on"]));
        if !found {
            return None;
        }
        cursor.advance(1);
    }
    let target = cursor.name()?;
    let mut others = match object.create {
        // A condition of a trigger has no subqueries; a constraint trigger may name the referenced table.
        "CREATE TRIGGER" if cursor.accept(&["from"]) => vec![cursor.name()?],
        "CREATE TRIGGER" => Vec::new(),
        _ => rest_names(cursor),
    };
    others.retain(|name| *name != target);
    Some(Utility {
        others,
        ..on_relations(object.create, vec![target])
    })
}

fn rest_names(cursor: &Cursor<'_>) -> Vec<Name> {
    mentioned::distinct(mentioned::names(cursor.text(), cursor.rest()))
}

fn table(cursor: &mut Cursor<'_>) -> Created {
    cursor.accept(&["if", "not", "exists"]);
    let name = cursor.name()?;
    let definition = cursor.rest();
    if cursor.seek(begins_query) {
        cursor.advance(1);
        let columns = mentioned::references(cursor.text(), definition);
        return Some(as_query(cursor, "CREATE TABLE AS", name, columns));
    }
    if cursor.seek(|c| c.is(&["as", "execute"])) {
        return None;
    }
    // A definition begins so; anything else was not understood.
    let known =
        cursor.is_kind(Kind::LParen) || cursor.is(&["partition", "of"]) || cursor.is(&["of"]);
    let others = mentioned::references(cursor.text(), definition);
    known.then(|| {
        Ok(Utility {
            others,
            ..on_relations("CREATE TABLE", vec![name])
        })
    })
}

/// AS, and behind it a query.
fn begins_query(cursor: &Cursor<'_>) -> bool {
    let paren = || {
        let mut ahead = *cursor;
        ahead.advance(1);
        ahead.is_kind(Kind::LParen)
    };
    cursor.is(&["as"])
        && (["select", "with", "values", "table"]
            .iter()
            .any(|w| cursor.is(&["as", w]))
            || paren())
}

fn view(cursor: &mut Cursor<'_>, tag: &'static str) -> Created {
    cursor.accept(&["if", "not", "exists"]);
    let name = cursor.name()?;
    if !cursor.seek(begins_query) {
        return None;
    }
    cursor.advance(1);
    Some(as_query(cursor, tag, name, Vec::new()))
}

/// The query at the end of a statement, without the clause that may stand behind it.
fn as_query(
    cursor: &Cursor<'_>,
    tag: &'static str,
    name: Name,
    others: Vec<Name>,
) -> Result<Utility, String> {
    let tokens = without_tail(cursor.text(), cursor.rest());
    let query: Query = query::parse(cursor.text(), tokens)?;
    let mut others = others;
    others.extend(relations::of(&query));
    let others = mentioned::distinct(others);
    Ok(Utility {
        others,
        query: Some(Box::new(query)),
        ..on_relations(tag, vec![name])
    })
}

/// Takes off `WITH [NO] DATA` and `WITH [CASCADED | LOCAL] CHECK OPTION`.
fn without_tail<'a>(text: &str, tokens: &'a [Token]) -> &'a [Token] {
    let tails: &[&[&str]] = &[
        &["with", "data"],
        &["with", "no", "data"],
        &["with", "check", "option"],
        &["with", "cascaded", "check", "option"],
        &["with", "local", "check", "option"],
    ];
    for tail in tails {
        let Some(start) = tokens.len().checked_sub(tail.len()) else {
            continue;
        };
        let (before, end) = tokens.split_at(start);
        if end
            .iter()
            .zip(*tail)
            .all(|(token, word)| token.is_word(text, word))
        {
            return before;
        }
    }
    tokens
}

/// Only the table counts: an index lives with it.
fn index(cursor: &mut Cursor<'_>) -> Option<Utility> {
    let concurrently = cursor.accept(&["concurrently"]);
    cursor.accept(&["if", "not", "exists"]);
    if !cursor.is(&["on"]) {
        cursor.ident()?;
    }
    cursor.expect(&["on"])?;
    let target = cursor.relation()?;
    Some(Utility {
        no_transaction: concurrently,
        ..on_relations("CREATE INDEX", vec![target])
    })
}

fn schema(cursor: &mut Cursor<'_>) -> Option<Utility> {
    cursor.peek()?;
    let element = ["create", "grant"].iter().any(|word| {
        let mut ahead = *cursor;
        ahead.seek(|c| c.is(&[word]))
    });
    // Its elements would each belong somewhere else.
    let scope = if element {
        Scope::Refuse("CREATE SCHEMA with elements is not supported")
    } else {
        Scope::AllShards
    };
    Some(plain("CREATE SCHEMA", scope))
}

/// Statistics live with the one table behind FROM.
fn statistics(cursor: &mut Cursor<'_>) -> Option<Utility> {
    let found = cursor.seek(|c| c.is(&["from"]));
    cursor.advance(1);
    let target = if found {
        cursor.relation()?
    } else {
        return None;
    };
    cursor.end()?;
    Some(on_relations("CREATE STATISTICS", vec![target]))
}
