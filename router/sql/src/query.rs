//! The text of a query -> our form of it. The parser's tree lives and dies inside of this module.
//!
//! What cannot be read for certain is refused with a reason; nothing is ever left out of the result.

mod lower;
mod merge;
mod normalise;
mod words;

use crate::facts::{Body, Expr, Item, Query};
use crate::guard;
use crate::lexer::{Kind, Token as Ours};
use lower::Lower;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// Reads a SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE or MERGE, with or without WITH. The tokens are those of the
/// whole query and nothing else; spans in the result are places in `text`. Err is the reason, for people.
pub(crate) fn parse(text: &str, tokens: &[Ours]) -> Result<Query, String> {
    guard::check(text, tokens)?;
    if merge::is_merge(text, tokens) {
        return merge::parse(text, tokens);
    }
    parse_tokens(text, tokens)
}

fn parse_tokens(text: &str, tokens: &[Ours]) -> Result<Query, String> {
    let normal = normalise::run(text, tokens)?;
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(normal.tokens);
    let query = parser
        .parse_query()
        .map_err(|e| format!("it could not be parsed ({e})"))?;
    if parser.peek_token_ref().token != Token::EOF {
        return Err(format!(
            "it could not be parsed (unexpected {})",
            parser.peek_token_ref().token
        ));
    }
    let mut lower = Lower::new(text, tokens, normal.only, normal.overriding);
    let query = lower.query(query)?;
    lower.finish()?;
    Ok(query)
}

/// Reads a list of expressions, such as the arguments of EXECUTE.
pub(crate) fn parse_list(text: &str, tokens: &[Ours]) -> Result<Vec<Expr>, String> {
    // A list of expressions is what follows SELECT; the word is lent by a text of our own.
    let shift = "select ".len();
    let padded = format!("select {text}");
    let mut all = vec![Ours {
        kind: Kind::Word,
        start: 0,
        end: shift - 1,
    }];
    all.extend(tokens.iter().map(|t| Ours {
        kind: t.kind,
        start: t.start + shift,
        end: t.end + shift,
    }));
    let query = parse(&padded, &all)?;
    let plain = query.ctes.is_empty()
        && query.order_by.is_empty()
        && query.limit.is_none()
        && query.offset.is_none();
    let Body::Select(select) = query.body else {
        return Err("it is no list of expressions".to_owned());
    };
    if !plain
        || query.locking
        || !select.from.is_empty()
        || select.filter.is_some()
        || select.into.is_some()
    {
        return Err("it is no list of expressions".to_owned());
    }
    let expr = |item| match item {
        Item::Expr { expr, alias: None } => Ok(expr),
        Item::Expr { .. } | Item::Star | Item::QualifiedStar(_) => {
            Err("it is no list of expressions".to_owned())
        }
    };
    select.items.into_iter().map(expr).collect()
}
