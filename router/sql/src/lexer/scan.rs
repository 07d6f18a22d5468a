//! The scanner proper: finds where each token ends. It looks at bytes; every cut is at an ASCII byte or at the end.

use super::{Kind, Token};
use crate::error::SqlError;

/// Bytes at which an operator's run ends or goes on.
const OPERATOR: &[u8] = b"~!@#^&|`?+-*/%<>=";
/// An operator of this many bytes is too long (NAMEDATALEN).
const OPERATOR_BYTES_END: usize = 64;
/// An operator that contains one of these may end in `+` or `-`.
const KEEPS_SIGN: &[u8] = b"~!@#^&|`?%";

pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    /// The run of operator characters that was looked at last.
    run: Run,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at: 0,
            tokens: Vec::with_capacity(text.len() / 5 + 4),
            run: Run::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Vec<Token>, SqlError> {
        while let Some(byte) = self.peek(0) {
            self.step(byte)?;
        }
        Ok(self.tokens)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token {
            kind,
            start,
            end: self.at,
        });
    }

    /// A token of `length` bytes.
    fn take(&mut self, kind: Kind, length: usize) {
        let start = self.at;
        self.at += length;
        self.push(kind, start);
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&accept) {
            self.at += 1;
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), SqlError> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
            b'-' if self.peek(1) == Some(b'-') => self.skip_while(|b| b != b'\n' && b != b'\r'),
            b'/' if self.peek(1) == Some(b'*') => self.block_comment()?,
            b'\'' => self.quoted(Kind::String, 1)?,
            b'"' => self.identifier(Kind::QuotedIdent, 1)?,
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number(),
            b'$' => self.dollar()?,
            b'(' => self.take(Kind::LParen, 1),
            b')' => self.take(Kind::RParen, 1),
            b'[' => self.take(Kind::LBracket, 1),
            b']' => self.take(Kind::RBracket, 1),
            b',' => self.take(Kind::Comma, 1),
            b';' => self.take(Kind::Semicolon, 1),
            b'.' if self.peek(1) == Some(b'.') => self.take(Kind::DotDot, 2),
            b'.' => self.take(Kind::Dot, 1),
            b':' => match self.peek(1) {
                Some(b':') => self.take(Kind::Typecast, 2),
                Some(b'=') => self.take(Kind::ColonEquals, 2),
                Some(_) | None => self.take(Kind::Colon, 1),
            },
            _ if is_word_start(byte) => self.word(byte)?,
            _ if OPERATOR.contains(&byte) => self.operator()?,
            _ => self.take(Kind::Other, 1),
        }
        Ok(())
    }

    /// Comments nest; the depth is counted, never a recursion.
    fn block_comment(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => {
                    return Err(SqlError::syntax(
                        "unterminated /* comment",
                        self.text,
                        start..self.bytes.len(),
                    ));
                }
            }
        }
    }

    /// A word, or a string or identifier whose kind is told by the letter before its quote.
    fn word(&mut self, first: u8) -> Result<(), SqlError> {
        match (first, self.peek(1), self.peek(2)) {
            (b'e' | b'E', Some(b'\''), _) => return self.quoted(Kind::EscapeString, 2),
            (b'b' | b'B', Some(b'\''), _) => return self.quoted(Kind::BitString, 2),
            (b'x' | b'X', Some(b'\''), _) => return self.quoted(Kind::HexString, 2),
            (b'n' | b'N', Some(b'\''), _) => return self.quoted(Kind::NationalString, 2),
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => {
                return self.quoted(Kind::UnicodeString('\\'), 3);
            }
            (b'u' | b'U', Some(b'&'), Some(b'"')) => {
                return self.identifier(Kind::UnicodeIdent('\\'), 3);
            }
            (_, _, _) => {}
        }
        let start = self.at;
        self.skip_while(is_word_part);
        self.push(Kind::Word, start);
        Ok(())
    }

    /// A string constant; `prefix` counts the bytes up to and including its first quote.
    fn quoted(&mut self, kind: Kind, prefix: usize) -> Result<(), SqlError> {
        let start = self.at;
        self.at += prefix;
        loop {
            match self.peek(0) {
                Some(b'\'') if self.peek(1) == Some(b'\'') => self.at += 2,
                Some(b'\'') => {
                    self.at += 1;
                    match self.continuation() {
                        Some(next) => self.at = next,
                        None => break,
                    }
                }
                // Inside of E'' a backslash takes the next byte with it. The bytes of a longer character that follow
                // are never a quote or a backslash, so they need no care.
                Some(b'\\') if kind == Kind::EscapeString => {
                    self.at = (self.at + 2).min(self.bytes.len())
                }
                Some(_) => self.at += 1,
                None => {
                    let problem = match kind {
                        Kind::BitString => "unterminated bit string literal",
                        Kind::HexString => "unterminated hexadecimal string literal",
                        _ => "unterminated quoted string",
                    };
                    return Err(SqlError::syntax(
                        problem,
                        self.text,
                        start..self.bytes.len(),
                    ));
                }
            }
        }
        self.push(kind, start);
        self.join_uescape();
        Ok(())
    }

    /// Where the next part of a string begins (behind its quote), if the blanks from here on contain a newline and
    /// then a quote follows. Comments of the `--` kind count as blanks.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut newline = false;
        loop {
            match self.bytes.get(at)? {
                b' ' | b'\t' | 0x0c => at += 1,
                b'\n' | b'\r' => {
                    newline = true;
                    at += 1;
                }
                b'-' if self.bytes.get(at + 1) == Some(&b'-') => {
                    while self
                        .bytes
                        .get(at)
                        .is_some_and(|b| *b != b'\n' && *b != b'\r')
                    {
                        at += 1;
                    }
                    // After the first newline a comment must itself be ended by one, which the loop then takes.
                }
                b'\'' if newline => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn identifier(&mut self, kind: Kind, prefix: usize) -> Result<(), SqlError> {
        let start = self.at;
        self.at += prefix;
        loop {
            match self.peek(0) {
                Some(b'"') if self.peek(1) == Some(b'"') => self.at += 2,
                Some(b'"') => break,
                Some(_) => self.at += 1,
                None => {
                    return Err(SqlError::syntax(
                        "unterminated quoted identifier",
                        self.text,
                        start..self.bytes.len(),
                    ));
                }
            }
        }
        if self.at == start + prefix {
            return Err(SqlError::syntax(
                "zero-length delimited identifier",
                self.text,
                start..self.at + 1,
            ));
        }
        self.at += 1;
        self.push(kind, start);
        Ok(())
    }

    /// `U&"x" UESCAPE '!'` and `U&'x' UESCAPE '!'` are one token each, as for Postgres's grammar.
    fn join_uescape(&mut self) {
        let [.., unicode, word, escape] = self.tokens.as_slice() else {
            return;
        };
        let raw = escape.raw(self.text).as_bytes();
        let (Kind::String, [b'\'', character, b'\'']) = (escape.kind, raw) else {
            return;
        };
        if !word.is_word(self.text, "uescape")
            || character.is_ascii_hexdigit()
            || b"+\" \t\n\r".contains(character)
        {
            return;
        }
        let character = char::from(*character);
        let kind = match unicode.kind {
            Kind::UnicodeIdent(_) => Kind::UnicodeIdent(character),
            Kind::UnicodeString(_) => Kind::UnicodeString(character),
            _ => return,
        };
        let joined = Token {
            kind,
            start: unicode.start,
            end: escape.end,
        };
        self.tokens.truncate(self.tokens.len() - 3);
        self.tokens.push(joined);
    }

    /// `$1`, a dollar quote, or a stray dollar.
    fn dollar(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        if self.peek(1).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
            let junk = self.peek(0).is_some_and(is_word_start);
            self.skip_while(is_word_part);
            self.push(if junk { Kind::BadNumber } else { Kind::Param }, start);
            return Ok(());
        }
        let mut end = start + 1;
        if self.bytes.get(end).copied().is_some_and(is_word_start) {
            while self
                .bytes
                .get(end)
                .copied()
                .is_some_and(|b| is_word_part(b) && b != b'$')
            {
                end += 1;
            }
        }
        if self.bytes.get(end) != Some(&b'$') {
            self.take(Kind::Other, 1);
            return Ok(());
        }
        let body = end + 1;
        let delimiter = self.text.get(start..body).unwrap_or_default();
        match self.text.get(body..).and_then(|rest| rest.find(delimiter)) {
            Some(length) => {
                self.at = body + length + delimiter.len();
                self.push(Kind::DollarString, start);
                Ok(())
            }
            None => Err(SqlError::syntax(
                "unterminated dollar-quoted string",
                self.text,
                start..self.bytes.len(),
            )),
        }
    }

    fn number(&mut self) {
        let start = self.at;
        self.skip_while(|b| b.is_ascii_digit());
        // `1..10` is a number and two dots.
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(|b| b.is_ascii_digit());
            }
        }
        let junk = self.peek(0).is_some_and(is_word_start);
        self.skip_while(is_word_part);
        self.push(if junk { Kind::BadNumber } else { Kind::Number }, start);
    }

    /// The longest run of operator characters, cut before a comment, and without a `+` or `-` at its end unless
    /// the operator has a character that no SQL operator has.
    fn operator(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        if start >= self.run.end {
            self.run = Run::at(self.bytes, start);
        }
        let Run { end, signs, keeps } = self.run;
        let signed = signs < end && keeps.is_none_or(|at| at < start);
        let length = if signed {
            signs.max(start + 1) - start
        } else {
            end - start
        };
        if length >= OPERATOR_BYTES_END {
            return Err(SqlError::syntax("operator too long", self.text, start..end));
        }
        let equals_greater = self.text.get(start..start + length) == Some("=>");
        let kind = if equals_greater {
            Kind::EqualsGreater
        } else {
            Kind::Op
        };
        self.take(kind, length);
        Ok(())
    }
}

/// A run of operator characters. It is looked at once, however many operators are cut from it.
#[derive(Clone, Copy, Default)]
struct Run {
    end: usize,
    /// Where the signs at its end begin.
    signs: usize,
    /// The last character that lets an operator end in a sign, the run's last byte not counted.
    keeps: Option<usize>,
}

impl Run {
    fn at(bytes: &[u8], start: usize) -> Run {
        let mut run = Run {
            end: start,
            signs: start,
            keeps: None,
        };
        let mut last = None;
        while let Some(byte) = bytes.get(run.end) {
            let next = bytes.get(run.end + 1);
            let comment = matches!((byte, next), (b'-', Some(b'-')) | (b'/', Some(b'*')));
            if !OPERATOR.contains(byte) || (comment && run.end > start) {
                break;
            }
            run.keeps = last.or(run.keeps);
            last = KEEPS_SIGN.contains(byte).then_some(run.end);
            run.end += 1;
            if !matches!(byte, b'+' | b'-') {
                run.signs = run.end;
            }
        }
        run
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
