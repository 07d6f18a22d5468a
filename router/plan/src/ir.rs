//! A statement with all its names resolved: which relation occurrence stands where, and the predicates that are in
//! force there. What is in force where is concluded by `bind`.

use crate::keyset::KeySet;
use crate::snapshot::Relation;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Expr, JoinKind};
use std::ops::Range;
use std::sync::Arc;

/// A column of one entry of one FROM list. Columns of different occurrences of a table are different nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// One entry of a FROM list (or the target of a change).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryId(pub(crate) u32);

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) entry: EntryId,
    /// Set if equality of the column means what a key's equality means: a key type, a deterministic collation.
    pub(crate) ty: Option<KeyType>,
}

/// An occurrence of a relation that has rows of its own (no view, no CTE).
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) entry: EntryId,
    pub(crate) relation: LeafRelation,
    /// `"orders" (alias "o")`.
    pub(crate) label: String,
    /// The node of the sharding key.
    pub(crate) key: Option<NodeId>,
    /// Its rows are locked by FOR UPDATE and its kin.
    pub(crate) locked: bool,
    /// It is the target of INSERT, UPDATE or DELETE.
    pub(crate) written: bool,
    /// Where it stands in FROM; None: elsewhere, in the body of a view, or where is not known.
    pub(crate) occurrence: Option<Occurrence>,
}

/// The name of a relation in the client's text.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    /// Bytes of the name with its schema.
    pub(crate) span: Range<usize>,
    pub(crate) aliased: bool,
    pub(crate) only: bool,
    pub(crate) sample: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum LeafRelation {
    Known(Arc<Relation>),
    /// pg_catalog, information_schema.
    System,
    Temporary,
    /// Not in the snapshot.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeafId(pub(crate) usize);

/// A predicate that holds for every row that matters, where it is in force.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Atom {
    /// Equal, neither is NULL.
    Equal(NodeId, NodeId),
    /// The same value, or both NULL.
    Same(NodeId, NodeId),
    /// Not NULL and one of these.
    Within(NodeId, Arc<KeySet>),
    /// NULL or one of these.
    Values(NodeId, Arc<KeySet>),
    NotNull(NodeId),
    /// No row passes.
    Never,
    /// One of the arms holds, each a conjunction.
    Any(Arc<Vec<Vec<Atom>>>),
}

/// A condition: WHERE, HAVING's relatives, ON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predicate {
    pub(crate) atoms: Vec<Atom>,
    /// `columns IN (query)` as a conjunct.
    pub(crate) memberships: Vec<Membership>,
    pub(crate) subqueries: Vec<Scoped>,
}

#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) columns: Vec<Option<NodeId>>,
    pub(crate) query: Scoped,
}

/// A query.
#[derive(Clone, Debug)]
pub(crate) struct Scoped {
    /// Parts that run on their own: CTEs that change data, CTEs that nobody reads.
    pub(crate) alone: Vec<Scoped>,
    pub(crate) body: ScopedBody,
    pub(crate) outputs: Vec<Output>,
    /// `outputs` has all columns, in order.
    pub(crate) complete: bool,
    /// LIMIT, locking: a predicate from outside would change which rows come out.
    pub(crate) closed: bool,
    /// Subqueries in ORDER BY and LIMIT.
    pub(crate) subqueries: Vec<Scoped>,
    /// What is known of the values of each output, by itself.
    pub(crate) exports: Vec<Option<Arc<KeySet>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) node: Option<NodeId>,
    /// A predicate on this output may be applied to the rows below.
    pub(crate) passes: bool,
    /// The item is a literal or a parameter.
    pub(crate) constant: Option<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) enum ScopedBody {
    Select(Selected),
    SetOperation(Box<Scoped>, Box<Scoped>),
    /// Rows of expressions, or something that was only walked.
    Expressions(Vec<Scoped>),
    Change(Box<Change>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Selected {
    pub(crate) from: Vec<Tree>,
    pub(crate) filter: Predicate,
    /// Subqueries everywhere else: they see rows that passed the filter.
    pub(crate) subqueries: Vec<Scoped>,
    /// A row may come out where none passed the filter, as of an aggregate without GROUP BY: what holds for rows that
    /// passed does not hold for `subqueries`.
    pub(crate) from_nothing: bool,
    /// What is known of the nodes of constants in the target list.
    pub(crate) constants: Vec<Atom>,
}

/// INSERT, UPDATE or DELETE.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) target: LeafId,
    pub(crate) insert: bool,
    pub(crate) source: Option<Scoped>,
    pub(crate) selected: Selected,
    /// The keys of new rows, or keys that are assigned.
    pub(crate) keys: Vec<NewKeys>,
    pub(crate) returning: Vec<Scoped>,
    /// What still holds of the rows as RETURNING sees them.
    pub(crate) returning_atoms: Vec<Atom>,
}

#[derive(Clone, Debug)]
pub(crate) struct NewKeys {
    pub(crate) assigned: bool,
    pub(crate) set: NewKeySet,
}

#[derive(Clone, Debug)]
pub(crate) enum NewKeySet {
    Known(Arc<KeySet>),
    /// The values of a column among the rows that pass the filter.
    Of(NodeId),
}

#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Leaf(EntryId, LeafId),
    /// A derived table, a view, or one reference to a CTE.
    Derived {
        entry: EntryId,
        nodes: Vec<Option<NodeId>>,
        query: Box<Scoped>,
    },
    /// Rows about which nothing is known but these values: functions, references to changing or recursive CTEs.
    Rows {
        entry: EntryId,
        values: Vec<Atom>,
        subqueries: Vec<Scoped>,
        cte: Option<CteRows>,
    },
    Join {
        kind: JoinKind,
        left: Box<Tree>,
        right: Box<Tree>,
        on: Box<Predicate>,
    },
}

/// A reference to a CTE that runs on its own.
#[derive(Clone, Debug)]
pub(crate) struct CteRows {
    /// The id of the CTE's entry, unique in the statement.
    pub(crate) id: EntryId,
    pub(crate) nodes: Vec<Option<NodeId>>,
}

impl Tree {
    /// The entries below.
    pub(crate) fn entries(&self, into: &mut Vec<EntryId>) {
        match self {
            Tree::Leaf(entry, _) | Tree::Derived { entry, .. } | Tree::Rows { entry, .. } => {
                into.push(*entry)
            }
            Tree::Join { left, right, .. } => {
                left.entries(into);
                right.entries(into);
            }
        }
    }

    /// What is known of the rows of each entry below, whether or not they are null-extended.
    pub(crate) fn axioms(&self, into: &mut Vec<Atom>) {
        match self {
            Tree::Leaf(..) => {}
            Tree::Derived { nodes, query, .. } => {
                let known = nodes.iter().zip(&query.exports);
                into.extend(
                    known.filter_map(|(node, set)| Some(Atom::Values((*node)?, set.clone()?))),
                );
            }
            Tree::Rows { values, .. } => into.extend(values.iter().cloned()),
            Tree::Join { left, right, .. } => {
                left.axioms(into);
                right.axioms(into);
            }
        }
    }
}
