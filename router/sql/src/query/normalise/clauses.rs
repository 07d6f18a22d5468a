//! Clauses that the parser does not read, or reads wrongly.

use super::{NO_ALIAS, OTHER_TARGET, State};
use crate::lexer::Kind;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

impl State<'_> {
    /// ONLY before a relation is taken out and noted, with the parentheses that may stand around the name.
    pub(super) fn only(&mut self) -> Result<bool, String> {
        if matches!(self.before(), "row" | "rows") {
            return Ok(false);
        }
        self.at += 1;
        let parens = self.kind(self.at) == Some(Kind::LParen);
        if parens {
            self.at += 1;
        }
        self.out.only.push(self.at);
        if !self.kind(self.at).is_some_and(Kind::is_name) {
            return Err("ONLY is not followed by a name".to_owned());
        }
        if parens {
            loop {
                let token = self
                    .ours
                    .get(self.at)
                    .ok_or("a parenthesis is not closed")?;
                match token.kind {
                    Kind::RParen => break,
                    Kind::Dot => {
                        self.put(Token::Period);
                        self.at += 1;
                    }
                    kind if kind.is_name() => {
                        let name = token
                            .name(self.text)
                            .ok_or("an identifier has an invalid escape")?;
                        self.put_name(name, (kind != Kind::Word).then_some('"'));
                        self.at += 1;
                    }
                    _ => return Err("ONLY is not followed by a name".to_owned()),
                }
            }
            self.at += 1;
        }
        Ok(true)
    }

    /// `TABLE t` where a query may begin means `SELECT * FROM t`.
    pub(super) fn table(&mut self) -> bool {
        if matches!(self.before(), "into" | "temp" | "temporary" | "unlogged") {
            return false;
        }
        self.put_keyword(Keyword::SELECT, "select");
        self.put(Token::Mul);
        self.put_keyword(Keyword::FROM, "from");
        self.at += 1;
        true
    }

    /// `FOR NO KEY UPDATE OF a, b SKIP LOCKED` and its kin become `FOR UPDATE`.
    pub(super) fn locking(&mut self) -> bool {
        let in_call = self
            .open
            .last()
            .and_then(|i| i.checked_sub(1))
            .map(|i| self.word(i));
        if matches!(in_call, Some("substring" | "overlay")) {
            return false;
        }
        let strength: &[&[&str]] = &[
            &["update"],
            &["no", "key", "update"],
            &["share"],
            &["key", "share"],
        ];
        let Some(words) = strength.iter().find(|words| self.are(self.at + 1, words)) else {
            return false;
        };
        let mut end = self.at + 1 + words.len();
        if self.word(end) == "of" {
            end += 1;
            while self
                .kind(end)
                .is_some_and(|k| k.is_name() || k == Kind::Dot || k == Kind::Comma)
                && !matches!(
                    self.word(end),
                    "nowait" | "skip" | "for" | "limit" | "offset" | "fetch"
                )
            {
                end += 1;
            }
        }
        if self.word(end) == "nowait" {
            end += 1;
        } else if self.are(end, &["skip", "locked"]) {
            end += 2;
        }
        self.put_keyword(Keyword::FOR, "for");
        if words.contains(&"share") {
            self.put_keyword(Keyword::SHARE, "share");
        } else {
            self.put_keyword(Keyword::UPDATE, "update");
        }
        self.at = end;
        true
    }

    pub(super) fn overriding(&mut self) -> bool {
        let found = self.are(self.at + 1, &["system", "value"])
            || self.are(self.at + 1, &["user", "value"]);
        if found {
            self.out.overriding = true;
            self.at += 3;
        }
        found
    }

    /// A window frame's EXCLUDE changes which rows are seen, not which relations.
    pub(super) fn frame_exclusion(&mut self) -> bool {
        let forms: &[&[&str]] = &[
            &["ties"],
            &["group"],
            &["current", "row"],
            &["no", "others"],
        ];
        let Some(words) = forms.iter().find(|words| self.are(self.at + 1, words)) else {
            return false;
        };
        let end = self.at + 1 + words.len();
        let found = self.kind(end) == Some(Kind::RParen);
        if found {
            self.at = end;
        }
        found
    }

    /// In `INSERT .. SELECT 1 ON CONFLICT ..` the parser takes ON for an alias: it is given another one.
    pub(super) fn items_end(&mut self) -> bool {
        let mut depth = 0usize;
        for index in (0..self.at).rev() {
            match self.kind(index) {
                Some(Kind::RParen) => depth += 1,
                Some(Kind::LParen) => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                Some(Kind::Word) if depth == 0 => match self.word(index) {
                    "select" => {
                        self.put_keyword(Keyword::AS, "as");
                        self.put_name(NO_ALIAS.to_owned(), Some('"'));
                        return false;
                    }
                    "from" | "where" | "group" | "having" | "window" | "order" | "limit"
                    | "offset" | "fetch" | "for" | "values" | "as" => return false,
                    _ => {}
                },
                _ => {}
            }
        }
        false
    }

    /// A target of ON CONFLICT that is no plain list of columns is replaced by a name that says so. Its expressions
    /// are only compared with those of an index; they are not computed.
    pub(super) fn conflict(&mut self) -> bool {
        let start = self.at + 1;
        if self.kind(start) != Some(Kind::LParen) {
            return false;
        }
        let mut depth = 0usize;
        let mut plain = true;
        let mut end = start;
        loop {
            match self.kind(end) {
                None => return false,
                Some(Kind::LParen) => depth += 1,
                Some(Kind::RParen) => depth -= 1,
                Some(Kind::Comma) => {}
                Some(kind) => {
                    let separated = matches!(self.kind(end - 1), Some(Kind::LParen | Kind::Comma));
                    plain &= depth == 1 && kind.is_name() && separated;
                }
            }
            end += 1;
            if depth == 0 {
                break;
            }
            plain &= depth == 1;
        }
        if plain && self.word(end) == "do" {
            return false;
        }
        // The predicate of a partial index, up to DO.
        while self.word(end) != "do" {
            if end >= self.ours.len() {
                return false;
            }
            end += 1;
        }
        self.put_keyword(Keyword::CONFLICT, "conflict");
        self.put(Token::LParen);
        self.put_name(OTHER_TARGET.to_owned(), Some('"'));
        self.put(Token::RParen);
        self.at = end;
        true
    }
}
