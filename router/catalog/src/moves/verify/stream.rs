//! Has the stream passed what the source has written up to now?
//!
//! A position that was asked for before everything visible is flushed would miss commits with synchronous_commit off, so
//! a synchronous commit of our own comes first; the insert position may lie beyond what is ever sent while nothing more
//! is written. A slot is confirmed up to where its subscriber has committed and flushed.

use super::Sides;
use crate::error::{CatalogError, PgError};
use std::time::Duration;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(10);

/// Waits until everything that is visible on the source now is visible on the target.
///
/// # Errors
/// 55000 if it takes longer than `wait`, or a slot is gone.
pub(super) async fn passed(sides: Sides<'_>, wait: Duration) -> Result<(), CatalogError> {
    if sides.slots.is_empty() {
        return Ok(());
    }
    let source = sides.source;
    source
        .run(
            "BEGIN; SET LOCAL synchronous_commit = on; \
             SELECT pg_catalog.pg_logical_emit_message(true, 'shardgate', ''); COMMIT",
        )
        .await?;
    let row = source
        .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
        .await
        .map_err(|error| source.err(&error))?;
    let lsn: String = row.get(0);
    let wanted = i64::try_from(sides.slots.len()).unwrap_or(i64::MAX);
    let until = Instant::now() + wait;
    loop {
        let row = source
            .query_one(
                "SELECT count(*), count(*) FILTER (WHERE active AND confirmed_flush_lsn >= $2::text::pg_lsn), \
                 max(pg_wal_lsn_diff($2::text::pg_lsn, confirmed_flush_lsn))::int8 \
                 FROM pg_replication_slots WHERE slot_name = ANY ($1)",
                &[&sides.slots, &lsn],
            )
            .await
            .map_err(|error| source.err(&error))?;
        let (there, passed): (i64, i64) = (row.get(0), row.get(1));
        if there < wanted {
            return Err(PgError::new(
                "55000",
                format!(
                    "{} of {wanted} replication slots of the move are gone",
                    wanted - there
                ),
            )
            .hint("The copy cannot be completed any more: cancel the move and start it again.")
            .into());
        }
        if passed == wanted {
            return Ok(());
        }
        if Instant::now() >= until {
            let lag: Option<i64> = row.get(2);
            return Err(PgError::new("55000", format!("the target has not followed within {} s", wait.as_secs()))
                .detail(format!("It is {} bytes of WAL behind.", lag.unwrap_or_default().max(0)))
                .hint("Try again when it has caught up; see the target's log if its subscription has failed.")
                .into());
        }
        tokio::time::sleep(POLL).await;
    }
}
