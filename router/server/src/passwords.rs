//! Equal password verifiers on all shards.
//!
//! A role that is made or altered through the router gets its password on every shard, and every server draws a salt of
//! its own, so the verifiers differ although the password is one. A client's key (see `wire::scram`) only opens servers
//! with the very verifier that the client has proven itself against: that of the home shard. So it is copied, as text;
//! no password is ever known here.

use crate::shared::Shared;
use shardgate_catalog::{Backend, CatalogError};
use std::collections::BTreeMap;
use tokio::sync::Mutex;
use tokio_postgres::Client;

const VERIFIERS: &str = "SELECT a.rolname::pg_catalog.text, a.rolpassword FROM pg_catalog.pg_authid AS a \
    WHERE a.rolpassword OPERATOR(pg_catalog.~~) 'SCRAM-SHA-256$%'";

const STATEMENT: &str = "SELECT pg_catalog.format('ALTER ROLE %I PASSWORD %L', $1::pg_catalog.text, $2::pg_catalog.text)";

/// By the role's name.
type Verifiers = BTreeMap<String, String>;

/// What the home shard had when all shards were last made equal to it.
#[derive(Default)]
pub struct Passwords {
    copied: Mutex<Option<Verifiers>>,
}

impl Passwords {
    /// Copies the home shard's verifiers to where others are. Cheap when none has changed since the last time: one
    /// question to the home shard. What cannot be done is logged: the client's statement has succeeded, and a login that
    /// needs the verifier will say so.
    pub async fn level(&self, shared: &Shared) {
        if shared.follower.snapshot().shards.len() < 2 {
            return;
        }
        let mut copied = self.copied.lock().await;
        match level(shared, copied.as_ref()).await {
            Ok(verifiers) => *copied = Some(verifiers),
            Err(error) => {
                tracing::warn!("password verifiers were not copied to all shards: {error}")
            }
        }
    }
}

async fn level(shared: &Shared, known: Option<&Verifiers>) -> Result<Verifiers, CatalogError> {
    let home = Backend::primary(shared.follower.config(), "the home shard").await?;
    let verifiers = read(&home, home.whom()).await?;
    if known == Some(&verifiers) {
        return Ok(verifiers);
    }
    let snapshot = shared.follower.snapshot();
    for shard in snapshot
        .shards
        .iter()
        .filter(|shard| shard.id != snapshot.home)
    {
        let config = shared.follower.config_for_shard(shard);
        let whom = format!("shard {}", shard.name);
        let there = Backend::primary(&config, &whom).await?;
        let theirs = read(&there, &whom).await?;
        for (role, verifier) in &verifiers {
            // A role that is missing there, or has no password there, is left as it is.
            if theirs.get(role).is_some_and(|other| other != verifier) {
                copy(&there, role, verifier)
                    .await
                    .map_err(|error| failed(&whom, &error))?;
                tracing::info!(
                    shard = shard.name,
                    role,
                    "the home shard's password verifier was copied"
                );
            }
        }
    }
    Ok(verifiers)
}

async fn read(server: &Client, whom: &str) -> Result<Verifiers, CatalogError> {
    let rows = server
        .query(VERIFIERS, &[])
        .await
        .map_err(|error| failed(whom, &error))?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| failed(whom, &error))
}

async fn copy(server: &Client, role: &str, verifier: &str) -> Result<(), tokio_postgres::Error> {
    let statement: String = server
        .query_one(STATEMENT, &[&role, &verifier])
        .await?
        .try_get(0)?;
    server.batch_execute(&statement).await
}

fn failed(whom: &str, error: &tokio_postgres::Error) -> CatalogError {
    let why = error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned());
    CatalogError::Unreachable {
        whom: whom.to_owned(),
        why,
    }
}
