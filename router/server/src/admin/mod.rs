//! The admin console: the database `shardgate`, in the words of PgBouncer's console.
//!
//! It must not know how clients and pools work; it prints what they tell of themselves. Its text is parsed by a closed
//! grammar of its own and never reaches a shard.

mod columns;
mod command;
mod console;
mod show;
mod statement;
#[cfg(test)]
mod tests;
mod text;
mod views;

pub use console::Console;
pub use views::{CatalogView, ClientView, PoolView, ServerView, Source};

use crate::config::{AuthMethod, Config};
use crate::health::Health;
use crate::metrics::Metrics;
use shardgate_catalog::moves::MoveStatus;
use shardgate_wire::PgError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// The name of the database that is the console.
pub const DATABASE: &str = crate::config::ADMIN_DATABASE;

/// What the console prints from.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub source: Arc<dyn Source>,
    pub health: Health,
    pub metrics: Arc<Metrics>,
    pub started: SystemTime,
    /// As they were when they were last asked for.
    pub moves: Vec<MoveStatus>,
}

/// Whether a role may use the console. To be asked after the role has proven who it is, so that strangers learn nothing;
/// under `trust` nobody has proven anything, and only this machine is let in. `peer` None is a Unix socket.
pub fn admit(config: &Config, user: &str, peer: Option<SocketAddr>) -> Result<(), PgError> {
    let refuse = |message: String| PgError::error("42501", message).fatal();
    if !config.admin.users.iter().any(|name| name == user) {
        return Err(refuse("permission denied for the admin console".to_owned()));
    }
    let near = peer.is_none_or(|p| p.ip().to_canonical().is_loopback());
    match config.auth.method {
        AuthMethod::Trust if !near => Err(refuse(
            "with trust authentication the admin console takes local connections only".to_owned(),
        )),
        AuthMethod::Trust | AuthMethod::ScramSha256 => Ok(()),
    }
}
