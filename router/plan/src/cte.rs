//! WITH: which CTEs are analysed at each reference, which run on their own, and what is known of recursive ones.

use crate::bind::Binder;
use crate::ir::{EntryId, NodeId, Output, Scoped, ScopedBody, Tree};
use crate::resolve::{Resolved, Resolver, TooComplex};
use crate::scope::{CteEntry, CteFrame, CteScope, CteState, RowColumn, Scope};
use shardgate_sql::facts::{Body, Query};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

impl<'a> Resolver<'a> {
    /// Makes the frame of a WITH list. What runs on its own goes into `alone`.
    pub(crate) fn with(
        &mut self,
        query: &'a Query,
        parent: &Rc<Scope<'a>>,
        alone: &mut Vec<Scoped>,
    ) -> Resolved<Option<Rc<CteFrame<'a>>>> {
        if query.ctes.is_empty() {
            return Ok(None);
        }
        let mut entries = Vec::with_capacity(query.ctes.len());
        for cte in &query.ctes {
            let id = self.entry()?;
            entries.push(CteEntry {
                id,
                cte,
                references: Cell::new(0),
                state: RefCell::new(CteState::Pending),
            });
        }
        let frame = Rc::new(CteFrame {
            recursive: query.recursive,
            outer: parent.clone(),
            entries,
        });
        for (index, entry) in frame.entries.iter().enumerate() {
            self.seen.word(&entry.cte.name);
            for column in &entry.cte.columns {
                self.seen.word(column);
            }
            let state = self.define(&frame, index, alone)?;
            entry.state.replace(state);
        }
        Ok(Some(frame))
    }

    pub(crate) fn define(
        &mut self,
        frame: &Rc<CteFrame<'a>>,
        index: usize,
        alone: &mut Vec<Scoped>,
    ) -> Resolved<CteState> {
        let Some(entry) = frame.entries.get(index) else {
            return Err(TooComplex);
        };
        let body = &entry.cte.query.body;
        match body {
            Body::Insert(_) | Body::Update(_) | Body::Delete(_) | Body::Opaque(_) => {
                entry.state.replace(CteState::Active);
                let scope = cte_scope(frame, index);
                let scoped = self.query(&entry.cte.query, &scope, &[])?;
                let state = self.rows_of(&scoped, &entry.cte.columns);
                alone.push(scoped);
                Ok(state)
            }
            // A recursive query has none of the other clauses, but for WITH. What has them is analysed at each
            // reference, and if it refers to itself after all, not at all.
            Body::SetOperation { left, right, .. }
                if frame.recursive && has_only_body(&entry.cte.query) =>
            {
                Ok(self
                    .recursive(frame, index, (left, right), alone)?
                    .unwrap_or(CteState::Inline))
            }
            Body::Select(_) | Body::Values(_) | Body::SetOperation { .. } => Ok(CteState::Inline),
        }
    }

    pub(crate) fn rows_of(&self, scoped: &Scoped, names: &[String]) -> CteState {
        if !scoped.complete {
            return CteState::UnknownRows;
        }
        let columns =
            scoped
                .outputs
                .iter()
                .zip(&scoped.exports)
                .enumerate()
                .map(|(i, (output, values))| RowColumn {
                    name: names.get(i).unwrap_or(&output.name).clone(),
                    ty: output.node.and_then(|node| self.ty(node)),
                    values: values.clone(),
                });
        CteState::Rows(Rc::new(columns.collect()))
    }

    /// A CTE of WITH RECURSIVE. None: it does not refer to itself.
    ///
    /// Its rows' values are those of the first arm in the columns that the second arm passes on unchanged: by
    /// induction over the steps.
    pub(crate) fn recursive(
        &mut self,
        frame: &Rc<CteFrame<'a>>,
        index: usize,
        (left, right): (&'a Query, &'a Query),
        alone: &mut Vec<Scoped>,
    ) -> Resolved<Option<CteState>> {
        let Some(entry) = frame.entries.get(index) else {
            return Err(TooComplex);
        };
        let scope = cte_scope(frame, index);
        entry.state.replace(CteState::Active);
        let marks = (self.leaves.len(), self.entries);
        let first = self.query(left, &scope, &[])?;
        let CteState::Rows(mut columns) = self.rows_of(&first, &entry.cte.columns) else {
            entry.state.replace(CteState::UnknownRows);
            let step = self.query(right, &scope, &[])?;
            alone.push(self.united(first, step)?);
            return Ok(Some(CteState::UnknownRows));
        };
        // First without knowledge of its own rows: which columns does a step carry on?
        let unknown = |columns: &[RowColumn]| {
            Rc::new(
                columns
                    .iter()
                    .map(|c| RowColumn {
                        values: None,
                        ..c.clone()
                    })
                    .collect::<Vec<_>>(),
            )
        };
        entry.state.replace(CteState::Rows(unknown(&columns)));
        let before = (self.leaves.len(), entry.references.get());
        let probe = self.query(right, &scope, &[])?;
        if entry.references.get() == before.1 {
            self.leaves.truncate(marks.0);
            self.entries = marks.1;
            return Ok(None);
        }
        let carried = self.carried(&probe, entry.id, columns.len());
        self.leaves.truncate(before.0);
        let kept: Vec<RowColumn> = columns
            .iter()
            .zip(carried)
            .map(|(column, carried)| RowColumn {
                values: column.values.clone().filter(|_| carried),
                ..column.clone()
            })
            .collect();
        columns = Rc::new(kept);
        entry.state.replace(CteState::Rows(columns.clone()));
        let step = self.query(right, &scope, &[])?;
        alone.push(self.united(first, step)?);
        Ok(Some(CteState::Rows(columns)))
    }

    /// For each output of a recursive step: it equals the same column of the row that the step began with.
    pub(crate) fn carried(&self, step: &Scoped, cte: EntryId, columns: usize) -> Vec<bool> {
        let none = vec![false; columns];
        let ScopedBody::Select(selected) = &step.body else {
            return none;
        };
        if !step.complete || step.outputs.len() != columns {
            return none;
        }
        let own = selected.from.iter().find_map(|tree| own_rows(tree, cte));
        let Some(own) = own else { return none };
        let after = Binder::new(&self.nodes, &self.leaves).query(step, &[], &[]);
        let alike = |(output, own): (&Output, &Option<NodeId>)| match (output.node, own) {
            (Some(node), Some(own)) => crate::env::same_class(node, *own, &after),
            (Some(_) | None, _) => false,
        };
        step.outputs.iter().zip(own).map(alike).collect()
    }

    /// CTEs that nobody refers to are still checked by Postgres; they must be bound by themselves.
    pub(crate) fn unread(
        &mut self,
        frame: &Rc<CteFrame<'a>>,
        alone: &mut Vec<Scoped>,
    ) -> Resolved<()> {
        for (index, entry) in frame.entries.iter().enumerate() {
            let inline = matches!(*entry.state.borrow(), CteState::Inline);
            if inline && entry.references.get() == 0 {
                let scope = cte_scope(frame, index);
                entry.state.replace(CteState::Active);
                alone.push(self.query(&entry.cte.query, &scope, &[])?);
                entry.state.replace(CteState::Inline);
            }
        }
        Ok(())
    }
}

