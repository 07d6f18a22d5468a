//! The keys that INSERT and UPDATE give to rows of a distributed table, and the defaults that it would draw.

use crate::constant::{Constant, Meets};
use crate::ir::{NewKeySet, NewKeys, NodeId, Scoped};
use crate::keyset::{Item, KeySet, NullMeans, ParamItem};
use crate::refusals;
use crate::resolve::Resolver;
use crate::scope::{Lookup, Scope};
use crate::snapshot::{Column, ColumnDefault, Placement, Relation};
use crate::value::{Family, family};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Body, Distinct, Expr, Insert, InsertSource, Query};
use std::sync::Arc;

/// The target of a change, if it is a distributed table.
#[derive(Clone, Copy)]
pub(crate) struct Keyed<'r> {
    pub(crate) relation: &'r Relation,
    pub(crate) index: usize,
    pub(crate) column: &'r Column,
    pub(crate) ty: KeyType,
}

/// Are there rows that get the key?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Certain,
    /// As many as pass a filter.
    Perhaps,
}

impl<'r> Keyed<'r> {
    pub(crate) fn of(relation: Option<&'r Arc<Relation>>) -> Option<Keyed<'r>> {
        let relation = relation?;
        let Placement::Distributed { key, .. } = relation.placement else {
            return None;
        };
        let column = relation.columns.get(key)?;
        Some(Keyed {
            relation,
            index: key,
            column,
            ty: KeyType::from_oid(column.ty)?,
        })
    }
}

impl<'a> Resolver<'a> {
    /// Columns of a distributed table that get their default: what it must not be.
    pub(crate) fn defaults(
        &mut self,
        relation: &Relation,
        insert: &Insert,
        positions: &[Option<usize>],
    ) {
        for (index, column) in relation.columns.iter().enumerate() {
            let place = positions.iter().position(|at| *at == Some(index));
            let given = match (&insert.source, place) {
                (InsertSource::Values(rows), Some(place)) => rows
                    .iter()
                    .all(|row| row.get(place).is_some_and(|value| *value != Expr::Default)),
                (InsertSource::Query(_), Some(_)) => true,
                (InsertSource::DefaultValues, _) | (_, None) => false,
            };
            let overridden = insert.overriding && column.default == ColumnDefault::Sequence;
            if !given || overridden {
                self.default_of(relation, column);
            }
        }
    }

    pub(crate) fn default_of(&mut self, relation: &Relation, column: &Column) {
        match column.default {
            ColumnDefault::None
            | ColumnDefault::Plain
            | ColumnDefault::Clock(_)
            | ColumnDefault::Anew => {}
            ColumnDefault::Sequence => self
                .problems
                .push(refusals::sequence_default(relation, column)),
            ColumnDefault::Other => self
                .problems
                .push(refusals::other_default(relation, column)),
        }
    }

    /// The keys of all new rows. None: a problem was noted.
    pub(crate) fn insert_keys(
        &mut self,
        keyed: Keyed<'_>,
        insert: &Insert,
        place: Option<usize>,
        source: Option<&Scoped>,
    ) -> Option<Arc<KeySet>> {
        let Some(place) = place else {
            self.problems
                .push(refusals::missing_key(keyed.relation, keyed.column));
            return None;
        };
        match &insert.source {
            InsertSource::DefaultValues => {
                self.problems
                    .push(refusals::missing_key(keyed.relation, keyed.column));
                None
            }
            InsertSource::Values(rows) => {
                let mut items = Vec::with_capacity(rows.len());
                for row in rows {
                    match row.get(place) {
                        None | Some(Expr::Default) => {
                            self.problems
                                .push(refusals::missing_key(keyed.relation, keyed.column));
                            return None;
                        }
                        Some(value) => items.push(self.new_key(keyed, value, Rows::Certain)?),
                    }
                }
                Some(Arc::new(KeySet::Items(items)))
            }
            InsertSource::Query(query) => self.selected_key(keyed, query, place, source?),
        }
    }

