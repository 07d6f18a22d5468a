//! Names -> meanings: turns the facts of a query into scopes whose columns are nodes (see `ir`).
//!
//! What this knows: search_path, CTE visibility, aliases, joins, Postgres's order of name lookup. What it must not
//! know: shards. Whatever is not understood becomes an opaque column or unknown rows, never a guess.

use crate::bind::Binder;
use crate::decision::{Context, Refusal};
use crate::ir::{EntryId, Leaf, Node, NodeId, Output, Scoped, ScopedBody, Tree};
use crate::path::SearchPath;
use crate::scope::{CteEntry, CteFrame, CteScope, CteState, RowColumn, Scope};
use crate::seen::Seen;
use crate::snapshot::Snapshot;
use crate::uses::Uses;
use crate::value::family;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Body, Query, SetOperation};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Nested queries, CTE references and views together, and all entries that they expand to. Beyond these a statement
/// is not analysed.
const DEPTH_MAX: usize = 150;
const ENTRIES_MAX: u32 = 2_000;

/// The statement is larger than what is analysed, or recursive in a way that is not understood.
#[derive(Debug)]
pub(crate) struct TooComplex;

pub(crate) type Resolved<T> = Result<T, TooComplex>;

pub(crate) struct Resolver<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) context: &'a Context<'a>,
    pub(crate) path: SearchPath,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Leaf>,
    entries: u32,
    depth: usize,
    /// How many views deep the walk is; the text of a view is not the client's.
    pub(crate) in_view: usize,
    pub(crate) seen: Seen,
    pub(crate) uses: Uses,
    /// What stands against distributing the statement, found on the way.
    pub(crate) problems: Vec<Refusal>,
    /// Why a condition on a column does not bind it.
    pub(crate) notes: HashMap<NodeId, String>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, context: &'a Context<'a>) -> Resolver<'a> {
        Resolver {
            snapshot,
            context,
            path: SearchPath::effective(snapshot, context),
            nodes: Vec::new(),
            leaves: Vec::new(),
            entries: 0,
            depth: 0,
            in_view: 0,
            seen: Seen::default(),
            uses: Uses::default(),
            problems: Vec::new(),
            notes: HashMap::new(),
        }
    }

    /// The whole statement.
    pub(crate) fn statement(&mut self, query: &'a Query) -> Resolved<Scoped> {
        self.query(query, &Rc::new(Scope::default()), &[])
    }

    pub(crate) fn entry(&mut self) -> Resolved<EntryId> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(TooComplex);
        }
        Ok(EntryId(self.entries))
    }

    pub(crate) fn node(&mut self, entry: EntryId, ty: Option<KeyType>) -> Resolved<NodeId> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| TooComplex)?;
        self.nodes.push(Node { entry, ty });
        Ok(NodeId(id))
    }

    pub(crate) fn ty(&self, node: NodeId) -> Option<KeyType> {
        self.nodes.get(usize::try_from(node.0).ok()?)?.ty
    }

    /// Runs `inside` one level deeper.
    pub(crate) fn deeper<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Resolved<T>,
    ) -> Resolved<T> {
        if self.depth >= DEPTH_MAX {
            return Err(TooComplex);
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// A query within `parent`. `assigned`: the types of the columns that its outputs are inserted into.
    pub(crate) fn query(
        &mut self,
        query: &'a Query,
        parent: &Rc<Scope<'a>>,
        assigned: &[Option<KeyType>],
    ) -> Resolved<Scoped> {
        self.deeper(|this| {
            let mut alone = Vec::new();
            let frame = this.with(query, parent, &mut alone)?;
            let ctes = match &frame {
                Some(frame) => Some(Rc::new(CteScope {
                    frame: frame.clone(),
                    count: frame.entries.len(),
                    parent: parent.ctes.clone(),
                })),
                None => parent.ctes.clone(),
            };
            let base = Rc::new(Scope {
                visible: Vec::new(),
                parent: Some(parent.clone()),
                ctes,
            });
            let mut scoped = this.body(query, &base, assigned)?;
            scoped.closed |=
                query.limit.is_some() || query.offset.is_some() || query.with_ties || query.locking;
            if query.locking {
                this.seen.locking = true;
                this.lock(&scoped.body);
            }
            if let Some(frame) = &frame {
                this.unread(frame, &mut alone)?;
            }
            scoped.alone = alone;
            for bound in query.limit.iter().chain(&query.offset) {
                this.walk(bound, &base, &mut scoped.subqueries)?;
            }
            scoped.exports = Binder::new(&this.nodes, &this.leaves).exports(&scoped);
            Ok(scoped)
        })
    }

    fn body(
        &mut self,
        query: &'a Query,
        base: &Rc<Scope<'a>>,
        assigned: &[Option<KeyType>],
    ) -> Resolved<Scoped> {
        match &query.body {
            Body::Select(select) => self.select(select, &query.order_by, base, assigned),
            Body::Values(rows) => self.values(rows, &query.order_by, base),
            Body::SetOperation {
                kind,
                all: _,
                left,
                right,
            } => {
                let mut scoped = self.set_operation(*kind, left, right, base)?;
                for item in &query.order_by {
                    self.walk(item, base, &mut scoped.subqueries)?;
                }
                Ok(scoped)
            }
            Body::Insert(insert) => self.insert(insert, base),
            Body::Update(update) => self.update(update, base),
            Body::Delete(delete) => self.delete(delete, base),
            Body::Opaque(opaque) => {
                let mut inside = Vec::new();
                let trees = self.opaque(opaque, base, &mut inside)?;
                let mut scoped = plain(ScopedBody::Expressions(inside));
                // Relations of an opaque part stand unbound beside its queries.
                scoped.alone = trees;
                Ok(scoped)
            }
        }
    }

    fn set_operation(
        &mut self,
        _kind: SetOperation,
        left: &'a Query,
        right: &'a Query,
        base: &Rc<Scope<'a>>,
    ) -> Resolved<Scoped> {
        let left = self.query(left, base, &[])?;
        let right = self.query(right, base, &[])?;
        self.united(left, right)
    }

    fn united(&mut self, left: Scoped, right: Scoped) -> Resolved<Scoped> {
        let entry = self.entry()?;
        let complete = left.complete && right.complete && left.outputs.len() == right.outputs.len();
        let mut outputs = Vec::new();
        for (a, b) in left.outputs.iter().zip(&right.outputs) {
            let types = a
                .node
                .zip(b.node)
                .and_then(|(a, b)| self.ty(a).zip(self.ty(b)));
            // The column of a set operation has a type that both arms convert to: only where that changes no value
            // and no equality is it the same column.
            let node = match types {
                Some((a, b)) if family(a) == family(b) => {
                    Some(self.node(entry, Some(wider(a, b)))?)
                }
                Some(_) | None => None,
            };
            outputs.push(Output {
                name: a.name.clone(),
                node,
                passes: true,
                constant: None,
            });
        }
        let mut scoped = plain(ScopedBody::SetOperation(Box::new(left), Box::new(right)));
        scoped.outputs = outputs;
        scoped.complete = complete;
        Ok(scoped)
    }

    /// Makes the frame of a WITH list. What runs on its own goes into `alone`.
    fn with(
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

    fn define(
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
            Body::SetOperation { left, right, .. } if frame.recursive => Ok(self
                .recursive(frame, index, (left, right), alone)?
                .unwrap_or(CteState::Inline)),
            Body::Select(_) | Body::Values(_) | Body::SetOperation { .. } => Ok(CteState::Inline),
        }
    }

    fn rows_of(&self, scoped: &Scoped, names: &[String]) -> CteState {
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
    fn recursive(
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
    fn carried(&self, step: &Scoped, cte: EntryId, columns: usize) -> Vec<bool> {
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
            _ => false,
        };
        step.outputs.iter().zip(own).map(alike).collect()
    }

    /// CTEs that nobody refers to are still checked by Postgres; they must be bound by themselves.
    fn unread(&mut self, frame: &Rc<CteFrame<'a>>, alone: &mut Vec<Scoped>) -> Resolved<()> {
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

    /// Marks the relations whose rows a locking clause locks.
    fn lock(&mut self, body: &ScopedBody) {
        let mut found = Vec::new();
        if let ScopedBody::Select(selected) = body {
            for tree in &selected.from {
                leaves_of(tree, &mut found);
            }
        }
        for leaf in found {
            if let Some(leaf) = self.leaves.get_mut(leaf) {
                leaf.locked = true;
            }
        }
    }
}

/// The nodes of the recursive reference in a step: it stands in FROM, joined by inner joins only.
fn own_rows(tree: &Tree, id: EntryId) -> Option<&Vec<Option<NodeId>>> {
    match tree {
        Tree::Rows { cte: Some(cte), .. } if cte.id == id => Some(&cte.nodes),
        Tree::Rows { .. } | Tree::Leaf(..) | Tree::Derived { .. } => None,
        Tree::Join { left, right, .. } => own_rows(left, id).or_else(|| own_rows(right, id)),
    }
}

fn leaves_of(tree: &Tree, found: &mut Vec<usize>) {
    match tree {
        Tree::Leaf(_, leaf) => found.push(leaf.0),
        Tree::Derived { query, .. } => leaves_of_query(query, found),
        Tree::Rows { .. } => {}
        Tree::Join { left, right, .. } => {
            leaves_of(left, found);
            leaves_of(right, found);
        }
    }
}

fn leaves_of_query(query: &Scoped, found: &mut Vec<usize>) {
    match &query.body {
        ScopedBody::Select(selected) => {
            selected.from.iter().for_each(|tree| leaves_of(tree, found))
        }
        ScopedBody::SetOperation(left, right) => {
            leaves_of_query(left, found);
            leaves_of_query(right, found);
        }
        ScopedBody::Expressions(_) | ScopedBody::Change(_) => {}
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
    })
}

/// A query of which nothing is known but its body.
pub(crate) fn plain(body: ScopedBody) -> Scoped {
    Scoped {
        alone: Vec::new(),
        body,
        outputs: Vec::new(),
        complete: false,
        closed: false,
        subqueries: Vec::new(),
        exports: Vec::new(),
    }
}

fn wider(a: KeyType, b: KeyType) -> KeyType {
    match (a, b) {
        (KeyType::Int8, _) | (_, KeyType::Int8) => KeyType::Int8,
        (KeyType::Text, _) | (_, KeyType::Text) => KeyType::Text,
        (KeyType::Int4, _) | (_, KeyType::Int4) => KeyType::Int4,
        _ => a,
    }
}
