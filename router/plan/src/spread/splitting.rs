//! The text of an INSERT, taken apart: what stands before its rows, each row, and what stands behind them; with one time for
//! all that reads the clock.

use crate::query::Planned;
use crate::snapshot::{Column, ColumnDefault, Relation, Snapshot};
use crate::spread::checks::may_be_time;
use crate::spread::clock::{self, Replaced};
use crate::spread::{Piece, misread};
use shardgate_sql::facts::{Expr, Insert, Literal};
use shardgate_sql::lexer::{Kind, Token, lex};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// The text of a row, and the parameters in it.
pub(super) type RowText = (Vec<Piece>, BTreeSet<u16>);

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the whole value of this column in a row.
    Value(usize),
    /// A part of a value.
    Within,
    /// Outside of the rows.
    Outside,
}

/// The text of an INSERT, taken apart.
pub(super) struct Splitting<'s> {
    text: &'s str,
    tokens: Vec<Token>,
    relation: &'s Relation,
    insert: &'s Insert,
    values: &'s [Vec<Expr>],
    /// The rows: indexes of their brackets.
    brackets: Vec<(usize, usize)>,
    /// The bytes of each value of each row.
    items: Vec<Vec<Range<usize>>>,
    /// Where each parameter stands.
    places: HashMap<u16, Vec<Place>>,
    replaced: Vec<Replaced>,
    /// Columns that are left out and whose defaults read the clock, with what stands for them.
    added: Vec<(String, Vec<Piece>)>,
}

