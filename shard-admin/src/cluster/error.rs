//! What may go wrong when local servers are started and ended, each with its cause and the way out.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no PostgreSQL server binaries were found")]
    NoBinaries { searched: Vec<String> },
    #[error("PostgreSQL {found} is too old, {wanted} or later is needed")]
    OldBinaries {
        dir: PathBuf,
        found: u32,
        wanted: u32,
    },
    #[error("there is no user \"postgres\" to run the servers as")]
    NoAccount { cause: String },
    #[error("user \"{account}\" cannot enter the directory {}", blocked.display())]
    Unreachable {
        dir: PathBuf,
        blocked: PathBuf,
        account: String,
    },
    #[error("the router binary \"shardgate\" was not found")]
    NoRouter { searched: Vec<PathBuf> },
    #[error("no free port was found on 127.0.0.1")]
    NoPort,
    #[error("{tool} failed")]
    Tool { tool: String, output: String },
    #[error("{name} ended while it was starting ({status})")]
    Ended {
        name: String,
        status: String,
        log: PathBuf,
        tail: String,
    },
    #[error("waited {seconds} s for {what}")]
    Timeout {
        what: String,
        seconds: u64,
        last: Option<String>,
    },
    #[error("cannot {what}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("interrupted")]
    Cancelled,
    #[error("the start of a server could not be written down")]
    Observer { cause: String },
    #[error("a statement failed on port {port}")]
    Sql {
        port: u16,
        source: tokio_postgres::Error,
    },
}

impl ClusterError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ClusterError {
        let what = what.into();
        move |source| ClusterError::Io { what, source }
    }

    /// What is known of the cause, beyond the message.
    pub fn detail(&self) -> Option<String> {
        match self {
            ClusterError::NoBinaries { searched } => {
                Some(format!("Searched {}.", searched.join(", ")))
            }
            ClusterError::OldBinaries { dir, .. } => {
                Some(format!("The binaries are in {}.", dir.display()))
            }
            ClusterError::NoAccount { cause } => Some(cause.clone()),
            ClusterError::Unreachable { dir, account, .. } => Some(format!(
                "PostgreSQL refuses to run as root, so its files in {} belong to \"{account}\".",
                dir.display()
            )),
            ClusterError::NoRouter { searched } => {
                let paths: Vec<String> = searched.iter().map(|p| p.display().to_string()).collect();
                Some(format!("Searched {}.", paths.join(", ")))
            }
            ClusterError::NoPort | ClusterError::Cancelled => None,
            ClusterError::Observer { cause } => Some(cause.clone()),
            ClusterError::Tool { output, .. } => Some(output.clone()),
            ClusterError::Ended { log, tail, .. } => {
                Some(format!("The end of {}:\n{tail}", log.display()))
            }
            ClusterError::Timeout { last, .. } => last.clone(),
            ClusterError::Io { source, .. } => Some(source.to_string()),
            ClusterError::Sql { source, .. } => Some(sql_text(source)),
        }
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ClusterError::NoBinaries { .. } => {
                "On Debian and Ubuntu: apt-get install postgresql. Elsewhere install PostgreSQL 15 or later, or set \
                 SHARDGATE_PG_BIN to the folder that has initdb and postgres."
            }
            ClusterError::OldBinaries { .. } => {
                "Set SHARDGATE_PG_BIN to the folder of a newer version's binaries."
            }
            ClusterError::NoAccount { .. } => {
                "Run as an ordinary user, or create the user: useradd --system postgres."
            }
            ClusterError::Unreachable { .. } => {
                "Choose a directory that every user can enter with --dir, for example /var/lib/shardgate/demo."
            }
            ClusterError::NoRouter { .. } => {
                "Build it with \"cargo build --release --bins\", or set SHARDGATE_BIN to the binary."
            }
            ClusterError::NoPort
            | ClusterError::Tool { .. }
            | ClusterError::Ended { .. }
            | ClusterError::Timeout { .. }
            | ClusterError::Io { .. }
            | ClusterError::Cancelled
            | ClusterError::Observer { .. }
            | ClusterError::Sql { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Message and detail in one text, for a log line or another error's detail.
    pub fn full_text(&self) -> String {
        match self.detail() {
            Some(detail) => format!("{self}: {detail}"),
            None => self.to_string(),
        }
    }
}

/// tokio-postgres prints "db error" alone; the server's own words are in the source.
fn sql_text(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
