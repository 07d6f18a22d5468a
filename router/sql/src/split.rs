//! Cuts a Query message into its statements.
//!
//! Only a semicolon outside of parentheses and outside of a function's `BEGIN ATOMIC .. END` ends a statement, as in
//! Postgres. What the statements mean is not looked at.

use crate::error::SqlError;
use crate::lexer::{Kind, Token, lex};
use std::ops::Range;

/// The byte ranges of the statements of a text, without their semicolons and the blanks around them. Each takes its
/// comments along, so that a hint in a comment stays with its statement. Pieces
/// without a token are dropped: a text of blanks and comments has no statement.
///
/// Fails with Postgres's own message and 42601 where its scanner would refuse the text; nothing of it may run then.
pub fn split(text: &str) -> Result<Vec<Range<usize>>, SqlError> {
    Ok(pieces(text, &lex(text)?))
}

/// The same for a text that is already cut into tokens.
pub(crate) fn pieces(text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut state = Depth::default();
    // Where the piece begins, and whether it has a token.
    let mut start = 0;
    let mut begun = false;
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Semicolon && state.outside() {
            if begun {
                pieces.push(start..token.start);
            }
            begun = false;
            start = token.end;
            state = Depth::default();
            continue;
        }
        begun = true;
        state.see(text, tokens, index, token);
    }
    if begun {
        pieces.push(start..text.len());
    }
    for piece in &mut pieces {
        let skipped = text
            .get(piece.clone())
            .map_or(0, |s| s.len() - s.trim_ascii_start().len());
        let kept = text
            .get(piece.clone())
            .map_or(0, |s| s.trim_ascii_end().len());
        *piece = piece.start + skipped..piece.start + kept;
    }
    pieces
}

/// How deep in parentheses and in a function body in SQL form the scan is.
#[derive(Default)]
struct Depth {
    parens: usize,
    /// `BEGIN ATOMIC` and the CASEs inside of it, each ended by an END.
    atomic: usize,
    /// The statement begins with CREATE; elsewhere these words are names.
    create: bool,
    begun: bool,
}

impl Depth {
    fn outside(&self) -> bool {
        self.parens == 0 && self.atomic == 0
    }

    fn see(&mut self, text: &str, tokens: &[Token], index: usize, token: &Token) {
        if !self.begun {
            self.begun = true;
            self.create = token.is_word(text, "create");
        }
        match token.kind {
            Kind::LParen | Kind::LBracket => self.parens += 1,
            Kind::RParen | Kind::RBracket => self.parens = self.parens.saturating_sub(1),
            Kind::Word if self.create => {
                let before = index.checked_sub(1).and_then(|i| tokens.get(i));
                let begins = before.is_some_and(|t| t.is_word(text, "begin"));
                let opens = (begins && token.is_word(text, "atomic"))
                    || (self.atomic > 0 && token.is_word(text, "case"));
                if opens {
                    self.atomic += 1;
                } else if self.atomic > 0 && token.is_word(text, "end") {
                    self.atomic -= 1;
                }
            }
            _ => {}
        }
    }
}
