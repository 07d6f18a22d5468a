//! How fast a copy may be: a rate, and the standbys that must keep up.
//!
//! A copy that has to wait keeps its snapshot. One that is paused for long is better broken off, and is: its snapshot
//! would keep the source from cleaning up.

use crate::error::CatalogError;
use crate::moves::copy;
use crate::moves::drive::Drive;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// How often standbys are asked how far they are.
const LOOK_MS: u64 = 500;

/// What all streams of a copy share.
pub(crate) struct Throttle {
    bytes_per_s: Option<f64>,
    state: Mutex<State>,
    turn: Mutex<()>,
    begun: Instant,
    /// How long earlier attempts have copied.
    before: Duration,
}

struct State {
    /// When the bytes that were sent so far are through at the given rate.
    through_at: Instant,
    looked_at: Instant,
}

impl Throttle {
    pub(crate) fn new(drive: &Drive<'_>) -> Throttle {
        let now = Instant::now();
        let before = drive.lease.progress.copy_ms.load(Ordering::Relaxed);
        Throttle {
            bytes_per_s: drive.row.copy_bytes_per_s.map(|rate| rate.max(1) as f64),
            state: Mutex::new(State {
                through_at: now,
                looked_at: now,
            }),
            turn: Mutex::new(()),
            begun: now,
            before: Duration::from_millis(u64::try_from(before).unwrap_or_default()),
        }
    }

    /// How long the move has copied so far.
    pub(crate) fn copying(&self) -> Duration {
        self.before + self.begun.elapsed()
    }

    /// For what only one stream may do at a time.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until more may be sent, after `bytes` were.
    ///
    /// # Errors
    /// 57014 if the move was paused meanwhile.
    pub(crate) async fn wait(&self, drive: &Drive<'_>, bytes: i64) -> Result<(), CatalogError> {
        if drive.lease.is_paused() {
            return Err(copy::paused(drive.id()));
        }
        let (until, look) = {
            let mut state = self.state.lock().await;
            let now = Instant::now();
            let through = state.through_at.max(now);
            if let Some(rate) = self.bytes_per_s {
                state.through_at = through + Duration::from_secs_f64(bytes.max(0) as f64 / rate);
            }
            let look = state.looked_at.elapsed() >= Duration::from_millis(LOOK_MS);
            if look {
                state.looked_at = now;
            }
            (state.through_at, look)
        };
        if self.bytes_per_s.is_some() {
            tokio::time::sleep_until(until.into()).await;
        }
        if look {
            self.wait_for_standbys(drive).await?;
        }
        Ok(())
    }

    async fn wait_for_standbys(&self, drive: &Drive<'_>) -> Result<(), CatalogError> {
        let target = &drive.target.backend;
        loop {
            let row = target
                .query_one(
                    "SELECT coalesce(max(pg_current_wal_lsn() - replay_lsn), 0)::bigint FROM pg_stat_replication \
                     WHERE state = 'streaming' AND replay_lsn IS NOT NULL \
                     AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active)",
                    &[],
                )
                .await
                .map_err(|error| target.err(&error))?;
            if row.get::<_, i64>(0) <= drive.row.replica_lag_bytes_max {
                return Ok(());
            }
            drive.lease.check()?;
            if drive.lease.is_paused() {
                return Err(copy::paused(drive.id()));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }
}
