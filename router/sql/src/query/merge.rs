//! MERGE, which is not modelled: its relations, its subqueries and the functions that it calls are listed.

use super::parse_tokens;
use crate::cursor::Cursor;
use crate::facts::{Body, Expr, Function, Name, Opaque, Query};
use crate::keywords;
use crate::lexer::{Kind, Token};

/// The statement's verb is MERGE, perhaps behind a WITH list.
pub(super) fn is_merge(text: &str, tokens: &[Token]) -> bool {
    let mut cursor = Cursor::new(text, tokens);
    cursor.is(&["merge", "into"])
        || (cursor.is(&["with"]) && cursor.seek(|c| c.is(&["merge", "into"])))
}

/// Subqueries in parentheses are read on their own; every other name is listed, whether it is a table's or not.
pub(super) fn parse(text: &str, tokens: &[Token]) -> Result<Query, String> {
    let mut opaque = Opaque {
        what: "MERGE".to_owned(),
        relations: Vec::new(),
        subqueries: Vec::new(),
        children: Vec::new(),
    };
    let mut cursor = Cursor::new(text, tokens);
    while let Some(token) = cursor.peek() {
        if token.kind == Kind::LParen {
            let mut inside = cursor;
            inside.advance(1);
            let begins = [
                "select", "with", "values", "table", "insert", "update", "delete",
            ];
            if begins.iter().any(|w| inside.is(&[w])) {
                let group = cursor.group().ok_or("a parenthesis is not closed")?;
                opaque.subqueries.push(parse_tokens(text, group)?);
                continue;
            }
        }
        if !token.kind.is_name() {
            cursor.advance(1);
            continue;
        }
        match cursor.name() {
            None => {
                // A reserved word, or a name of many parts.
                let word = cursor.word().unwrap_or_default();
                if !keywords::is_reserved(&word) && keywords::is_column_name(&word) {
                    return Err("a name is not understood".to_owned());
                }
                cursor.advance(1);
                if cursor.is_kind(Kind::LParen) && !keywords::is_reserved(&word) {
                    opaque.children.push(call(Name {
                        schema: None,
                        name: word,
                    }));
                }
            }
            Some(name) if cursor.is_kind(Kind::LParen) => opaque.children.push(call(name)),
            Some(name) => {
                if !opaque.relations.contains(&name) {
                    opaque.relations.push(name);
                }
            }
        }
        if opaque.relations.len() > 1000 {
            return Err("it has more than 1000 names".to_owned());
        }
    }
    Ok(Query {
        recursive: false,
        ctes: Vec::new(),
        body: Body::Opaque(opaque),
        order_by: Vec::new(),
        limit: None,
        offset: None,
        with_ties: false,
        locking: false,
    })
}

fn call(name: Name) -> Expr {
    let args = Vec::new();
    let arg_names = Vec::new();
    Expr::Function(Box::new(Function {
        name,
        args,
        arg_names,
        extra: Vec::new(),
        distinct: false,
        over: None,
        star: false,
    }))
}
