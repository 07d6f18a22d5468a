//! Limits on what is given to the parser (its tree is freed by recursion, which must not exhaust a thread's stack).

use crate::lexer::{Kind, Token};

/// More tokens than this are not parsed.
const TOKENS_MAX: usize = 20_000;
/// Operators, and words that make the tree deeper, in one stretch without a comma. Each may add a level to the tree.
const CHAIN_MAX: usize = 2_000;
/// Open parentheses. The parser's own limit is lower; this one keeps its speculation short.
const NESTING_MAX: usize = 200;

/// Words that join or extend an expression, a query or a FROM clause to the right.
const CHAINING: &[&str] = &[
    "and",
    "at",
    "between",
    "collate",
    "except",
    "ilike",
    "in",
    "intersect",
    "is",
    "isnull",
    "join",
    "like",
    "not",
    "notnull",
    "operator",
    "or",
    "similar",
    "union",
];

/// Err with the reason if the statement must not be parsed.
pub(crate) fn check(text: &str, tokens: &[Token]) -> Result<(), &'static str> {
    if tokens.len() > TOKENS_MAX {
        return Err("it has more than 20000 tokens");
    }
    // For each open parenthesis, the links of the chain that it interrupts.
    let mut outer: Vec<usize> = Vec::new();
    let mut chain = 0usize;
    for token in tokens {
        match token.kind {
            Kind::LParen | Kind::LBracket => {
                outer.push(chain + 1);
                chain = 0;
                if outer.len() > NESTING_MAX {
                    return Err("its parentheses are nested more than 200 deep");
                }
            }
            Kind::RParen | Kind::RBracket => chain = outer.pop().unwrap_or_default(),
            Kind::Comma => chain = 0,
            Kind::Op | Kind::Typecast => chain += 1,
            Kind::Word => {
                // No such word is longer than nine bytes; most words are out by their length or first letter.
                let raw = token.raw(text);
                if raw.len() <= 9 && CHAINING.iter().any(|w| raw.eq_ignore_ascii_case(w)) {
                    chain += 1;
                }
            }
            _ => {}
        }
        if chain > CHAIN_MAX {
            return Err("it chains more than 2000 operators");
        }
    }
    Ok(())
}
