//! GRANT, REVOKE, COMMENT and SECURITY LABEL: statements about objects of any kind.

use super::object::{self, Class};
use super::{on_relations, plain};
use crate::cursor::Cursor;
use crate::facts::{Name, Scope, Utility};

/// Behind GRANT or REVOKE.
pub(super) fn grant(cursor: &mut Cursor<'_>, tag: &'static str) -> Option<Utility> {
    cursor.peek()?;
    if !cursor.seek(|c| c.is(&["on"])) {
        // Membership in a role.
        return Some(plain(tag, Scope::AllShards));
    }
    cursor.advance(1);
    if cursor.is(&["all"]) {
        return Some(plain(tag, Scope::AllShards));
    }
    if cursor.accept(&["large", "object"]) {
        return Some(plain(tag, Scope::Home));
    }
    let everywhere = [
        "database",
        "domain",
        "foreign",
        "function",
        "language",
        "parameter",
        "procedure",
        "routine",
        "schema",
        "tablespace",
        "type",
    ];
    // A relation may have such a word for its name; then TO, FROM, a comma or a dot follows.
    let kind = everywhere.iter().any(|w| cursor.is(&[w])) && {
        let mut ahead = *cursor;
        ahead.advance(1);
        let ended = ahead.is(&["to"]) || ahead.is(&["from"]);
        !ended && ahead.peek().is_some_and(|t| t.kind.is_name())
    };
    if kind {
        return Some(plain(tag, Scope::AllShards));
    }
    cursor.accept_any(&["table", "sequence"]);
    let targets = cursor.list(Cursor::name)?;
    cursor.accept_any(&["to", "from"])?;
    Some(on_relations(tag, targets))
}

/// Behind COMMENT.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Option<Utility> {
    about(cursor, "COMMENT")
}

/// Behind SECURITY.
pub(super) fn label(cursor: &mut Cursor<'_>) -> Option<Utility> {
    cursor.expect(&["label"])?;
    if cursor.accept(&["for"]) {
        cursor.advance(1);
    }
    about(cursor, "SECURITY LABEL")
}

/// `ON kind name ..`
fn about(cursor: &mut Cursor<'_>, tag: &'static str) -> Option<Utility> {
    cursor.expect(&["on"])?;
    if cursor.accept(&["column"]) {
        return Some(on_relations(tag, vec![column_of(cursor)?]));
    }
    if cursor.accept(&["constraint"]) {
        cursor.ident()?;
        cursor.expect(&["on"])?;
        if cursor.accept(&["domain"]) {
            return Some(plain(tag, Scope::AllShards));
        }
        return Some(on_relations(tag, vec![cursor.name()?]));
    }
    let object = object::accept(cursor)?;
    match object.class {
        Class::Relation => Some(on_relations(tag, vec![cursor.name()?])),
        Class::OnRelation => {
            cursor.ident()?;
            cursor.expect(&["on"])?;
            Some(on_relations(tag, vec![cursor.name()?]))
        }
        Class::Everywhere => Some(plain(tag, Scope::AllShards)),
        Class::Home => Some(plain(tag, Scope::Home)),
    }
}

/// `table.column`, `schema.table.column`: the relation.
fn column_of(cursor: &mut Cursor<'_>) -> Option<Name> {
    let mut parts = cursor.parts()?;
    parts.pop()?;
    let name = parts.pop()?;
    Some(Name {
        schema: parts.pop(),
        name,
    })
}
