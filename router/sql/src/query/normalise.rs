//! Turns our tokens into the parser's, mending on the way what it cannot read or would read wrongly.
//!
//! Only the analysis sees the result: the text that is sent is always the client's own. So a clause that does not
//! matter to routing may be left out here (NO KEY of a locking clause), and one that does is noted beside the tokens
//! (ONLY). The place of a token is kept as its index: line 1, column index + 1.

use super::words::{self, Around};
use crate::keywords;
use crate::lexer::{Kind, Token as Ours};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

/// The parser's tokens, and what was taken out of them.
#[derive(Default)]
pub(super) struct Normal {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// Indexes of tokens at which a relation's name begins that had ONLY before it.
    pub(super) only: Vec<usize>,
    /// Some INSERT had OVERRIDING .. VALUE.
    pub(super) overriding: bool,
}

/// In place of an ON CONFLICT target that is no list of columns. No text can contain this name.
pub(super) const OTHER_TARGET: &str = "\0other";

/// An alias that was not written; see `items_end`.
pub(super) const NO_ALIAS: &str = "\0none";

pub(super) fn run(text: &str, ours: &[Ours]) -> Result<Normal, String> {
    let mut state = State {
        text,
        ours,
        at: 0,
        out: Normal::default(),
        open: Vec::new(),
        folded: Vec::new(),
    };
    state.out.tokens.reserve(ours.len() + 8);
    state.folded = ours
        .iter()
        .map(|t| {
            if t.kind == Kind::Word {
                t.name(text).unwrap_or_default()
            } else {
                String::new()
            }
        })
        .collect();
    while let Some(token) = ours.get(state.at) {
        state.step(token)?;
    }
    Ok(state.out)
}

struct State<'a> {
    text: &'a str,
    ours: &'a [Ours],
    at: usize,
    out: Normal,
    /// For each open parenthesis: its index.
    open: Vec<usize>,
    /// Our words folded; empty for all other tokens.
    folded: Vec<String>,
}

