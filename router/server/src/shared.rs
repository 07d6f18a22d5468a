//! What all clients share: built once by `main` and handed down.

use crate::admin;
use crate::config::{Config, Role};
use crate::fence::Fence;
use crate::health::Health;
use crate::lanes::Lanes;
use crate::listener::Connections;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::pool::Pools;
use crate::registry::Clients;
use crate::stops::Stops;
use crate::verifier::Verifiers;
use shardgate_catalog::{CatalogError, Follower};
use shardgate_plan::Call;
use shardgate_plan::snapshot::Snapshot;
use shardgate_session::{Common, GatherBudget, GatherLimits, Planner};
use shardgate_shard_map::ShardId;
use shardgate_wire::{Limits, PgError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// The parts of the router that serve clients.
pub struct Shared {
    pub config: Arc<Config>,
    pub follower: Follower,
    pub health: Health,
    pub metrics: Arc<Metrics>,
    pub pools: Pools,
    pub clients: Arc<Clients>,
    pub connections: Arc<Connections>,
    pub lanes: Lanes,
    pub planner: Arc<Planner>,
    pub verifiers: Verifiers,
    passwords: Passwords,
    /// What all sessions have in common.
    pub sessions: Arc<Common>,
    pub started: SystemTime,
    /// Where this router is to stop or die, if a developer has chosen a place.
    pub stops: Option<Arc<Stops>>,
    accepting: AtomicBool,
    draining: AtomicBool,
}

impl Shared {
    /// To be called within the runtime.
    pub fn new(
        config: Arc<Config>,
        follower: Follower,
        health: Health,
        lanes: Lanes,
        stops: Option<Arc<Stops>>,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let fence = Fence::new(config.router.id, follower.subscribe(), follower.refresher());
        let context = crate::pool::Context::new(&config, health.clone(), Arc::clone(&metrics));
        let cluster = follower.raw().cluster.clone();
        // Unique for the cluster, this router, and this run of it.
        let gid_prefix = format!(
            "shardgate:{cluster}:{}:{:08x}:",
            config.router.id,
            crate::random::secret()
        );
        Shared {
            clients: Arc::new(Clients::new(config.router.id)),
            connections: Arc::default(),
            lanes,
            planner: Arc::new(Planner::new(config.limits.plan_cache_bytes as u64)),
            passwords: Passwords::default(),
            verifiers: Verifiers::new(follower.config().clone()),
            sessions: Arc::new(of_sessions(&config, gid_prefix)),
            pools: Pools::new(context.fenced(fence)),
            started: SystemTime::now(),
            stops,
            accepting: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            config,
            follower,
            health,
            metrics,
        }
    }

    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    pub fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Idle sessions end now, and the others when they are idle.
    pub fn drain(&self) {
        self.set_accepting(false);
        self.draining.store(true, Ordering::Release);
        self.clients.signal_all(crate::mailbox::Signals::DRAIN);
    }

    /// The name of the database on a shard.
    pub fn database_on(&self, shard: ShardId) -> Arc<str> {
        let snapshot = self.follower.snapshot();
        let name = snapshot
            .shard(shard)
            .and_then(|shard| self.follower.dbname_of(shard));
        name.map_or_else(|| self.config.database.name.as_str().into(), Into::into)
    }

    /// Runs one of the router's functions with the privileges of a role.
    pub async fn call(
        &self,
        role: String,
        search_path: Option<Vec<String>>,
        call: Call,
    ) -> Result<Arc<Snapshot>, PgError> {
        crate::calls::call(self, role, search_path, call).await
    }

    /// Loads a new snapshot because the schema, or a role, was changed through this router.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, PgError> {
        let snapshot = self.follower.refresh(true).await;
        self.passwords.level(self).await;
        snapshot.map_err(|error| pg_error(&error))
    }

    /// Whether the role may log in. A server connection of an earlier session may outlive that right, so the servers
    /// alone do not say it. A role that the snapshot does not know may be new: then the catalog is asked, and if it
    /// cannot be, the servers decide.
    ///
    /// # Errors
    /// 28000 as Postgres says it.
    pub async fn may_log_in(&self, user: &str) -> Result<(), PgError> {
        let mut known = self.follower.snapshot().logins.get(user).copied();
        if known.is_none() {
            let Ok(newest) = self.follower.refresh(true).await else {
                return Ok(());
            };
            known = newest.logins.get(user).copied();
        }
        let why = match known {
            Some(true) => return Ok(()),
            Some(false) => "is not permitted to log in",
            None => "does not exist",
        };
        Err(PgError::error("28000", format!("role \"{user}\" {why}")))
    }

    /// What the console prints from.
    pub fn admin_context(self: &Arc<Self>) -> admin::Context {
        let source: Arc<dyn admin::Source> = Arc::clone(self) as Arc<dyn admin::Source>;
        admin::Context {
            config: Arc::clone(&self.config),
            source,
            health: self.health.clone(),
            metrics: Arc::clone(&self.metrics),
            started: self.started,
            moves: Vec::new(),
        }
    }
}

fn of_sessions(config: &Config, gid_prefix: String) -> Common {
    let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    Common {
        client_limits: Limits::frontend(config.limits.message_bytes),
        backend_limits: Limits::backend(),
        prepared_max: config.limits.prepared_statements,
        backend_prepared_max: config.limits.server_prepared_statements,
        default_role: match config.replicas.role {
            Role::Auto => shardgate_session::Role::Auto,
            Role::Primary => shardgate_session::Role::Primary,
            Role::Replica => shardgate_session::Role::Replica,
        },
        gid_prefix,
        gather: GatherLimits {
            rows: config.limits.gather_rows,
            bytes: bytes(config.limits.gather_bytes),
            budget: Arc::new(GatherBudget::new(bytes(config.limits.gather_bytes_total))),
        },
    }
}

/// An error of the catalog as a client reads it.
pub fn pg_error(error: &CatalogError) -> PgError {
    let error = error.pg();
    let told = PgError::error(error.sqlstate.as_str(), error.message);
    let told = match error.detail {
        Some(detail) => told.detail(detail),
        None => told,
    };
    match error.hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}
