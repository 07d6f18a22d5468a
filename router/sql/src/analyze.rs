//! One statement -> its facts: which of the hand-written parsers reads it, or whether the parser for queries does.

use crate::cursor::Cursor;
use crate::facts::{Facts, Statement};
use crate::lexer::{Kind, Token, lex};
use crate::{command, explain, hint, keywords, query, split, utility};
use std::collections::HashSet;

/// Reads one statement, without a semicolon behind it. It never fails: what is not understood for certain is
/// `Statement::Unparsed` with the reason. Spans in the result are byte ranges of `text`; those inside of the facts of
/// an inner statement (EXPLAIN, PREPARE, DECLARE) are relative to the inner text.
///
/// The running time is linear in the text, the result is nested no deeper than about a hundred levels, and no input
/// can exhaust a stack of 2 MiB.
pub fn analyze(text: &str) -> Facts {
    match lex(text) {
        Ok(tokens) => from_tokens(text, &tokens),
        Err(error) => Facts {
            statement: unparsed(text, &[], error.message),
            params: 0,
            hint: None,
            identifiers: Vec::new(),
            literal_free: false,
        },
    }
}

pub(crate) fn from_tokens(text: &str, tokens: &[Token]) -> Facts {
    // One semicolon at the end does no harm.
    let tokens = match tokens.split_last() {
        Some((last, rest)) if last.kind == Kind::Semicolon => rest,
        Some(_) | None => tokens,
    };
    let hint = hint::find(text, tokens);
    Facts {
        statement: statement(text, tokens),
        params: params(text, tokens),
        hint,
        identifiers: identifiers(text, tokens),
        literal_free: !tokens.iter().any(|t| t.kind.is_string()),
    }
}

fn statement(text: &str, tokens: &[Token]) -> Statement {
    if tokens.is_empty() {
        return Statement::Empty;
    }
    if tokens.iter().any(|t| t.kind == Kind::Semicolon) && split::pieces(text, tokens).len() > 1 {
        return unparsed(text, tokens, "it is more than one statement".to_owned());
    }
    let result = match verb(text, tokens) {
        Verb::Query => query::parse(text, tokens).map(|q| Statement::Query(Box::new(q))),
        Verb::Explain => explain::parse(text, tokens),
        Verb::Command => command::parse(text, tokens).map(Statement::Command),
        Verb::Utility => utility::parse(text, tokens).map(Statement::Utility),
    };
    result.unwrap_or_else(|reason| unparsed(text, tokens, reason))
}

enum Verb {
    Query,
    Explain,
    Command,
    /// Anything else, known or not.
    Utility,
}

fn verb(text: &str, tokens: &[Token]) -> Verb {
    let Some(first) = tokens.first() else {
        return Verb::Utility;
    };
    if first.kind == Kind::LParen {
        return Verb::Query;
    }
    let word = if first.kind == Kind::Word {
        first.raw(text).to_ascii_lowercase()
    } else {
        String::new()
    };
    match word.as_str() {
        "select" | "with" | "values" | "table" | "insert" | "update" | "delete" | "merge" => {
            Verb::Query
        }
        "explain" => Verb::Explain,
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release"
        | "set" | "reset" | "show" | "discard" | "prepare" | "execute" | "deallocate"
        | "declare" | "fetch" | "move" | "close" | "listen" | "unlisten" | "notify" | "copy"
        | "lock" => Verb::Command,
        _ => Verb::Utility,
    }
}

/// What is left begins as a query does.
pub(crate) fn is_query(cursor: &Cursor<'_>) -> bool {
    match verb(cursor.text(), cursor.rest()) {
        Verb::Query => true,
        Verb::Explain | Verb::Command | Verb::Utility => false,
    }
}

/// The statement is left to its leading keywords: up to three unquoted words.
fn unparsed(text: &str, tokens: &[Token], reason: String) -> Statement {
    let words = tokens.iter().take(3).take_while(|t| t.kind == Kind::Word);
    let keywords: Vec<String> = words.map(|t| t.raw(text).to_ascii_uppercase()).collect();
    Statement::Unparsed {
        keywords: keywords.join(" "),
        reason,
    }
}

fn params(text: &str, tokens: &[Token]) -> u16 {
    tokens
        .iter()
        .filter_map(|t| t.param(text))
        .max()
        .unwrap_or(0)
}

/// Every token that may be a name: quoted ones, and words that are not reserved or stand behind a dot.
fn identifiers(text: &str, tokens: &[Token]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    let mut after_dot = false;
    for token in tokens {
        if token.kind.is_name()
            && let Some(name) = token.name(text)
        {
            let reserved = token.kind == Kind::Word && !after_dot && keywords::is_reserved(&name);
            if !reserved && !seen.contains(&name) {
                seen.insert(name.clone());
                names.push(name);
            }
        }
        after_dot = token.kind == Kind::Dot;
    }
    names
}
