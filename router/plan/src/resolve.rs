//! Names -> meanings: turns the facts of a query into scopes whose columns are nodes (see `ir`).
//!
//! What this knows: search_path, CTE visibility, aliases, joins, Postgres's order of name lookup. What it must not
//! know: shards. Whatever is not understood becomes an opaque column or unknown rows, never a guess.

use crate::bind::Binder;
use crate::decision::{Context, Refusal};
use crate::ir::{EntryId, Leaf, Node, NodeId, Output, Scoped, ScopedBody, Tree};
use crate::path::SearchPath;
use crate::scope::{CteScope, Scope};
use crate::seen::Seen;
use crate::snapshot::Snapshot;
use crate::uses::Uses;
use crate::value::family;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Body, Query, SetOperation};
use std::collections::{HashMap, HashSet};
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
    pub(crate) entries: u32,
    /// Entries whose rows an outer join may replace by NULLs.
    pub(crate) extended: HashSet<EntryId>,
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
            extended: HashSet::new(),
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
                aggregates: Rc::default(),
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

    pub(crate) fn body(
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

    pub(crate) fn set_operation(
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

    pub(crate) fn united(&mut self, left: Scoped, right: Scoped) -> Resolved<Scoped> {
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

    /// Marks the relations whose rows a locking clause locks.
    pub(crate) fn lock(&mut self, body: &ScopedBody) {
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

pub(crate) fn leaves_of(tree: &Tree, found: &mut Vec<usize>) {
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

pub(crate) fn leaves_of_query(query: &Scoped, found: &mut Vec<usize>) {
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

pub(crate) fn wider(a: KeyType, b: KeyType) -> KeyType {
    match (a, b) {
        (KeyType::Int8, _) | (_, KeyType::Int8) => KeyType::Int8,
        (KeyType::Text, _) | (_, KeyType::Text) => KeyType::Text,
        (KeyType::Int4, _) | (_, KeyType::Int4) => KeyType::Int4,
        // Of one family with one type.
        (
            KeyType::Int2
            | KeyType::Varchar
            | KeyType::Uuid
            | KeyType::Bytea
            | KeyType::Date
            | KeyType::Timestamp
            | KeyType::Timestamptz,
            _,
        ) => a,
    }
}
