//! Facts + parameters + snapshot -> plan or refusal. A pure function: no socket, no clock.
//!
//! A route is proven for every relation in every scope, or it is not taken.

mod aggregates;
mod alter;
mod atoms;
mod bind;
mod blind;
mod calls;
mod change;
mod command;
mod constant;
mod conversions;
mod cte;
mod ddl_code;
pub mod decision;
mod env;
mod explain;
mod from;
mod functions;
mod gather;
mod ir;
mod join;
pub mod keyed;
mod keyset;
mod lists;
mod moving;
mod new_keys;
mod operators;
mod path;
mod proof;
mod query;
mod reach;
mod references;
mod refusals;
mod resolve;
mod scope;
mod seen;
mod select;
pub mod snapshot;
mod spread;
mod steady;
mod stored;
mod traits;
mod unique;
mod uses;
mod utility;
mod value;
mod walk;

pub use decision::{
    Argument, Call, CallName, Compiled, Context, Decision, Param, Refusal, Route, Traits,
};
pub use explain::explain;
pub use gather::{Gather, Gathered, Splice};
pub use moving::Moving;
pub use spread::clock::{computes_anew, reads_clock};
pub use spread::{PartRow, Piece, Returns, RowKeys, Source, Spread, SpreadPart};

use shardgate_sql::facts::{Facts, Statement};
use snapshot::Snapshot;

/// Whether an identifier of the statement is the name of a distributed or reference table, or of a view over one, in any
/// schema.
pub fn mentions_spread(facts: &Facts, snapshot: &Snapshot) -> bool {
    facts
        .identifiers
        .iter()
        .any(|word| reach::names_spread(word, snapshot))
}

/// Compiles one statement against one snapshot: where it goes, whatever its parameters.
///
/// A statement inside of another (EXPLAIN, PREPARE, DECLARE) is compiled as if it stood alone.
///
/// Without the text, DDL that may add a unique index to a distributed table is refused, and no rows are gathered: see
/// `compile_text`.
pub fn compile(facts: &Facts, snapshot: &Snapshot, context: &Context<'_>) -> Compiled {
    compile_with(facts, None, snapshot, context)
}

/// As `compile`, with the text that the facts were taken from. It decides whether the unique indexes that DDL adds contain
/// the sharding key, and the text over gathered rows is made from it.
pub fn compile_text(
    facts: &Facts,
    text: &str,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    compile_with(facts, Some(text), snapshot, context)
}

fn compile_with(
    facts: &Facts,
    text: Option<&str>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    let mut compiled = route(facts, text, snapshot, context);
    if !snapshot.moves.is_empty() && !tells_moves(facts) {
        compiled.concerns = moving::named(facts, snapshot);
    }
    if compiled.traits.ddl || matches!(facts.statement, Statement::Utility(_)) {
        ddl_code::see_to(compiled, facts, snapshot, context)
    } else {
        compiled
    }
}

/// The statement has, or is, a query, and what that concerns is found with its route.
fn tells_moves(facts: &Facts) -> bool {
    match &facts.statement {
        Statement::Query(_) | Statement::Explain { .. } => true,
        Statement::Command(command) => command::has_query(command),
        Statement::Empty | Statement::Utility(_) | Statement::Unparsed { .. } => false,
    }
}

fn route(
    facts: &Facts,
    text: Option<&str>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    match &facts.statement {
        Statement::Empty => Compiled {
            route: Route::Home,
            traits: Traits::default(),
            because: Vec::new(),
            concerns: Moving::NONE,
        },
        Statement::Query(query) => query::compile(query, facts, text, snapshot, context),
        Statement::Explain {
            analyze,
            route,
            inner,
            inner_text: _,
        } => {
            let compiled = compile(inner, snapshot, context);
            if *route {
                compiled
            } else {
                explained(compiled, *analyze)
            }
        }
        Statement::Command(command) => command::compile(command, facts, snapshot, context),
        Statement::Utility(utility) => utility::compile(utility, facts, text, snapshot, context),
        Statement::Unparsed {
            keywords: _,
            reason,
        } => query::unanalysed(facts, snapshot, reason),
    }
}

/// EXPLAIN of Postgres's goes where the statement goes; without ANALYZE it runs nothing.
fn explained(compiled: Compiled, analyze: bool) -> Compiled {
    let route = match compiled.route {
        Route::AllShards | Route::Call(_) | Route::Gather(..) | Route::Spread(..) => {
            Route::Refused(Refusal::unsupported(
                "EXPLAIN of this statement is not supported",
                "It goes to all shards, or is carried out by the router.",
                "Use EXPLAIN (ROUTE).",
            ))
        }
        route => route,
    };
    let traits = if analyze {
        compiled.traits
    } else {
        Traits {
            ddl: false,
            ..compiled.traits
        }
    };
    Compiled {
        route,
        traits,
        ..compiled
    }
}
