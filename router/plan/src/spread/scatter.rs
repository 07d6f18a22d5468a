//! UPDATE and DELETE of a distributed table without a key that binds them to one shard: every shard runs the statement
//! over its own rows.
//!
//! The statement is the sum of its parts, one for each shard: those that change the rows of the target with the shard's
//! own keys. So it is enough to prove each part as a statement of one shard: as if "the key is one of this shard's" stood
//! in WHERE, joined by AND. Every other occurrence of a distributed relation must then be bound to the same keys, which the
//! one-shard proof finds out. On its shard the part and the statement itself are the same, since no shard has rows of
//! another one's keys.

use crate::bind::Binder;
use crate::decision::{Decision, Param};
use crate::ir::{Atom, Change, Scoped};
use crate::keyed::{Role, owners_between};
use crate::keyset::{KeySet, ParamItem, Part, Trouble};
use crate::proof::distributed;
use crate::query::Planned;
use crate::snapshot::{ColumnDefault, DistributionId, Relation, Snapshot};
use crate::spread::checks::{clocked_param, may_be_time, own_change};
use crate::spread::{Piece, Returns, Spread, SpreadPart, clock};
use shardgate_shard_map::{ShardId, ShardMap};
use shardgate_sql::facts::{Assignment, Body, Expr, Literal, Statement};
use shardgate_sql::lexer::{Token, lex};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Scatter {
    distribution: DistributionId,
    /// The keys of the target's rows that can matter, as far as they are known.
    set: Arc<KeySet>,
    text: Arc<str>,
    pieces: Arc<[Piece]>,
    returns: Returns,
    /// Parameters that are no times, whatever their values say.
    timeless: Vec<u16>,
}

impl Scatter {
    /// Where it goes with these parameters: to all shards that may have rows of its keys.
    pub(super) fn decide(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        let Some(distribution) = snapshot.distributions.get(&self.distribution) else {
            return Decision::Refused(crate::keyed::stale_plan());
        };
        if let Some(refusal) = clocked_param(params, &self.timeless) {
            return Decision::Refused(refusal);
        }
        let map = &distribution.map;
        let shards = match self.set.evaluate(params) {
            Ok(None) => map.shards(),
            Ok(Some(parts)) => owners(map, &parts),
            // Postgres raises the error; any shard will do.
            Err(Trouble::Fails | Trouble::NullKey) => BTreeSet::new(),
        };
        let mut list = shards.iter();
        match (list.next(), list.next()) {
            (None, _) => Decision::Shard(snapshot.home),
            (Some(shard), None) => Decision::Shard(*shard),
            (Some(_), Some(_)) => {
                let part = |shard: &ShardId| SpreadPart {
                    shard: *shard,
                    head: self.pieces.clone(),
                    rows: Vec::new(),
                    tail: Arc::from([]),
                    common: None,
                };
                let mut spread = Spread {
                    parts: shards.iter().map(part).collect(),
                    text: self.text.clone(),
                    rows: Vec::new(),
                    returns: self.returns.clone(),
                    copies: None,
                };
                spread.sort(snapshot.home);
                Decision::Spread(Arc::new(spread))
            }
        }
    }
}

fn owners(map: &ShardMap, parts: &[Part]) -> BTreeSet<ShardId> {
    let mut shards = BTreeSet::new();
    for part in parts {
        match part {
            // A key that no shard owns has no rows.
            Part::Point(key) => shards.extend(map.route(key).ok()),
            Part::Between(low, high) => match owners_between(map, low.as_ref(), high.as_ref()) {
                Some(owners) => shards.extend(owners),
                None => return map.shards(),
            },
        }
    }
    shards
}

impl Planned<'_, '_> {
    pub(super) fn scatter(
        &self,
        scoped: &Scoped,
        change: &Change,
        text: &str,
    ) -> Result<Scatter, String> {
        let target = self
            .resolver
            .leaves
            .get(change.target.0)
            .ok_or_else(super::misread)?;
        let (relation, distribution, _) = distributed(target).ok_or_else(super::misread)?;
        let set = self.own_keys(scoped, change, distribution)?;
        let tokens = lex(text).map_err(|error| error.to_string())?;
        let replaced = clock::replaced(text, &tokens, self.snapshot)?;
        self.constants_without_clock(relation, text, &tokens)?;
        let returning = tokens
            .iter()
            .find(|token| token.is_word(text, "returning"))
            .map(|token| token.start);
        // The name of such a column would be another.
        if let (Some(start), Some(last)) = (returning, replaced.last())
            && last.of_client.start > start
        {
            return Err("RETURNING reads the clock".to_owned());
        }
        Ok(Scatter {
            distribution,
            set,
            text: Arc::from(text),
            pieces: clock::pieces(0..text.len(), &replaced).into(),
            returns: match returning {
                Some(_) => Returns::AnyOrder,
                None => Returns::Nothing,
            },
            timeless: self.timeless_params(&[]),
        })
    }

