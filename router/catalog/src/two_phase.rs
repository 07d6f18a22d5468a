//! One change of the schema on several shards, as one atomic step: the other shards prepare, the home shard decides by
//! committing, the others follow.
//!
//! The decision is a row that the home shard's transaction inserts, under the change lock. So whoever holds that lock
//! later knows: a prepared transaction with a row is to be committed; without one its change has ended and can never
//! commit, and it is to be rolled back. No clock is involved.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::quote::literal;
use crate::shard::ShardRow;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

/// Every gid of a change of the schema begins so; then cluster, change and shard follow.
pub(crate) const PREFIX: &str = "shardgate:ddl:";
/// How long the end of a decided change is tried on a shard before its caller is told.
const FINISH_MS: u64 = 10_000;

/// Told the name of every edge that a change comes to, in `EDGES`. For tests: a router can be made to die there.
pub type Watch = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The edges of a change, in their order. "change-run" comes before anything is done on a shard; "prepare" is before the
/// statement, "prepared" behind its answer, and so on.
pub const EDGES: &[&str] = &[
    "change-run",
    "change-prepare",
    "change-prepared",
    "change-decide",
    "change-decided",
    "change-commit",
    "change-committed",
    "change-abandon",
    "change-abandoned",
];

/// A change that is being made on shards other than home.
pub(crate) struct Change {
    /// The key of the decision row.
    gid: String,
    participants: Vec<Participant>,
    watch: Option<Watch>,
}

struct Participant {
    shard: ShardRow,
    backend: Backend,
    gid: String,
    prepared: bool,
    watch: Option<Watch>,
}

impl Change {
    /// Connects to all of `shards` that are not home. Nothing is begun there.
    ///
    /// # Errors
    /// 55000 if a shard cannot prepare transactions.
    pub(crate) async fn open(
        tx: &Transaction<'_>,
        whom: &str,
        shards: &[ShardRow],
        watch: Option<Watch>,
    ) -> Result<Change, CatalogError> {
        let row = tx
            .query_one(
                "SELECT replace(id::text, '-', ''), replace(gen_random_uuid()::text, '-', '') FROM shardgate.cluster",
                &[],
            )
            .await
            .map_err(|error| CatalogError::of(whom, &error))?;
        let gid = format!(
            "{PREFIX}{}:{}",
            row.get::<_, String>(0),
            row.get::<_, String>(1)
        );
        let mut participants = Vec::new();
        for shard in shards.iter().filter(|shard| !shard.home) {
            let backend = shard.connect().await?;
            require_prepared(&backend).await?;
            participants.push(Participant {
                shard: shard.clone(),
                backend,
                gid: format!("{gid}:{}", shard.id),
                prepared: false,
                watch: watch.clone(),
            });
        }
        Ok(Change {
            gid,
            participants,
            watch,
        })
    }

    pub(crate) fn pass(&self, edge: &'static str) {
        pass(self.watch.as_ref(), edge);
    }

    /// Runs statements in a transaction on each other shard and prepares it. `statements` gives them for one shard.
    pub(crate) async fn prepare(
        &mut self,
        statements: impl Fn(&ShardRow) -> Vec<String>,
    ) -> Result<(), CatalogError> {
        for participant in &mut self.participants {
            let backend = &participant.backend;
            pass(participant.watch.as_ref(), "change-run");
            backend
                .run("BEGIN; SET LOCAL synchronous_commit = on")
                .await?;
            for sql in statements(&participant.shard) {
                backend.run(&sql).await?;
            }
            pass(participant.watch.as_ref(), "change-prepare");
            backend
                .run(&format!(
                    "PREPARE TRANSACTION {}",
                    literal(&participant.gid)
                ))
                .await?;
            participant.prepared = true;
            pass(participant.watch.as_ref(), "change-prepared");
        }
        Ok(())
    }

