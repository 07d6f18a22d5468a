//! Writes over several shards: each shard carries out its own part of the statement, and all parts commit or none.
//!
//! Here it is decided for which statements that is exact, and the text is made that each shard gets: the client's own
//! bytes, of which rows may be left out (`rows`) and in which what reads the clock is replaced by one value for all shards
//! (`clock`). No tree is printed. What is not proven exact is refused, with a reason. How the parts are sent and committed
//! is the session's.
//!
//! While buckets of a table are on their way to another shard, its rows may lie on two shards: then every part has to
//! carry the predicate of what its shard owns. `scatter::Scatter::decide` is the place for that; INSERT needs none, since
//! its rows go by their keys.

mod checks;
pub(crate) mod clock;
mod rows;
mod scatter;
mod splitting;

use crate::decision::{Decision, Param, Refusal};
use crate::query::Planned;
use crate::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use shardgate_sql::facts::{Body, InsertSource, Statement};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// A write of one execution over several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Home first if it has a part, then ascending: locks are taken in this order by all.
    pub parts: Vec<SpreadPart>,
    /// The statement that the parts are made of.
    pub text: Arc<str>,
    pub returns: Returns,
}

/// What one shard carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadPart {
    pub shard: ShardId,
    pub pieces: Vec<Piece>,
    /// The parameters that the part mentions, ascending; None: all of the statement's.
    pub params: Option<Vec<u16>>,
}

/// A piece of a part's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the client's statement.
    Client(Range<usize>),
    Made(Arc<str>),
    /// The time of the transaction, as a constant of type timestamptz.
    Now,
}

/// The rows of RETURNING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returns {
    Nothing,
    /// In any order.
    AnyOrder,
    /// In the order of VALUES, of which every row gives one: for each row the index of its part.
    EachRow(Vec<usize>),
}

/// The source of a spread write, as it was compiled: asked for each execution.
#[derive(Clone, Debug)]
pub enum Source {
    #[doc(hidden)]
    Rows(rows::Rows),
    #[doc(hidden)]
    Scatter(scatter::Scatter),
}

impl Spread {
    /// The text of a part. `now`: the time of the transaction, in a form that every server reads alike.
    pub fn part_text(&self, part: &SpreadPart, now: &str) -> String {
        let mut text = String::with_capacity(self.text.len());
        for piece in &part.pieces {
            match piece {
                Piece::Client(range) => {
                    text.push_str(self.text.get(range.clone()).unwrap_or_default())
                }
                Piece::Made(made) => text.push_str(made),
                Piece::Now => {
                    let now = now.replace('\'', "''");
                    // Writing to a String cannot fail.
                    let _ = write!(text, "'{now}'::pg_catalog.timestamptz");
                }
            }
        }
        text
    }

    /// The part of this shard.
    pub fn part(&self, shard: ShardId) -> Option<&SpreadPart> {
        self.parts.iter().find(|part| part.shard == shard)
    }

    /// The parts' order on all shards: home first.
    pub(crate) fn sort(&mut self, home: ShardId) {
        debug_assert!(!matches!(self.returns, Returns::EachRow(_)));
        self.parts
            .sort_by_key(|part| (part.shard != home, part.shard));
    }
}

impl Source {
    /// Where an execution goes that no shard can carry out alone. `refusal`: why none can.
    pub(crate) fn decide(
        &self,
        params: &[Param<'_>],
        snapshot: &Snapshot,
        refusal: Refusal,
    ) -> Decision {
        match self {
            Source::Rows(rows) => rows.decide(params, snapshot, refusal),
            Source::Scatter(scatter) => scatter.decide(params, snapshot),
        }
    }
}

impl Planned<'_, '_> {
    /// The statement as a write of several shards, or `refusal` with why it cannot be one.
    pub(crate) fn spread(
        &self,
        scoped: &crate::ir::Scoped,
        refusal: &Refusal,
    ) -> Result<Source, Refusal> {
        match self.spread_later(scoped) {
            Some(Ok(source)) => Ok(source),
            Some(Err(why)) => {
                let detail = refusal.detail.clone().unwrap_or_default();
                let detail = format!("{detail} Nor can each shard do its own part: {why}.");
                Err(Refusal {
                    detail: Some(detail.trim_start().to_owned()),
                    ..refusal.clone()
                })
            }
            None => Err(refusal.clone()),
        }
    }

    /// INSERT of several rows of VALUES.
    fn has_rows(&self) -> bool {
        let Statement::Query(query) = &self.facts.statement else {
            return false;
        };
        let Body::Insert(insert) = &query.body else {
            return false;
        };
        matches!(&insert.source, InsertSource::Values(rows) if rows.len() > 1)
    }

    /// The same for executions whose keys do not lie on one shard. None: it is no write, or its text is not known.
    pub(crate) fn spread_later(
        &self,
        scoped: &crate::ir::Scoped,
    ) -> Option<Result<Source, String>> {
        let text = self.text.filter(|_| self.resolver.seen.writes)?;
        let crate::ir::ScopedBody::Change(change) = &scoped.body else {
            return Some(Err(
                "the write stands inside of another statement".to_owned()
            ));
        };
        if !crate::proof::is_distributed(self.resolver.leaves.get(change.target.0)?) {
            return Some(Err("its target is no distributed table".to_owned()));
        }
        if change.insert && !self.has_rows() {
            return None;
        }
        let made = self.spread_checks(scoped, change).and_then(|()| {
            if change.insert {
                self.split_rows(change, text).map(Source::Rows)
            } else {
                self.scatter(scoped, change, text).map(Source::Scatter)
            }
        });
        Some(made)
    }
}

pub(crate) fn misread() -> String {
    "its text is not understood".to_owned()
}
