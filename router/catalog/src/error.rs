//! What can go wrong with the catalog, each in Postgres's manner: SQLSTATE, message, detail, hint.
//!
//! The server's own code is kept when Postgres raised the error. Nothing here knows what a caller does about it.

use tokio_postgres::error::{DbError, SqlState};

/// An error as a client of Postgres reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgError {
    /// Five characters.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl PgError {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        PgError {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<&DbError> for PgError {
    fn from(error: &DbError) -> Self {
        PgError {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// Sorted by whose fault it is: the caller's, the catalog's, a server's, this machine's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CatalogError {
    /// What was asked for cannot be done; the reason and the way out are in the message and the hint.
    #[error("{}", .0.message)]
    Refused(Box<PgError>),
    /// The database has no schema `shardgate`.
    #[error("database \"{database}\" has no catalog of Shardgate")]
    NoCatalog { database: String },
    /// The catalog was made by another version of Shardgate.
    #[error("the catalog has version {found}, this program knows version {known}")]
    Version { found: i32, known: i32 },
    /// Rows of the catalog contradict each other.
    #[error("the catalog is damaged: {what}")]
    Damaged { what: String },
    /// The epoch in the catalog does not descend from the one that is held: the home shard has lost history, or it is
    /// another cluster.
    #[error("epoch {found} of the catalog does not descend from epoch {held}: {why}")]
    Forked { held: u64, found: u64, why: String },
    /// The change is decided and will be finished, but a shard has not confirmed it.
    #[error("the change is committed, but not yet confirmed by {shards}")]
    Unconfirmed { shards: String, why: String },
    /// No connection, or a connection was lost.
    #[error("could not reach {whom}: {why}")]
    Unreachable { whom: String, why: String },
    /// Postgres refused a statement of ours.
    #[error("{whom}: {}", .error.message)]
    Postgres { whom: String, error: Box<PgError> },
    /// The snapshot on disk cannot be used.
    #[error("the snapshot in {path} cannot be used: {why}")]
    StateFile { path: String, why: String },
    /// The task that was asked has ended.
    #[error("the catalog follower has stopped")]
    Stopped,
}

impl CatalogError {
    /// The error as the client may read it.
    pub fn pg(&self) -> PgError {
        let message = self.to_string();
        match self {
            CatalogError::Refused(error) => (**error).clone(),
            CatalogError::Postgres { error, .. } => PgError { message, ..(**error).clone() },
            CatalogError::NoCatalog { .. } => {
                PgError::new("3F000", message).hint("Run `shard-admin init` on the home shard first.")
            }
            CatalogError::Version { .. } => {
                PgError::new("55000", message).hint("Run the programs of one version of Shardgate everywhere.")
            }
            CatalogError::Damaged { .. } => PgError::new("XX001", message).hint("See `shard-admin check`."),
            CatalogError::Forked { .. } => PgError::new("55000", message)
                .detail("The home shard has lost committed changes in a failover, or the address is another cluster's.")
                .hint("Compare the shards with `shard-admin check`; then remove the router's state file and restart it."),
            CatalogError::Unconfirmed { why, .. } => PgError::new("08007", message)
                .detail(why.clone())
                .hint("Nothing is lost: it is finished by the next change or by `shard-admin check` once the shard is back."),
            CatalogError::Unreachable { .. } => PgError::new("08006", message),
            CatalogError::StateFile { .. } => {
                PgError::new("58030", message).hint("Remove the file; it is written anew from the home shard.")
            }
            CatalogError::Stopped => PgError::new("57P01", message),
        }
    }

    pub fn sqlstate(&self) -> String {
        self.pg().sqlstate
    }

    /// A connection was not there or broke; the same call may succeed later.
    pub fn is_unreachable(&self) -> bool {
        match self {
            CatalogError::Unreachable { .. } => true,
            CatalogError::Postgres { error, .. } => {
                error.sqlstate.starts_with("57P")
                    || error.sqlstate.starts_with("08")
                    || error.sqlstate.starts_with("53")
            }
            CatalogError::Refused(_)
            | CatalogError::NoCatalog { .. }
            | CatalogError::Version { .. }
            | CatalogError::Damaged { .. }
            | CatalogError::Forked { .. }
            | CatalogError::Unconfirmed { .. }
            | CatalogError::StateFile { .. }
            | CatalogError::Stopped => false,
        }
    }

    /// An error of tokio-postgres, said of `whom` ("shard s2").
    pub(crate) fn of(whom: &str, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => CatalogError::Postgres {
                whom: whom.to_owned(),
                error: Box::new(PgError::from(db)),
            },
            None => CatalogError::Unreachable {
                whom: whom.to_owned(),
                why: chain(error),
            },
        }
    }

    /// The SQLSTATE of an error that Postgres raised.
    pub(crate) fn is_state(&self, state: &SqlState) -> bool {
        matches!(self, CatalogError::Postgres { error, .. } if error.sqlstate == state.code())
    }
}

impl From<PgError> for CatalogError {
    fn from(error: PgError) -> Self {
        CatalogError::Refused(Box::new(error))
    }
}

/// The message of an error and of everything under it: tokio-postgres keeps the cause one level down.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
