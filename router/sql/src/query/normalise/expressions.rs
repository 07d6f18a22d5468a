//! Constants and operators that the parser does not read, or reads wrongly.

use super::State;
use crate::keywords;
use crate::lexer::{Kind, Token as Ours};
use crate::query::words;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

impl State<'_> {
    /// `x ISNULL`, `x NOTNULL`.
    pub(super) fn null_test(&mut self, word: &str) -> bool {
        if !self.at.checked_sub(1).is_some_and(|i| self.ends_operand(i)) {
            return false;
        }
        self.put_keyword(Keyword::IS, "is");
        if word == "notnull" {
            self.put_keyword(Keyword::NOT, "not");
        }
        self.put_keyword(Keyword::NULL, "null");
        self.at += 1;
        true
    }

    /// `INTERVAL '1' DAY TO SECOND (3)` becomes a cast; elsewhere the word is a name.
    pub(super) fn interval(&mut self) -> bool {
        let is_string = self.kind(self.at + 1).is_some_and(|k| k.is_string());
        let value = self
            .ours
            .get(self.at + 1)
            .filter(|_| is_string)
            .and_then(|t| t.string(self.text));
        let Some(value) = value else {
            self.put_name("interval".to_owned(), None);
            self.at += 1;
            return true;
        };
        self.put_cast(value, |state| state.put_name("interval".to_owned(), None));
        self.at += 2;
        let fields = ["year", "month", "day", "hour", "minute", "second"];
        if fields.contains(&self.word(self.at)) {
            self.at += 1;
            if self.word(self.at) == "to" && fields.contains(&self.word(self.at + 1)) {
                self.at += 2;
            }
            let precision = [Kind::LParen, Kind::Number, Kind::RParen];
            if (0..3).all(|i| self.kind(self.at + i) == precision.get(i).copied()) {
                self.at += 3;
            }
        }
        true
    }

    pub(super) fn put_cast(&mut self, value: String, ty: impl FnOnce(&mut Self)) {
        self.put_keyword(Keyword::CAST, "cast");
        self.put(Token::LParen);
        self.put(Token::SingleQuotedString(value));
        self.put_keyword(Keyword::AS, "as");
        ty(self);
        self.put(Token::RParen);
    }

    /// A string constant; `type 'text'` becomes a cast, whatever the type.
    pub(super) fn step_string(&mut self, token: &Ours) -> Result<(), String> {
        let value = token
            .string(self.text)
            .ok_or("a string has an invalid escape")?;
        match self.type_before() {
            Some(start) => {
                let ty = self.out.tokens.split_off(start);
                self.put_cast(value, |state| state.out.tokens.extend(ty));
            }
            None => self.put(Token::SingleQuotedString(value)),
        }
        self.at += 1;
        Ok(())
    }

    /// If a type's name stands directly before the current string: where it begins among the parser's tokens.
    pub(super) fn type_before(&self) -> Option<usize> {
        let last = self.at.checked_sub(1)?;
        let (mut name, mut place) = (last, self.out.tokens.len().checked_sub(1)?);
        if self.kind(last) == Some(Kind::RParen) {
            // `varchar(3) 'abc'`: the group that was just closed, if a name stands before it.
            let (ours, theirs) = self.closed()?;
            (name, place) = (ours.checked_sub(1)?, theirs.checked_sub(1)?);
            if self.word(name) == "operator" {
                return None;
            }
        }
        if !self.kind(name)?.is_name() {
            return None;
        }
        if self.kind(name) == Some(Kind::Word) {
            let word = self.word(name);
            let dotted = name.checked_sub(1).and_then(|i| self.kind(i)) == Some(Kind::Dot);
            if !dotted && (keywords::is_reserved(word) || words::may_precede_string(word)) {
                return None;
            }
        }
        // A qualified name has as many tokens for the parser as it has here.
        while let (Some(dot), Some(part)) = (name.checked_sub(1), name.checked_sub(2)) {
            if self.kind(dot) != Some(Kind::Dot) || !self.kind(part)?.is_name() {
                break;
            }
            (name, place) = (part, place.checked_sub(2)?);
        }
        // Should anything in between have been rewritten, the places do not agree, and nothing is done.
        let theirs = self.out.tokens.get(place)?;
        let column = u64::try_from(name).ok()?.checked_add(1)?;
        (matches!(theirs.token, Token::Word(_)) && theirs.span.start.column == column)
            .then_some(place)
    }

    /// The places of the parenthesis that the last token has closed.
    pub(super) fn closed(&self) -> Option<(usize, usize)> {
        let last = self.at.checked_sub(1)?;
        let mut depth = 0usize;
        let mut index = last;
        loop {
            match self.kind(index)? {
                Kind::RParen => depth += 1,
                Kind::LParen => depth -= 1,
                // Only numbers and commas stand in a type's modifiers: anything else is no type.
                Kind::Number | Kind::Comma | Kind::Word => {}
                _ => return None,
            }
            if depth == 0 {
                // Such a group has as many tokens for the parser as it has here.
                return Some((index, self.out.tokens.len().checked_sub(last - index + 1)?));
            }
            index = index.checked_sub(1)?;
        }
    }

    pub(super) fn step_operator(&mut self, token: &Ours) -> Result<(), String> {
        let raw = token.raw(self.text);
        let infix = self.at.checked_sub(1).is_some_and(|i| self.ends_operand(i));
        let theirs = match raw {
            "=" => Token::Eq,
            "<>" | "!=" => Token::Neq,
            "<" => Token::Lt,
            ">" => Token::Gt,
            "<=" => Token::LtEq,
            ">=" => Token::GtEq,
            "+" => Token::Plus,
            "-" => Token::Minus,
            "*" => Token::Mul,
            "/" => Token::Div,
            "%" => Token::Mod,
            "^" => Token::Caret,
            _ if self.in_operator_name() || infix => Token::CustomBinaryOperator(raw.to_owned()),
            _ if self.sum_follows() => {
                return Err(format!("it has the prefix operator \"{raw}\" before a sum"));
            }
            "@" => Token::AtSign,
            "~" => Token::Tilde,
            "#" => Token::Sharp,
            "|/" => Token::PGSquareRoot,
            "||/" => Token::PGCubeRoot,
            "@@" => Token::AtAt,
            "@-@" => Token::AtDashAt,
            "?-" => Token::QuestionMarkDash,
            "?|" => Token::QuestionPipe,
            _ => return Err(format!("it has the prefix operator \"{raw}\"")),
        };
        self.put(theirs);
        Ok(())
    }

    /// The operand of the current prefix operator may be followed by `+` or `-`, to which the parser gives another
    /// rank than Postgres.
    pub(super) fn sum_follows(&self) -> bool {
        // A sign directly behind the operator is the operand's.
        let mut index = self.at + 2;
        let mut depth = 0usize;
        if matches!(self.kind(self.at + 1), Some(Kind::LParen)) || self.word(self.at + 1) == "case"
        {
            index = self.at + 1;
        }
        loop {
            let opens = matches!(self.kind(index), Some(Kind::LParen | Kind::LBracket))
                || self.word(index) == "case";
            let closes = matches!(self.kind(index), Some(Kind::RParen | Kind::RBracket))
                || self.word(index) == "end";
            match self.kind(index) {
                None => return false,
                Some(_) if opens => depth += 1,
                Some(_) if closes => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                Some(_) if depth > 0 => {}
                Some(Kind::Op) => {
                    let is = |op| self.ours.get(index).is_some_and(|t| t.is_op(self.text, op));
                    if is("+") || is("-") {
                        return true;
                    }
                }
                Some(Kind::Comma) => return false,
                Some(Kind::Word) if keywords::is_reserved(self.word(index)) => return false,
                Some(_) => {}
            }
            index += 1;
        }
    }

    /// Inside of `OPERATOR(schema.op)`.
    pub(super) fn in_operator_name(&self) -> bool {
        matches!(self.kind_before(), Some(Kind::Dot))
            || (self.kind_before() == Some(Kind::LParen)
                && self
                    .at
                    .checked_sub(2)
                    .is_some_and(|i| self.word(i) == "operator"))
    }
}
