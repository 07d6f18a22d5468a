//! The shape of a statement: its text with the plain constants lifted out, found by one cheap pass over the bytes.
//!
//! Statements that a client writes with a new constant each time have one shape, so one analysis and one plan can serve
//! them all: the constants are to the plan what parameters are. Two texts of one shape have the same tokens but for the
//! constants' own characters, because the pass ends a constant where Postgres's scanner does and keeps every other byte
//! (comments count as a blank). Whether constants can be taken for parameters there is not decided by the pass:
//! `analyze_lifted` reads the text both ways and gives nothing if the results differ by more than that. So the pass may
//! give up wherever a text is unusual; it must only never cut a text otherwise than Postgres would.

use crate::analyze::{analyze, from_tokens};
use crate::facts::{Expr, Facts, Literal, Statement};
use crate::lexer::{Kind, Token, lex};
use crate::visit::each_expr_mut;
use std::borrow::Cow;
use std::ops::Range;

/// Constants in one text; a text with more is not lifted.
const LITERALS_MAX: usize = 256;

/// A text without its constants. No text of a client contains the byte 0, which marks their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextShape {
    pub text: String,
    pub literals: Vec<Lifted>,
}

/// A constant and where it stands: the sign and the quotes belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    pub range: Range<usize>,
    pub class: Class,
}

/// What Postgres takes the constant for; it is part of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Int4,
    Int8,
    Numeric,
    /// A string in plain quotes, whose type is unknown until something beside it tells.
    Unknown,
}

impl Class {
    /// The type's number, 0 for a type that is not known: as a client declares a parameter's.
    pub fn oid(self) -> u32 {
        match self {
            Class::Int4 => 23,
            Class::Int8 => 20,
            Class::Numeric => 1700,
            Class::Unknown => 0,
        }
    }

    /// A sign is a part of the shape, since a cast or a subscript behind the number binds tighter than it.
    fn mark(self, signed: bool) -> char {
        match (self, signed) {
            (Class::Int4, false) => 'i',
            (Class::Int4, true) => 'I',
            (Class::Int8, false) => 'l',
            (Class::Int8, true) => 'L',
            (Class::Numeric, false) => 'n',
            (Class::Numeric, true) => 'N',
            (Class::Unknown, _) => 's',
        }
    }
}

impl Lifted {
    /// The constant's value, as the text form of a parameter. `text` is the text that was lifted.
    pub fn value<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let raw = text.get(self.range.clone()).unwrap_or_default();
        match self.class {
            Class::Int4 | Class::Int8 | Class::Numeric => Cow::Borrowed(raw),
            Class::Unknown => {
                let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
                if inner.contains('\'') {
                    Cow::Owned(inner.replace("''", "'"))
                } else {
                    Cow::Borrowed(inner)
                }
            }
        }
    }

    fn literal(&self, text: &str) -> Literal {
        let value = self.value(text).into_owned();
        match self.class {
            Class::Int4 | Class::Int8 | Class::Numeric => Literal::Number(value),
            Class::Unknown => Literal::String(value),
        }
    }
}

/// The shape of a SELECT, VALUES, INSERT, UPDATE or DELETE, with or without WITH. None: the text is of another kind, has no
/// constant to lift, or something that the pass leaves to the analysis.
pub fn lift(text: &str) -> Option<TextShape> {
    let mut pass = Pass {
        text,
        bytes: text.as_bytes(),
        at: 0,
        kept: 0,
        before: Before::Start,
        shape: TextShape {
            text: String::with_capacity(text.len() + 16),
            literals: Vec::with_capacity(8),
        },
    };
    pass.run()?;
    (!pass.shape.literals.is_empty()).then_some(pass.shape)
}

/// The facts of the text with its lifted constants as the parameters `$1`, `$2`, .. None: as parameters they would not
/// stand for the constants.
pub fn analyze_lifted(text: &str, shape: &TextShape) -> Option<Facts> {
    let tokens = lex(text).ok()?;
    let lifted = lifted_tokens(text, &tokens, &shape.literals)?;
    let facts = from_tokens(text, &lifted);
    let own = analyze(text);
    let mut mended = facts.clone();
    let (Statement::Query(query), Statement::Query(_)) = (&mut mended.statement, &own.statement)
    else {
        return None;
    };
    let mut found = 0;
    each_expr_mut(query, &mut |expr| {
        if let Expr::Param(number) = expr
            && let Some(index) = usize::from(*number).checked_sub(1)
            && let Some(literal) = shape.literals.get(index)
        {
            found += 1;
            *expr = Expr::Literal(literal.literal(text));
        }
    });
    // Each constant stands in the tree once, and what the statement says is otherwise the same.
    let same = found == shape.literals.len()
        && own.params == 0
        && own.hint.is_none()
        && mended.hint.is_none()
        && mended.statement == own.statement
        && mended.identifiers == own.identifiers;
    same.then_some(facts)
}

