//! Pools: for each role and server the connections that nobody uses, and the clients that wait for one.
//!
//! A pool belongs to a login role, a database and one run of one server in one role (its endpoint id), because a backend
//! must be logged in as the client's own role, and because what a primary was is not what it is as a standby. Invariants:
//! `total` counts every connection of the pool, wherever it is, and every attempt to open one; it is never above the size;
//! and whenever somebody waits, something is under way that will serve or refuse it.

#[cfg(test)]
mod live_tests;
mod opening;
mod state;
mod upkeep;
mod views;

pub use state::{Checkout, Place, Pool, Want};
pub use views::PoolFacts;

use crate::config::Config;
use crate::fence::Fence;
use crate::health::{Endpoint, EndpointId, Health};
use crate::metrics::Metrics;
use shardgate_session::ClientKeys;
use shardgate_wire::scram::Credentials;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What all pools share.
pub struct Context {
    pub size: usize,
    pub query_wait_timeout: Duration,
    pub server_idle_timeout: Option<Duration>,
    pub server_lifetime: Option<Duration>,
    pub server_connect_timeout: Duration,
    /// The router's own role, whose password is known.
    admin: (String, Option<Vec<u8>>),
    pub health: Health,
    pub metrics: Arc<Metrics>,
    /// None: connections are used whatever their shard says.
    fence: Option<Fence>,
    /// Connections are opened by tasks of their own, also when one is dropped outside of a task.
    runtime: tokio::runtime::Handle,
    tickets: AtomicU64,
    /// Servers that have refused a connection because they have too many (53300).
    crowded: Mutex<HashSet<EndpointId>>,
}

/// All pools of all roles.
pub struct Pools {
    context: Arc<Context>,
    roles: Mutex<HashMap<Arc<str>, Arc<RolePools>>>,
}

/// The pools of one login role.
pub struct RolePools {
    pub role: Arc<str>,
    context: Arc<Context>,
    keys: Mutex<Option<Arc<ClientKeys>>>,
    pools: Mutex<HashMap<EndpointId, Arc<Pool>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is consistent between any two statements, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// To be called within the runtime.
    pub fn new(config: &Config, health: Health, metrics: Arc<Metrics>) -> Self {
        let password = config
            .database
            .admin_password
            .as_ref()
            .map(|secret| secret.expose().as_bytes().to_vec());
        Context {
            size: config.pool.size,
            query_wait_timeout: config.pool.query_wait_timeout,
            server_idle_timeout: config.pool.server_idle_timeout,
            server_lifetime: config.pool.server_lifetime,
            server_connect_timeout: config.pool.server_connect_timeout,
            admin: (config.database.admin_user.clone(), password),
            health,
            metrics,
            fence: None,
            runtime: tokio::runtime::Handle::current(),
            tickets: AtomicU64::new(1),
            crowded: Mutex::default(),
        }
    }

    /// Asks each new connection whether the router knows enough to use it.
    pub fn fenced(self, fence: Fence) -> Self {
        Context {
            fence: Some(fence),
            ..self
        }
    }

    /// A number that no other check-out or cancel request has.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }
}

impl Pools {
    pub fn new(context: Context) -> Self {
        Pools {
            context: Arc::new(context),
            roles: Mutex::default(),
        }
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The pools of a role that has just logged in. New keys take the place of older ones, whose verifier may be gone.
    pub fn of_role(&self, role: &Arc<str>, keys: Option<ClientKeys>) -> Arc<RolePools> {
        let mut roles = lock(&self.roles);
        let pools = roles.entry(Arc::clone(role)).or_insert_with(|| {
            Arc::new(RolePools {
                role: Arc::clone(role),
                context: Arc::clone(&self.context),
                keys: Mutex::default(),
                pools: Mutex::default(),
            })
        });
        if let Some(keys) = keys {
            let mut known = lock(&pools.keys);
            if known.as_deref() != Some(&keys) {
                *known = Some(Arc::new(keys));
            }
        }
        Arc::clone(pools)
    }

    fn all(&self) -> Vec<Arc<Pool>> {
        let roles: Vec<Arc<RolePools>> = lock(&self.roles).values().cloned().collect();
        roles
            .iter()
            .flat_map(|role| lock(&role.pools).values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// What is due by time: waits that have lasted too long, idle connections that are old, dead or of a server that is
    /// no longer used, and pools that nobody needs.
    pub fn tick(&self, now: Instant) {
        let all = self.all();
        for endpoint in std::mem::take(&mut *lock(&self.context.crowded)) {
            make_room(&all, endpoint);
        }
        for pool in &all {
            pool.tick(now);
        }
        drop(all);
        let mut roles = lock(&self.roles);
        roles.retain(|_, role| {
            let mut pools = lock(&role.pools);
            pools.retain(|_, pool| Arc::strong_count(pool) > 1 || !pool.is_disused());
            !pools.is_empty() || Arc::strong_count(role) > 1
        });
    }

    /// Closes the idle connections of a role, and those in use when they are given back: the role was altered or dropped.
    pub fn retire_role(&self, role: &str) {
        let found = lock(&self.roles).get(role).cloned();
        if let Some(role) = found {
            *lock(&role.keys) = None;
            role.retire();
        }
    }

    /// The same for all roles: settings of roles or databases have changed, and only a login applies them.
    pub fn retire_all(&self) {
        for pool in self.all() {
            pool.renew();
        }
    }
}

/// Closes the connection to a server that was not used for longest, whatever its role, for another role has none left.
fn make_room(pools: &[Arc<Pool>], endpoint: EndpointId) {
    let there = pools.iter().filter(|pool| pool.endpoint.id == endpoint);
    let oldest = there
        .filter_map(|pool| Some((pool.idle_since()?, pool)))
        .min_by_key(|(since, _)| *since);
    if let Some((_, pool)) = oldest {
        pool.close_oldest();
    }
}

impl RolePools {
    /// The pool for a server.
    pub fn pool(self: &Arc<Self>, endpoint: &Endpoint, database: &Arc<str>) -> Arc<Pool> {
        let mut pools = lock(&self.pools);
        let pool = pools.entry(endpoint.id).or_insert_with(|| {
            Arc::new(Pool::new(
                Arc::clone(&self.context),
                Arc::clone(self),
                endpoint.clone(),
                Arc::clone(database),
            ))
        });
        Arc::clone(pool)
    }

    fn retire(&self) {
        let pools: Vec<Arc<Pool>> = lock(&self.pools).values().cloned().collect();
        for pool in pools {
            pool.renew();
        }
    }

    /// How the role logs in to a server; None: only where it is trusted.
    fn credentials(&self) -> Option<Credentials> {
        if let Some(keys) = lock(&self.keys).as_deref() {
            return Some(crate::backend::credentials_of(keys));
        }
        let (admin, password) = &self.context.admin;
        (*self.role == **admin)
            .then(|| password.clone().map(Credentials::Password))
            .flatten()
    }
}
