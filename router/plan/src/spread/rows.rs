//! INSERT of several rows: each shard gets the rows whose keys are its own, in their order.
//!
//! Postgres converts each row of VALUES to the target's columns by itself, so that a row means the same without the
//! others; only a parameter gets its type from the first place where it stands, so one that stands in several places must
//! stand alike in all of them, or have a declared type. Rows with one key go to one shard, where a conflict between them
//! is found as Postgres finds it.

use crate::decision::{Decision, Param, Refusal};
use crate::ir::{Change, NewKeySet};
use crate::keyed::{Bound, Role};
use crate::keyset::{Item, KeySet, ParamItem, Part, Trouble};
use crate::proof::distributed;
use crate::query::Planned;
use crate::snapshot::Snapshot;
use crate::spread::checks::clocked_param;
use crate::spread::splitting::Splitting;
use crate::spread::{PartRow, Piece, Returns, RowKeys, Spread, SpreadPart, misread};
use shardgate_shard_map::{Key, KeyType, RouteError, ShardId, ShardMap};
use shardgate_sql::facts::{Body, InsertSource, Statement};
use std::collections::HashMap;
use std::sync::Arc;

/// An INSERT that can be split.
#[derive(Clone, Debug)]
pub struct Rows {
    bound: Bound,
    /// A NULL in the key is refused by Postgres itself, wherever the row goes.
    null_fails: bool,
    text: Arc<str>,
    ty: KeyType,
    head: Arc<[Piece]>,
    rows: Vec<Row>,
    tail: Arc<[Piece]>,
    /// With the key behind all other columns of RETURNING.
    tail_with_key: Arc<[Piece]>,
    /// Parameters outside of the rows.
    common: Arc<[u16]>,
    timeless: Vec<u16>,
    returning: bool,
    /// Rows may be left out of RETURNING.
    skips: bool,
    /// The key alone decides whether a row is left out.
    unique: bool,
}

#[derive(Clone, Debug)]
struct Row {
    pieces: Arc<[Piece]>,
    item: Item,
    params: Arc<[u16]>,
}

impl Rows {
    pub(super) fn decide(
        &self,
        params: &[Param<'_>],
        snapshot: &Snapshot,
        refusal: Refusal,
    ) -> Decision {
        let Some(distribution) = snapshot.distributions.get(&self.bound.distribution) else {
            return Decision::Refused(crate::keyed::stale_plan());
        };
        let mut shards = Vec::with_capacity(self.rows.len());
        let mut keys = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            match self.shard_of(row, params, &distribution.map) {
                Ok(placed) => {
                    let (shard, key) = placed.unzip();
                    shards.push(shard);
                    keys.push(key);
                }
                Err(Placed::Anywhere) => return Decision::Shard(snapshot.home),
                Err(Placed::Nowhere(own)) => return Decision::Refused(own.unwrap_or(refusal)),
            }
        }
        // What certainly fails goes where the others go, so that it fails in its turn.
        let Some(first) = shards.iter().flatten().next().copied() else {
            return Decision::Shard(snapshot.home);
        };
        let mut last = first;
        let shards: Vec<ShardId> = shards
            .into_iter()
            .map(|shard| {
                last = shard.unwrap_or(last);
                last
            })
            .collect();
        let mut distinct: Vec<ShardId> = shards.clone();
        distinct.sort_by_key(|shard| (*shard != snapshot.home, *shard));
        distinct.dedup();
        if let [only] = distinct.as_slice() {
            return Decision::Shard(*only);
        }
        if let Some(refusal) = clocked_param(params, &self.timeless) {
            return Decision::Refused(refusal);
        }
        Decision::Spread(Arc::new(self.split(&shards, &distinct, keys)))
    }

    fn split(&self, shards: &[ShardId], distinct: &[ShardId], keys: Vec<Option<Key>>) -> Spread {
        let skips = self.returning && self.skips;
        let tail = if skips {
            &self.tail_with_key
        } else {
            &self.tail
        };
        let part = |shard: &ShardId| SpreadPart {
            shard: *shard,
            head: self.head.clone(),
            rows: Vec::new(),
            tail: tail.clone(),
            common: Some(self.common.clone()),
        };
        let mut parts: Vec<SpreadPart> = distinct.iter().map(part).collect();
        let indexes: HashMap<ShardId, usize> =
            distinct.iter().enumerate().map(|(i, s)| (*s, i)).collect();
        let mut order = Vec::with_capacity(shards.len());
        for (number, (row, shard)) in self.rows.iter().zip(shards).enumerate() {
            let index = indexes.get(shard).copied().unwrap_or_default();
            order.push(index);
            if let Some(part) = parts.get_mut(index) {
                part.rows.push(PartRow {
                    number,
                    pieces: row.pieces.clone(),
                    params: row.params.clone(),
                });
            }
        }
        Spread {
            parts,
            text: self.text.clone(),
            copies: None,
            rows: order,
            returns: match (self.returning, skips) {
                (false, _) => Returns::Nothing,
                (true, false) => Returns::InOrder,
                (true, true) => Returns::ByKey(RowKeys {
                    ty: self.ty,
                    keys,
                    unique: self.unique,
                }),
            },
        }
    }