    /// A constant that is assigned to the key.
    pub(crate) fn new_key(&mut self, keyed: Keyed<'_>, value: &Expr, rows: Rows) -> Option<Item> {
        match self.constant(value, keyed.ty, Meets::Assigned(keyed.column.modifier)) {
            // Whether a NULL fails is Postgres's to say: without rows it does not.
            Constant::Item(Item::Param(param)) if rows == Rows::Perhaps => {
                Some(Item::Param(ParamItem {
                    null: NullMeans::Anything,
                    ..param
                }))
            }
            Constant::Item(item) => Some(item),
            Constant::Null if rows == Rows::Perhaps => {
                self.problems.push(refusals::key_not_computed(
                    keyed.relation,
                    keyed.column,
                    "it is NULL, which is an error only if there are rows",
                ));
                None
            }
            Constant::Null => Some(Item::Null),
            Constant::Nothing => {
                self.problems.push(refusals::key_not_computed(
                    keyed.relation,
                    keyed.column,
                    "it is rounded on assignment",
                ));
                None
            }
            Constant::No(why) => {
                self.problems.push(refusals::key_not_computed(
                    keyed.relation,
                    keyed.column,
                    &why,
                ));
                None
            }
        }
    }

    /// INSERT .. SELECT: the key is a constant of the select list, or a column whose values are known.
    pub(crate) fn selected_key(
        &mut self,
        keyed: Keyed<'_>,
        query: &Query,
        place: usize,
        source: &Scoped,
    ) -> Option<Arc<KeySet>> {
        let output = source.outputs.get(place).filter(|_| source.complete);
        let Some(output) = output else {
            self.problems
                .push(refusals::missing_key(keyed.relation, keyed.column));
            return None;
        };
        // Only in a plain SELECT is an uncast constant converted to the column's type directly.
        let direct = matches!(&query.body, Body::Select(select) if select.distinct == Distinct::No);
        if let (Some(constant), true) = (&output.constant, direct) {
            return self
                .new_key(keyed, constant, Rows::Perhaps)
                .map(|item| Arc::new(KeySet::Items(vec![item])));
        }
        let ty = output.node.and_then(|node| self.ty(node));
        let kept = ty.is_some_and(|ty| keeps_value(ty, keyed));
        let set = source
            .exports
            .get(place)
            .cloned()
            .flatten()
            .filter(|_| kept);
        if set.is_none() {
            let why = if kept {
                "the select does not bind it"
            } else {
                "the assignment may change it"
            };
            self.problems.push(refusals::key_not_computed(
                keyed.relation,
                keyed.column,
                why,
            ));
        }
        set
    }

    /// The key that SET gives; None: it stays, or a problem was noted.
    pub(crate) fn assigned_key(
        &mut self,
        keyed: Keyed<'_>,
        value: Option<&Expr>,
        own: Option<NodeId>,
        scope: &Scope<'a>,
    ) -> Option<NewKeys> {
        let column = value.and_then(|value| self.column(value, scope));
        match (column, value) {
            (Some(Lookup::Node(node)), _) if Some(node) == own => None,
            (Some(Lookup::Node(node)), _)
                if self.ty(node).is_some_and(|ty| keeps_value(ty, keyed)) =>
            {
                Some(NewKeys {
                    assigned: true,
                    set: NewKeySet::Of(node),
                })
            }
            (None, Some(value)) if *value != Expr::Default => {
                let item = self.new_key(keyed, value, Rows::Perhaps)?;
                let set = NewKeySet::Known(Arc::new(KeySet::Items(vec![item])));
                Some(NewKeys {
                    assigned: true,
                    set,
                })
            }
            _ => {
                self.problems
                    .push(refusals::key_change(keyed.relation, keyed.column));
                None
            }
        }
    }
}

/// A value of type `ty` is the same after its assignment to the key.
fn keeps_value(ty: KeyType, keyed: Keyed<'_>) -> bool {
    let same = family(ty) == family(keyed.ty);
    same && (keyed.column.modifier == -1 || family(ty) == Family::Int)
}