impl<'s> Splitting<'s> {
    pub(super) fn new(
        planned: &Planned<'_, '_>,
        relation: &'s Relation,
        insert: &'s Insert,
        values: &'s [Vec<Expr>],
        text: &'s str,
    ) -> Result<Splitting<'s>, String> {
        let tokens = lex(text).map_err(|error| error.to_string())?;
        let brackets = brackets(text, &tokens, insert)?;
        if brackets.len() != values.len() {
            return Err(misread());
        }
        let mut replaced = clock::replaced(text, &tokens, planned.snapshot)?;
        let items: Option<Vec<_>> = brackets
            .iter()
            .map(|row| values_of(&tokens, *row))
            .collect();
        let items = items.ok_or_else(misread)?;
        let widths = items.iter().map(Vec::len).zip(values.iter().map(Vec::len));
        if widths.into_iter().any(|(found, read)| found != read) {
            return Err(misread());
        }
        let places = places(text, &tokens, &brackets, &items);
        let mut splitting = Splitting {
            text,
            tokens,
            relation,
            insert,
            values,
            brackets,
            items,
            places,
            replaced: Vec::new(),
            added: Vec::new(),
        };
        splitting.no_query_behind()?;
        splitting.nothing_renamed(&replaced)?;
        splitting.defaults(planned.snapshot, &mut replaced)?;
        splitting.constants_without_clock()?;
        splitting.params_alike(planned)?;
        replaced.sort_by_key(|one| one.of_client.start);
        splitting.replaced = replaced;
        Ok(splitting)
    }

    /// A query in ON CONFLICT or RETURNING may run once for all rows. (The word is reserved.)
    fn no_query_behind(&self) -> Result<(), String> {
        let end = self.end_of_rows();
        let query = |token: &&Token| token.start >= end && token.is_word(self.text, "select");
        match self.tokens.iter().find(query) {
            Some(_) => Err("a query stands behind its rows".to_owned()),
            None => Ok(()),
        }
    }

    /// Columns of RETURNING are named by what stands there.
    fn nothing_renamed(&self, replaced: &[Replaced]) -> Result<(), String> {
        let end = self.end_of_rows();
        let returning = self
            .tokens
            .iter()
            .find(|token| token.start >= end && token.is_word(self.text, "returning"));
        match (returning, replaced.last()) {
            (Some(token), Some(last)) if last.of_client.start > token.start => {
                Err("RETURNING reads the clock".to_owned())
            }
            (_, _) => Ok(()),
        }
    }

    fn end_of_rows(&self) -> usize {
        let last = self
            .brackets
            .last()
            .and_then(|(_, close)| self.tokens.get(*close));
        last.map_or(0, |token| token.end)
    }

    /// The column that stands at a place of each row.
    fn column_at(&self, place: usize) -> Option<&'s Column> {
        if self.insert.columns.is_empty() {
            return self.relation.columns.get(place);
        }
        let name = self.insert.columns.get(place)?;
        self.relation
            .columns
            .iter()
            .find(|column| column.name == *name)
    }

    /// Defaults that read the clock get their value here.
    fn defaults(
        &mut self,
        snapshot: &Snapshot,
        replaced: &mut Vec<Replaced>,
    ) -> Result<(), String> {
        let width = self.values.first().map_or(0, Vec::len);
        for column in &self.relation.columns {
            let ColumnDefault::Clock(default) = &column.default else {
                continue;
            };
            let place = (0..width).find(|place| {
                self.column_at(*place)
                    .is_some_and(|at| at.name == column.name)
            });
            let pieces = || {
                clock::default_pieces(default, snapshot)
                    .map_err(|why| format!("the default of \"{}\": {why}", column.name))
            };
            let Some(place) = place else {
                self.added.push((column.name.clone(), pieces()?));
                continue;
            };
            for (row, values) in self.values.iter().enumerate() {
                if values.get(place) == Some(&Expr::Default) {
                    let item = self.items.get(row).and_then(|items| items.get(place));
                    let of_client = item.cloned().ok_or_else(misread)?;
                    replaced.push(Replaced {
                        of_client,
                        pieces: pieces()?,
                    });
                }
            }
        }
        Ok(())
    }

    /// String constants of other columns than those of times may say what they like.
    fn constants_without_clock(&self) -> Result<(), String> {
        let mut plain = Vec::new();
        for row in self.values {
            for (place, value) in row.iter().enumerate() {
                if let Expr::Literal(Literal::String(text)) = value
                    && self.column_at(place).is_some_and(|at| !may_be_time(at.ty))
                {
                    plain.push(text);
                }
            }
        }
        clock::strings_timeless(self.text, &self.tokens, plain)
    }

    /// Each parameter that is assigned as it is, and whether it is certainly no time.
    pub(super) fn bare_params(&self) -> Vec<(u16, bool)> {
        let mut list = Vec::new();
        for row in self.values {
            for (place, value) in row.iter().enumerate() {
                if let Expr::Param(number) = value {
                    let plain = self.column_at(place).is_some_and(|at| !may_be_time(at.ty));
                    let once = self
                        .places
                        .get(number)
                        .is_some_and(|places| places.len() == 1);
                    list.push((*number, plain && once));
                }
            }
        }
        list
    }

    /// A parameter without a declared type gets the same type in every part.
    fn params_alike(&self, planned: &Planned<'_, '_>) -> Result<(), String> {
        for (number, places) in &self.places {
            match planned.resolver.declared(*number) {
                // Numbers of such types differ from shard to shard.
                Some(oid) if oid >= FIRST_USER_OID => {
                    return Err(format!(
                        "${number} is declared with a type that a user has made"
                    ));
                }
                Some(_) => continue,
                None if places.len() == 1 => continue,
                None => {}
            }
            let alike = match places.first() {
                Some(first @ (Place::Value(_) | Place::Outside)) => {
                    places.iter().all(|place| place == first)
                }
                Some(Place::Within) | None => false,
            };
            if !alike {
                return Err(format!(
                    "${number} stands in several places, and has no declared type"
                ));
            }
        }
        Ok(())
    }

    fn pieces(&self, range: Range<usize>) -> Vec<Piece> {
        clock::pieces(range, &self.replaced)
    }

    /// All before the first row, with columns that are added.
    pub(super) fn head(&self) -> Result<Vec<Piece>, String> {
        let first = self.brackets.first().ok_or_else(misread)?;
        let end = self.tokens.get(first.0).ok_or_else(misread)?.start;
        if self.added.is_empty() {
            return Ok(self.pieces(0..end));
        }
        let names = |names: &mut dyn Iterator<Item = &String>| {
            let quoted: Vec<String> = names
                .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
                .collect();
            quoted.join(", ")
        };
        let mut added = self.added.iter().map(|(name, _)| name);
        let (at, made) = if self.insert.columns.is_empty() {
            let width = self.values.first().map_or(0, Vec::len);
            let mut given = self.relation.columns.iter().take(width).map(|c| &c.name);
            let list = format!(" ({}, {}) ", names(&mut given), names(&mut added));
            (self.before_values().ok_or_else(misread)?, list)
        } else {
            let close = self.end_of_columns().ok_or_else(misread)?;
            (close, format!(", {}", names(&mut added)))
        };
        let mut pieces = self.pieces(0..at);
        pieces.push(Piece::Made(Arc::from(made)));
        pieces.extend(self.pieces(at..end));
        Ok(pieces)
    }

    /// Where a list of columns can be put in.
    fn before_values(&self) -> Option<usize> {
        let values = self.brackets.first()?.0.checked_sub(1)?;
        let mut at = values;
        // OVERRIDING SYSTEM VALUE stands behind the columns.
        let overriding = values.checked_sub(3).filter(|at| {
            self.tokens
                .get(*at)
                .is_some_and(|t| t.is_word(self.text, "overriding"))
        });
        if self.insert.overriding {
            at = overriding?;
        }
        self.tokens.get(at).map(|token| token.start)
    }

    /// Where the bracket behind the last column stands.
    fn end_of_columns(&self) -> Option<usize> {
        let before = self.before_values()?;
        let close = self.tokens.iter().rev().find(|token| token.end <= before)?;
        (close.kind == Kind::RParen).then_some(close.start)
    }

    /// All of it.
    pub(super) fn whole(&self) -> Result<Vec<Piece>, String> {
        let mut pieces = self.head()?;
        for (index, (row, _)) in self.rows()?.into_iter().enumerate() {
            if index > 0 {
                pieces.push(Piece::Made(Arc::from(", ")));
            }
            pieces.extend(row);
        }
        pieces.extend(self.tail());
        Ok(pieces)
    }

    pub(super) fn tail(&self) -> Vec<Piece> {
        self.pieces(self.end_of_rows()..self.text.len())
    }

    /// The tail with one more column behind those of RETURNING, which end it.
    pub(super) fn tail_with(&self, column: &str) -> Vec<Piece> {
        let mut tokens = self.tokens.iter().rev();
        let last = tokens.find(|token| token.kind != Kind::Semicolon);
        let end = last.map_or(self.text.len(), |token| token.end);
        let mut pieces = self.pieces(self.end_of_rows()..end);
        pieces.push(Piece::Made(Arc::from(format!(
            ", \"{}\"",
            column.replace('"', "\"\"")
        ))));
        pieces.extend(self.pieces(end..self.text.len()));
        pieces
    }

    /// The text of each row, and the parameters in it.
    pub(super) fn rows(&self) -> Result<Vec<RowText>, String> {
        let mut rows = Vec::with_capacity(self.brackets.len());
        for (open, close) in &self.brackets {
            let tokens = self.tokens.get(*open..=*close).ok_or_else(misread)?;
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
                return Err(misread());
            };
            let mut pieces = self.pieces(first.start..last.start);
            for (_, value) in &self.added {
                pieces.push(Piece::Made(Arc::from(", ")));
                pieces.extend(value.iter().cloned());
            }
            pieces.push(Piece::Client(last.range()));
            let params = tokens.iter().filter_map(|token| token.param(self.text));
            rows.push((pieces, params.collect()));
        }
        Ok(rows)
    }

    /// Parameters outside of the rows.
    pub(super) fn common(&self) -> BTreeSet<u16> {
        let outside = |(number, places): (&u16, &Vec<Place>)| {
            places.contains(&Place::Outside).then_some(*number)
        };
        self.places.iter().filter_map(outside).collect()
    }
}

