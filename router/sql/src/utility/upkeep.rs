//! TRUNCATE, VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH.

use super::{on_relations, plain};
use crate::cursor::Cursor;
use crate::facts::{Name, Scope, Utility};
use crate::lexer::Kind;

/// Behind TRUNCATE.
pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Option<Utility> {
    cursor.accept(&["table"]);
    let targets = cursor.list(Cursor::relation)?;
    if cursor.accept_any(&["restart", "continue"]).is_some() {
        cursor.expect(&["identity"])?;
    }
    cursor.accept_any(&["cascade", "restrict"]);
    cursor.end()?;
    Some(on_relations("TRUNCATE TABLE", targets))
}

/// `t, u (a, b)`, or nothing for all tables.
fn tables(cursor: &mut Cursor<'_>, tag: &'static str) -> Option<Utility> {
    if cursor.is_end() {
        return Some(plain(tag, Scope::AllShards));
    }
    let table = |cursor: &mut Cursor<'_>| -> Option<Name> {
        let name = cursor.relation()?;
        if cursor.is_kind(Kind::LParen) {
            cursor.group()?;
        }
        Some(name)
    };
    let targets = cursor.list(table)?;
    cursor.end()?;
    Some(on_relations(tag, targets))
}

/// Behind VACUUM.
pub(super) fn vacuum(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.is_kind(Kind::LParen) {
        cursor.group()?;
    }
    while cursor
        .accept_any(&["full", "freeze", "verbose", "analyze", "analyse"])
        .is_some()
    {}
    Some(Utility {
        no_transaction: true,
        ..tables(cursor, "VACUUM")?
    })
}

/// Behind ANALYZE.
pub(super) fn analyze(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.is_kind(Kind::LParen) {
        cursor.group()?;
    }
    cursor.accept(&["verbose"]);
    tables(cursor, "ANALYZE")
}

/// Behind REINDEX.
pub(super) fn reindex(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.is_kind(Kind::LParen) {
        cursor.group()?;
    }
    let kind = cursor.accept_any(&["index", "table", "schema", "database", "system"])?;
    let concurrently = cursor.accept(&["concurrently"]);
    if matches!(kind, "index" | "table") {
        let target = cursor.name()?;
        cursor.end()?;
        return Some(Utility {
            no_transaction: concurrently,
            ..on_relations("REINDEX", vec![target])
        });
    }
    Some(Utility {
        no_transaction: true,
        ..plain("REINDEX", Scope::AllShards)
    })
}

/// Behind CLUSTER.
pub(super) fn cluster(cursor: &mut Cursor<'_>) -> Option<Utility> {
    if cursor.is_kind(Kind::LParen) {
        cursor.group()?;
    }
    cursor.accept(&["verbose"]);
    if cursor.is_end() {
        return Some(Utility {
            no_transaction: true,
            ..plain("CLUSTER", Scope::AllShards)
        });
    }
    let mut target = cursor.name()?;
    if cursor.accept(&["on"]) {
        // The old form: CLUSTER index ON table.
        target = cursor.name()?;
    } else if cursor.accept(&["using"]) {
        cursor.ident()?;
    }
    cursor.end()?;
    Some(on_relations("CLUSTER", vec![target]))
}

/// Behind REFRESH.
pub(super) fn refresh(cursor: &mut Cursor<'_>) -> Option<Utility> {
    cursor.expect(&["materialized", "view"])?;
    cursor.accept(&["concurrently"]);
    let target = cursor.name()?;
    if !cursor.accept(&["with", "data"]) {
        cursor.accept(&["with", "no", "data"]);
    }
    cursor.end()?;
    Some(on_relations("REFRESH MATERIALIZED VIEW", vec![target]))
}
