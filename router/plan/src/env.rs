//! Conclusions from the predicates in force: equality classes, the keys of a column, and what cannot be NULL.

use crate::ir::{Atom, EntryId, Node, NodeId};
use crate::keyset::KeySet;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Equality classes of columns: all columns of a class have the same value in every row that matters.
struct Classes {
    parent: HashMap<NodeId, NodeId>,
}

impl Classes {
    fn of(lists: &[&[Atom]]) -> Classes {
        let mut classes = Classes {
            parent: HashMap::new(),
        };
        for atom in lists.iter().flat_map(|list| list.iter()) {
            match atom {
                Atom::Equal(a, b) | Atom::Same(a, b) => classes.join(*a, *b),
                Atom::Within(..)
                | Atom::Values(..)
                | Atom::NotNull(_)
                | Atom::Never
                | Atom::Any(_) => {}
            }
        }
        classes
    }

    fn root(&self, node: NodeId) -> NodeId {
        let mut at = node;
        while let Some(next) = self.parent.get(&at) {
            at = *next;
        }
        at
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.parent.insert(a, b);
        }
    }
}

/// The keys that `node` can have in rows that matter, NULL aside. None: any.
pub(crate) fn keys_of(node: NodeId, atoms: &[Atom]) -> Option<Arc<KeySet>> {
    keys_in(node, &[atoms])
}

/// `lists`: the atoms in force, then those of each OR arm that is being looked at.
fn keys_in(node: NodeId, lists: &[&[Atom]]) -> Option<Arc<KeySet>> {
    if lists.iter().any(|list| list.contains(&Atom::Never)) {
        return Some(Arc::new(KeySet::empty()));
    }
    let classes = Classes::of(lists);
    let root = classes.root(node);
    let mut sets: Vec<Arc<KeySet>> = Vec::new();
    // Only the innermost list can say more than what is already known without this arm.
    for (depth, list) in lists.iter().enumerate() {
        let innermost = depth + 1 == lists.len();
        for atom in list.iter() {
            match atom {
                Atom::Within(other, set) | Atom::Values(other, set)
                    if classes.root(*other) == root =>
                {
                    sets.push(set.clone());
                }
                Atom::Any(arms) if innermost => sets.extend(keys_of_arms(node, lists, arms)),
                Atom::Within(..)
                | Atom::Values(..)
                | Atom::Any(_)
                | Atom::Equal(..)
                | Atom::Same(..)
                | Atom::NotNull(_)
                | Atom::Never => {}
            }
        }
    }
    match sets.len() {
        0 => None,
        1 => sets.pop(),
        _ => Some(Arc::new(KeySet::And(sets))),
    }
}

/// An OR says something of a column only if every arm does.
fn keys_of_arms(node: NodeId, lists: &[&[Atom]], arms: &[Vec<Atom>]) -> Option<Arc<KeySet>> {
    let sets: Option<Vec<Arc<KeySet>>> = arms
        .iter()
        .map(|arm| {
            let deeper: Vec<&[Atom]> = lists.iter().copied().chain([arm.as_slice()]).collect();
            keys_in(node, &deeper)
        })
        .collect();
    sets.map(|sets| Arc::new(KeySet::Or(sets)))
}

/// The two columns have the same value in every row that matters.
pub(crate) fn same_class(a: NodeId, b: NodeId, atoms: &[Atom]) -> bool {
    let classes = Classes::of(&[atoms]);
    classes.root(a) == classes.root(b)
}

/// A row in which all columns of `entries` are NULL does not pass the predicates in force.
pub(crate) fn rejects_null(entries: &[EntryId], atoms: &[Atom], nodes: &[Node]) -> bool {
    if atoms.contains(&Atom::Never) {
        return true;
    }
    let classes = Classes::of(&[atoms]);
    let strict: HashSet<NodeId> = strict_nodes(atoms)
        .into_iter()
        .map(|node| classes.root(node))
        .collect();
    let belongs = |node: NodeId| {
        usize::try_from(node.0)
            .ok()
            .and_then(|i| nodes.get(i))
            .is_some_and(|node| entries.contains(&node.entry))
    };
    mentioned(atoms)
        .into_iter()
        .any(|node| belongs(node) && strict.contains(&classes.root(node)))
}

/// Columns that are not NULL in any row that passes.
fn strict_nodes(atoms: &[Atom]) -> HashSet<NodeId> {
    let mut strict = HashSet::new();
    for atom in atoms {
        match atom {
            Atom::Equal(a, b) => strict.extend([*a, *b]),
            Atom::Within(node, _) | Atom::NotNull(node) => {
                strict.insert(*node);
            }
            Atom::Any(arms) => {
                // An arm that never holds rejects everything; it does not weaken the others.
                let mut possible = arms
                    .iter()
                    .filter(|arm| !arm.contains(&Atom::Never))
                    .map(|arm| strict_nodes(arm));
                if let Some(first) = possible.next() {
                    strict.extend(
                        possible.fold(first, |all, arm| all.intersection(&arm).copied().collect()),
                    );
                }
            }
            Atom::Same(..) | Atom::Values(..) | Atom::Never => {}
        }
    }
    strict
}

/// The columns that an atom speaks of.
pub(crate) fn mentions(atom: &Atom) -> HashSet<NodeId> {
    mentioned(std::slice::from_ref(atom))
}

fn mentioned(atoms: &[Atom]) -> HashSet<NodeId> {
    let mut nodes = HashSet::new();
    for atom in atoms {
        match atom {
            Atom::Equal(a, b) | Atom::Same(a, b) => nodes.extend([*a, *b]),
            Atom::Within(node, _) | Atom::Values(node, _) | Atom::NotNull(node) => {
                nodes.insert(*node);
            }
            Atom::Any(arms) => nodes.extend(arms.iter().flat_map(|arm| mentioned(arm))),
            Atom::Never => {}
        }
    }
    nodes
}
