//! INSERT, UPDATE and DELETE: their scopes, and the keys of the rows that they make.

use crate::constant::{Constant, Meets};
use crate::env::mentions;
use crate::ir::{
    Atom, Change, LeafId, NewKeySet, NewKeys, NodeId, Predicate, Scoped, ScopedBody, Selected,
};
use crate::keyed::null_key;
use crate::keyset::{Item, KeySet};
use crate::refusals;
use crate::resolve::{Resolved, Resolver, plain};
use crate::scope::{Columns, Lookup, Scope, Visible};
use crate::snapshot::{Column, ColumnDefault, Placement, Relation};
use crate::value::{Family, family};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{
    Assignment, Body, Delete, Distinct, Expr, FromItem, Insert, InsertSource, OnConflict, Query,
    Update,
};
use std::rc::Rc;
use std::sync::Arc;

/// The target of a change, if it is a distributed table.
#[derive(Clone, Copy)]
struct Keyed<'r> {
    relation: &'r Relation,
    index: usize,
    column: &'r Column,
    ty: KeyType,
}

impl<'r> Keyed<'r> {
    fn of(relation: Option<&'r Arc<Relation>>) -> Option<Keyed<'r>> {
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
    pub(crate) fn insert(&mut self, insert: &'a Insert, base: &Rc<Scope<'a>>) -> Resolved<Scoped> {
        let (entry, target, known) = self.target(&insert.target)?;
        let positions = target_columns(known, &insert.columns);
        for column in &insert.columns {
            self.seen.word(column);
        }
        let types: Vec<Option<KeyType>> = positions
            .iter()
            .map(|at| {
                known?
                    .columns
                    .get((*at)?)
                    .and_then(|column| KeyType::from_oid(column.ty))
            })
            .collect();
        let mut selected = Selected::default();
        let nowhere = base.with_visible(Vec::new());
        let mut source = None;
        match &insert.source {
            InsertSource::DefaultValues => {}
            InsertSource::Values(rows) => {
                for row in rows {
                    for (i, value) in row.iter().enumerate() {
                        let ty = types.get(i).copied().flatten();
                        self.walk_assigned(value, ty, &nowhere, &mut selected.subqueries)?;
                    }
                }
            }
            InsertSource::Query(query) => source = Some(self.query(query, base, &types)?),
        }
        let mut keys = Vec::new();
        if let Some(keyed) = Keyed::of(known) {
            self.defaults(keyed.relation, insert, &positions);
            let place = positions.iter().position(|at| *at == Some(keyed.index));
            let set = self.insert_keys(keyed, insert, place, source.as_ref());
            keys.extend(set.map(|set| NewKeys {
                assigned: false,
                set: NewKeySet::Known(set),
            }));
        }
        let mut returning_atoms = Vec::new();
        if let Some(conflict) = &insert.on_conflict {
            self.on_conflict(
                conflict,
                known,
                (&entry.visible, base),
                &mut selected,
                &mut keys,
            )?;
        } else if let (
            Some(NewKeys {
                set: NewKeySet::Known(set),
                ..
            }),
            Some(node),
        ) = (keys.first(), self.key(target))
        {
            returning_atoms.push(Atom::Values(node, set.clone()));
        }
        let scope = base.with_visible(entry.visible);
        let mut returning = Vec::new();
        let (outputs, complete) = self.returning(
            &insert.returning,
            &scope,
            entry.star.as_ref(),
            &mut returning,
        )?;
        let change = Change {
            target,
            insert: true,
            source,
            selected,
            keys,
            returning,
            returning_atoms,
        };
        Ok(changed(change, outputs, complete))
    }

    fn key(&self, leaf: LeafId) -> Option<NodeId> {
        self.leaves.get(leaf.0)?.key
    }

    /// Columns of a distributed table that get their default: what it must not be.
    fn defaults(&mut self, relation: &Relation, insert: &Insert, positions: &[Option<usize>]) {
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

    fn default_of(&mut self, relation: &Relation, column: &Column) {
        match column.default {
            ColumnDefault::None | ColumnDefault::Plain => {}
            ColumnDefault::Sequence => self
                .problems
                .push(refusals::sequence_default(relation, column)),
            ColumnDefault::Other => self
                .problems
                .push(refusals::other_default(relation, column)),
        }
    }

    /// The keys of all new rows. None: a problem was noted.
    fn insert_keys(
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
                        Some(value) => items.push(self.new_key(keyed, value)?),
                    }
                }
                Some(Arc::new(KeySet::Items(items)))
            }
            InsertSource::Query(query) => self.selected_key(keyed, query, place, source?),
        }
    }

    /// A constant that is assigned to the key.
    fn new_key(&mut self, keyed: Keyed<'_>, value: &Expr) -> Option<Item> {
        match self.constant(value, keyed.ty, Meets::Assigned(keyed.column.modifier)) {
            Constant::Item(item) => Some(item),
            Constant::Null => {
                self.problems
                    .push(null_key(&keyed.relation.name, &keyed.column.name));
                None
            }
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
    fn selected_key(
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
                .new_key(keyed, constant)
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

    fn on_conflict(
        &mut self,
        conflict: &'a OnConflict,
        known: Option<&'a Arc<Relation>>,
        (target, base): (&[Visible], &Rc<Scope<'a>>),
        selected: &mut Selected,
        keys: &mut Vec<NewKeys>,
    ) -> Resolved<()> {
        for column in &conflict.columns {
            self.seen.word(column);
        }
        self.seen.word("excluded");
        let Some((assignments, filter)) = &conflict.update else {
            return Ok(());
        };
        let entry = self.entry()?;
        let mut columns = Columns::new();
        for column in known.iter().flat_map(|known| &known.columns) {
            let ty = KeyType::from_oid(column.ty).filter(|_| column.deterministic);
            columns.push((column.name.clone(), Some(self.node(entry, ty)?)));
        }
        let excluded_key = Keyed::of(known)
            .and_then(|keyed| columns.get(keyed.index))
            .and_then(|(_, node)| *node);
        if let (
            Some(node),
            Some(NewKeys {
                set: NewKeySet::Known(set),
                ..
            }),
        ) = (excluded_key, keys.first())
        {
            selected.filter.atoms.push(Atom::Values(node, set.clone()));
        }
        let mut visible = target.to_vec();
        visible.push(Visible {
            name: Some("excluded".to_owned()),
            relation: None,
            unknown: known.is_none(),
            columns: Rc::new(columns),
            unqualified: true,
            system: true,
        });
        let scope = base.with_visible(visible);
        let own = Keyed::of(known)
            .map(|keyed| keyed.index)
            .zip(target.first());
        let own = own
            .and_then(|(index, target)| target.columns.get(index))
            .and_then(|(_, node)| *node);
        self.assignments(assignments, known, own, &scope, selected, keys)?;
        if let Some(filter) = filter {
            // The rows that it lets pass are updated; the others are still inserted or skipped: it binds nothing.
            self.walk(filter, &scope, &mut selected.subqueries)?;
        }
        Ok(())
    }

    /// SET. `own`: the node of the target's key.
    fn assignments(
        &mut self,
        assignments: &'a [Assignment],
        known: Option<&'a Arc<Relation>>,
        own: Option<NodeId>,
        scope: &Rc<Scope<'a>>,
        selected: &mut Selected,
        keys: &mut Vec<NewKeys>,
    ) -> Resolved<()> {
        for assignment in assignments {
            let pairs: Vec<(&str, Option<&'a Expr>)> =
                match (assignment.columns.as_slice(), &assignment.value) {
                    ([column], value) => vec![(column, Some(value))],
                    (columns, Expr::Row(values)) if columns.len() == values.len() => columns
                        .iter()
                        .map(String::as_str)
                        .zip(values.iter().map(Some))
                        .collect(),
                    (columns, value) => {
                        self.walk(value, scope, &mut selected.subqueries)?;
                        columns
                            .iter()
                            .map(|column| (column.as_str(), None))
                            .collect()
                    }
                };
            for (name, value) in pairs {
                self.seen.word(name);
                let column =
                    known.and_then(|known| known.columns.iter().find(|column| column.name == name));
                if let Some(value) = value {
                    let ty = column.and_then(|column| KeyType::from_oid(column.ty));
                    self.walk_assigned(value, ty, scope, &mut selected.subqueries)?;
                }
                let Some(keyed) = Keyed::of(known) else {
                    continue;
                };
                if keyed.column.name == name {
                    keys.extend(self.assigned_key(keyed, value, own, scope));
                } else if let (Some(Expr::Default), Some(column)) = (value, column) {
                    self.default_of(keyed.relation, column);
                }
            }
        }
        Ok(())
    }

    /// The key that SET gives; None: it stays, or a problem was noted.
    fn assigned_key(
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
                let item = self.new_key(keyed, value)?;
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

    pub(crate) fn update(&mut self, update: &'a Update, base: &Rc<Scope<'a>>) -> Resolved<Scoped> {
        let (entry, target, known) = self.target(&update.target)?;
        let own = self.key(target);
        let star = entry.star.clone();
        let (mut selected, scope, more) =
            self.joined((entry, &update.from, update.filter.as_ref()), base)?;
        let mut keys = Vec::new();
        self.assignments(
            &update.assignments,
            known,
            own,
            &scope,
            &mut selected,
            &mut keys,
        )?;
        let star = star
            .zip(more)
            .map(|(own, more)| own.into_iter().chain(more).collect());
        let mut returning = Vec::new();
        let (outputs, complete) =
            self.returning(&update.returning, &scope, star.as_ref(), &mut returning)?;
        // RETURNING sees the new row: what was true of its old columns is not known of the new ones, but for the key.
        let old = self.leaves.get(target.0).map(|leaf| leaf.entry);
        let stays =
            |node: NodeId| (Some(node) == own && keys.is_empty()) || self.entry_of(node) != old;
        let holds = |atom: &&Atom| mentions(atom).into_iter().all(stays);
        let returning_atoms = selected
            .filter
            .atoms
            .iter()
            .filter(holds)
            .cloned()
            .collect();
        let change = Change {
            target,
            insert: false,
            source: None,
            selected,
            keys,
            returning,
            returning_atoms,
        };
        Ok(changed(change, outputs, complete))
    }

    fn entry_of(&self, node: NodeId) -> Option<crate::ir::EntryId> {
        self.nodes
            .get(usize::try_from(node.0).ok()?)
            .map(|node| node.entry)
    }

    pub(crate) fn delete(&mut self, delete: &'a Delete, base: &Rc<Scope<'a>>) -> Resolved<Scoped> {
        let (entry, target, _) = self.target(&delete.target)?;
        let star = entry.star.clone();
        let (selected, scope, more) =
            self.joined((entry, &delete.using, delete.filter.as_ref()), base)?;
        let star = star
            .zip(more)
            .map(|(own, more)| own.into_iter().chain(more).collect());
        let mut returning = Vec::new();
        let (outputs, complete) =
            self.returning(&delete.returning, &scope, star.as_ref(), &mut returning)?;
        let returning_atoms = selected.filter.atoms.clone();
        let keys = Vec::new();
        let change = Change {
            target,
            insert: false,
            source: None,
            selected,
            keys,
            returning,
            returning_atoms,
        };
        Ok(changed(change, outputs, complete))
    }

    /// The target, FROM or USING, and WHERE: an inner join of all.
    #[allow(clippy::type_complexity)]
    fn joined(
        &mut self,
        (entry, others, filter): (crate::from::Entry, &'a [FromItem], Option<&'a Expr>),
        base: &Rc<Scope<'a>>,
    ) -> Resolved<(Selected, Rc<Scope<'a>>, Option<Columns>)> {
        let mut selected = Selected {
            from: vec![entry.tree],
            ..Default::default()
        };
        let (visible, star) = self.read_from_list(others, base, entry.visible, &mut selected)?;
        let scope = base.with_visible(visible);
        if let Some(filter) = filter {
            let mut predicate = Predicate::default();
            self.condition(filter, &scope, &mut predicate)?;
            selected.filter = predicate;
        }
        Ok((selected, scope, star))
    }
}

fn changed(change: Change, outputs: Vec<crate::ir::Output>, complete: bool) -> Scoped {
    let mut scoped = plain(ScopedBody::Change(Box::new(change)));
    scoped.outputs = outputs;
    scoped.complete = complete;
    scoped
}

/// For each written column (or each column of the table, if none is written) its index in the table.
fn target_columns(known: Option<&Arc<Relation>>, written: &[String]) -> Vec<Option<usize>> {
    let Some(known) = known else {
        return Vec::new();
    };
    if written.is_empty() {
        return (0..known.columns.len()).map(Some).collect();
    }
    written
        .iter()
        .map(|name| known.columns.iter().position(|column| column.name == *name))
        .collect()
}

/// A value of type `ty` is the same after its assignment to the key.
fn keeps_value(ty: KeyType, keyed: Keyed<'_>) -> bool {
    let same = family(ty) == family(keyed.ty);
    same && (keyed.column.modifier == -1 || family(ty) == Family::Int)
}
