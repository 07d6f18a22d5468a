//! DDL and maintenance: a closed table by the leading keywords. What is not in it is not understood.
//!
//! It says where a statement belongs, which relations it names and whether it runs in a transaction. Everything else
//! about it is left to the server. Names are read by hand, as the parser fails on many forms of DDL.

mod alter;
mod create;
mod drop;
mod mentioned;
mod object;
mod on_objects;
mod relations;
mod stored;
mod upkeep;

use crate::cursor::Cursor;
use crate::facts::{Name, Scope, Utility};
use crate::lexer::Token;

/// Reads a DDL or maintenance statement. Err is the reason, for people.
pub(crate) fn parse(text: &str, tokens: &[Token]) -> Result<Utility, String> {
    let mut cursor = Cursor::new(text, tokens);
    let verb = cursor.word().ok_or("it does not begin with a word")?;
    cursor.advance(1);
    let odd = || {
        format!(
            "this form of {} is not understood",
            verb.to_ascii_uppercase()
        )
    };
    // A query inside of DDL has its own reason, which is worth telling.
    if verb == "create" {
        return create::parse(&mut cursor).unwrap_or_else(|| Err(odd()));
    }
    let utility = match verb.as_str() {
        "alter" => alter::parse(&mut cursor),
        "drop" => drop::parse(&mut cursor),
        "grant" => on_objects::grant(&mut cursor, "GRANT"),
        "revoke" => on_objects::grant(&mut cursor, "REVOKE"),
        "comment" => on_objects::comment(&mut cursor),
        "security" => on_objects::label(&mut cursor),
        "truncate" => upkeep::truncate(&mut cursor),
        "vacuum" => upkeep::vacuum(&mut cursor),
        "analyze" | "analyse" => upkeep::analyze(&mut cursor),
        "reindex" => upkeep::reindex(&mut cursor),
        "cluster" => upkeep::cluster(&mut cursor),
        "refresh" => upkeep::refresh(&mut cursor),
        "checkpoint" => Some(plain("CHECKPOINT", Scope::AllShards)),
        "reassign" => cursor
            .expect(&["owned", "by"])
            .map(|()| plain("REASSIGN OWNED", Scope::AllShards)),
        "import" => cursor
            .expect(&["foreign", "schema"])
            .map(|()| plain("IMPORT FOREIGN SCHEMA", Scope::Home)),
        "do" => Some(plain("DO", Scope::Opaque)),
        "call" => Some(plain("CALL", Scope::Opaque)),
        "load" => Some(plain("LOAD", Scope::Opaque)),
        _ => {
            return Err(format!(
                "{} is no statement that the router knows",
                verb.to_ascii_uppercase()
            ));
        }
    };
    utility.ok_or_else(odd)
}

/// A statement about which only its place is known.
fn plain(tag: &'static str, scope: Scope) -> Utility {
    Utility {
        tag,
        scope,
        targets: Vec::new(),
        others: Vec::new(),
        temporary: false,
        no_transaction: false,
        query: None,
        changed_columns: Vec::new(),
        stored: Vec::new(),
    }
}

/// A statement that goes where its relations are.
fn on_relations(tag: &'static str, targets: Vec<Name>) -> Utility {
    let temporary = targets.iter().any(is_temporary);
    Utility {
        targets,
        temporary,
        ..plain(tag, Scope::Targets)
    }
}

/// The name is in the session's own schema.
fn is_temporary(name: &Name) -> bool {
    name.schema
        .as_deref()
        .is_some_and(|s| s == "pg_temp" || s.starts_with("pg_temp_"))
}
