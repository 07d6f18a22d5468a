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
mod copies;
mod rows;
mod scatter;
mod splitting;

use crate::decision::{Decision, Param, Refusal};
use crate::query::Planned;
use crate::snapshot::Snapshot;
use crate::value::{self, Parsed};
use shardgate_shard_map::{Key, KeyType, ShardId};
use shardgate_sql::facts::{Body, InsertSource, Statement};
use std::collections::{BTreeSet, HashMap};
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
    /// Of an INSERT: for each row of VALUES the index of its part. Else empty.
    pub rows: Vec<usize>,
    pub returns: Returns,
    /// Of a reference table, whose name this is: every part is the whole statement, and home's answer is the answer.
    pub copies: Option<Arc<str>>,
}

/// What one shard carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadPart {
    pub shard: ShardId,
    /// All of its text, or what stands before its rows.
    pub head: Arc<[Piece]>,
    /// Its rows of VALUES, ascending.
    pub rows: Vec<PartRow>,
    /// What stands behind its rows.
    pub tail: Arc<[Piece]>,
    /// Parameters that are mentioned outside of the rows; None: the part mentions all that the statement does.
    pub common: Option<Arc<[u16]>>,
}

/// A row of VALUES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Its place in VALUES, from 0.
    pub number: usize,
    pub pieces: Arc<[Piece]>,
    /// The parameters that it mentions.
    pub params: Arc<[u16]>,
}

impl SpreadPart {
    /// The parameters that the part mentions with no other rows than the first `count` of VALUES. None: all of the
    /// statement's.
    pub fn params(&self, count: usize) -> Option<BTreeSet<u16>> {
        let mut params: BTreeSet<u16> = self.common.as_ref()?.iter().copied().collect();
        let rows = self.rows.iter().take_while(|row| row.number < count);
        params.extend(rows.flat_map(|row| row.params.iter()));
        Some(params)
    }
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
    /// In the order of VALUES, of which every row gives one.
    InOrder,
    /// In the order of VALUES, of which rows may be left out. Each row of the parts has one more column, which the client
    /// is not told: its key, by which it is found in VALUES.
    ByKey(RowKeys),
}

/// The keys of the rows of VALUES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeys {
    ty: KeyType,
    /// None: the row certainly fails.
    keys: Vec<Option<Key>>,
    /// The key is unique, and a row that meets another one is left out: of rows with one key the first may be written.
    unique: bool,
}

impl RowKeys {
    /// Which of its rows a part has returned, by the keys of those, in binary. None: it is not certain.
    ///
    /// Of rows with one key all must have been returned, or none; or the first, if the key is unique.
    pub fn returned(&self, rows: &[usize], returned: &[&[u8]]) -> Option<Vec<usize>> {
        let mut found: HashMap<Key, usize> = HashMap::new();
        let mut in_order = Vec::with_capacity(returned.len());
        for bytes in returned {
            let Parsed::Key(key) = value::from_binary(self.ty, bytes) else {
                return None;
            };
            *found.entry(key.clone()).or_default() += 1;
            in_order.push(key);
        }
        let mut given: HashMap<&Key, usize> = HashMap::new();
        let key_of = |row: &usize| self.keys.get(*row).and_then(Option::as_ref);
        for key in rows.iter().filter_map(key_of) {
            *given.entry(key).or_default() += 1;
        }
        let known = |(key, count): (&Key, &usize)| match self.unique {
            true => *count == 1,
            false => given.get(key) == Some(count),
        };
        if !found.iter().all(known) {
            return None;
        }
        let mut back = Vec::with_capacity(returned.len());
        for row in rows {
            if let Some(left) = key_of(row).and_then(|key| found.get_mut(key))
                && *left > 0
            {
                *left -= 1;
                back.push(*row);
            }
        }
        let same = back.iter().map(key_of).eq(in_order.iter().map(Some));
        same.then_some(back)
    }
}

/// The source of a spread write, as it was compiled: asked for each execution.
#[derive(Clone, Debug)]
pub enum Source {
    #[doc(hidden)]
    Rows(rows::Rows),
    #[doc(hidden)]
    Scatter(scatter::Scatter),
    #[doc(hidden)]
    Copies(copies::Copies),
}

impl Spread {
    /// The text of a part. `now`: the time of the transaction, in a form that every server reads alike.
    pub fn part_text(&self, part: &SpreadPart, now: &str) -> String {
        self.text_of(part, part.rows.len(), now)
    }

    /// The same with no other rows of VALUES than the first `count`. None: it has none of them.
    pub fn part_of_first(&self, part: &SpreadPart, count: usize, now: &str) -> Option<String> {
        let rows = part.rows.partition_point(|row| row.number < count);
        (rows > 0).then(|| self.text_of(part, rows, now))
    }

    fn text_of(&self, part: &SpreadPart, rows: usize, now: &str) -> String {
        let mut text = String::with_capacity(self.text.len());
        self.put(&part.head, now, &mut text);
        for (index, row) in part.rows.iter().take(rows).enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            self.put(&row.pieces, now, &mut text);
        }
        self.put(&part.tail, now, &mut text);
        text
    }

    fn put(&self, pieces: &[Piece], now: &str, text: &mut String) {
        for piece in pieces {
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
    }

    /// The part of this shard.
    pub fn part(&self, shard: ShardId) -> Option<&SpreadPart> {
        self.parts.iter().find(|part| part.shard == shard)
    }

    /// The parts' order on all shards: home first.
    pub(crate) fn sort(&mut self, home: ShardId) {
        debug_assert!(self.rows.is_empty(), "rows name their parts by index");
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
            Source::Copies(copies) => copies.decide(params, snapshot),
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
            Some(Err(why)) if refusal.sqlstate == "0A000" => {
                let detail = refusal.detail.clone().unwrap_or_default();
                let detail = format!("{detail} Nor can each shard do its own part: {why}.");
                Err(Refusal {
                    detail: Some(detail.trim_start().to_owned()),
                    ..refusal.clone()
                })
            }
            Some(Err(_)) | None => Err(refusal.clone()),
        }
    }

    /// A write of a reference table on every shard.
    pub(crate) fn spread_copies(
        &self,
        scoped: &crate::ir::Scoped,
        refusal: &Refusal,
    ) -> Result<Source, Refusal> {
        let crate::ir::ScopedBody::Change(change) = &scoped.body else {
            return Err(refusal.clone());
        };
        let Some(text) = self.text else {
            return Err(refusal.clone());
        };
        let copies = self.copies(scoped, change, text);
        copies.map(Source::Copies).map_err(|why| Refusal {
            detail: Some(format!(
                "Every shard has a copy, and all copies must stay alike: {why}."
            )),
            ..refusal.clone()
        })
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
