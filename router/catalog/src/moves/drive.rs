//! A move that is being driven: the lease, connections to all that take part, and what the move is about.
//!
//! What each step does is in the modules of the steps; here is what all of them need.

use crate::build_moves::build_parts;
use crate::connect::Backend;
use crate::distribution;
use crate::epoch::{self, Next};
use crate::error::{CatalogError, PgError};
use crate::load_moves;
use crate::moves::lease::Lease;
use crate::moves::status::unknown;
use crate::moves::step::Step;
use crate::moves::table::{self, MoveTable};
use crate::quote::ident;
use crate::shard::{self, ShardRow};
use crate::two_phase::Watch;
use shardgate_shard_map::{Parts, ShardId, ShardMap};
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

/// One shard of a move.
pub(crate) struct Side {
    pub row: ShardRow,
    pub backend: Backend,
}

impl Side {
    pub(crate) fn id(&self) -> ShardId {
        ShardId(u16::try_from(self.row.id).unwrap_or_default())
    }

    /// Its standbys, as far as they answer at once: routers read from them.
    pub(crate) async fn standbys(&self) -> Vec<Backend> {
        let wait = std::time::Duration::from_millis(STANDBY_MS);
        Backend::standbys(&self.row.all_hosts, &self.row.whom(), wait).await
    }

    /// A further connection, for work beside the first one.
    pub(crate) async fn connect(&self) -> Result<Backend, CatalogError> {
        connect(&self.row).await
    }
}

/// The row of the move, as far as steps need it.
#[derive(Clone, Debug)]
pub(crate) struct MoveRow {
    pub distribution: i32,
    pub source: i16,
    pub target: i16,
    pub step: Step,
    pub reversing: bool,
    pub settled: bool,
    pub since: i64,
    pub step_epoch: i64,
    pub streams: i16,
    pub copy_bytes_per_s: Option<i64>,
    pub replica_lag_bytes_max: i64,
    pub wal_bytes_max: i64,
    pub pause_ms_max: i32,
    pub keyless_rows_max: i64,
    pub source_timeline: i64,
    pub target_timeline: i64,
}

/// A move under way, in the hands of this program.
pub(crate) struct Drive<'a> {
    pub home: &'a mut Backend,
    pub lease: Lease,
    pub row: MoveRow,
    pub source: Side,
    pub target: Side,
    pub tables: Vec<MoveTable>,
    pub parts: Parts,
    pub map: ShardMap,
    /// Names of everything that the move makes on shards begin so.
    pub prefix: String,
    pub watch: Option<Watch>,
}

