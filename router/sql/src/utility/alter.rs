//! ALTER.

use super::object::{self, Class};
use super::{create, mentioned, on_relations, plain, stored};
use crate::cursor::Cursor;
use crate::facts::{Scope, Utility};

/// Behind ALTER.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.accept(&["default", "privileges"]) {
        return Some(plain("ALTER DEFAULT PRIVILEGES", Scope::AllShards));
    }
    let object = object::accept(cursor)?;
    cursor.peek()?;
    match object.class {
        // Objects of a tablespace, wherever they are.
        Class::Relation if cursor.is(&["all", "in", "tablespace"]) => {
            Some(plain(object.alter, Scope::AllShards))
        }
        Class::Relation => {
            cursor.accept(&["if", "exists"]);
            let target = cursor.relation()?;
            cursor.peek()?;
            let others =
                create::owners(mentioned::references(cursor.text(), cursor.rest()), object);
            let alone = cursor.clone().seek(|c| c.is(&["concurrently"]));
            let changed_columns = changed_columns(cursor);
            let stored = match object.alter {
                "ALTER TABLE" => stored::of_table(cursor),
                _ => Vec::new(),
            };
            let base = on_relations(object.alter, vec![target]);
            Some(Utility {
                others,
                no_transaction: alone,
                changed_columns,
                stored,
                ..base
            })
        }
        Class::OnRelation => {
            cursor.ident()?;
            cursor.expect(&["on"])?;
            let target = cursor.name()?;
            let mut others = Vec::new();
            if object.alter == "ALTER POLICY" {
                others = mentioned::distinct(mentioned::names(cursor.text(), cursor.rest()));
                others.retain(|name| *name != target);
            }
            Some(Utility {
                others,
                ..on_relations(object.alter, vec![target])
            })
        }
        Class::Everywhere => Some(Utility {
            stored: match object.alter {
                "ALTER DOMAIN" => stored::of_domain(cursor).into_iter().collect(),
                _ => Vec::new(),
            },
            ..plain(object.alter, Scope::AllShards)
        }),
        Class::Home => Some(at_home(cursor, object)),
    }
}

fn at_home(cursor: &mut Cursor<'_>, object: object::Object) -> Utility {
    let named = |c: &Cursor<'_>| mentioned::distinct(mentioned::names(c.text(), c.rest()));
    match object.alter {
        // A setting of the database must hold on every shard, or rows would be read differently there.
        "ALTER DATABASE"
            if cursor.seek(|c| c.is(&["set"]) || c.is(&["reset"]))
                && !cursor.is(&["set", "tablespace"]) =>
        {
            plain(object.alter, Scope::AllShards)
        }
        "ALTER PUBLICATION" => Utility {
            others: named(cursor),
            ..plain(object.alter, Scope::Home)
        },
        "ALTER SYSTEM" => Utility {
            no_transaction: true,
            ..plain(object.alter, Scope::Home)
        },
        _ => plain(object.alter, Scope::Home),
    }
}

/// Columns that are renamed, dropped, or given another type.
fn changed_columns(cursor: &Cursor<'_>) -> Vec<String> {
    let mut columns = Vec::new();
    let mut cursor = *cursor;
    loop {
        if cursor.accept(&["rename"]) {
            if !cursor.is(&["to"]) && !cursor.is(&["constraint"]) {
                cursor.accept(&["column"]);
                columns.extend(cursor.ident());
            }
        } else if cursor.accept(&["drop"]) {
            if !cursor.is(&["constraint"]) {
                cursor.accept(&["column"]);
                cursor.accept(&["if", "exists"]);
                columns.extend(cursor.ident());
            }
        } else if cursor.accept(&["alter"]) && !cursor.is(&["constraint"]) {
            cursor.accept(&["column"]);
            let column = cursor.ident();
            if cursor.accept(&["set", "data", "type"])
                || cursor.accept(&["type"])
                || cursor.is(&["set", "expression"])
            {
                columns.extend(column);
            }
        }
        // The next action stands behind a comma outside of parentheses.
        if !cursor.seek(|c| c.is_kind(crate::lexer::Kind::Comma)) {
            return columns;
        }
        cursor.advance(1);
    }
}
