//! How a command fails: message, detail and hint as Postgres writes them, and the exit code.

use crate::cluster::ClusterError;
use shardgate_catalog::CatalogError;
use std::fmt::{self, Display};
use std::process::ExitCode;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub exit: Exit,
}

/// The exit codes; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was tried and failed, or refused.
    Failed = 1,
    /// The arguments make no sense; clap uses the same code.
    Usage = 2,
    /// `check` has run, and found errors.
    Findings = 3,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            detail: None,
            hint: None,
            exit: Exit::Failed,
        }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Usage,
            ..Failure::new(message)
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// An operating system call that failed; `what` completes "cannot ..".
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
        let what = what.into();
        move |source| Failure::new(format!("cannot {what}")).detail(source.to_string())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR:  {}", self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL:  {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT:  {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Failed => ExitCode::from(1),
            Exit::Usage => ExitCode::from(2),
            Exit::Findings => ExitCode::from(3),
        }
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Failure {
        Failure {
            message: error.to_string(),
            detail: error.detail(),
            hint: error.hint(),
            exit: Exit::Failed,
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Failure {
        let pg = error.pg();
        Failure {
            message: pg.message,
            detail: pg.detail,
            hint: pg.hint,
            exit: Exit::Failed,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        if let Some(db) = error.as_db_error() {
            return Failure {
                message: db.message().to_owned(),
                detail: db.detail().map(str::to_owned),
                hint: db.hint().map(str::to_owned),
                exit: Exit::Failed,
            };
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Failure {
            detail: cause,
            ..Failure::new(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_like_postgres() {
        let full = Failure::new("port 6432 is in use")
            .detail("Something listens.")
            .hint("Choose another.");
        assert_eq!(
            full.to_string(),
            "ERROR:  port 6432 is in use\nDETAIL:  Something listens.\nHINT:  Choose another."
        );
        assert_eq!(Failure::usage("no").to_string(), "ERROR:  no");
    }
}