impl<'a> Drive<'a> {
    /// Takes the lease and connects to both shards.
    pub(crate) async fn open(home: &'a mut Backend, id: i64) -> Result<Drive<'a>, CatalogError> {
        crate::schema::require(&**home, home.whom()).await?;
        durable(home).await?;
        let lease = Lease::take(home, id).await?;
        let row = read(home, id).await?;
        let whom = home.whom().to_owned();
        let base = home.config().clone();
        let watch = home.watch();
        let shards = shard::all(&**home, &base, &whom).await?;
        let (map, parts, cluster) = {
            let tx = home
                .transaction()
                .await
                .map_err(|error| CatalogError::of(&whom, &error))?;
            let condition = format!("id = {}", row.distribution);
            let known = distribution::find(&tx, &whom, &condition, &shards).await?;
            let known = known.ok_or_else(|| CatalogError::Damaged {
                what: format!("the distribution of move {id} is not there"),
            })?;
            let err = |error| CatalogError::of(&whom, &error);
            let raw = load_moves::parts_of(&tx, id).await.map_err(err)?;
            let parts = build_parts(&raw, &known.map).map_err(|why| CatalogError::Damaged {
                what: format!("move {id} {why}"),
            })?;
            let cluster: String = tx
                .query_one(
                    "SELECT left(replace(id::text, '-', ''), 8) FROM shardgate.cluster",
                    &[],
                )
                .await
                .map_err(err)?
                .get(0);
            tx.commit().await.map_err(err)?;
            (known.map, parts, cluster)
        };
        let tables = table::of_distribution(home, row.distribution).await?;
        let source = side(&shards, row.source).await?;
        let target = side(&shards, row.target).await?;
        Ok(Drive {
            home,
            lease,
            row,
            source,
            target,
            tables,
            parts,
            map,
            prefix: format!("shardgate_{cluster}_m{id}"),
            watch,
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.lease.id
    }

    pub(crate) fn pass(&self, edge: &'static str) {
        if let Some(watch) = &self.watch {
            watch(edge);
        }
    }

    /// The shard that loses the keys in the next switch, or in the one under way, and the one that gains them.
    pub(crate) fn direction(&self, backwards: bool) -> (&Side, &Side) {
        if backwards {
            (&self.target, &self.source)
        } else {
            (&self.source, &self.target)
        }
    }

    /// True for the rows of the parts, or of one stream of them.
    pub(crate) fn predicate(&self, table: &MoveTable, parts: &Parts) -> String {
        parts.predicate_sql(&ident(&table.key), &self.map)
    }

    /// The next step, which routers need not know of.
    pub(crate) async fn set_step(&mut self, step: Step) -> Result<(), CatalogError> {
        let changed = self
            .home
            .execute(
                "UPDATE shardgate.move SET step = $3, step_at = now(), error = NULL, \
                 ended_at = CASE WHEN $3 IN ('completed', 'cancelled') THEN now() END WHERE id = $1 AND attempt = $2",
                &[&self.id(), &self.lease.attempt, &step.name()],
            )
            .await
            .map_err(|error| self.home.err(&error))?;
        if changed == 0 {
            return Err(Lease::lost(self.id()));
        }
        self.row.step = step;
        Ok(())
    }

    /// The next step in a new epoch, whose number is answered. `set` is what else changes in the row; `more` is done in
    /// the same transaction.
    pub(crate) async fn set_step_in_epoch(
        &mut self,
        step: Step,
        set: &str,
        more: impl AsyncFnOnce(&Transaction<'_>, &Next) -> Result<(), tokio_postgres::Error>,
    ) -> Result<i64, CatalogError> {
        let (id, attempt) = (self.lease.id, self.lease.attempt);
        let whom = self.home.whom().to_owned();
        let err = |error| CatalogError::of(&whom, &error);
        let (tx, next) = epoch::begin_change(self.home).await?;
        let changed = tx
            .execute(
                &format!(
                    "UPDATE shardgate.move SET step = $3, step_at = now(), error = NULL, step_epoch = $4, \
                     ended_at = CASE WHEN $3 IN ('completed', 'cancelled') THEN now() END{set} WHERE id = $1 AND attempt = $2"
                ),
                &[&id, &attempt, &step.name(), &next.number],
            )
            .await
            .map_err(err)?;
        if changed == 0 {
            return Err(Lease::lost(id));
        }
        more(&tx, &next).await.map_err(err)?;
        epoch::finish(&tx, &next, &format!("move {id}: {step}"))
            .await
            .map_err(err)?;
        tx.commit().await.map_err(err)?;
        self.row.step = step;
        self.row.step_epoch = next.number;
        Ok(next.number)
    }

    /// Reads the row again: somebody else may have changed it, or a commit's outcome be unknown.
    pub(crate) async fn read_again(&mut self) -> Result<(), CatalogError> {
        self.row = read(self.home, self.lease.id).await?;
        Ok(())
    }

    /// An error of this move: what is wrong, and what to do.
    pub(crate) fn refuse(&self, sqlstate: &str, message: String) -> PgError {
        PgError::new(sqlstate, format!("move {}: {message}", self.id()))
    }
}

/// What is written on this connection outlives a crash, whatever the role or the database has set.
pub(crate) async fn durable(backend: &Backend) -> Result<(), CatalogError> {
    backend
        .run(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')",
        )
        .await
}

async fn connect(row: &ShardRow) -> Result<Backend, CatalogError> {
    let backend = row.connect().await?;
    durable(&backend).await?;
    Ok(backend)
}

async fn side(shards: &[ShardRow], id: i16) -> Result<Side, CatalogError> {
    let row = shards.iter().find(|shard| shard.id == id).cloned();
    let row = row.ok_or_else(|| CatalogError::Damaged {
        what: format!("shard {id} is not there"),
    })?;
    let backend = connect(&row).await?;
    Ok(Side { row, backend })
}

async fn read(home: &Backend, id: i64) -> Result<MoveRow, CatalogError> {
    let row = home
        .query_opt(
            "SELECT distribution_id, source_shard, target_shard, step, reversing, settled, since, step_epoch, streams, \
             copy_bytes_per_s, replica_lag_bytes_max, wal_bytes_max, pause_ms_max, keyless_rows_max, source_timeline, \
             target_timeline FROM shardgate.move WHERE id = $1",
            &[&id],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let row = row.ok_or_else(|| unknown(id))?;
    let step: String = row.get(3);
    Ok(MoveRow {
        distribution: row.get(0),
        source: row.get(1),
        target: row.get(2),
        step: Step::from_name(&step).ok_or_else(|| CatalogError::Damaged {
            what: format!("a move is in the unknown step {step}"),
        })?,
        reversing: row.get(4),
        settled: row.get(5),
        since: row.get(6),
        step_epoch: row.get(7),
        streams: row.get(8),
        copy_bytes_per_s: row.get(9),
        replica_lag_bytes_max: row.get(10),
        wal_bytes_max: row.get(11),
        pause_ms_max: row.get(12),
        keyless_rows_max: row.get(13),
        source_timeline: row.get(14),
        target_timeline: row.get(15),
    })
}

/// Runs a statement that needs a strong lock for a moment: it does not wait long for it, since everybody else would
/// queue behind it, and tries again until `until_ms` have passed.
pub(crate) async fn with_short_lock(
    backend: &Backend,
    sql: &str,
    until_ms: u64,
) -> Result<(), CatalogError> {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(until_ms);
    let mut wait_ms = 20;
    loop {
        let tried = backend
            .run(&format!(
                "BEGIN; SET LOCAL lock_timeout = '{LOCK_MS}ms'; {sql}; COMMIT"
            ))
            .await;
        let Err(error) = tried else { return Ok(()) };
        // The error has left the transaction open.
        if !error.is_unreachable() {
            backend.run("ROLLBACK").await?;
        }
        let is_lock = error.is_state(&SqlState::LOCK_NOT_AVAILABLE)
            || error.is_state(&SqlState::T_R_DEADLOCK_DETECTED);
        if !is_lock || std::time::Instant::now() >= until {
            return Err(error);
        }
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
        // The waits grow by a factor that is no multiple of anybody's period.
        wait_ms = (wait_ms * 17 / 10).min(1_000);
    }
}

/// How long a standby may take to answer before it counts as down.
const STANDBY_MS: u64 = 500;
/// How long a strong lock is waited for at a time: below deadlock_timeout, so that no application's transaction is the
/// victim.
const LOCK_MS: u32 = 150;
/// How long such a lock is tried for.
pub(crate) const LOCKS_MS: u64 = 60_000;
