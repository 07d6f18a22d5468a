//! Who drives a move: one program at a time.
//!
//! The lease is a time on the home shard's clock that its holder moves on. Whoever takes a lease that is over counts
//! `attempt` up; every later write of the earlier holder, on the home shard and at the gates of the shards, names its own
//! attempt and finds that it is not the newest any more. So no clock is needed to be safe, only to be quick.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::status::unknown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tracing::debug;

/// How long a lease holds when its holder says nothing more.
const LEASE_MS: i64 = 2_000;
/// How long one that wants the lease waits for it: longer than a lease lasts without its holder.
const TAKE_MS: u64 = 2_500;
const TAKE_LOOK_MS: u64 = 100;
/// How often the holder says that it lives, and writes its progress down.
const BEAT_MS: u64 = 400;

/// What the holder has done so far, written down with each sign of life.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub rows: AtomicI64,
    pub bytes: AtomicI64,
    /// Milliseconds of copying.
    pub copy_ms: AtomicI64,
    pub lag_bytes: AtomicI64,
    pub wal_bytes: AtomicI64,
    /// Somebody has asked for a pause.
    pub paused: AtomicBool,
    /// Somebody else drives the move.
    pub lost: AtomicBool,
}

/// The right to drive a move. It ends when it is dropped, some time later.
pub(crate) struct Lease {
    pub id: i64,
    pub attempt: i64,
    pub progress: Arc<Progress>,
    beat: JoinHandle<()>,
}

impl Lease {
    /// Takes the lease. One whose holder has died is waited for until it is over.
    ///
    /// # Errors
    /// 42704 for an unknown id; 55006 while somebody else drives the move.
    pub(crate) async fn take(home: &Backend, id: i64) -> Result<Lease, CatalogError> {
        let until = Instant::now() + Duration::from_millis(TAKE_MS);
        loop {
            if let Some(lease) = Lease::try_take(home, id).await? {
                return Ok(lease);
            }
            let taken = taken(home, id).await;
            if Instant::now() >= until || taken.sqlstate() != "55006" {
                return Err(taken);
            }
            tokio::time::sleep(Duration::from_millis(TAKE_LOOK_MS)).await;
        }
    }

    async fn try_take(home: &Backend, id: i64) -> Result<Option<Lease>, CatalogError> {
        let row = home
            .query_opt(
                "UPDATE shardgate.move SET owner = gen_random_uuid(), attempt = attempt + 1, \
                 lease = now() + make_interval(secs => $2::float8 / 1000.0) \
                 WHERE id = $1 AND (lease IS NULL OR lease < now()) \
                 RETURNING attempt, rows_copied, bytes_copied, copy_ms, lag_bytes, wal_bytes, paused",
                &[&id, &(LEASE_MS as f64)],
            )
            .await
            .map_err(|error| home.err(&error))?;
        let Some(row) = row else { return Ok(None) };
        let attempt = row.get(0);
        let progress = Arc::new(Progress {
            rows: AtomicI64::new(row.get(1)),
            bytes: AtomicI64::new(row.get(2)),
            copy_ms: AtomicI64::new(row.get(3)),
            lag_bytes: AtomicI64::new(row.get(4)),
            wal_bytes: AtomicI64::new(row.get(5)),
            paused: AtomicBool::new(row.get(6)),
            lost: AtomicBool::new(false),
        });
        let beat = tokio::spawn(beat(
            home.config().clone(),
            id,
            attempt,
            Arc::clone(&progress),
        ));
        Ok(Some(Lease {
            id,
            attempt,
            progress,
            beat,
        }))
    }

    /// Gives it back, with what was done.
    pub(crate) async fn release(self, home: &Backend) -> Result<(), CatalogError> {
        self.beat.abort();
        write(home, self.id, self.attempt, &self.progress).await?;
        home.execute(
            "UPDATE shardgate.move SET owner = NULL, lease = NULL WHERE id = $1 AND attempt = $2",
            &[&self.id, &self.attempt],
        )
        .await
        .map_err(|error| home.err(&error))?;
        Ok(())
    }

    /// The error of one that has lost it.
    pub(crate) fn lost(id: i64) -> CatalogError {
        PgError::new(
            "55006",
            format!("move {id} is driven by another program now"),
        )
        .hint("See what it does with `shard-admin move status`.")
        .into()
    }

    /// Fails if somebody is known to have taken the move over.
    pub(crate) fn check(&self) -> Result<(), CatalogError> {
        if self.progress.lost.load(Ordering::Acquire) {
            return Err(Lease::lost(self.id));
        }
        Ok(())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.progress.paused.load(Ordering::Acquire)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

async fn taken(home: &Backend, id: i64) -> CatalogError {
    match home
        .query_opt("SELECT FROM shardgate.move WHERE id = $1", &[&id])
        .await
    {
        Ok(None) => unknown(id).into(),
        Ok(Some(_)) => PgError::new("55006", format!("move {id} is driven by another program"))
            .detail("It said so within the last seconds.")
            .hint("Wait for it, or end it; the move can be taken over two seconds later.")
            .into(),
        Err(error) => home.err(&error),
    }
}

/// Keeps the lease until the move is lost. It has a connection of its own, since the holder's may be waiting.
async fn beat(config: Config, id: i64, attempt: i64, progress: Arc<Progress>) {
    let mut home: Option<Backend> = None;
    loop {
        let kept = match &home {
            Some(home) => write(home, id, attempt, &progress).await,
            None => match Backend::primary(&config, "the home shard").await {
                Ok(connected) => {
                    home = Some(connected);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match kept {
            Ok(true) => {}
            Ok(false) => {
                progress.lost.store(true, Ordering::Release);
                return;
            }
            Err(error) => {
                debug!(%error, id, "the lease of a move could not be kept");
                home = None;
            }
        }
        tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
    }
}

/// False: somebody else has the lease.
async fn write(
    home: &Backend,
    id: i64,
    attempt: i64,
    progress: &Progress,
) -> Result<bool, CatalogError> {
    let of = |value: &AtomicI64| value.load(Ordering::Relaxed);
    let row = home
        .query_opt(
            "UPDATE shardgate.move SET lease = now() + make_interval(secs => $3::float8 / 1000.0), rows_copied = $4, \
             bytes_copied = $5, copy_ms = $6, lag_bytes = $7, wal_bytes = $8 WHERE id = $1 AND attempt = $2 RETURNING paused",
            &[
                &id,
                &attempt,
                &(LEASE_MS as f64),
                &of(&progress.rows),
                &of(&progress.bytes),
                &of(&progress.copy_ms),
                &of(&progress.lag_bytes),
                &of(&progress.wal_bytes),
            ],
        )
        .await
        .map_err(|error| home.err(&error))?;
    if let Some(row) = &row {
        progress.paused.store(row.get(0), Ordering::Release);
    }
    Ok(row.is_some())
}
