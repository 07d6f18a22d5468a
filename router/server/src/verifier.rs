//! Password verifiers of roles, read from the home shard by the router's own role.
//!
//! Nothing that a client has said touches this connection but the name of its role, as a parameter; every name in the
//! query is qualified. Answers are kept for some seconds, also that there is no such role, and equal questions at the
//! same time are asked once.

use shardgate_catalog::{Backend, CatalogError};
use shardgate_session::Credential;
use shardgate_wire::scram::Verifier;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio_postgres::Config;

/// How long an answer is believed: a changed password works that much later.
const KEPT_FOR: Duration = Duration::from_secs(3);
/// Names that are kept at once, unknown ones included; strangers choose them.
const NAMES_MAX: usize = 4096;
/// Over one question.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

const QUERY: &str = "SELECT a.rolpassword, a.rolcanlogin, \
    a.rolvaliduntil IS NOT NULL AND a.rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() \
    FROM pg_catalog.pg_authid AS a WHERE a.rolname OPERATOR(pg_catalog.=) $1";

type Answer = Arc<OnceCell<Option<Credential>>>;

/// Asks for verifiers.
pub struct Verifiers {
    config: Config,
    kept: Mutex<HashMap<String, (Instant, Answer)>>,
    connection: tokio::sync::Mutex<Option<Backend>>,
}

impl Verifiers {
    /// `config` is that of the home shard, with the router's own role.
    pub fn new(config: Config) -> Self {
        Verifiers {
            config,
            kept: Mutex::default(),
            connection: tokio::sync::Mutex::default(),
        }
    }

    /// The verifier of a role; None when there is no such role or its password is none for SCRAM-SHA-256.
    ///
    /// # Errors
    /// The home shard cannot be asked, or the router's own role may not read `pg_authid`.
    pub async fn find(&self, user: &str) -> Result<Option<Credential>, CatalogError> {
        let answer = self.answer(user);
        answer.get_or_try_init(|| self.ask(user)).await.cloned()
    }

    fn answer(&self, user: &str) -> Answer {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < KEPT_FOR;
        if let Some((_, answer)) = kept.get(user).filter(|(since, _)| fresh(since)) {
            return Arc::clone(answer);
        }
        if kept.len() >= NAMES_MAX {
            kept.retain(|_, (since, _)| fresh(since));
        }
        let answer = Answer::default();
        if kept.len() < NAMES_MAX {
            kept.insert(user.to_owned(), (now, Arc::clone(&answer)));
        }
        answer
    }

    async fn ask(&self, user: &str) -> Result<Option<Credential>, CatalogError> {
        let late = || CatalogError::Unreachable {
            whom: "the home shard".to_owned(),
            why: format!("no answer in {} ms", ASK_TIMEOUT.as_millis()),
        };
        tokio::time::timeout(ASK_TIMEOUT, self.ask_home(user))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn ask_home(&self, user: &str) -> Result<Option<Credential>, CatalogError> {
        let mut connection = self.connection.lock().await;
        // A connection that has broken is told by its first use; then a new one is tried once.
        for last in [false, true] {
            // It is put back only after a whole answer: a question that was given up leaves none behind.
            let home = match connection.take() {
                Some(home) if !home.is_closed() => home,
                Some(_) | None => Backend::primary(&self.config, "the home shard").await?,
            };
            match read(&home, user).await {
                Ok(found) => {
                    *connection = Some(home);
                    return Ok(found);
                }
                Err(error) if !last && home.is_closed() => {
                    tracing::debug!("the connection for verifiers has ended: {error}");
                }
                Err(error) => {
                    let why = error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |db| db.message().to_owned());
                    return Err(CatalogError::Unreachable {
                        whom: home.whom().to_owned(),
                        why,
                    });
                }
            }
        }
        Ok(None)
    }
}

async fn read(home: &Backend, user: &str) -> Result<Option<Credential>, tokio_postgres::Error> {
    let Some(row) = home.query_opt(QUERY, &[&user]).await? else {
        return Ok(None);
    };
    let password: Option<String> = row.try_get(0)?;
    let can_login = row.try_get(1)?;
    let expired = row.try_get(2)?;
    let verifier = password.and_then(|text| Verifier::parse(&text).ok());
    Ok(verifier.map(|verifier| Credential {
        verifier,
        can_login,
        expired,
    }))
}
