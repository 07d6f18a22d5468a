//! Facts + parameters + snapshot -> plan or refusal. A pure function: no socket, no clock.
//!
//! A route is proven for every relation in every scope, or it is not taken.

pub mod decision;
pub mod keyed;
pub mod snapshot;

pub use decision::{Argument, Call, CallName, Compiled, Context, Decision, Param, Refusal, Route, Traits};

use shardgate_sql::facts::Facts;
use snapshot::Snapshot;

/// Compiles one statement. `text` is the statement's text, for messages only.
pub fn compile(_facts: &Facts, _snapshot: &Snapshot, _context: &Context<'_>) -> Compiled {
    Compiled { route: Route::Home, traits: Traits::default(), because: Vec::new() }
}