    /// None: it fails wherever it goes, in its turn.
    fn shard_of(
        &self,
        row: &Row,
        params: &[Param<'_>],
        map: &ShardMap,
    ) -> Result<Option<(ShardId, Key)>, Placed> {
        let keys = match KeySet::Items(vec![row.item.clone()]).evaluate(params) {
            Ok(Some(keys)) => keys,
            Ok(None) => return Err(Placed::Nowhere(None)),
            Err(Trouble::Fails) => return Err(Placed::Anywhere),
            Err(Trouble::NullKey) if self.null_fails => return Ok(None),
            Err(Trouble::NullKey) => return Err(Placed::Nowhere(None)),
        };
        let [Part::Point(key)] = keys.as_slice() else {
            return Err(Placed::Nowhere(None));
        };
        match map.route(key) {
            Ok(shard) => Ok(Some((shard, key.clone()))),
            Err(RouteError::NoShard(_)) => Err(Placed::Nowhere(Some(self.unowned(key)))),
            Err(RouteError::WrongType { .. } | RouteError::Incomplete) => {
                Err(Placed::Nowhere(None))
            }
        }
    }

    fn unowned(&self, key: &Key) -> Refusal {
        self.bound.unowned(key)
    }
}

/// A row without a shard.
enum Placed {
    /// The statement fails before any row is touched, on any shard.
    Anywhere,
    /// Nowhere; with a refusal of its own.
    Nowhere(Option<Refusal>),
}

impl Planned<'_, '_> {
    pub(super) fn split_rows(&self, change: &Change, text: &str) -> Result<Rows, String> {
        let Statement::Query(query) = &self.facts.statement else {
            return Err(misread());
        };
        let Body::Insert(insert) = &query.body else {
            return Err(misread());
        };
        let InsertSource::Values(values) = &insert.source else {
            return Err("its rows come from a query".to_owned());
        };
        if !query.ctes.is_empty() {
            return Err("it has a WITH".to_owned());
        }
        let leaf = self
            .resolver
            .leaves
            .get(change.target.0)
            .ok_or_else(misread)?;
        let (relation, distribution, key) = distributed(leaf).ok_or_else(misread)?;
        let others = self.resolver.leaves.iter().enumerate();
        let other = others
            .filter(|(index, _)| *index != change.target.0)
            .find(|(_, leaf)| distributed(leaf).is_some());
        if let Some((_, leaf)) = other {
            return Err(format!("relation {} is read by it", leaf.label));
        }
        stays(change)?;
        let key_column = relation.columns.get(key).ok_or_else(misread)?;
        let items = self.items(change).ok_or_else(|| {
            "its key is a parameter whose type is not certain, because it is also used elsewhere"
                .to_owned()
        })?;
        let splitting = Splitting::new(self, relation, insert, values, text)?;
        let rows = splitting.rows()?;
        if rows.len() != items.len() {
            return Err(misread());
        }
        let rows = rows.into_iter().zip(items);
        Ok(Rows {
            bound: Bound {
                label: leaf.label.clone(),
                relation: relation.name.clone(),
                key: key_column.name.clone(),
                distribution,
                set: Arc::new(KeySet::empty()),
                role: Role::New,
            },
            null_fails: key_column.not_null,
            text: Arc::from(text),
            ty: KeyType::from_oid(key_column.ty).ok_or_else(misread)?,
            head: splitting.head()?.into(),
            tail: splitting.tail().into(),
            tail_with_key: splitting.tail_with(&key_column.name).into(),
            rows: rows
                .map(|((pieces, params), item)| Row {
                    pieces: pieces.into(),
                    item,
                    params: params.into_iter().collect(),
                })
                .collect(),
            common: splitting.common().into_iter().collect(),
            timeless: self.timeless_params(&splitting.bare_params()),
            returning: !insert.returning.is_empty(),
            unique: insert.on_conflict.as_ref().is_some_and(|conflict| {
                conflict.update.is_none()
                    && !conflict.other_target
                    && conflict.columns == [key_column.name.as_str()]
            }),
            skips: insert
                .on_conflict
                .as_ref()
                .is_some_and(|conflict| match &conflict.update {
                    None => true,
                    Some((_, filter)) => filter.is_some(),
                }),
        })
    }

    /// The keys of the rows, in their order.
    fn items(&self, change: &Change) -> Option<Vec<Item>> {
        let certain = |param: &ParamItem| {
            !param.inferred
                || self
                    .resolver
                    .uses
                    .agree(param.number, param.ty, param.array)
        };
        let new = change.keys.iter().find(|keys| !keys.assigned)?;
        let NewKeySet::Known(set) = &new.set else {
            return None;
        };
        match set.settle(&certain)?.as_ref() {
            KeySet::Items(items) => Some(items.clone()),
            KeySet::And(_) | KeySet::Or(_) | KeySet::Interval { .. } | KeySet::Own => None,
        }
    }
}

/// ON CONFLICT leaves the row where it is.
fn stays(change: &Change) -> Result<(), String> {
    // A column that is known to be the key of the row that was to be inserted leaves it where it is.
    let moves =
        |keys: &crate::ir::NewKeys| keys.assigned && matches!(keys.set, NewKeySet::Known(_));
    if change.keys.iter().any(moves) {
        return Err("ON CONFLICT DO UPDATE gives rows another key".to_owned());
    }
    Ok(())
}
