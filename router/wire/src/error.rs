//! The error (or notice) that a client reads: severity, SQLSTATE, message, detail, hint.
//!
//! One type for whatever the router says itself. Errors of a server are relayed raw and looked at through
//! [`crate::backend::ErrorFields`].

use std::fmt;

/// The severity of an error or notice, as in the fields S and V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement, or the transaction, has failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// The server ends.
    Panic,
    Warning,
    Notice,
    Debug,
    Info,
    Log,
}

impl Severity {
    /// The word of the fields S and V.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Log => "LOG",
        }
    }
}

/// Five characters out of `0-9A-Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// XX000.
    pub const INTERNAL_ERROR: SqlState = SqlState(*b"XX000");

    /// None when `code` does not have the form of an SQLSTATE.
    pub fn new(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            .then_some(SqlState(bytes))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The first two characters: the class.
    pub fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or("XX")
    }
}

/// What is not an SQLSTATE becomes XX000: an error must stay an error, however it was written down.
impl From<&str> for SqlState {
    fn from(code: &str) -> Self {
        SqlState::new(code).unwrap_or(SqlState::INTERNAL_ERROR)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for SqlState {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for SqlState {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// An error or notice in Postgres's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message} ({sqlstate})", severity.as_str())]
pub struct PgError {
    pub severity: Severity,
    pub sqlstate: SqlState,
    /// The primary message: one line, no full stop, as Postgres's style guide asks.
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Where in the query text, in characters from 1.
    pub position: Option<u32>,
}

impl PgError {
    /// An error that fails the statement.
    pub fn error(sqlstate: impl Into<SqlState>, message: impl Into<String>) -> Self {
        PgError::new(Severity::Error, sqlstate, message)
    }

    /// An error of any severity.
    pub fn new(
        severity: Severity,
        sqlstate: impl Into<SqlState>,
        message: impl Into<String>,
    ) -> Self {
        PgError {
            severity,
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// A warning, for [`crate::backend::put::notice`].
    pub fn warning(sqlstate: impl Into<SqlState>, message: impl Into<String>) -> Self {
        PgError::new(Severity::Warning, sqlstate, message)
    }

    /// A notice, for [`crate::backend::put::notice`].
    pub fn notice(sqlstate: impl Into<SqlState>, message: impl Into<String>) -> Self {
        PgError::new(Severity::Notice, sqlstate, message)
    }

    /// The same with severity FATAL: the session ends with it.
    #[must_use]
    pub fn fatal(self) -> Self {
        PgError {
            severity: Severity::Fatal,
            ..self
        }
    }

    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        PgError {
            detail: Some(detail.into()),
            ..self
        }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        PgError {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Characters from the beginning of the query text, from 1.
    #[must_use]
    pub fn position(self, position: u32) -> Self {
        PgError {
            position: Some(position),
            ..self
        }
    }

    /// The session does not survive it.
    pub fn ends_session(&self) -> bool {
        matches!(self.severity, Severity::Fatal | Severity::Panic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstate_has_five_upper_case_characters() {
        assert_eq!(
            SqlState::new("0A000").map(|s| s.to_string()),
            Some("0A000".into())
        );
        for bad in ["", "0A00", "0A0000", "0a000", "0A00\0", "ünü"] {
            assert_eq!(SqlState::new(bad), None, "{bad:?}");
            assert_eq!(SqlState::from(bad), SqlState::INTERNAL_ERROR);
        }
        assert!(SqlState::from("42P01") == "42P01");
        assert_eq!(SqlState::from("42P01").class(), "42");
    }

    #[test]
    fn display_names_all_that_a_log_needs() {
        let error = PgError::error("42P01", "relation \"t\" does not exist").fatal();
        assert_eq!(
            error.to_string(),
            "FATAL: relation \"t\" does not exist (42P01)"
        );
        assert!(error.ends_session());
    }
}
