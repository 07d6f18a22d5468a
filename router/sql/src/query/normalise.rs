//! Turns our tokens into the parser's, mending on the way what it cannot read or would read wrongly.
//!
//! Only the analysis sees the result: the text that is sent is always the client's own. So a clause that does not
//! matter to routing may be left out here (NO KEY of a locking clause), and one that does is noted beside the tokens
//! (ONLY). The place of a token is kept as its index: line 1, column index + 1.

mod clauses;
mod expressions;

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
            Kind::Lifted(number) => self.put(Token::Placeholder(format!("${number}"))),
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
                | Kind::Lifted(_)
                | Kind::RParen
                | Kind::RBracket,
            ) => true,
            Some(kind) => kind.is_string(),
            None => false,
        }
    }

    fn step_close(&mut self) -> Result<(), String> {
        self.open.pop().ok_or("a parenthesis is not open")?;
        self.put(Token::RParen);
        self.at += 1;
        Ok(())
    }
}