impl State<'_> {
    fn kind(&self, index: usize) -> Option<Kind> {
        self.ours.get(index).map(|t| t.kind)
    }

    /// The folded word at an index; empty if there is none.
    fn word(&self, index: usize) -> &str {
        self.folded.get(index).map_or("", String::as_str)
    }

    /// The folded word before the current token.
    fn before(&self) -> &str {
        self.at.checked_sub(1).map_or("", |i| self.word(i))
    }

    fn kind_before(&self) -> Option<Kind> {
        self.at.checked_sub(1).and_then(|i| self.kind(i))
    }

    /// The words at an index and behind it.
    fn are(&self, index: usize, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(i, w)| self.word(index + i) == *w)
    }

    /// Puts a token of the parser's at the place of our current one.
    fn put(&mut self, token: Token) {
        self.put_at(token, self.at);
    }

    fn put_at(&mut self, token: Token, index: usize) {
        let column = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
        let place = Location { line: 1, column };
        self.out.tokens.push(TokenWithSpan {
            token,
            span: Span {
                start: place,
                end: place,
            },
        });
    }

    fn put_keyword(&mut self, keyword: Keyword, value: &str) {
        self.put(Token::Word(Word {
            value: value.to_owned(),
            quote_style: None,
            keyword,
        }));
    }

    fn put_name(&mut self, value: String, quote_style: Option<char>) {
        self.put(Token::Word(Word {
            value,
            quote_style,
            keyword: Keyword::NoKeyword,
        }));
    }

    fn step(&mut self, token: &Ours) -> Result<(), String> {
        match token.kind {
            Kind::Word => return self.step_word(),
            Kind::QuotedIdent | Kind::UnicodeIdent(_) => {
                let name = token
                    .name(self.text)
                    .ok_or("an identifier has an invalid escape")?;
                self.put_name(name, Some('"'));
            }
            Kind::String | Kind::EscapeString | Kind::DollarString | Kind::UnicodeString(_) => {
                return self.step_string(token);
            }
            Kind::BitString => self.put(Token::SingleQuotedByteStringLiteral(
                token.raw(self.text).to_owned(),
            )),
            Kind::HexString => self.put(Token::HexStringLiteral(token.raw(self.text).to_owned())),
            Kind::NationalString => self.put(Token::NationalStringLiteral(
                token.raw(self.text).to_owned(),
            )),
            Kind::Number => self.put(Token::Number(token.raw(self.text).to_owned(), false)),
            Kind::Param => self.put(Token::Placeholder(token.raw(self.text).to_owned())),
            Kind::Op => self.step_operator(token)?,
            Kind::LParen => {
                self.open.push(self.at);
                self.put(Token::LParen);
            }
            Kind::RParen => return self.step_close(),
            Kind::LBracket => self.put(Token::LBracket),
            Kind::RBracket => self.put(Token::RBracket),
            Kind::Comma => self.put(Token::Comma),
            Kind::Dot => self.put(Token::Period),
            Kind::Colon => self.put(Token::Colon),
            Kind::Typecast => self.put(Token::DoubleColon),
            Kind::ColonEquals => self.put(Token::Assignment),
            Kind::EqualsGreater => self.put(Token::RArrow),
            Kind::BadNumber | Kind::DotDot | Kind::Semicolon | Kind::Other => {
                return Err(format!("it has an unexpected \"{}\"", token.raw(self.text)));
            }
        }
        self.at += 1;
        Ok(())
    }

    fn step_word(&mut self) -> Result<(), String> {
        let word = self.word(self.at).to_owned();
        if self.kind_before() == Some(Kind::Dot) {
            self.put_name(word, None);
            self.at += 1;
            return Ok(());
        }
        let handled = match word.as_str() {
            "only" => self.only()?,
            "table" => self.table(),
            "isnull" | "notnull" => self.null_test(&word),
            "variadic" => {
                self.at += 1;
                true
            }
            "for" => self.locking(),
            "overriding" => self.overriding(),
            "exclude" => self.frame_exclusion(),
            "interval" => self.interval(),
            "asymmetric" if self.before() == "between" => {
                self.at += 1;
                true
            }
            "both" if self.word(self.at + 1) == "from" => {
                self.at += 2;
                true
            }
            "on" if self.word(self.at + 1) == "conflict" => self.items_end(),
            "conflict" if self.before() == "on" => self.conflict(),
            _ => false,
        };
        if !handled {
            let keyword = words::keyword(&word, &self.around());
            self.put(Token::Word(Word {
                value: word,
                quote_style: None,
                keyword,
            }));
            self.at += 1;
        }
        Ok(())
    }

    fn around(&self) -> Around<'_> {
        Around {
            before: self.before(),
            after: self.word(self.at + 1),
            after_next: self.word(self.at + 2),
            paren_before: matches!(self.kind_before(), None | Some(Kind::LParen | Kind::RParen)),
            paren_after: self.kind(self.at + 1) == Some(Kind::LParen),
        }
    }

    /// ONLY before a relation is taken out and noted, with the parentheses that may stand around the name.
    fn only(&mut self) -> Result<bool, String> {
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
    fn table(&mut self) -> bool {
        if matches!(self.before(), "into" | "temp" | "temporary" | "unlogged") {
            return false;
        }
        self.put_keyword(Keyword::SELECT, "select");
        self.put(Token::Mul);
        self.put_keyword(Keyword::FROM, "from");
        self.at += 1;
        true
    }

    /// `x ISNULL`, `x NOTNULL`.
    fn null_test(&mut self, word: &str) -> bool {
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

    /// The token at the index is the last one of an expression.
    fn ends_operand(&self, index: usize) -> bool {
        match self.kind(index) {
            Some(Kind::Word) => {
                let word = self.word(index);
                let after_dot = index.checked_sub(1).and_then(|i| self.kind(i)) == Some(Kind::Dot);
                let value = matches!(
                    word,
                    "null"
                        | "true"
                        | "false"
                        | "default"
                        | "end"
                        | "user"
                        | "session_user"
                        | "localtime"
                        | "localtimestamp"
                ) || word.starts_with("current_");
                after_dot || value || !keywords::is_reserved(word)
            }
            Some(
                Kind::QuotedIdent
                | Kind::UnicodeIdent(_)
                | Kind::Number
                | Kind::Param
                | Kind::RParen
                | Kind::RBracket,
            ) => true,
            Some(kind) => kind.is_string(),
            None => false,
        }
    }

    /// `FOR NO KEY UPDATE OF a, b SKIP LOCKED` and its kin become `FOR UPDATE`.
    fn locking(&mut self) -> bool {
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

    fn overriding(&mut self) -> bool {
        let found = self.are(self.at + 1, &["system", "value"])
            || self.are(self.at + 1, &["user", "value"]);
        if found {
            self.out.overriding = true;
            self.at += 3;
        }
        found
    }

    /// A window frame's EXCLUDE changes which rows are seen, not which relations.
    fn frame_exclusion(&mut self) -> bool {
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

    /// `INTERVAL '1' DAY TO SECOND (3)` becomes a cast; elsewhere the word is a name.
    fn interval(&mut self) -> bool {
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

    fn put_cast(&mut self, value: String, ty: impl FnOnce(&mut Self)) {
        self.put_keyword(Keyword::CAST, "cast");
        self.put(Token::LParen);
        self.put(Token::SingleQuotedString(value));
        self.put_keyword(Keyword::AS, "as");
        ty(self);
        self.put(Token::RParen);
    }

    /// In `INSERT .. SELECT 1 ON CONFLICT ..` the parser takes ON for an alias: it is given another one.
    fn items_end(&mut self) -> bool {
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
    fn conflict(&mut self) -> bool {
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

    /// A string constant; `type 'text'` becomes a cast, whatever the type.
    fn step_string(&mut self, token: &Ours) -> Result<(), String> {
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
    fn type_before(&self) -> Option<usize> {
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
    fn closed(&self) -> Option<(usize, usize)> {
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

    fn step_close(&mut self) -> Result<(), String> {
        self.open.pop().ok_or("a parenthesis is not open")?;
        self.put(Token::RParen);
        self.at += 1;
        Ok(())
    }

    fn step_operator(&mut self, token: &Ours) -> Result<(), String> {
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
    fn sum_follows(&self) -> bool {
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
    fn in_operator_name(&self) -> bool {
        matches!(self.kind_before(), Some(Kind::Dot))
            || (self.kind_before() == Some(Kind::LParen)
                && self
                    .at
                    .checked_sub(2)
                    .is_some_and(|i| self.word(i) == "operator"))
    }
}
