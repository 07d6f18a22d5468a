//! INSERT, UPDATE and DELETE: their scopes, and the keys of the rows that they make.

use crate::env::mentions;
use crate::ir::{
    Atom, Change, LeafId, NewKeySet, NewKeys, NodeId, Predicate, Scoped, ScopedBody, Selected,
};
use crate::new_keys::Keyed;
use crate::resolve::{Resolved, Resolver, plain};
use crate::scope::{Columns, Scope, Visible};
use crate::snapshot::Relation;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{
    Assignment, Delete, Expr, FromItem, Insert, InsertSource, OnConflict, Update,
};
use std::rc::Rc;
use std::sync::Arc;

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

    pub(crate) fn key(&self, leaf: LeafId) -> Option<NodeId> {
        self.leaves.get(leaf.0)?.key
    }

    pub(crate) fn on_conflict(
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
    pub(crate) fn assignments(
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

    pub(crate) fn entry_of(&self, node: NodeId) -> Option<crate::ir::EntryId> {
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
    pub(crate) fn joined(
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

pub(crate) fn changed(change: Change, outputs: Vec<crate::ir::Output>, complete: bool) -> Scoped {
    let mut scoped = plain(ScopedBody::Change(Box::new(change)));
    scoped.outputs = outputs;
    scoped.complete = complete;
    scoped
}

/// For each written column (or each column of the table, if none is written) its index in the table.
pub(crate) fn target_columns(
    known: Option<&Arc<Relation>>,
    written: &[String],
) -> Vec<Option<usize>> {
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
