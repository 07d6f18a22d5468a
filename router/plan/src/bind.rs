//! The one-shard proof: to which keys each occurrence of a distributed relation is bound.
//!
//! An occurrence is bound to a set S if its rows with other keys cannot influence the result. The proof carries a list
//! of atoms down the tree of scopes: predicates that hold for every row that matters at that place. Four facts make
//! this sound.
//!
//! * A row that fails a conjunct of WHERE (or of an inner join's ON) does not matter, so all conjuncts hold for the
//!   rows that matter in both inputs; and whatever a subquery answers for an outer row that fails another conjunct is
//!   not looked at. So a subquery may use all conjuncts of its outer scopes, and an equality with an outer key column
//!   carries the outer key's set inside.
//! * ON of an outer join does not remove rows of the preserved side. Its conjuncts hold for the nullable side only:
//!   a nullable row without a partner that matters is not seen. If a predicate from outside rejects NULL for the
//!   nullable side, unmatched rows do not matter and the join is an inner one.
//! * A row that comes out of no input rows (an aggregate's without GROUP BY) passed no predicate: for what is computed
//!   for it, only the predicates of the outer scopes are in force.
//! * A predicate on a derived column may be moved below only where it would not change which rows come out; `Output`
//!   says so for each column.

use crate::env::{keys_of, rejects_null};
use crate::ir::{
    Atom, Change, EntryId, Leaf, LeafId, NewKeySet, Node, NodeId, Predicate, Scoped, ScopedBody,
    Selected, Tree,
};
use crate::keyed::Role;
use crate::keyset::KeySet;
use crate::value::family;
use shardgate_sql::facts::JoinKind;
use std::sync::Arc;

pub(crate) struct Binder<'a> {
    nodes: &'a [Node],
    leaves: &'a [Leaf],
    pub(crate) found: Vec<Found>,
}

/// One occurrence and its keys; None: any key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) leaf: LeafId,
    pub(crate) set: Option<Arc<KeySet>>,
    pub(crate) role: Role,
}

