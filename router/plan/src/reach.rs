//! What lies behind a name: which placements a view's body reaches, and which words name a table that home has not
//! whole.

use crate::decision::Context;
use crate::ir::{Leaf, LeafRelation};
use crate::path::SearchPath;
use crate::resolve::Resolver;
use crate::snapshot::{Placement, Relation, RelationKind, Snapshot};
use shardgate_sql::facts::Query;
use std::collections::HashSet;

/// The placements of all relations that a relation or query reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) distributed: bool,
    pub(crate) reference: bool,
    pub(crate) home: bool,
    /// A part is not understood: it may reach anything.
    pub(crate) blind: bool,
}

impl Reach {
    pub(crate) fn is_home_only(self) -> bool {
        !self.distributed && !self.reference && !self.blind
    }

    /// It reaches only what every shard has: tables that are distributed or copied.
    pub(crate) fn is_everywhere(self) -> bool {
        !self.home && !self.blind && (self.distributed || self.reference)
    }

    pub(crate) fn and(self, other: Reach) -> Reach {
        Reach {
            distributed: self.distributed || other.distributed,
            reference: self.reference || other.reference,
            home: self.home || other.home,
            blind: self.blind || other.blind,
        }
    }
}

/// A relation of the snapshot.
pub(crate) fn of_relation(relation: &Relation, snapshot: &Snapshot) -> Reach {
    match (&relation.placement, relation.kind) {
        (Placement::Distributed { .. }, _) => Reach {
            distributed: true,
            ..Reach::default()
        },
        (Placement::Reference, _) => Reach {
            reference: true,
            ..Reach::default()
        },
        (Placement::Home, RelationKind::View) => Reach {
            home: !relation.everywhere,
            ..Reach::default()
        }
        .and(of_view(relation, snapshot)),
        (Placement::Home, _) => Reach {
            home: true,
            ..Reach::default()
        },
    }
}

/// A view, by its body.
pub(crate) fn of_view(view: &Relation, snapshot: &Snapshot) -> Reach {
    let Some(body) = &view.view else {
        return Reach {
            blind: any_distributed(snapshot),
            home: true,
            ..Reach::default()
        };
    };
    of_query(
        body,
        snapshot,
        Some(SearchPath::empty()),
        &plain_context(&HashSet::new()),
    )
}

/// A view reads the system's relations, for all that is known: a change of it may be one of theirs.
pub(crate) fn view_of_system(view: &Relation, snapshot: &Snapshot) -> bool {
    let temporary = HashSet::new();
    let context = plain_context(&temporary);
    let Some(body) = &view.view else { return true };
    let mut resolver = Resolver::new(snapshot, &context);
    resolver.path = SearchPath::empty();
    let system = |leaf: &Leaf| matches!(leaf.relation, LeafRelation::System);
    resolver.statement(body).is_err() || resolver.leaves.iter().any(system)
}

/// A query. `path`: where its names are looked up, if not by the context.
pub(crate) fn of_query(
    query: &Query,
    snapshot: &Snapshot,
    path: Option<SearchPath>,
    context: &Context<'_>,
) -> Reach {
    let mut resolver = Resolver::new(snapshot, context);
    if let Some(path) = path {
        resolver.path = path;
    }
    if resolver.statement(query).is_err() {
        return Reach {
            blind: true,
            ..Reach::default()
        };
    }
    let mut reach = Reach {
        blind: resolver.seen.blind_view.is_some(),
        home: resolver.seen.home_view.is_some(),
        ..Reach::default()
    };
    for leaf in &resolver.leaves {
        let leaf = match &leaf.relation {
            LeafRelation::Known(relation) if relation.kind != RelationKind::View => {
                of_relation(relation, snapshot)
            }
            LeafRelation::Known(_) => Reach {
                blind: any_distributed(snapshot),
                home: true,
                ..Reach::default()
            },
            LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => Reach {
                home: true,
                ..Reach::default()
            },
        };
        reach = reach.and(leaf);
    }
    reach
}

/// A context that says nothing, for texts whose names are all qualified.
fn plain_context<'c>(temporary: &'c HashSet<String>) -> Context<'c> {
    Context {
        user: "",
        search_path: None,
        declared: &[],
        temporary,
        transform_null_equals: false,
    }
}

/// The word is the name of a distributed or reference table in some schema, or of a view over one.
pub(crate) fn names_spread(word: &str, snapshot: &Snapshot) -> bool {
    // Queries name indexes too (ON CONFLICT ON CONSTRAINT), and read nothing by that.
    named(word, snapshot).any(|relation| {
        relation.kind != RelationKind::Index && !of_relation(relation, snapshot).is_home_only()
    })
}

/// The word is the name of a relation of any kind that home has not whole, or whose change runs code that may reach
/// such a one: what a statement that is not understood may not name.
pub(crate) fn names_unsafe(word: &str, snapshot: &Snapshot) -> bool {
    named(word, snapshot).any(|relation| {
        relation.blind_code.is_some() || !of_relation(relation, snapshot).is_home_only()
    })
}

/// The relations of this name in all schemas.
fn named<'s>(word: &str, snapshot: &'s Snapshot) -> impl Iterator<Item = &'s Relation> {
    let schemas = snapshot.relations.values();
    schemas
        .filter_map(move |names| names.get(word))
        .map(AsRef::as_ref)
}

/// The database has a distributed table.
pub(crate) fn any_distributed(snapshot: &Snapshot) -> bool {
    let mut relations = snapshot.relations.values().flat_map(|names| names.values());
    relations.any(|relation| matches!(relation.placement, Placement::Distributed { .. }))
}

/// The database has a table that is not on home alone.
pub(crate) fn any_spread(snapshot: &Snapshot) -> bool {
    let mut relations = snapshot.relations.values().flat_map(|names| names.values());
    relations.any(|relation| relation.placement != Placement::Home)
}
