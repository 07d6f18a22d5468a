//! Limits on what is given to the parser: parts of it recurse without a limit of their own, and its tree is freed by
//! recursion. Neither must exhaust a thread's stack.

use crate::lexer::{Kind, Token};

/// More tokens than this are not parsed.
const TOKENS_MAX: usize = 20_000;
/// Operators, and words that make the tree deeper, in one stretch without a comma. Each may add a level to the tree.
const CHAIN_MAX: usize = 2_000;
/// Joins whose ON or USING is still to come: `a JOIN b JOIN c ON .. ON ..` is read by recursion.
const JOINS_MAX: usize = 30;
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

/// What was counted since the last comma in the current parentheses.
#[derive(Clone, Copy, Default)]
struct Stretch {
    chain: usize,
    /// Joins without their condition.
    joins: usize,
    /// The next JOIN has no condition: NATURAL or CROSS was seen.
    unconditional: bool,
}

impl Stretch {
    /// No such word is longer than nine bytes, which spares most words the comparisons.
    fn word(&mut self, word: &str) {
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        if word.len() > 9 {
            return;
        }
        self.chain += usize::from(CHAINING.iter().any(|w| is(w)));
        if is("natural") || is("cross") {
            self.unconditional = true;
        } else if is("join") {
            self.joins += usize::from(!self.unconditional);
            self.unconditional = false;
        } else if is("on") || is("using") {
            self.joins = self.joins.saturating_sub(1);
        }
    }
}

/// Err with the reason if the statement must not be parsed.
pub(crate) fn check(text: &str, tokens: &[Token]) -> Result<(), &'static str> {
    if tokens.len() > TOKENS_MAX {
        return Err("it has more than 20000 tokens");
    }
    // What was counted before each open parenthesis.
    let mut outer: Vec<Stretch> = Vec::new();
    let mut here = Stretch::default();
    for token in tokens {
        match token.kind {
            Kind::LParen | Kind::LBracket => {
                here.chain += 1;
                outer.push(std::mem::take(&mut here));
                if outer.len() > NESTING_MAX {
                    return Err("its parentheses are nested more than 200 deep");
                }
            }
            Kind::RParen | Kind::RBracket => here = outer.pop().unwrap_or_default(),
            Kind::Comma => here = Stretch::default(),
            Kind::Op | Kind::Typecast => here.chain += 1,
            Kind::Word => here.word(token.raw(text)),
            _ => {}
        }
        if here.chain > CHAIN_MAX {
            return Err("it chains more than 2000 operators");
        }
        if here.joins > JOINS_MAX {
            return Err("it nests more than 30 joins");
        }
    }
    Ok(())
}