/// The tokens with each lifted constant as one token of its own kind. None: a constant is not what the scanner found.
fn lifted_tokens(text: &str, tokens: &[Token], literals: &[Lifted]) -> Option<Vec<Token>> {
    let mut result = Vec::with_capacity(tokens.len());
    let mut literals = (1u16..).zip(literals).peekable();
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        let Some((number, literal)) = literals.peek() else {
            result.push(*token);
            continue;
        };
        if token.start < literal.range.start {
            result.push(*token);
            continue;
        }
        let signed = token.is_op(text, "-");
        let last = if signed { tokens.next()? } else { token };
        let kind_agrees = match literal.class {
            Class::Int4 | Class::Int8 | Class::Numeric => last.kind == Kind::Number,
            Class::Unknown => last.kind == Kind::String && !signed,
        };
        if !kind_agrees || (token.start..last.end) != literal.range {
            return None;
        }
        result.push(Token {
            kind: Kind::Lifted(*number),
            start: token.start,
            end: last.end,
        });
        literals.next();
    }
    literals.peek().is_none().then_some(result)
}

/// What stands before the current byte, blanks and comments aside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Before {
    Start,
    Word(Range<usize>),
    /// An operator, an opening parenthesis or bracket, a comma: an operand follows.
    Awaits,
    /// A constant, a quoted name, a closing parenthesis, or something else behind which no operand begins.
    Ended,
}

struct Pass<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Up to here the text is in the shape.
    kept: usize,
    before: Before,
    shape: TextShape,
}

/// Words behind which an operand begins. Behind a name a string is a constant of the type of that name, and a sign is a
/// binary operator.
const BEFORE_OPERAND: [&str; 14] = [
    "and",
    "between",
    "case",
    "else",
    "escape",
    "ilike",
    "like",
    "not",
    "or",
    "returning",
    "select",
    "then",
    "when",
    "where",
];

const STARTS: [&str; 6] = ["select", "insert", "update", "delete", "with", "values"];

