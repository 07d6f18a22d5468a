//! Cuts a text into tokens exactly where Postgres's scanner cuts it.
//!
//! Follows the rules of Postgres's `scan.l` with `standard_conforming_strings = on`: nested comments, the five kinds of
//! quoted strings and their continuation over a newline, dollar quotes, quoted identifiers, the trimming of operators.
//! It knows no grammar. Time and memory are linear in the length of the text, and it never recurses.

mod decode;
mod scan;

use crate::error::SqlError;
use std::ops::Range;

/// What a token is. Values (folded names, unescaped strings) are taken from the text on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An unquoted identifier or keyword.
    Word,
    /// `"name"`
    QuotedIdent,
    /// `U&"name"`, with the escape character that is in force.
    UnicodeIdent(char),
    /// `'text'`
    String,
    /// `E'text'`
    EscapeString,
    /// `$tag$text$tag$`
    DollarString,
    /// `U&'text'`, with the escape character that is in force.
    UnicodeString(char),
    /// `B'0101'`
    BitString,
    /// `X'1F'`
    HexString,
    /// `N'text'`
    NationalString,
    Number,
    /// A number with letters at its end, `0x1F`, `1_000`, `1a`: what it means depends on the server's version.
    BadNumber,
    /// `$1`
    Param,
    /// A constant that was lifted out of the text, by its number from 1: a parameter to the grammar. The scanner makes none.
    Lifted(u16),
    /// An operator; `!=` is kept as written.
    Op,
    LParen,
    RParen,
    LBracket,
    RBracket,
    Comma,
    Semicolon,
    Dot,
    /// `..`
    DotDot,
    Colon,
    /// `::`
    Typecast,
    /// `:=`
    ColonEquals,
    /// `=>`
    EqualsGreater,
    /// A character that begins no token: a syntax error for Postgres.
    Other,
}

impl Kind {
    /// A quoted constant of any kind.
    pub fn is_string(self) -> bool {
        match self {
            Kind::String
            | Kind::EscapeString
            | Kind::DollarString
            | Kind::UnicodeString(_)
            | Kind::BitString
            | Kind::HexString
            | Kind::NationalString => true,
            Kind::Word
            | Kind::QuotedIdent
            | Kind::UnicodeIdent(_)
            | Kind::Number
            | Kind::BadNumber
            | Kind::Param
            | Kind::Lifted(_)
            | Kind::Op
            | Kind::LParen
            | Kind::RParen
            | Kind::LBracket
            | Kind::RBracket
            | Kind::Comma
            | Kind::Semicolon
            | Kind::Dot
            | Kind::DotDot
            | Kind::Colon
            | Kind::Typecast
            | Kind::ColonEquals
            | Kind::EqualsGreater
            | Kind::Other => false,
        }
    }

    /// A word or a quoted identifier.
    pub fn is_name(self) -> bool {
        matches!(self, Kind::Word | Kind::QuotedIdent | Kind::UnicodeIdent(_))
    }
}

/// A token and its bytes. A string that is continued over newlines is one token over all its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The bytes of the text that the token covers.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The token as written. `text` must be the text that was lexed.
    pub fn raw<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.range()).unwrap_or_default()
    }

    /// An unquoted word equal to the keyword, in any case.
    pub fn is_word(&self, text: &str, keyword: &str) -> bool {
        self.kind == Kind::Word && self.raw(text).eq_ignore_ascii_case(keyword)
    }

    /// The operator as written.
    pub fn is_op(&self, text: &str, op: &str) -> bool {
        self.kind == Kind::Op && self.raw(text) == op
    }

    /// The name that an identifier token stands for: folded, unescaped and cut to 63 bytes. None if the token is no
    /// identifier, or if its escapes are invalid.
    pub fn name(&self, text: &str) -> Option<String> {
        decode::name(self.kind, self.raw(text))
    }

    /// The characters of a string constant. None if the token is no such constant, if its escapes are invalid, or if
    /// it is one of `B''`, `X''`, `N''`, whose type is not that of a plain string.
    pub fn string(&self, text: &str) -> Option<String> {
        decode::string(self.kind, self.raw(text))
    }

    /// The number of a `$n`. None if the token is none or the number is too large for the protocol.
    pub fn param(&self, text: &str) -> Option<u16> {
        match self.kind {
            Kind::Param => self.raw(text).get(1..)?.parse().ok(),
            _ => None,
        }
    }
}

/// Cuts a text into tokens. Comments and blanks are left out.
pub fn lex(text: &str) -> Result<Vec<Token>, SqlError> {
    scan::Scanner::new(text).run()
}

#[cfg(test)]
mod tests;
