//! What a statement does to its surroundings, concluded from everything that the walk has seen.

use crate::decision::{SetConfig, Traits};
use crate::functions::{Class, class};
use crate::ir::{Leaf, LeafRelation};
use crate::reach;
use crate::resolve::Resolver;
use crate::snapshot::{ColumnDefault, FunctionClass, RelationKind, Snapshot};
use shardgate_sql::facts::{Body, Expr, Facts, Item, Literal, Name, Statement};

/// The traits of a query.
pub(crate) fn of_query(resolver: &Resolver<'_>, facts: &Facts) -> Traits {
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
    let sets = set_configs(resolver, facts);
    let passive = !seen.writes && !seen.into && !seen.locking;
    let taints = taint(resolver, !sets.is_empty());
    let read_only =
        passive && understood && taints.is_none() && classes.iter().all(|class| class.reads_only());
    // A standby has no serializable transactions.
    let serializable = [None, Some(resolver.context.user.to_owned())]
        .iter()
        .any(|role| snapshot.serializable.contains(role));
    let replica_safe = read_only
        && !serializable
        && classes.iter().all(|class| class.anywhere())
        && resolver.leaves.iter().all(same_on_standby);
    Traits {
        replica_safe,
        read_only,
        taints,
        needs_pin: seen
            .functions
            .iter()
            .find(|name| reads_session(name))
            .map(|name| format!("function {}", name.name)),
        draws: draws(resolver),
        shows_statements: shows_statements(facts),
        sets,
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
        LeafRelation::Known(relation) => {
            relation.runs_code.is_none() && relation.code_read.is_none() && !relation.row_security
        }
        LeafRelation::System | LeafRelation::Temporary => true,
        // It may be a view.
        LeafRelation::Unknown => false,
    }
}

/// A standby's copy answers as the primary does. The system's own relations have views of the server's state among
/// them; a sequence's last value is written ahead; temporary relations are not there.
fn same_on_standby(leaf: &Leaf) -> bool {
    match &leaf.relation {
        // A standby has no rows of an unlogged table.
        LeafRelation::Known(relation) if relation.unlogged => false,
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
///
/// `sets_known`: what its calls of set_config change is known.
fn taint(resolver: &Resolver<'_>, sets_known: bool) -> Option<String> {
    let seen = &resolver.seen;
    let snapshot = resolver.snapshot;
    if seen.into_temporary {
        return Some("temporary object".to_owned());
    }
    let function = seen
        .functions
        .iter()
        .filter(|name| !(sets_known && is_set_config(name)))
        .find(|name| !class(name, snapshot).leaves_nothing());
    if let Some(name) = function {
        return Some(format!("function {}", name.name));
    }
    if let Some(op) = seen
        .operators
        .iter()
        .find(|op| snapshot.opaque_operators.contains(*op))
    {
        return Some(format!("operator {op}"));
    }
    let hidden = seen
        .temporary_code
        .clone()
        .or_else(|| snapshot.cast_code.clone())
        .or_else(|| seen.blind_view.as_ref().map(|view| format!("view {view}")))
        .or_else(|| snapshot.event_code.clone().filter(|_| seen.into));
    if hidden.is_some() {
        return hidden;
    }
    // What an input function runs is not known by name.
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
            LeafRelation::Known(relation)
                if leaf.written
                    && relation.kind == RelationKind::View
                    && reach::view_of_system(relation, snapshot) =>
            {
                Some(format!("view {}", relation.name))
            }
            LeafRelation::Known(relation) => {
                let written = leaf.written || relation.row_security;
                let written = relation.runs_code.as_ref().filter(|_| written);
                let code = written.or(relation.code_read.as_ref())?;
                Some(format!("table {}: {code}", relation.name))
            }
            // A change of pg_settings is a SET.
            LeafRelation::System => leaf.written.then(|| leaf.label.replace('"', "")),
            LeafRelation::Temporary | LeafRelation::Unknown => None,
        })
}

/// `currval` and `lastval`: they answer what an earlier statement of the session drew.
pub(crate) fn reads_session(name: &Name) -> bool {
    matches!(name.name.as_str(), "currval" | "lastval")
        && name
            .schema
            .as_deref()
            .is_none_or(|schema| schema == "pg_catalog")
}

/// `nextval` and `setval` by name, or by the default of a column of a table that is written.
fn draws(resolver: &Resolver<'_>) -> bool {
    let by_name = |name: &Name| matches!(name.name.as_str(), "nextval" | "setval");
    let by_default = |leaf: &Leaf| match &leaf.relation {
        LeafRelation::Known(relation) => {
            leaf.written
                && relation
                    .columns
                    .iter()
                    .any(|column| column.default == ColumnDefault::Sequence)
        }
        LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => leaf.written,
    };
    resolver.seen.functions.iter().any(by_name) || resolver.leaves.iter().any(by_default)
}

/// Views and functions that show the prepared statements of a connection, where those of other clients lie.
pub(crate) fn shows_statements(facts: &Facts) -> Option<String> {
    let view = facts.identifiers.iter().find(|word| {
        word.as_str() == "pg_prepared_statements" || *word == "pg_prepared_statement"
    })?;
    Some(format!("view {view}"))
}

fn is_set_config(name: &Name) -> bool {
    name.name == "set_config"
        && name
            .schema
            .as_deref()
            .is_none_or(|schema| schema == "pg_catalog")
}

/// The settings that the statement changes by set_config, if each call is an item of a select list without FROM and
/// names its setting by a literal; empty if there is any other call, or the name may be a user's function.
fn set_configs(resolver: &Resolver<'_>, facts: &Facts) -> Vec<SetConfig> {
    let Statement::Query(query) = &facts.statement else {
        return Vec::new();
    };
    let Body::Select(select) = &query.body else {
        return Vec::new();
    };
    if !query.ctes.is_empty()
        || !select.from.is_empty()
        || resolver.snapshot.functions.contains_key("set_config")
    {
        return Vec::new();
    }
    let sets: Vec<SetConfig> = select.items.iter().filter_map(set_config).collect();
    // Every mention counts, wherever it stands: one that is no item of the list makes the whole unknown.
    let calls = if sets.is_empty() {
        0
    } else {
        format!("{:?}", facts.statement)
            .matches("name: \"set_config\"")
            .count()
    };
    if sets.len() == calls {
        sets
    } else {
        Vec::new()
    }
}

fn set_config(item: &Item) -> Option<SetConfig> {
    let Item::Expr {
        expr: Expr::Function(call),
        ..
    } = item
    else {
        return None;
    };
    let [Expr::Literal(Literal::String(name)), value, local] = call.args.as_slice() else {
        return None;
    };
    if !is_set_config(&call.name) || !call.arg_names.iter().all(Option::is_none) {
        return None;
    }
    Some(SetConfig {
        name: name.to_ascii_lowercase(),
        value: match value {
            Expr::Literal(Literal::String(text)) => Some(text.clone()),
            _ => None,
        },
        local: matches!(local, Expr::Literal(Literal::Bool(true))),
    })
}

fn has_opaque_functions(snapshot: &Snapshot) -> bool {
    snapshot
        .functions
        .values()
        .any(|class| *class >= FunctionClass::Opaque)
}
