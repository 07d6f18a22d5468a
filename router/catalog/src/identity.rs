//! One router for each id: what a router is waited for, and which of its transactions are its own, is told by its id, so
//! two with the same one would undo each other's guarantees.
//!
//! The id is claimed by an advisory lock of the connection on which the router follows the catalog, so it is free again
//! when that connection ends, however it ends.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use std::time::Duration;
use tracing::warn;

/// Between two attempts.
const RETRY_MS: u64 = 500;
/// Longer than a living router waits between two signs of life.
const ATTEMPTS: u32 = 13;

/// Claims the id for as long as the connection lasts.
///
/// # Errors
/// Another router that lives has it. One whose connection lingers without a sign of life does not count.
pub(crate) async fn claim(home: &Backend, id: &str) -> Result<(), CatalogError> {
    let mut first: Option<Option<f64>> = None;
    for attempt in 1..=ATTEMPTS {
        if is_free(home, id).await? {
            return Ok(());
        }
        let row = home
            .query_opt(
                "SELECT name, extract(epoch FROM heartbeat)::float8 FROM shardgate.router WHERE id = $1",
                &[&id],
            )
            .await
            .map_err(|error| home.err(&error))?;
        let (name, beat) = match &row {
            Some(row) => (row.get(0), Some(row.get::<_, f64>(1))),
            None => (String::new(), None),
        };
        if *first.get_or_insert(beat) != beat {
            return Err(in_use(id, &name));
        }
        if attempt < ATTEMPTS {
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }
    warn!(
        id,
        "the id was claimed by a router that gives no sign of life; it is taken over"
    );
    Ok(())
}

/// Takes the lock of the id if nobody has it.
pub(crate) async fn is_free(home: &Backend, id: &str) -> Result<bool, CatalogError> {
    let row = home
        .query_one(
            "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('shardgate router ' || $1::text, 0))",
            &[&id],
        )
        .await
        .map_err(|error| home.err(&error))?;
    Ok(row.get(0))
}

fn in_use(id: &str, name: &str) -> CatalogError {
    let message = format!("another router (\"{name}\") has the id {id}");
    CatalogError::Refused(Box::new(
        PgError::new("55006", message)
            .detail("Routers are told apart by their ids when one waits for all others, and in the names of transactions.")
            .hint("Give each router a router.id of its own in its configuration."),
    ))
}
