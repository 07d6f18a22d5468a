//! The routers during a move: waiting until they have nothing old under way, and cutting off those that do not say so.
//!
//! A router says in its row up to which epoch it has `drained`. One that lives is waited for; it lives if its heartbeat is
//! fresh and its connection to the home shard, which holds the claim of its id, is there. Cutting off does not rest on
//! any of that: the fence on a shard is raised, so that no connection of an outdated router is taken into use there, and
//! the connections that are known as those of routers which have not drained are ended.

use crate::connect::Backend;
use crate::epoch::LIVE_S;
use crate::error::{CatalogError, PgError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The class of the advisory locks of `shardgate.enter()`, as in `local.sql`.
const ROUTER_CLASS: u32 = 1_397_178_709;
/// Between two looks at the routers' rows.
const LOOK_MS: u64 = 4;
/// How long a server process may take to end, in milliseconds.
const TERMINATE_MS: i64 = 5_000;
/// How long the ending of all processes is tried.
const CUT_MS: u64 = 15_000;

/// A router's claim of its id: see `identity`.
const CLAIMED: &str = "EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('shardgate router ' || r.id, 0))";

/// The names of the routers that live and have not drained.
async fn behind(home: &Backend, epoch: i64) -> Result<Vec<String>, CatalogError> {
    let rows = home
        .query(
            &format!(
                "SELECT r.name || ' (' || r.id || ')' FROM shardgate.router r WHERE r.drained < $1 \
                 AND r.heartbeat > now() - make_interval(secs => $2) AND {CLAIMED} ORDER BY 1"
            ),
            &[&epoch, &LIVE_S],
        )
        .await
        .map_err(|error| home.err(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Waits until every router that lives has drained up to the epoch. Some: those that have not by `until`.
pub(crate) async fn drained(
    home: &Backend,
    epoch: i64,
    until: Instant,
) -> Result<Option<Vec<String>>, CatalogError> {
    loop {
        let behind = behind(home, epoch).await?;
        if behind.is_empty() {
            return Ok(None);
        }
        if Instant::now() >= until {
            return Ok(Some(behind));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Raises the fence of a shard: from now on a router that is older does not take a new connection into use there.
pub(crate) async fn raise_fence(shard: &Backend, epoch: i64) -> Result<(), CatalogError> {
    shard
        .execute(
            "UPDATE shardgate.identity SET fence = $1 WHERE fence < $1",
            &[&epoch],
        )
        .await
        .map_err(|error| shard.err(&error))?;
    Ok(())
}

/// The hashes under which the connections of the routers that have drained are known.
async fn current(home: &Backend, epoch: i64) -> Result<BTreeSet<i64>, CatalogError> {
    let rows = home
        .query(
            "SELECT hashtext(id)::bigint & 4294967295 FROM shardgate.router WHERE drained >= $1",
            &[&epoch],
        )
        .await
        .map_err(|error| home.err(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends every connection of a router that has not drained up to the epoch, on one server. The fence must have been raised
/// there.
///
/// # Errors
/// 55006 if a process does not end.
pub(crate) async fn cut_off(
    home: &Backend,
    server: &Backend,
    epoch: i64,
) -> Result<u64, CatalogError> {
    let until = Instant::now() + Duration::from_millis(CUT_MS);
    let mut ended = 0;
    loop {
        let known: Vec<i64> = current(home, epoch).await?.into_iter().collect();
        let rows = server
            .query(
                &format!(
                    "SELECT pg_terminate_backend(pid, {TERMINATE_MS}) FROM (SELECT DISTINCT l.pid FROM pg_locks l \
                     WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = {ROUTER_CLASS} \
                     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                     AND l.objid::bigint <> ALL ($1)) AS old"
                ),
                &[&known],
            )
            .await
            .map_err(|error| server.err(&error))?;
        if rows.is_empty() {
            return Ok(ended);
        }
        ended += rows.iter().filter(|row| row.get(0)).map(|_| 1).sum::<u64>();
        if Instant::now() >= until {
            return Err(PgError::new(
                "55006",
                format!(
                    "connections of an outdated router do not end on {}",
                    server.whom()
                ),
            )
            .hint("End them by hand (pg_terminate_backend), then resume the move.")
            .into());
        }
    }
}
