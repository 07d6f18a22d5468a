//! DROP.

use super::object::{self, Class};
use super::{on_relations, plain};
use crate::cursor::Cursor;
use crate::facts::{Scope, Utility};

/// Behind DROP.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.accept(&["owned", "by"]) {
        return Some(plain("DROP OWNED", Scope::AllShards));
    }
    let object = object::accept(cursor)?;
    let concurrently = cursor.accept(&["concurrently"]);
    cursor.accept(&["if", "exists"]);
    cursor.peek()?;
    match object.class {
        Class::Relation => {
            let targets = cursor.list(Cursor::name)?;
            behavior(cursor)?;
            Some(Utility {
                no_transaction: concurrently,
                ..on_relations(object.drop, targets)
            })
        }
        Class::OnRelation => {
            cursor.ident()?;
            cursor.expect(&["on"])?;
            let target = cursor.name()?;
            behavior(cursor)?;
            Some(on_relations(object.drop, vec![target]))
        }
        Class::Everywhere => Some(plain(object.drop, Scope::AllShards)),
        Class::Home => {
            let alone = matches!(
                object.drop,
                "DROP DATABASE" | "DROP TABLESPACE" | "DROP SUBSCRIPTION"
            );
            let known = !matches!(object.drop, "DROP SYSTEM" | "DROP LARGE OBJECT");
            known.then(|| Utility {
                no_transaction: alone,
                ..plain(object.drop, Scope::Home)
            })
        }
    }
}

/// CASCADE or RESTRICT, and nothing behind it.
fn behavior(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.accept_any(&["cascade", "restrict"]);
    cursor.end()
}