fn has_only_body(query: &Query) -> bool {
    let Query {
        recursive: _,
        ctes,
        body: _,
        order_by,
        limit,
        offset,
        with_ties,
        locking,
    } = query;
    let bounded = limit.is_some() || offset.is_some() || *with_ties;
    ctes.is_empty() && order_by.is_empty() && !bounded && !*locking
}

/// The nodes of the recursive reference in a step: it stands in FROM, joined by inner joins only.
fn own_rows(tree: &Tree, id: EntryId) -> Option<&Vec<Option<NodeId>>> {
    match tree {
        Tree::Rows { cte: Some(cte), .. } if cte.id == id => Some(&cte.nodes),
        Tree::Rows { .. } | Tree::Leaf(..) | Tree::Derived { .. } => None,
        Tree::Join { left, right, .. } => own_rows(left, id).or_else(|| own_rows(right, id)),
    }
}

/// Where the query of a CTE stands: around it is what is around its WITH, and it sees the CTEs before it, or all of
/// its list if that is recursive.
pub(crate) fn cte_scope<'a>(frame: &Rc<CteFrame<'a>>, index: usize) -> Rc<Scope<'a>> {
    let count = if frame.recursive {
        frame.entries.len()
    } else {
        index
    };
    let ctes = CteScope {
        frame: frame.clone(),
        count,
        parent: frame.outer.ctes.clone(),
    };
    Rc::new(Scope {
        visible: frame.outer.visible.clone(),
        parent: frame.outer.parent.clone(),
        ctes: Some(Rc::new(ctes)),
        aggregates: frame.outer.aggregates.clone(),
    })
}
