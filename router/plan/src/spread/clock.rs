//! What reads the clock in a statement that several shards carry out.
//!
//! `now()` and its kin are one value for the whole of a transaction (statement), and each shard's transaction begins at a
//! time of its own. So each mention of them is replaced by the time of home's transaction. `clock_timestamp()` and
//! `timeofday()` read the clock anew at each call anyway, and stay.

use crate::functions::VOLATILE;
use crate::snapshot::Snapshot;
use crate::spread::Piece;
use shardgate_sql::lexer::{Kind, Token, lex};
use std::ops::Range;
use std::sync::Arc;

/// Functions of pg_catalog that answer the time of the transaction or of the statement.
const CALLS: &[&str] = &["now", "transaction_timestamp", "statement_timestamp"];

/// Their spellings without brackets, which may have a precision behind them, and the types of their values.
const WORDS: &[(&str, &str)] = &[
    ("current_timestamp", "timestamptz"),
    ("current_date", "date"),
    ("current_time", "timetz"),
    ("localtimestamp", "timestamp"),
    ("localtime", "time"),
];

/// Words that dates and times are read from by the clock.
const SAYING: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// Words behind which an expression begins; behind all others the word for a time may be a name.
const BEFORE: &[&str] = &[
    "and",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "from",
    "having",
    "ilike",
    "in",
    "like",
    "not",
    "on",
    "or",
    "returning",
    "select",
    "set",
    "then",
    "to",
    "values",
    "when",
    "where",
    "similar",
    "is",
    "all",
    "any",
    "some",
    "as",
];

/// What is written in the place of some bytes.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    pub of_client: Range<usize>,
    pub pieces: Vec<Piece>,
}

/// The constant may be read as the time at which it is read, if it is read as a date or a time.
pub(crate) fn says_time(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| {
        SAYING
            .iter()
            .any(|saying| word.eq_ignore_ascii_case(saying))
    })
}

/// The text of an expression, as Postgres prints it, that reads the clock of the transaction. False: it does not; it may
/// call functions that read the clock anew at each call.
pub fn reads_clock(text: &str) -> bool {
    let Ok(tokens) = lex(text) else { return true };
    let named = |token: &Token| {
        token.name(text).is_some_and(|name| {
            CALLS.contains(&name.as_str()) || WORDS.iter().any(|(word, _)| *word == name)
        })
    };
    let says = |token: &Token| {
        token.kind.is_string() && token.string(text).is_none_or(|text| says_time(&text))
    };
    tokens.iter().any(|token| named(token) || says(token))
}

/// The text of a default, as Postgres prints it, calls a function that may answer otherwise each time.
pub fn computes_anew(text: &str) -> bool {
    let Ok(tokens) = lex(text) else { return true };
    let named = |token: &Token| {
        let name = token.name(text);
        name.is_some_and(|name| VOLATILE.contains(&name.as_str()))
    };
    tokens.iter().any(named)
}

/// All that reads the clock in the text, in order, with what stands for it.
///
/// # Errors
/// Why it cannot be replaced.
pub(super) fn replaced(
    text: &str,
    tokens: &[Token],
    snapshot: &Snapshot,
) -> Result<Vec<Replaced>, String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = token.name(text) else {
            continue;
        };
        let previous = at.checked_sub(1).and_then(|at| tokens.get(at));
        if CALLS.contains(&name.as_str()) {
            let kind = |ahead: usize| tokens.get(at + ahead).map(|token| token.kind);
            if kind(1) != Some(Kind::LParen) {
                continue;
            }
            let end = tokens
                .get(at + 2)
                .filter(|token| token.kind == Kind::RParen)
                .ok_or_else(|| format!("{name} has arguments"))?;
            let mut start = token.start;
            if previous.is_some_and(|token| token.kind == Kind::Dot) {
                // Another schema's function is none that is known to be pure.
                start = at
                    .checked_sub(2)
                    .and_then(|at| tokens.get(at))
                    .filter(|schema| schema.name(text).as_deref() == Some("pg_catalog"))
                    .ok_or_else(|| format!("function {name} is a user's"))?
                    .start;
            } else if snapshot.functions.contains_key(&name) {
                return Err(format!("a user's function {name} may be meant"));
            }
            if snapshot.catalog_functions.contains(&name) {
                return Err(format!(
                    "pg_catalog has a function {name} that a user has made"
                ));
            }
            found.push(Replaced {
                of_client: start..end.end,
                pieces: value(None),
            });
        } else if let Some((_, ty)) = WORDS.iter().find(|(word, _)| token.is_word(text, word)) {
            if !begins_expression(text, previous) {
                return Err(format!("the place of {name} is not understood"));
            }
            let (end, precision) = precision(text, tokens, at);
            found.push(Replaced {
                of_client: token.start..end,
                pieces: value(Some(&format!("::pg_catalog.{ty}{precision}"))),
            });
        }
    }
    Ok(found)
}

