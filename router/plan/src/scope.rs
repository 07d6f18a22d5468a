//! Names that are visible at one place of a statement: FROM entries of this and the outer queries, and CTEs.

use crate::ir::{EntryId, NodeId};
use crate::keyset::KeySet;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Cte, Name};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// A column by name; None: it exists, and nothing is known of it.
pub(crate) type Columns = Vec<(String, Option<NodeId>)>;

/// What one FROM entry makes visible.
#[derive(Clone, Debug)]
pub(crate) struct Visible {
    /// The name for `name.column`; None for a join without an alias.
    pub(crate) name: Option<String>,
    /// The relation itself where it has no alias, for `schema.name.column`.
    pub(crate) relation: Option<Name>,
    pub(crate) columns: Rc<Columns>,
    /// It has columns that are not listed.
    pub(crate) unknown: bool,
    /// Its columns are found without its name; not so below JOIN USING, whose merged columns stand in their place.
    pub(crate) unqualified: bool,
    /// It has system columns (`ctid`, `tableoid`, ..).
    pub(crate) system: bool,
}

/// One level of names. The parent is the query around this one.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) visible: Vec<Visible>,
    pub(crate) parent: Option<Rc<Scope<'a>>>,
    pub(crate) ctes: Option<Rc<CteScope<'a>>>,
    /// The query of this level may aggregate, as far as its expressions were walked.
    pub(crate) aggregates: Rc<Cell<bool>>,
}

/// The CTEs of one WITH that a place sees, and those around it.
#[derive(Debug)]
pub(crate) struct CteScope<'a> {
    pub(crate) frame: Rc<CteFrame<'a>>,
    /// The first so many of the frame.
    pub(crate) count: usize,
    pub(crate) parent: Option<Rc<CteScope<'a>>>,
}

/// One WITH list.
#[derive(Debug)]
pub(crate) struct CteFrame<'a> {
    pub(crate) recursive: bool,
    /// The query around the one that WITH belongs to: its names are what a CTE may refer to.
    pub(crate) outer: Rc<Scope<'a>>,
    pub(crate) entries: Vec<CteEntry<'a>>,
}

#[derive(Debug)]
pub(crate) struct CteEntry<'a> {
    /// Unique in the statement.
    pub(crate) id: EntryId,
    pub(crate) cte: &'a Cte,
    pub(crate) references: Cell<usize>,
    pub(crate) state: RefCell<CteState>,
}

#[derive(Clone, Debug)]
pub(crate) enum CteState {
    /// Not looked at yet.
    Pending,
    /// Each reference is analysed as if the query stood in its place.
    Inline,
    /// It is being analysed: a reference is a recursion that is not understood.
    Active,
    /// It runs once, on its own; of its rows this is known.
    Rows(Rc<Vec<RowColumn>>),
    /// As Rows, without even the names of the columns.
    UnknownRows,
}

#[derive(Clone, Debug)]
pub(crate) struct RowColumn {
    pub(crate) name: String,
    pub(crate) ty: Option<KeyType>,
    pub(crate) values: Option<Arc<KeySet>>,
}

/// What a column reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Node(NodeId),
    /// Something else, or not known.
    Opaque,
}

const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"];

impl<'a> Scope<'a> {
    /// A level with these entries, beside `self` (same parent, same CTEs).
    pub(crate) fn with_visible(&self, visible: Vec<Visible>) -> Rc<Scope<'a>> {
        Rc::new(Scope {
            visible,
            parent: self.parent.clone(),
            ctes: self.ctes.clone(),
            aggregates: Rc::default(),
        })
    }

    /// This level and those around it.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(self), |scope| scope.parent.as_deref())
    }

    /// This level has a column of the name: Some(true), surely; Some(false), perhaps.
    pub(crate) fn has_column(&self, table: Option<&str>, column: &str) -> Option<bool> {
        if let Some(table) = table {
            let named = |entry: &Visible| {
                let relation = entry.relation.as_ref().map(|name| name.name.as_str());
                entry.name.as_deref() == Some(table) || relation == Some(table)
            };
            return self.visible.iter().any(named).then_some(true);
        }
        let listed = |entry: &Visible| {
            entry.unqualified && entry.columns.iter().any(|(name, _)| name == column)
        };
        if self.visible.iter().any(listed) {
            return Some(true);
        }
        // A whole row goes by its entry's name.
        let perhaps = |entry: &Visible| {
            let system = entry.system && SYSTEM_COLUMNS.contains(&column);
            entry.unknown || system || entry.name.as_deref() == Some(column)
        };
        self.visible.iter().any(perhaps).then_some(false)
    }

    /// `column`, `table.column` or `schema.table.column`, by Postgres's rules (parse_relation.c): the innermost level
    /// that has the name decides.
    pub(crate) fn column(&self, schema: Option<&str>, table: Option<&str>, column: &str) -> Lookup {
        let mut level = Some(self);
        while let Some(scope) = level {
            let found = match table {
                Some(table) => scope.qualified_here(schema, table, column),
                None => scope.unqualified_here(column),
            };
            if let Some(found) = found {
                return found;
            }
            level = scope.parent.as_deref();
        }
        Lookup::Opaque
    }

    fn unqualified_here(&self, column: &str) -> Option<Lookup> {
        let mut matches = self
            .visible
            .iter()
            .filter(|entry| entry.unqualified)
            .flat_map(|entry| entry.columns.iter().filter(|(name, _)| name == column));
        if let Some((_, node)) = matches.next() {
            let ambiguous = matches.next().is_some();
            return Some(
                node.filter(|_| !ambiguous)
                    .map_or(Lookup::Opaque, Lookup::Node),
            );
        }
        let maybe = self.visible.iter().any(|entry| entry.unknown)
            || (SYSTEM_COLUMNS.contains(&column) && self.visible.iter().any(|entry| entry.system));
        maybe.then_some(Lookup::Opaque)
    }

    fn qualified_here(&self, schema: Option<&str>, table: &str, column: &str) -> Option<Lookup> {
        let named = |entry: &&Visible| match schema {
            None => entry.name.as_deref() == Some(table),
            Some(schema) => entry
                .relation
                .as_ref()
                .is_some_and(|name| name.name == table && name.schema.as_deref() == Some(schema)),
        };
        let mut entries = self.visible.iter().filter(named);
        let entry = entries.next()?;
        if entries.next().is_some() {
            return Some(Lookup::Opaque);
        }
        let mut matches = entry.columns.iter().filter(|(name, _)| name == column);
        match (matches.next(), matches.next()) {
            (Some((_, Some(node))), None) => Some(Lookup::Node(*node)),
            _ => Some(Lookup::Opaque),
        }
    }

    /// The entry that `name.*` means.
    pub(crate) fn entry(&self, name: &Name) -> Option<&Visible> {
        self.visible.iter().find(|entry| match &name.schema {
            None => entry.name.as_deref() == Some(name.name.as_str()),
            Some(_) => entry.relation.as_ref() == Some(name),
        })
    }

    /// The CTE of this name, with the frame that it is in and its place there.
    pub(crate) fn cte(&self, name: &str) -> Option<(Rc<CteScope<'a>>, usize)> {
        let mut at = self.ctes.clone();
        while let Some(ctes) = at {
            let visible = ctes.frame.entries.iter().take(ctes.count);
            if let Some(index) = visible
                .enumerate()
                .find(|(_, entry)| entry.cte.name == name)
                .map(|(i, _)| i)
            {
                return Some((ctes, index));
            }
            at = ctes.parent.clone();
        }
        None
    }
}