/// The bytes of the values of a row.
fn values_of(tokens: &[Token], (open, close): (usize, usize)) -> Option<Vec<Range<usize>>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    let mut depth = 0_usize;
    let mut begun: Option<Range<usize>> = None;
    for token in tokens.get(open + 1..close)? {
        match token.kind {
            Kind::LParen | Kind::LBracket => depth += 1,
            Kind::RParen | Kind::RBracket => depth = depth.checked_sub(1)?,
            Kind::Comma if depth == 0 => {
                items.push(begun.take()?);
                continue;
            }
            _part_of_a_value => {}
        }
        begun = Some(begun.map_or(token.range(), |range| range.start..token.end));
    }
    items.push(begun?);
    Some(items)
}

fn places(
    text: &str,
    tokens: &[Token],
    brackets: &[(usize, usize)],
    items: &[Vec<Range<usize>>],
) -> HashMap<u16, Vec<Place>> {
    let mut places: HashMap<u16, Vec<Place>> = HashMap::new();
    let mut rows = brackets.iter().zip(items).peekable();
    for (at, token) in tokens.iter().enumerate() {
        while rows.next_if(|((_, close), _)| *close < at).is_some() {}
        let Some(number) = token.param(text) else {
            continue;
        };
        let place = match rows.peek() {
            Some(((open, _), items)) if *open < at => {
                let column = items.iter().position(|item| *item == token.range());
                column.map_or(Place::Within, Place::Value)
            }
            Some(_) | None => Place::Outside,
        };
        places.entry(number).or_default().push(place);
    }
    places
}