    /// The proof: with the target bound to the keys of one shard, everything is. The target's own set.
    fn own_keys(
        &self,
        scoped: &Scoped,
        change: &Change,
        distribution: DistributionId,
    ) -> Result<Arc<KeySet>, String> {
        let leaves = &self.resolver.leaves;
        let key = self
            .resolver
            .key(change.target)
            .ok_or_else(super::misread)?;
        let mut owned = scoped.clone();
        let own = own_change(&mut owned).ok_or_else(super::misread)?;
        let atom = Atom::Within(key, Arc::new(KeySet::Own));
        own.selected.filter.atoms.push(atom.clone());
        if own.keys.is_empty() {
            own.returning_atoms.push(atom);
        }
        let mut binder = Binder::new(&self.resolver.nodes, leaves);
        binder.query(&owned, &[], &[]);
        let certain = |param: &ParamItem| {
            !param.inferred
                || self
                    .resolver
                    .uses
                    .agree(param.number, param.ty, param.array)
        };
        let mut keys = None;
        for found in &binder.found {
            let Some(leaf) = leaves.get(found.leaf.0) else {
                return Err(super::misread());
            };
            let Some((_, other, _)) = distributed(leaf) else {
                continue;
            };
            let set = found.set.as_ref().and_then(|set| set.settle(&certain));
            let bound = set.as_ref().is_some_and(|set| set.is_own());
            if found.role == Role::Assigned && !bound {
                return Err(format!(
                    "relation {} may get keys of another shard",
                    leaf.label
                ));
            }
            if !bound || other != distribution {
                return Err(format!(
                    "relation {} is not joined by its key with the key of the rows that are changed",
                    leaf.label
                ));
            }
            if found.leaf == change.target && found.role == Role::Existing {
                keys = set;
            }
        }
        let met = |index: usize| binder.found.iter().any(|found| found.leaf.0 == index);
        let missed = leaves
            .iter()
            .enumerate()
            .find(|(index, leaf)| distributed(leaf).is_some() && !met(*index));
        if let Some((_, leaf)) = missed {
            return Err(format!("relation {} was not understood", leaf.label));
        }
        keys.ok_or_else(super::misread)
    }

    /// String constants that could mean the time at which they are read, and defaults that read the clock.
    pub(super) fn constants_without_clock(
        &self,
        relation: &Relation,
        text: &str,
        tokens: &[Token],
    ) -> Result<(), String> {
        let assignments = match &self.facts.statement {
            Statement::Query(query) => match &query.body {
                Body::Update(update) => update.assignments.as_slice(),
                _nothing_is_assigned => &[],
            },
            _nothing_is_assigned => &[],
        };
        let mut plain = Vec::new();
        for (column, value) in assignments.iter().filter_map(single) {
            // Home complains of a column that is not there.
            let Some(column) = relation.columns.iter().find(|known| known.name == column) else {
                continue;
            };
            match value {
                Expr::Default if matches!(column.default, ColumnDefault::Clock(_)) => {
                    return Err(format!(
                        "the default of \"{}\" reads the clock",
                        column.name
                    ));
                }
                Expr::Literal(Literal::String(text)) if !may_be_time(column.ty) => plain.push(text),
                _other => {}
            }
        }
        for assignment in assignments.iter().filter(|one| single(one).is_none()) {
            let clocked = |name: &String| {
                let column = relation.columns.iter().find(|known| known.name == *name);
                column.is_some_and(|column| matches!(column.default, ColumnDefault::Clock(_)))
            };
            if assignment.columns.iter().any(clocked) {
                return Err("several columns are assigned at once".to_owned());
            }
        }
        clock::strings_timeless(text, tokens, plain)
    }
}

fn single(assignment: &Assignment) -> Option<(&str, &Expr)> {
    match assignment.columns.as_slice() {
        [column] => Some((column, &assignment.value)),
        _several => None,
    }
}
