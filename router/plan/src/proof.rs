//! The proof of a statement put together: every occurrence of a distributed relation, or why one is not bound.

use crate::bind::{Binder, Found};
use crate::decision::Refusal;
use crate::ir::{Leaf, LeafRelation, Scoped};
use crate::keyed::{Bound, Role};
use crate::query::{HINT_BY_HAND, Planned};
use crate::snapshot::{Placement, Relation};

impl Planned<'_, '_> {
    /// The proof: every occurrence of a distributed relation is bound.
    pub(crate) fn bind(&self, scoped: &Scoped) -> Result<Vec<Bound>, Refusal> {
        let mut binder = Binder::new(&self.resolver.nodes, &self.resolver.leaves);
        binder.query(scoped, &[], &[]);
        let found = binder.found;
        let certain = |param: &crate::keyset::ParamItem| {
            !param.inferred
                || self
                    .resolver
                    .uses
                    .agree(param.number, param.ty, param.array)
        };
        let mut bound = Vec::with_capacity(found.len());
        for found in &found {
            let Some(leaf) = self.resolver.leaves.get(found.leaf.0) else {
                continue;
            };
            let Some((relation, distribution, key)) = distributed(leaf) else {
                continue;
            };
            let set = found.set.as_ref().and_then(|set| set.settle(&certain));
            let Some(set) = set else {
                return Err(self.unbound(leaf, found));
            };
            bound.push(Bound {
                label: leaf.label.clone(),
                relation: relation.name.clone(),
                key: relation
                    .columns
                    .get(key)
                    .map(|column| column.name.clone())
                    .unwrap_or_default(),
                distribution,
                set,
                role: found.role,
            });
        }
        // Every occurrence must have been met on the way; one that was not is not bound.
        for (index, leaf) in self.resolver.leaves.iter().enumerate() {
            let met = found.iter().any(|found| found.leaf.0 == index);
            if is_distributed(leaf) && !met {
                return Err(self.unbound(
                    leaf,
                    &Found {
                        leaf: crate::ir::LeafId(index),
                        set: None,
                        role: Role::Existing,
                    },
                ));
            }
        }
        Ok(bound)
    }

    pub(crate) fn unbound(&self, leaf: &Leaf, found: &Found) -> Refusal {
        let Some((relation, _, key)) = distributed(leaf) else {
            return Refusal::unsupported(
                "a relation is not bound",
                leaf.label.clone(),
                HINT_BY_HAND,
            );
        };
        let key = relation
            .columns
            .get(key)
            .map_or("", |column| column.name.as_str());
        let note = leaf.key.and_then(|node| self.resolver.notes.get(&node));
        let why = match (&found.set, note, found.role) {
            (Some(_), _, _) => {
                "its key is compared with a parameter whose type is not certain, because the parameter is also used elsewhere".to_owned()
            }
            (None, _, Role::New | Role::Assigned) => "the keys that it writes are not known".to_owned(),
            (None, Some(note), _) => note.clone(),
            (None, None, _) => {
                format!("no condition that holds for all its rows fixes \"{key}\" to constants or parameters")
            }
        };
        Refusal::unsupported(
            format!(
                "the statement is not bound to one shard by the sharding key of table \"{}\"",
                relation.name
            ),
            format!("Relation {} is not bound: {why}.", leaf.label),
            format!(
                "Add a condition such as \"{key}\" = $1, joined by AND, in the same query in which the table stands; or choose the shard by hand with SET shardgate.shard."
            ),
        )
    }
}

pub(crate) fn known(leaf: &Leaf) -> Option<&Relation> {
    match &leaf.relation {
        LeafRelation::Known(relation) => Some(relation),
        LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => None,
    }
}

pub(crate) fn distributed(
    leaf: &Leaf,
) -> Option<(&Relation, crate::snapshot::DistributionId, usize)> {
    let relation = known(leaf)?;
    match relation.placement {
        Placement::Distributed { distribution, key } => Some((relation, distribution, key)),
        Placement::Home | Placement::Reference => None,
    }
}

pub(crate) fn is_distributed(leaf: &Leaf) -> bool {
    distributed(leaf).is_some()
}

pub(crate) fn is_reference(leaf: &Leaf) -> bool {
    known(leaf).is_some_and(|relation| relation.placement == Placement::Reference)
}
