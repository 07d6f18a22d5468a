//! The parser's tree -> our form.
//!
//! Every match over the parser's types is exhaustive, without a catch-all: a new version of the parser that knows
//! more must not make us ignore what it found. The tree is taken apart as it is read, so that little of it is left
//! to be freed by recursion.
#![deny(clippy::wildcard_enum_match_arm)]

mod dml;
mod expr;
mod from;
mod function;
mod operator;
mod queries;
mod select;
mod syntax;
mod types;
mod value;

use crate::facts::Name;
use crate::keywords;
use crate::lexer::Token as Ours;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use std::ops::Range;

/// The deepest nesting of the result. Whoever walks it by recursion can rely on that.
const DEPTH_MAX: usize = 100;

/// Err is the reason, for people.
pub(super) type Lowered<T> = Result<T, String>;

pub(super) struct Lower<'a> {
    text: &'a str,
    tokens: &'a [Ours],
    /// Where ONLY was written and not yet found in the tree.
    only: Vec<usize>,
    overriding: bool,
    depth: usize,
}

impl<'a> Lower<'a> {
    pub(super) fn new(
        text: &'a str,
        tokens: &'a [Ours],
        only: Vec<usize>,
        overriding: bool,
    ) -> Self {
        Lower {
            text,
            tokens,
            only,
            overriding,
            depth: 0,
        }
    }

    /// All that was noted beside the tokens has found its place.
    pub(super) fn finish(&self) -> Lowered<()> {
        if self.only.is_empty() {
            Ok(())
        } else {
            Err("ONLY stands where no relation was found".to_owned())
        }
    }

    /// One level deeper. An error ends the whole, so only success needs to `leave`.
    fn enter(&mut self) -> Lowered<()> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Where an identifier stands: the index of its token.
    fn place(ident: &Ident) -> Option<usize> {
        usize::try_from(ident.span.start.column)
            .ok()?
            .checked_sub(1)
    }

    /// The bytes from the first to the last part of a name.
    fn span(&self, parts: &[Ident]) -> Option<Range<usize>> {
        let first = self.tokens.get(Self::place(parts.first()?)?)?;
        let last = self.tokens.get(Self::place(parts.last()?)?)?;
        (first.start < last.end && self.text.is_char_boundary(first.start))
            .then_some(first.start..last.end)
    }
}

fn too_deep() -> String {
    format!("it is nested more than {DEPTH_MAX} levels deep")
}

fn unsupported<T>(what: &str) -> Lowered<T> {
    Err(format!("{what} is not understood"))
}

/// A name that may be any word: a column's label, a part behind a dot.
fn label(ident: Ident) -> Lowered<String> {
    match ident.quote_style {
        // The parser takes `$1` behind a dot, or `@x`, for a name.
        None if ident
            .value
            .starts_with(|c: char| c.is_ascii() && c != '_' && !c.is_ascii_alphabetic()) =>
        {
            Err(format!("\"{}\" stands where a name should", ident.value))
        }
        None | Some('"') => Ok(ident.value),
        // The parser takes strings for names: `'a' 'b'` is a constant with an alias to it.
        Some(_) => Err("a string stands where a name should".to_owned()),
    }
}

/// A name that must not be a keyword unless it is quoted.
fn ident(ident: Ident) -> Lowered<String> {
    if ident.quote_style.is_none() && keywords::is_reserved(&ident.value) {
        return Err(format!("\"{}\" stands where a name should", ident.value));
    }
    label(ident)
}

/// The parts of a dotted name.
fn parts(name: ObjectName) -> Lowered<Vec<Ident>> {
    let part = |part| match part {
        ObjectNamePart::Identifier(ident) => Ok(ident),
        ObjectNamePart::Function(_) => unsupported("a function in a name"),
    };
    name.0.into_iter().map(part).collect()
}

/// Of `database.schema.name` the last two parts are kept.
fn to_name(parts: Vec<Ident>) -> Lowered<Name> {
    if parts.len() > 3 {
        return unsupported("a name of more than three parts");
    }
    let mut names = Vec::with_capacity(parts.len());
    for (i, part) in parts.into_iter().enumerate() {
        names.push(if i == 0 { ident(part)? } else { label(part)? });
    }
    let name = names.pop().ok_or("a name is empty")?;
    Ok(Name {
        schema: names.pop(),
        name,
    })
}

fn name(object: ObjectName) -> Lowered<Name> {
    to_name(parts(object)?)
}
