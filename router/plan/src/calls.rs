//! The router's own functions: `SELECT create_distributed_table(..)` and its kin as whole statements.

use crate::decision::{Argument, Call, CallName, Refusal};
use crate::value;
use shardgate_sql::facts::{
    Body, Distinct, Expr, Function, GroupBy, Item, Literal, Name, Query, Select,
};

/// The router's function of this name that changes the catalog.
fn own(name: &Name) -> Option<CallName> {
    if !matches!(name.schema.as_deref(), None | Some("shardgate")) {
        return None;
    }
    match name.name.as_str() {
        "create_distributed_table" => Some(CallName::CreateDistributedTable),
        "create_reference_table" => Some(CallName::CreateReferenceTable),
        "undistribute_table" => Some(CallName::UndistributeTable),
        _ => None,
    }
}

fn backend_pid(name: &Name) -> Option<CallName> {
    let system = matches!(name.schema.as_deref(), None | Some("pg_catalog"));
    (system && name.name == "pg_backend_pid").then_some(CallName::BackendPid)
}

/// The name is one of the router's functions, which are answered only as whole statements.
pub(crate) fn is_own(name: &Name) -> bool {
    own(name).is_some()
}

/// The call that is the whole statement; None: it is none.
pub(crate) fn whole(query: &Query) -> Option<Result<Call, Refusal>> {
    let (function, alias) = only_call(query)?;
    let name = own(&function.name).or_else(|| backend_pid(&function.name))?;
    let plain = function.extra.is_empty()
        && function.over.is_none()
        && !function.distinct
        && !function.star;
    if !plain {
        return None;
    }
    let column = alias.unwrap_or(&function.name.name).to_owned();
    Some(arguments(function).map(|args| Call {
        function: name,
        column,
        args,
    }))
}

/// A select of one function call and nothing else.
fn only_call(query: &Query) -> Option<(&Function, Option<&str>)> {
    let Query {
        ctes,
        body: Body::Select(select),
        order_by,
        limit,
        offset,
        locking,
        ..
    } = query
    else {
        return None;
    };
    let bare =
        ctes.is_empty() && order_by.is_empty() && limit.is_none() && offset.is_none() && !locking;
    let Select {
        distinct: Distinct::No,
        items,
        into: None,
        from,
        filter: None,
        group_by: GroupBy::None,
        having: None,
        windows,
    } = select.as_ref()
    else {
        return None;
    };
    let [
        Item::Expr {
            expr: Expr::Function(function),
            alias,
        },
    ] = items.as_slice()
    else {
        return None;
    };
    (bare && from.is_empty() && windows.is_empty()).then_some((function, alias.as_deref()))
}

fn arguments(function: &Function) -> Result<Vec<(Option<String>, Argument)>, Refusal> {
    let mut args = Vec::with_capacity(function.args.len());
    for (i, expr) in function.args.iter().enumerate() {
        let name = function.arg_names.get(i).cloned().flatten();
        let Some(value) = argument(expr) else {
            return Err(Refusal::unsupported(
                format!(
                    "argument {} of {} is not a constant",
                    i + 1,
                    function.name.name
                ),
                "The router carries out the call itself and evaluates no expressions.",
                "Give a literal, an array of literals, or a parameter.",
            ));
        };
        args.push((name, value));
    }
    Ok(args)
}

fn argument(expr: &Expr) -> Option<Argument> {
    match expr {
        Expr::Param(number) => Some(Argument::Param(*number)),
        Expr::Array(elements) => elements
            .iter()
            .map(text)
            .collect::<Option<Vec<_>>>()
            .map(Argument::List),
        Expr::Cast { expr, ty } if ty.array => match argument(expr)? {
            Argument::Text(Some(list)) => {
                let elements = value::elements_from_text(&list)?;
                elements
                    .into_iter()
                    .collect::<Option<Vec<String>>>()
                    .map(Argument::List)
            }
            other => Some(other),
        },
        Expr::Cast { expr, .. } => argument(expr),
        Expr::Literal(Literal::Null) => Some(Argument::Text(None)),
        _ => text(expr).map(|value| Argument::Text(Some(value))),
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(Literal::String(value) | Literal::Number(value)) => Some(value.clone()),
        Expr::Literal(Literal::Bool(value)) => Some(value.to_string()),
        Expr::Cast { expr, .. } => text(expr),
        _ => None,
    }
}

/// A call in any other place.
pub(crate) fn misplaced(name: &Name) -> Refusal {
    Refusal::unsupported(
        format!("{} can only be called as a statement of its own", name.name),
        "The router carries it out; the servers do not have it.",
        format!("Write SELECT {}(..) without anything else.", name.name),
    )
}
