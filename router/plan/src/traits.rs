//! What a statement does to its surroundings, concluded from everything that the walk has seen.

use crate::decision::Traits;
use crate::functions::{Class, class};
use crate::ir::{Leaf, LeafRelation};
use crate::resolve::Resolver;
use crate::snapshot::{FunctionClass, RelationKind, Snapshot};

/// The traits of a query.
pub(crate) fn of_query(resolver: &Resolver<'_>) -> Traits {
    let seen = &resolver.seen;
    let snapshot = resolver.snapshot;
    let classes: Vec<Class> = seen
        .functions
        .iter()
        .map(|name| class(name, snapshot))
        .collect();
    let understood = seen.opaque.is_none()
        && seen.user_operator.is_none()
        && seen.user_type.is_none()
        && seen.blind_view.is_none()
        && resolver.leaves.iter().all(reads_plainly);
    let passive = !seen.writes && !seen.into && !seen.locking;
    let read_only = passive && understood && classes.iter().all(|class| class.reads_only());
    let replica_safe = read_only
        && classes.iter().all(|class| class.anywhere())
        && resolver.leaves.iter().all(same_on_standby);
    Traits {
        replica_safe,
        read_only,
        taints: taint(resolver),
        temporary: seen.into_temporary
            || resolver
                .leaves
                .iter()
                .any(|leaf| matches!(leaf.relation, LeafRelation::Temporary)),
        ddl: seen.into,
        no_transaction: false,
    }
}

/// Reading it runs no code and shows only what is stored.
fn reads_plainly(leaf: &Leaf) -> bool {
    match &leaf.relation {
        LeafRelation::Known(relation) => relation.runs_code.is_none() && !relation.row_security,
        LeafRelation::System | LeafRelation::Temporary => true,
        // It may be a view.
        LeafRelation::Unknown => false,
    }
}

/// A standby's copy answers as the primary does. The system's own relations have views of the server's state among
/// them; a sequence's last value is written ahead; temporary relations are not there.
fn same_on_standby(leaf: &Leaf) -> bool {
    match &leaf.relation {
        LeafRelation::Known(relation) => match relation.kind {
            RelationKind::Table
            | RelationKind::PartitionedTable
            | RelationKind::MaterializedView => true,
            RelationKind::View | RelationKind::ForeignTable | RelationKind::Sequence => false,
            RelationKind::Index | RelationKind::Composite => false,
        },
        LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => false,
    }
}

/// Why the statement may leave state on its connection.
fn taint(resolver: &Resolver<'_>) -> Option<String> {
    let seen = &resolver.seen;
    let snapshot = resolver.snapshot;
    if seen.into_temporary {
        return Some("temporary object".to_owned());
    }
    let function = seen
        .functions
        .iter()
        .find(|name| !class(name, snapshot).leaves_nothing());
    if let Some(name) = function {
        return Some(format!("function {}", name.name));
    }
    // What an operator or an input function runs is not known by name.
    if let Some(op) = seen
        .user_operator
        .as_ref()
        .filter(|_| has_opaque_functions(snapshot))
    {
        return Some(format!("operator {op}"));
    }
    if let Some(ty) = seen
        .user_type
        .as_ref()
        .filter(|_| has_opaque_functions(snapshot))
    {
        return Some(format!("cast to type {ty}"));
    }
    resolver
        .leaves
        .iter()
        .find_map(|leaf| match &leaf.relation {
            LeafRelation::Known(relation) => {
                let code = relation.runs_code.as_ref()?;
                (leaf.written || relation.row_security)
                    .then(|| format!("table {}: {code}", relation.name))
            }
            LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => None,
        })
}

fn has_opaque_functions(snapshot: &Snapshot) -> bool {
    snapshot
        .functions
        .values()
        .any(|class| *class >= FunctionClass::Opaque)
}
