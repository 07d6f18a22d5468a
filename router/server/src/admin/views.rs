//! What the console, the metrics and the readiness check ask of the rest of the process: plain values.

use shardgate_catalog::moves::MoveStatus;
use shardgate_plan::snapshot::Snapshot;
use shardgate_wire::PgError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One connected client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// What the client was given in BackendKeyData; `KILL` takes it.
    pub pid: u32,
    pub user: String,
    pub database: String,
    /// `idle`, `active`, `waiting`, `idle in transaction`, `login`.
    pub state: String,
    pub application_name: String,
    /// None: a Unix socket.
    pub addr: Option<std::net::SocketAddr>,
    pub local_addr: Option<std::net::SocketAddr>,
    pub connect_time: SystemTime,
    /// When the last message of the client came.
    pub request_time: SystemTime,
    /// How long it waits for a backend by now; zero if it does not wait.
    pub wait: Duration,
    /// Names of the shards whose backends it holds.
    pub shards: Vec<String>,
    /// Why it is bound to its backends, if it is.
    pub pinned: Option<String>,
}

/// The connections of one role to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    pub database: String,
    pub user: String,
    pub shard: String,
    pub host: String,
    pub port: u16,
    /// `primary` or `replica`.
    pub role: &'static str,
    pub pool_size: usize,
    pub cl_active: usize,
    pub cl_waiting: usize,
    pub sv_active: usize,
    pub sv_idle: usize,
    /// Being opened.
    pub sv_login: usize,
    /// How long the first in the queue has waited.
    pub maxwait: Duration,
}

/// One connection to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    pub user: String,
    pub database: String,
    pub shard: String,
    pub role: &'static str,
    /// `active`, `idle`, `login`, `being_canceled`.
    pub state: &'static str,
    pub host: String,
    pub port: u16,
    pub local_addr: Option<std::net::SocketAddr>,
    pub connect_time: SystemTime,
    pub request_time: SystemTime,
    /// The server's process id.
    pub remote_pid: u32,
    /// The pid of the client that holds it.
    pub client_pid: Option<u32>,
}

/// How the catalog is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogView {
    pub connected: bool,
    /// `host:port` of the home shard's primary, when connected.
    pub host: Option<String>,
    pub epoch: u64,
    /// The snapshot in use was read from disk, and home has not confirmed it.
    pub from_disk: bool,
    /// Why the catalog's newest epoch is refused, if it is.
    pub refused: Option<String>,
    pub last_error: Option<String>,
}

/// The rest of the process, as it is seen from here. The answers are copies: nothing is locked while they are printed.
pub trait Source: Send + Sync {
    fn clients(&self) -> Vec<ClientView>;
    fn pools(&self) -> Vec<PoolView>;
    fn servers(&self) -> Vec<ServerView>;
    fn catalog(&self) -> CatalogView;
    fn snapshot(&self) -> Arc<Snapshot>;
    /// Moves of data, the newest first, as the home shard has them now. Cancel-safe.
    fn moves(&self) -> Pin<Box<dyn Future<Output = Result<Vec<MoveStatus>, PgError>> + Send + '_>>;
    /// The listener takes clients: not before it is bound, and not once the process drains.
    fn accepting(&self) -> bool;
    /// Ends the client's connection (57P01). False: there is no such client.
    fn kill(&self, pid: u32) -> bool;
    /// Asks for what SIGHUP asks for.
    fn reload(&self) -> Result<(), PgError>;
}