impl Pass<'_> {
    fn run(&mut self) -> Option<()> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word()?,
                b'0'..=b'9' => self.number(self.at)?,
                b'\'' => self.string()?,
                b'"' => self.quoted_name()?,
                b'(' | b'[' | b',' => self.step(Before::Awaits),
                b')' | b']' => self.step(Before::Ended),
                b'-' => self.minus()?,
                b'/' if self.peek(1) == Some(b'*') => self.block_comment()?,
                // `.5` is a number, `..` belongs to no query.
                b'.' => match self.peek(1) {
                    Some(b'.' | b'0'..=b'9') => return None,
                    Some(_) | None => self.step(Before::Ended),
                },
                b';' => {
                    self.keep();
                    let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
                    return rest.iter().all(u8::is_ascii_whitespace).then_some(());
                }
                // Parameters and dollar quotes.
                b'$' => return None,
                _ => self.step(Before::Awaits),
            }
        }
        self.keep();
        Some(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn step(&mut self, before: Before) {
        self.at += 1;
        self.before = before;
    }

    /// Copies what was passed over to the shape.
    fn keep(&mut self) {
        let text = self.text.get(self.kept..self.at).unwrap_or_default();
        self.shape.text.push_str(text);
        self.kept = self.at;
    }

    fn run_of(&self, from: usize, accept: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let end = rest.iter().position(|byte| !accept(*byte));
        from + end.unwrap_or(rest.len())
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        self.at = self.run_of(start, is_word_part);
        match (self.peek(0), self.peek(1)) {
            // A letter before a quote tells the kind of the string or name.
            (Some(b'\''), _) | (Some(b'&'), Some(b'\'' | b'"')) => return None,
            _ => {}
        }
        if self.before == Before::Start && !self.is_one_of(start..self.at, &STARTS) {
            return None;
        }
        self.before = Before::Word(start..self.at);
        Some(())
    }

    fn is_one_of(&self, word: Range<usize>, words: &[&str]) -> bool {
        let word = self.text.get(word).unwrap_or_default();
        words
            .iter()
            .any(|other| word.len() == other.len() && word.eq_ignore_ascii_case(other))
    }

    /// Whether what comes now is an operand, whose type nothing before it tells.
    fn awaits_operand(&self) -> bool {
        match &self.before {
            Before::Word(word) => self.is_one_of(word.clone(), &BEFORE_OPERAND),
            Before::Awaits => true,
            Before::Start | Before::Ended => false,
        }
    }

    /// A number whose digits begin at the current byte, with the sign at `start`.
    fn number(&mut self, start: usize) -> Option<()> {
        let digits = self.at;
        let mut end = self.run_of(digits, |byte| byte.is_ascii_digit());
        let mut whole = true;
        if self.bytes.get(end) == Some(&b'.') {
            whole = false;
            end = self.run_of(end + 1, |byte| byte.is_ascii_digit());
        }
        // An exponent, a base, digits apart, `1..2`: left to the analysis.
        if self
            .bytes
            .get(end)
            .is_some_and(|byte| is_word_part(*byte) || *byte == b'.')
        {
            return None;
        }
        let by_position = match &self.before {
            Before::Word(word) => self.is_one_of(word.clone(), &["by"]),
            Before::Start => return None,
            Before::Awaits | Before::Ended => false,
        };
        if by_position {
            self.at = end;
            self.before = Before::Ended;
            return Some(());
        }
        let class = if whole {
            integer_class(self.text.get(digits..end)?)
        } else {
            Class::Numeric
        };
        self.at = start;
        self.lift(end, class)
    }

    /// Takes the constant from here to `end` out of the text.
    fn lift(&mut self, end: usize, class: Class) -> Option<()> {
        if self.shape.literals.len() >= LITERALS_MAX {
            return None;
        }
        self.keep();
        self.shape.text.push('\0');
        let signed = self.peek(0) == Some(b'-');
        self.shape.text.push(class.mark(signed));
        self.shape.literals.push(Lifted {
            range: self.at..end,
            class,
        });
        self.at = end;
        self.kept = end;
        self.before = Before::Ended;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let mut end = self.at + 1;
        loop {
            end = self.run_of(end, |byte| byte != b'\'') + 1;
            match self.bytes.get(end) {
                Some(b'\'') => end += 1,
                Some(_) => break,
                // The quote was the last byte, or there was none.
                None if end == self.bytes.len() => break,
                None => return None,
            }
        }
        if self.awaits_operand() {
            return self.lift(end, Class::Unknown);
        }
        self.at = end;
        self.before = Before::Ended;
        Some(())
    }

    fn quoted_name(&mut self) -> Option<()> {
        let end = self.run_of(self.at + 1, |byte| byte != b'"');
        if end >= self.bytes.len() || self.before == Before::Start {
            return None;
        }
        self.at = end;
        self.step(Before::Ended);
        Some(())
    }

    /// A comment to the end of the line, the sign of a number, or an operator.
    fn minus(&mut self) -> Option<()> {
        match self.peek(1) {
            Some(b'-') => {
                self.keep();
                self.at = self.run_of(self.at, |byte| byte != b'\n' && byte != b'\r');
                self.kept = self.at;
                Some(())
            }
            Some(b'0'..=b'9') if self.awaits_operand() => {
                let sign = self.at;
                // Directly behind another operator it might be a part of that; behind these it is only if the operator
                // has a further character, and then the scanner's tokens do not agree.
                let apart = sign
                    .checked_sub(1)
                    .and_then(|before| self.bytes.get(before))
                    .is_some_and(|byte| b" \n\r\t(,[=<>+*/".contains(byte));
                self.at += 1;
                if apart { self.number(sign) } else { Some(()) }
            }
            Some(_) | None => {
                self.step(Before::Awaits);
                Some(())
            }
        }
    }

    /// A comment is a blank. The router's own hints and nested comments are left to the analysis.
    fn block_comment(&mut self) -> Option<()> {
        self.keep();
        let rest = self.text.get(self.at + 2..)?;
        let body = rest.get(..rest.find("*/")?)?;
        // In `/*/*/` the second slash and the star behind it open a nested comment, before they could close the first.
        if body.contains("/*") || body.ends_with('/') || body.contains("shardgate") {
            return None;
        }
        self.at += body.len() + 4;
        self.kept = self.at;
        self.shape.text.push(' ');
        Some(())
    }
}

fn integer_class(digits: &str) -> Class {
    if digits.len() < 10 || digits.parse::<i32>().is_ok() {
        Class::Int4
    } else if digits.parse::<i64>().is_ok() {
        Class::Int8
    } else {
        Class::Numeric
    }
}

/// For each byte whether it belongs to a word that has begun.
const WORD_PARTS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

fn is_word_part(byte: u8) -> bool {
    WORD_PARTS.get(usize::from(byte)).copied().unwrap_or(false)
}