/// No string constant of the text may be read by the clock, but those in `plain`, each of which stands for one.
///
/// # Errors
/// Which one may.
pub(super) fn strings_timeless(
    text: &str,
    tokens: &[Token],
    mut plain: Vec<&String>,
) -> Result<(), String> {
    for token in tokens.iter().filter(|token| token.kind.is_string()) {
        // What is no plain string is a bit string.
        let Some(value) = token.string(text).filter(|value| says_time(value)) else {
            continue;
        };
        match plain.iter().position(|known| **known == value) {
            Some(at) => {
                plain.swap_remove(at);
            }
            None => return Err(format!("the constant '{value}' may be read by the clock")),
        }
    }
    Ok(())
}

/// `(now)` or `(now::type)`.
fn value(cast: Option<&str>) -> Vec<Piece> {
    let close = format!("{})", cast.unwrap_or_default());
    vec![
        Piece::Made(Arc::from("(")),
        Piece::Now,
        Piece::Made(Arc::from(close)),
    ]
}

/// Where a word with an optional `(n)` ends, and that.
fn precision(text: &str, tokens: &[Token], at: usize) -> (usize, String) {
    let own = tokens.get(at).map_or(0, |token| token.end);
    match tokens.get(at + 1..at + 4) {
        Some([open, digits, close])
            if open.kind == Kind::LParen
                && digits.kind == Kind::Number
                && close.kind == Kind::RParen =>
        {
            (close.end, format!("({})", digits.raw(text)))
        }
        Some(_) | None => (own, String::new()),
    }
}

fn begins_expression(text: &str, previous: Option<&Token>) -> bool {
    let Some(token) = previous else { return true };
    match token.kind {
        Kind::Op | Kind::Comma | Kind::LParen | Kind::LBracket | Kind::EqualsGreater => true,
        Kind::Word => {
            BEFORE.iter().any(|word| token.is_word(text, word)) && !token.is_word(text, "as")
        }
        _not_before_an_expression => false,
    }
}

/// The bytes of the range, with what stands for some of them. `replaced` is in order.
pub(super) fn pieces(range: Range<usize>, replaced: &[Replaced]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut done = range.start;
    let first = replaced.partition_point(|one| one.of_client.start < range.start);
    for one in replaced.iter().skip(first) {
        if one.of_client.end > range.end {
            break;
        }
        if one.of_client.start > done {
            pieces.push(Piece::Client(done..one.of_client.start));
        }
        pieces.extend(one.pieces.iter().cloned());
        done = one.of_client.end;
    }
    if done < range.end {
        pieces.push(Piece::Client(done..range.end));
    }
    pieces
}

/// The default of a column, as Postgres prints it, in brackets.
///
/// # Errors
/// Why its value is not known to be the same on all shards.
pub(super) fn default_pieces(text: &str, snapshot: &Snapshot) -> Result<Vec<Piece>, String> {
    let tokens = lex(text).map_err(|_| super::misread())?;
    for token in &tokens {
        if token.kind.is_string() && token.string(text).is_none_or(|text| says_time(&text)) {
            return Err("it is read by the clock".to_owned());
        }
        // Names mean pg_catalog's there, and a client's search_path might find others.
        if let Some(name) = token.name(text)
            && (snapshot.functions.contains_key(&name) || snapshot.types.contains(&name))
        {
            return Err(format!("\"{name}\" may mean something else there"));
        }
        if token.kind == Kind::Op
            && snapshot
                .operators
                .iter()
                .any(|operator| operator.name == token.raw(text))
        {
            return Err(format!("operator {} may be a user's", token.raw(text)));
        }
    }
    let replaced = replaced(text, &tokens, snapshot)?;
    let mut made = vec![Piece::Made(Arc::from("("))];
    for piece in pieces(0..text.len(), &replaced) {
        made.push(match piece {
            Piece::Client(range) => Piece::Made(Arc::from(text.get(range).unwrap_or_default())),
            other => other,
        });
    }
    made.push(Piece::Made(Arc::from(")")));
    Ok(made)
}