/// The first number of an object that a user has made.
const FIRST_USER_OID: u32 = 16_384;

/// The brackets of each row: behind VALUES, one after the other with commas between them, to the end of the list.
fn brackets(text: &str, tokens: &[Token], insert: &Insert) -> Result<Vec<(usize, usize)>, String> {
    let behind = insert.target.span.as_ref().ok_or_else(misread)?.end;
    let mut depth = 0_usize;
    let mut at = None;
    for (index, token) in tokens.iter().enumerate() {
        if token.start < behind {
            continue;
        }
        match token.kind {
            Kind::LParen => depth += 1,
            Kind::RParen => depth = depth.checked_sub(1).ok_or_else(misread)?,
            // An alias of that name would stand behind AS.
            Kind::Word if depth == 0 && token.is_word(text, "values") => {
                let alias = index
                    .checked_sub(1)
                    .and_then(|before| tokens.get(before))
                    .is_some_and(|before| before.is_word(text, "as"));
                if !alias {
                    at = Some(index + 1);
                    break;
                }
            }
            _before_the_rows => {}
        }
    }
    let mut at = at.ok_or_else(misread)?;
    let mut rows = Vec::new();
    loop {
        if tokens.get(at).map(|token| token.kind) != Some(Kind::LParen) {
            return Err(misread());
        }
        let open = at;
        let mut depth = 0_usize;
        loop {
            match tokens.get(at).map(|token| token.kind) {
                Some(Kind::LParen) => depth += 1,
                Some(Kind::RParen) => depth = depth.checked_sub(1).ok_or_else(misread)?,
                Some(_) => {}
                None => return Err(misread()),
            }
            if depth == 0 {
                break;
            }
            at += 1;
        }
        rows.push((open, at));
        at += 1;
        match tokens.get(at) {
            Some(token) if token.kind == Kind::Comma => at += 1,
            Some(token) if token.is_word(text, "on") || token.is_word(text, "returning") => break,
            None => break,
            Some(token) if token.kind == Kind::Semicolon => break,
            Some(_) => return Err(misread()),
        }
    }
    Ok(rows)
}