    /// As `prepare`, for a change on one shard alone whose statements are not known beforehand: `fill` runs in the
    /// transaction there.
    pub(crate) async fn prepare_one(
        &mut self,
        fill: impl AsyncFnOnce(&Backend) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let Some(participant) = self.participants.first_mut() else {
            return Ok(());
        };
        let backend = &participant.backend;
        pass(participant.watch.as_ref(), "change-run");
        backend
            .run("BEGIN; SET LOCAL synchronous_commit = on")
            .await?;
        fill(backend).await?;
        pass(participant.watch.as_ref(), "change-prepare");
        let gid = literal(&participant.gid);
        backend.run(&format!("PREPARE TRANSACTION {gid}")).await?;
        participant.prepared = true;
        pass(participant.watch.as_ref(), "change-prepared");
        Ok(())
    }

    /// Puts the decision into the home shard's transaction: it is taken when that commits.
    pub(crate) async fn decide(&self, tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        self.pass("change-decide");
        if !self.participants.is_empty() {
            tx.execute(
                "INSERT INTO shardgate.decision (gid, outcome) VALUES ($1, 'commit')",
                &[&self.gid],
            )
            .await?;
        }
        Ok(())
    }

    /// Rolls back what was prepared, after the home shard's transaction has ended without committing. What cannot be
    /// reached is left to `recover`.
    pub(crate) async fn abandon(self) {
        for participant in self
            .participants
            .iter()
            .filter(|participant| participant.prepared)
        {
            self.pass("change-abandon");
            let sql = format!("ROLLBACK PREPARED {}", literal(&participant.gid));
            if let Err(error) = participant.backend.run(&sql).await {
                tracing::warn!(%error, gid = participant.gid, "a prepared transaction is left to recovery");
            }
            self.pass("change-abandoned");
        }
    }

    /// Commits what was prepared, after the home shard has decided. A shard that was lost is connected to again.
    pub(crate) async fn finish(self) -> Result<(), CatalogError> {
        let ends = join_all(self.participants.into_iter().map(Participant::commit)).await;
        let failed: Vec<(String, CatalogError)> =
            ends.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(CatalogError::Unconfirmed {
            shards: failed
                .iter()
                .map(|(shard, _)| shard.clone())
                .collect::<Vec<_>>()
                .join(", "),
            why: failed
                .iter()
                .map(|(_, error)| error.to_string())
                .collect::<Vec<_>>()
                .join("; "),
        })
    }
}

impl Participant {
    async fn commit(self) -> Result<(), (String, CatalogError)> {
        let Participant {
            shard,
            mut backend,
            gid,
            watch,
            ..
        } = self;
        pass(watch.as_ref(), "change-commit");
        let until = tokio::time::Instant::now() + Duration::from_millis(FINISH_MS);
        loop {
            match end_prepared(&backend, &gid, "COMMIT").await {
                Ok(()) => {
                    pass(watch.as_ref(), "change-committed");
                    return Ok(());
                }
                Err(error) if tokio::time::Instant::now() >= until || !error.is_unreachable() => {
                    return Err((shard.whom(), error));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            if let Ok(again) = shard.connect().await {
                backend = again;
            }
        }
    }
}

fn pass(watch: Option<&Watch>, edge: &'static str) {
    if let Some(watch) = watch {
        watch(edge);
    }
}

/// `COMMIT PREPARED` or `ROLLBACK PREPARED`. A transaction that is gone has been ended by somebody who read the same
/// decision.
pub(crate) async fn end_prepared(
    backend: &Backend,
    gid: &str,
    how: &str,
) -> Result<(), CatalogError> {
    match backend
        .run(&format!("{how} PREPARED {}", literal(gid)))
        .await
    {
        Err(error) if error.is_state(&SqlState::UNDEFINED_OBJECT) => Ok(()),
        other => other,
    }
}

async fn require_prepared(backend: &Backend) -> Result<(), CatalogError> {
    let row = backend
        .query_one(
            "SELECT current_setting('max_prepared_transactions')::int",
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    if row.get::<_, i32>(0) > 0 {
        return Ok(());
    }
    Err(PgError::new("55000", format!("{} cannot prepare transactions", backend.whom()))
        .detail("Its max_prepared_transactions is 0, and a change on several shards must be one atomic step.")
        .hint("Set max_prepared_transactions there to at least max_connections, and restart it.")
        .into())
}
