//! A place in a list of tokens, with the few moves that hand-written statement parsers need.
//!
//! Every move either succeeds and steps on, or fails and stays: a parser that returns None has understood nothing.

use crate::facts::Name;
use crate::keywords;
use crate::lexer::{Kind, Token};
use std::ops::Range;

#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        Cursor {
            text,
            tokens,
            at: 0,
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The tokens that are left.
    pub(crate) fn rest(&self) -> &'a [Token] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Some if nothing is left.
    pub(crate) fn end(&self) -> Option<()> {
        self.is_end().then_some(())
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.at = (self.at + count).min(self.tokens.len());
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// The next token is this unquoted word (lower case), and the ones behind it likewise.
    pub(crate) fn is(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(i, w)| self.peek_at(i).is_some_and(|t| t.is_word(self.text, w)))
    }

    pub(crate) fn is_kind(&self, kind: Kind) -> bool {
        self.peek().is_some_and(|t| t.kind == kind)
    }

    pub(crate) fn is_op(&self, op: &str) -> bool {
        self.peek().is_some_and(|t| t.is_op(self.text, op))
    }

    /// Steps over the words if they are all there.
    pub(crate) fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.is(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Option<()> {
        self.accept(words).then_some(())
    }

    /// Steps over one of the words and says which.
    pub(crate) fn accept_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|w| self.is(&[w]))?;
        self.at += 1;
        Some(found)
    }

    pub(crate) fn accept_kind(&mut self, kind: Kind) -> bool {
        let found = self.is_kind(kind);
        if found {
            self.at += 1;
        }
        found
    }

    pub(crate) fn accept_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.at += 1;
        }
        found
    }

    /// The next token is a word; folded, for a look-up in a table.
    pub(crate) fn word(&self) -> Option<String> {
        let token = self.peek()?;
        if token.kind == Kind::Word {
            token.name(self.text)
        } else {
            None
        }
    }

    /// A name of one part that is no reserved word: `ColId` of Postgres's grammar.
    pub(crate) fn ident(&mut self) -> Option<String> {
        let name = self.peek_ident()?;
        self.at += 1;
        Some(name)
    }

    fn peek_ident(&self) -> Option<String> {
        let token = self.peek()?;
        let name = token.name(self.text)?;
        (token.kind != Kind::Word || keywords::is_column_name(&name)).then_some(name)
    }

    /// A name of any word: `ColLabel`, and `NonReservedWord` where Postgres is stricter than needed here.
    pub(crate) fn label(&mut self) -> Option<String> {
        let name = self.peek()?.name(self.text)?;
        self.at += 1;
        Some(name)
    }

    /// A string constant.
    pub(crate) fn string(&mut self) -> Option<String> {
        let value = self.peek()?.string(self.text)?;
        self.at += 1;
        Some(value)
    }

    /// A relation's name, qualified or not. Of `database.schema.name` the last two parts are kept.
    pub(crate) fn name(&mut self) -> Option<Name> {
        let from = self.at;
        let parts = self.parts();
        let name = parts.and_then(|mut parts| {
            let name = parts.pop()?;
            if parts.len() > 2 {
                return None;
            }
            Some(Name {
                schema: parts.pop(),
                name,
            })
        });
        if name.is_none() {
            self.at = from;
        }
        name
    }

    /// The parts of a dotted name.
    pub(crate) fn parts(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.ident()?];
        while self.is_kind(Kind::Dot) {
            self.at += 1;
            parts.push(self.label()?);
        }
        Some(parts)
    }

    /// `[ONLY] name [*]`, also `ONLY (name)`.
    pub(crate) fn relation(&mut self) -> Option<Name> {
        if self.accept(&["only"]) && self.accept_kind(Kind::LParen) {
            let name = self.name()?;
            return self.accept_kind(Kind::RParen).then_some(name);
        }
        let name = self.name()?;
        self.accept_op("*");
        Some(name)
    }

    /// Items with commas between them.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept_kind(Kind::Comma) {
            items.push(item(self)?);
        }
        Some(items)
    }

    /// Steps over a bracketed group and gives the tokens inside of it. The next token must be `(`.
    pub(crate) fn group(&mut self) -> Option<&'a [Token]> {
        if !self.is_kind(Kind::LParen) {
            return None;
        }
        let start = self.at + 1;
        let mut depth = 0usize;
        for (i, token) in self.rest().iter().enumerate() {
            match token.kind {
                Kind::LParen => depth += 1,
                Kind::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = self.at + i;
                self.at = end + 1;
                return self.tokens.get(start..end);
            }
        }
        None
    }

    /// Steps on to the next token outside of parentheses for which `stop` holds; false, and no step, if there is none.
    pub(crate) fn seek(&mut self, stop: impl Fn(&Self) -> bool) -> bool {
        let mut ahead = *self;
        let mut depth = 0usize;
        while let Some(token) = ahead.peek() {
            match token.kind {
                Kind::LParen => depth += 1,
                Kind::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && stop(&ahead) => {
                    *self = ahead;
                    return true;
                }
                _ => {}
            }
            ahead.at += 1;
        }
        false
    }

    /// The bytes from the next token to the last one.
    pub(crate) fn rest_range(&self) -> Option<Range<usize>> {
        Some(self.peek()?.start..self.tokens.last()?.end)
    }
}
