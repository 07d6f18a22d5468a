//! Opening one connection for a pool, and what a failure means to those who wait.

use super::lock;
use super::state::{Place, Pool};
use crate::backend::{ConnectError, Link, Target, connect};
use crate::fence::Fence;
use crate::lanes::MAIN;
use crate::mailbox::Refusal;
use shardgate_session::Backend;
use shardgate_wire::PgError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The waits between attempts grow from the first to the second of these.
const RETRY_MS_MIN: u64 = 50;
const RETRY_MS_MAX: u64 = 1000;

/// One attempt. The place is freed if it fails or is dropped.
pub(super) async fn open(mut place: Place) {
    let pool = Arc::clone(place.pool());
    let target = Target {
        endpoint: &pool.endpoint,
        user: &pool.role.role,
        database: &pool.database,
        credentials: pool.role.credentials(),
        enter: pool.context.fence.as_ref().map(Fence::enter),
        timeout: pool.context.server_connect_timeout,
    };
    let mut opened = connect(target).await;
    if let (Some(fence), Ok(one)) = (&pool.context.fence, &opened)
        && let Err(error) = fence.pass(one.fence).await
    {
        pool.context.metrics.backends_fenced.increment();
        opened = Err(ConnectError::Unfit(error));
    }
    match opened {
        Ok(opened) => {
            pool.context.metrics.backends_opened.increment();
            let info = Arc::new(opened.info);
            place.opened(&info);
            let state = Backend::new(opened.params, info.standby);
            let now = Instant::now();
            let link = Link {
                stream: opened.stream,
                lane: MAIN,
                state: Some(Box::new(state)),
                info,
                opened: now,
                idle_since: now,
                place,
            };
            pool.give(Box::new(link));
        }
        Err(error) => failed(&pool, place, error),
    }
}

fn failed(pool: &Arc<Pool>, place: Place, error: ConnectError) {
    pool.context.metrics.backends_failed.increment();
    let failures = {
        let mut state = lock(&pool.state);
        state.failures = state.failures.saturating_add(1);
        let wait = RETRY_MS_MIN
            .saturating_mul(1 << state.failures.min(10))
            .min(RETRY_MS_MAX);
        state.retry_at = Some(Instant::now() + Duration::from_millis(wait));
        state.failures
    };
    if failures.is_power_of_two() {
        let server = format!("{}:{}", pool.endpoint.host, pool.endpoint.port);
        tracing::warn!(server, role = %pool.role.role, attempt = failures, "could not connect: {error}");
    }
    let (error, hopeless) = judge(pool, error);
    lock(&pool.state).last_error = Some(error.clone());
    // Before the place is freed: nobody of those who are refused needs another attempt.
    pool.refuse(
        |waiter| hopeless || !waiter.is_patient(),
        || Refusal::Failed(error.clone()),
    );
    drop(place);
}

/// What the client is told, and whether another attempt would end in the same way.
fn judge(pool: &Pool, error: ConnectError) -> (PgError, bool) {
    match error {
        ConnectError::Network(reason) => {
            pool.context.health.report_failure(&pool.endpoint);
            tracing::debug!(shard = pool.endpoint.shard.0, "no connection: {reason}");
            let message = format!(
                "could not connect to a server of shard {}",
                pool.endpoint.shard.0
            );
            (PgError::error("08006", message), false)
        }
        // Its own words and code: who may not log in, or which database is missing, is the client's business.
        ConnectError::Server(error) => {
            // With connections of its own the pool can wait for one of them.
            if error.sqlstate == "53300" && lock(&pool.state).links.is_empty() {
                lock(&pool.context.crowded).insert(pool.endpoint.id);
            }
            let hopeless = matches!(
                error.sqlstate.class(),
                "28" | "3D" | "42" | "22" | "0A" | "55"
            );
            (error, hopeless)
        }
        ConnectError::Unfit(error) => (error, true),
    }
}
