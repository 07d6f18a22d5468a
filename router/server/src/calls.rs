//! The router's own SQL functions, run on the catalog for a client.

use crate::shared::{Shared, pg_error};
use shardgate_catalog::{Caller, Watch, call_in};
use shardgate_plan::Call;
use shardgate_plan::snapshot::Snapshot;
use shardgate_wire::PgError;
use std::sync::Arc;

/// Runs the function for a role, which must own the table, and gives the snapshot that has what it changed.
///
/// Not cancel-safe: a change that has begun goes on to its end or is resolved by recovery.
pub async fn call(
    shared: &Shared,
    role: String,
    search_path: Option<Vec<String>>,
    call: Call,
) -> Result<Arc<Snapshot>, PgError> {
    let caller = Caller {
        role: Some(role),
        search_path,
    };
    let watch = shared
        .stops
        .clone()
        .map(|stops| -> Watch { Arc::new(move |edge| stops.pass(edge)) });
    call_in(shared.follower.config(), &call, &caller, watch)
        .await
        .map_err(|error| pg_error(&error))?;
    shared
        .follower
        .refresh(false)
        .await
        .map_err(|error| pg_error(&error))
}
