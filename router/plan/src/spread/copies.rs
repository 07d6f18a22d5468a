//! Writes of a reference table: every shard has a copy, and each runs the statement over its own.
//!
//! That is exact if the statement says the same of equal copies, whoever computes it and when: so nothing in it may be
//! volatile, nor depend on the order in which rows lie. And every copy has to see the same writes in the same order: each
//! shard takes a lock of the table for them, before its part, which a prepared transaction keeps.

use crate::decision::{Decision, Param};
use crate::functions::{Class, class};
use crate::ir::{Change, Scoped};
use crate::proof::{is_reference, known};
use crate::query::Planned;
use crate::snapshot::{Column, ColumnDefault, Relation, Snapshot};
use crate::spread::checks::{clocked_param, picks_rows};
use crate::spread::splitting::Splitting;
use crate::spread::{Piece, Returns, Spread, SpreadPart, clock, misread};
use shardgate_sql::facts::{Body, Expr, InsertSource, Statement};
use shardgate_sql::lexer::{Token, lex};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Copies {
    /// The table with its schema, for the lock.
    table: Arc<str>,
    text: Arc<str>,
    pieces: Arc<[Piece]>,
    returning: bool,
    timeless: Vec<u16>,
}

impl Copies {
    pub(super) fn decide(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        if let Some(refusal) = clocked_param(params, &self.timeless) {
            return Decision::Refused(refusal);
        }
        let part = |shard| SpreadPart {
            shard,
            head: self.pieces.clone(),
            rows: Vec::new(),
            tail: Arc::from([]),
            common: None,
        };
        let mut spread = Spread {
            parts: snapshot.shards.iter().map(|shard| part(shard.id)).collect(),
            text: self.text.clone(),
            rows: Vec::new(),
            returns: match self.returning {
                true => Returns::AnyOrder,
                false => Returns::Nothing,
            },
            copies: Some(self.table.clone()),
        };
        spread.sort(snapshot.home);
        Decision::Spread(Arc::new(spread))
    }
}

impl Planned<'_, '_> {
    pub(super) fn copies(
        &self,
        scoped: &Scoped,
        change: &Change,
        text: &str,
    ) -> Result<Copies, String> {
        let leaf = self
            .resolver
            .leaves
            .get(change.target.0)
            .ok_or_else(misread)?;
        let relation = known(leaf).ok_or_else(misread)?;
        if let Some(leaf) = self.resolver.leaves.iter().find(|leaf| !is_reference(leaf)) {
            return Err(format!("relation {} is no reference table", leaf.label));
        }
        self.spread_checks(scoped, change)?;
        let functions = &self.resolver.seen.functions;
        let volatile = |name: &&_| class(name, self.snapshot) == Class::Volatile;
        if let Some(name) = functions.iter().find(volatile) {
            return Err(format!(
                "function {} would answer otherwise on each shard",
                name.name
            ));
        }
        if picks_rows(text) {
            return Err("it may take other rows on each shard".to_owned());
        }
        let tokens = lex(text).map_err(|error| error.to_string())?;
        let replaced = clock::replaced(text, &tokens, self.snapshot)?;
        let returning = tokens.iter().find(|token| token.is_word(text, "returning"));
        if let (Some(token), Some(last)) = (returning, replaced.last())
            && last.of_client.start > token.start
        {
            return Err("RETURNING reads the clock".to_owned());
        }
        let pieces = match self.inserted(relation, text)? {
            Some(pieces) => pieces,
            None => {
                self.assigned(relation, text, &tokens)?;
                clock::pieces(0..text.len(), &replaced)
            }
        };
        Ok(Copies {
            table: Arc::from(format!("{}.{}", relation.schema, relation.name)),
            text: Arc::from(text),
            pieces: pieces.into(),
            returning: returning.is_some(),
            timeless: self.timeless_params(&[]),
        })
    }

    /// The text of an INSERT, with the values of what it leaves out. None: it is none.
    fn inserted(&self, relation: &Relation, text: &str) -> Result<Option<Vec<Piece>>, String> {
        let Statement::Query(query) = &self.facts.statement else {
            return Err(misread());
        };
        let Body::Insert(insert) = &query.body else {
            return Ok(None);
        };
        let InsertSource::Values(values) = &insert.source else {
            return Err("its rows come from a query, or are defaults".to_owned());
        };
        if !query.ctes.is_empty() {
            return Err("it has a WITH".to_owned());
        }
        let splitting = Splitting::new(self, relation, insert, values, text)?;
        for (index, column) in relation.columns.iter().enumerate() {
            let place = match insert.columns.is_empty() {
                true => Some(index),
                false => insert.columns.iter().position(|name| *name == column.name),
            };
            let given = |row: &Vec<Expr>| {
                let value = place.and_then(|place| row.get(place));
                value.is_some_and(|value| *value != Expr::Default)
            };
            if !values.iter().all(given) || insert.overriding {
                steady_default(column)?;
            }
        }
        Ok(Some(splitting.whole()?))
    }

    /// SET of an UPDATE.
    fn assigned(&self, relation: &Relation, text: &str, tokens: &[Token]) -> Result<(), String> {
        let Statement::Query(query) = &self.facts.statement else {
            return Err(misread());
        };
        if let Body::Update(update) = &query.body {
            if !update.from.is_empty() {
                return Err("of several rows in FROM each shard may take another one".to_owned());
            }
            for assignment in &update.assignments {
                for name in &assignment.columns {
                    let column = relation.columns.iter().find(|column| column.name == *name);
                    if let (Some(column), false) = (column, assignment.value != Expr::Default) {
                        steady_default(column)?;
                    }
                }
            }
        }
        self.constants_without_clock(relation, text, tokens)
    }
}

/// The default is the same on every shard, or is replaced by its value.
fn steady_default(column: &Column) -> Result<(), String> {
    match column.default {
        ColumnDefault::None | ColumnDefault::Plain | ColumnDefault::Clock(_) => Ok(()),
        ColumnDefault::Anew | ColumnDefault::Sequence | ColumnDefault::Other => Err(format!(
            "the default of column \"{}\" would be another one on each shard; give its value",
            column.name
        )),
    }
}