/// How an outer join counts under the predicates in force.
enum Reduced {
    Inner,
    /// The first side is preserved.
    LeftPreserved,
    RightPreserved,
    Neither,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(nodes: &'a [Node], leaves: &'a [Leaf]) -> Binder<'a> {
        Binder {
            nodes,
            leaves,
            found: Vec::new(),
        }
    }

    /// What each output's values are, by the query's own predicates.
    pub(crate) fn exports(&mut self, query: &Scoped) -> Vec<Option<Arc<KeySet>>> {
        match &query.body {
            ScopedBody::SetOperation(left, right) => {
                let union = |(left, right): (&Option<Arc<KeySet>>, &Option<Arc<KeySet>>)| {
                    Some(Arc::new(KeySet::Or(vec![left.clone()?, right.clone()?])))
                };
                let sets = left.exports.iter().zip(&right.exports).map(union);
                query
                    .outputs
                    .iter()
                    .zip(sets)
                    .map(|(output, set)| output.node.and(set))
                    .collect()
            }
            // Only its constants are what they are in every row. (Another column is one of a query around it, or NULL.)
            ScopedBody::Select(selected) if selected.from_nothing => query
                .outputs
                .iter()
                .map(|output| keys_of(output.node?, &selected.constants))
                .collect(),
            ScopedBody::Select(_) | ScopedBody::Expressions(_) | ScopedBody::Change(_) => {
                let after = self.query(query, &[], &[]);
                query
                    .outputs
                    .iter()
                    .map(|output| keys_of(output.node?, &after))
                    .collect()
            }
        }
    }

    /// Binds all occurrences of a query. `env` holds in every row around it that matters; `incoming` are the columns
    /// outside that equal its outputs, in order. Answers what holds in its rows.
    pub(crate) fn query(
        &mut self,
        query: &Scoped,
        env: &[Atom],
        incoming: &[Option<NodeId>],
    ) -> Vec<Atom> {
        for alone in &query.alone {
            self.query(alone, &[], &[]);
        }
        let incoming = if query.closed || !query.complete {
            &[]
        } else {
            incoming
        };
        let after = match &query.body {
            ScopedBody::Select(selected) => {
                let links = self.links(query, incoming);
                self.selected(selected, env, links)
            }
            ScopedBody::SetOperation(left, right) => {
                self.query(left, env, incoming);
                self.query(right, env, incoming);
                env.to_vec()
            }
            ScopedBody::Expressions(subqueries) => {
                self.all(subqueries, env);
                env.to_vec()
            }
            ScopedBody::Change(change) => self.change(change, env),
        };
        // LIMIT counts the rows that come out, whichever these are.
        self.all(&query.subqueries, env);
        after
    }

    fn all(&mut self, queries: &[Scoped], env: &[Atom]) {
        for query in queries {
            self.query(query, env, &[]);
        }
    }

    fn links(&self, query: &Scoped, incoming: &[Option<NodeId>]) -> Vec<Atom> {
        let link = |(outer, output): (&Option<NodeId>, &crate::ir::Output)| {
            let (outer, inner) = ((*outer)?, output.node?);
            let alike = family(self.node(outer)?.ty?) == family(self.node(inner)?.ty?);
            (output.passes && alike).then_some(Atom::Same(outer, inner))
        };
        incoming
            .iter()
            .zip(&query.outputs)
            .filter_map(link)
            .collect()
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }

    /// `outer` holds around the query; `links` are what its columns are known to equal there.
    fn selected(&mut self, selected: &Selected, outer: &[Atom], links: Vec<Atom>) -> Vec<Atom> {
        let mut env = outer.to_vec();
        env.extend(links);
        env.extend(selected.constants.iter().cloned());
        env.extend(selected.filter.atoms.iter().cloned());
        for tree in &selected.from {
            tree.axioms(&mut env);
        }
        let env = self.close(&selected.from.iter().collect::<Vec<_>>(), env);
        let mut keys = Vec::new();
        for tree in &selected.from {
            self.descend(tree, &env, &mut keys);
        }
        let mut after = env;
        after.extend(keys);
        self.predicate(&selected.filter, &after);
        if selected.from_nothing {
            self.all(&selected.subqueries, outer);
            return outer.to_vec();
        }
        self.all(&selected.subqueries, &after);
        after
    }

    /// The queries inside of a condition.
    fn predicate(&mut self, predicate: &Predicate, env: &[Atom]) {
        for membership in &predicate.memberships {
            self.query(&membership.query, env, &membership.columns);
        }
        self.all(&predicate.subqueries, env);
    }

    fn reduced(&self, kind: JoinKind, left: &Tree, right: &Tree, env: &[Atom]) -> Reduced {
        let rejected = |tree: &Tree| {
            let mut entries: Vec<EntryId> = Vec::new();
            tree.entries(&mut entries);
            rejects_null(&entries, env, self.nodes)
        };
        match kind {
            JoinKind::Inner | JoinKind::Cross => Reduced::Inner,
            JoinKind::Left if rejected(right) => Reduced::Inner,
            JoinKind::Left => Reduced::LeftPreserved,
            JoinKind::Right if rejected(left) => Reduced::Inner,
            JoinKind::Right => Reduced::RightPreserved,
            // Rows that lack the rejected side are gone: what is left preserves that side.
            JoinKind::Full => match (rejected(left), rejected(right)) {
                (true, true) => Reduced::Inner,
                (true, false) => Reduced::LeftPreserved,
                (false, true) => Reduced::RightPreserved,
                (false, false) => Reduced::Neither,
            },
        }
    }

    /// `env` and all that the inner joins within `trees` add, until nothing is new.
    fn close(&self, trees: &[&Tree], mut env: Vec<Atom>) -> Vec<Atom> {
        loop {
            let mut more = Vec::new();
            for tree in trees {
                self.in_force(tree, &env, &mut more);
            }
            more.retain(|atom| !env.contains(atom));
            if more.is_empty() {
                return env;
            }
            env.extend(more);
        }
    }

    fn in_force(&self, tree: &Tree, env: &[Atom], more: &mut Vec<Atom>) {
        let Tree::Join {
            kind,
            left,
            right,
            on,
        } = tree
        else {
            return;
        };
        match self.reduced(*kind, left, right, env) {
            Reduced::Inner => {
                more.extend(on.atoms.iter().cloned());
                self.in_force(left, env, more);
                self.in_force(right, env, more);
            }
            Reduced::LeftPreserved => self.in_force(left, env, more),
            Reduced::RightPreserved => self.in_force(right, env, more),
            Reduced::Neither => {}
        }
    }

    /// Binds the occurrences of a tree under `env`, which is closed. `keys` collects what is then known of their keys.
    fn descend(&mut self, tree: &Tree, env: &[Atom], keys: &mut Vec<Atom>) {
        match tree {
            Tree::Leaf(_, leaf) => self.leaf(*leaf, env, keys),
            Tree::Derived { nodes, query, .. } => {
                self.query(query, env, nodes);
            }
            Tree::Rows { subqueries, .. } => self.all(subqueries, env),
            Tree::Join {
                kind,
                left,
                right,
                on,
            } => {
                let mut matched = env.to_vec();
                matched.extend(on.atoms.iter().cloned());
                match self.reduced(*kind, left, right, env) {
                    Reduced::Inner => {
                        self.descend(left, env, keys);
                        self.descend(right, env, keys);
                    }
                    Reduced::LeftPreserved => {
                        self.one_sided((left, right), env, &mut matched, keys)
                    }
                    Reduced::RightPreserved => {
                        self.one_sided((right, left), env, &mut matched, keys)
                    }
                    Reduced::Neither => {
                        for side in [left, right] {
                            let own = self.close(&[side], env.to_vec());
                            self.descend(side, &own, keys);
                        }
                    }
                }
                self.predicate(on, &matched);
            }
        }
    }

    /// An outer join that preserves its first side. What is known of the preserved side's keys (NULL aside, for it may
    /// have outer joins of its own) is known of each pair that ON looks at.
    fn one_sided(
        &mut self,
        (preserved, nullable): (&Tree, &Tree),
        env: &[Atom],
        matched: &mut Vec<Atom>,
        keys: &mut Vec<Atom>,
    ) {
        let mut known = Vec::new();
        self.descend(preserved, env, &mut known);
        matched.extend(known.iter().cloned());
        keys.extend(known);
        let inside = self.close(&[nullable], matched.clone());
        self.descend(nullable, &inside, keys);
    }

    fn leaf(&mut self, leaf: LeafId, env: &[Atom], keys: &mut Vec<Atom>) {
        let Some(key) = self.leaves.get(leaf.0).and_then(|leaf| leaf.key) else {
            return;
        };
        let set = keys_of(key, env);
        if let Some(set) = &set {
            keys.push(Atom::Values(key, set.clone()));
        }
        self.found.push(Found {
            leaf,
            set,
            role: Role::Existing,
        });
    }

    fn change(&mut self, change: &Change, env: &[Atom]) -> Vec<Atom> {
        if let Some(source) = &change.source {
            self.query(source, env, &[]);
        }
        let after = self.selected(&change.selected, env, Vec::new());
        let distributed = self
            .leaves
            .get(change.target.0)
            .is_some_and(|leaf| leaf.key.is_some());
        let mut returning = env.to_vec();
        returning.extend(change.returning_atoms.iter().cloned());
        for keys in &change.keys {
            let set = match &keys.set {
                NewKeySet::Known(set) => Some(set.clone()),
                NewKeySet::Of(node) => keys_of(*node, &after),
            };
            let role = if keys.assigned {
                Role::Assigned
            } else {
                Role::New
            };
            self.found.push(Found {
                leaf: change.target,
                set,
                role,
            });
        }
        if distributed && change.insert && change.keys.is_empty() {
            // Nothing is known of the new rows' keys: they count as unbound.
            self.found.push(Found {
                leaf: change.target,
                set: None,
                role: Role::New,
            });
        }
        self.all(&change.returning, &returning);
        returning
    }
}
