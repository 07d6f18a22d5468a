//! `E` and `N`: the fields of an error or notice.
//!
//! All are optional: a server (or a pooler in between) that leaves out SQLSTATE or severity must not confuse us. What the
//! router *does* about an error depends on SQLSTATE, schema, table and constraint alone, never on its text.

use crate::cursor::{Cursor, DecodeError};
use crate::error::{PgError, Severity, SqlState};
use std::borrow::Cow;

/// The fields of an `E` or `N` body. When a field comes twice, the first one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    severity: Option<&'a [u8]>,
    severity_v: Option<&'a [u8]>,
    sqlstate: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    detail: Option<&'a [u8]>,
    hint: Option<&'a [u8]>,
    position: Option<&'a [u8]>,
    internal_query: Option<&'a [u8]>,
    context: Option<&'a [u8]>,
    schema: Option<&'a [u8]>,
    table: Option<&'a [u8]>,
    column: Option<&'a [u8]>,
    constraint: Option<&'a [u8]>,
}

impl<'a> ErrorFields<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let mut fields = ErrorFields::default();
        loop {
            let code = cursor.u8()?;
            if code == 0 {
                break;
            }
            let text = cursor.string()?;
            let field = match code {
                b'S' => &mut fields.severity,
                b'V' => &mut fields.severity_v,
                b'C' => &mut fields.sqlstate,
                b'M' => &mut fields.message,
                b'D' => &mut fields.detail,
                b'H' => &mut fields.hint,
                b'P' => &mut fields.position,
                b'q' => &mut fields.internal_query,
                b'W' => &mut fields.context,
                b's' => &mut fields.schema,
                b't' => &mut fields.table,
                b'c' => &mut fields.column,
                b'n' => &mut fields.constraint,
                // Frontends have to ignore fields that they do not know (protocol-error-fields).
                _unknown => continue,
            };
            field.get_or_insert(text);
        }
        cursor.end()?;
        Ok(fields)
    }

    /// The severity that is never translated; servers older than 9.6 do not send it.
    pub fn severity_v(&self) -> Option<&'a str> {
        utf8(self.severity_v)
    }

    /// The server ends the connection with it: V, or S where there is no V, is FATAL or PANIC.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity_v.or(self.severity), Some(b"FATAL" | b"PANIC"))
    }

    /// A syntax error in the very text that was sent: it has a place there, and no code stands between (`context`,
    /// `internal_query`), as there is when the text of a function is meant.
    pub fn is_of_sent_syntax(&self) -> bool {
        self.sqlstate == Some(b"42601")
            && self.position.is_some()
            && self.internal_query.is_none()
            && self.context.is_none()
    }

    /// As sent; None when missing or not UTF-8.
    pub fn sqlstate(&self) -> Option<&'a str> {
        utf8(self.sqlstate)
    }

    /// For logs: bytes that are not UTF-8 are replaced.
    pub fn message(&self) -> Option<Cow<'a, str>> {
        self.message.map(String::from_utf8_lossy)
    }

    /// For logs: bytes that are not UTF-8 are replaced.
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.detail.map(String::from_utf8_lossy)
    }

    /// For logs: bytes that are not UTF-8 are replaced.
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.hint.map(String::from_utf8_lossy)
    }

    /// Characters from the beginning of the query text, from 1.
    pub fn position(&self) -> Option<u32> {
        utf8(self.position)?.parse().ok()
    }

    pub fn schema(&self) -> Option<&'a str> {
        utf8(self.schema)
    }

    pub fn table(&self) -> Option<&'a str> {
        utf8(self.table)
    }

    pub fn column(&self) -> Option<&'a str> {
        utf8(self.column)
    }

    pub fn constraint(&self) -> Option<&'a str> {
        utf8(self.constraint)
    }

    /// The same as a value of our own, for logs and for errors that are said again in another place. What is missing
    /// becomes ERROR and XX000.
    pub fn to_error(&self) -> PgError {
        let severity = match self.severity_v.or(self.severity) {
            Some(b"FATAL") => Severity::Fatal,
            Some(b"PANIC") => Severity::Panic,
            Some(b"WARNING") => Severity::Warning,
            Some(b"NOTICE") => Severity::Notice,
            Some(b"DEBUG") => Severity::Debug,
            Some(b"INFO") => Severity::Info,
            Some(b"LOG") => Severity::Log,
            Some(_) | None => Severity::Error,
        };
        PgError {
            severity,
            sqlstate: SqlState::from(self.sqlstate().unwrap_or_default()),
            message: self.message().unwrap_or_default().into_owned(),
            detail: self.detail().map(Cow::into_owned),
            hint: self.hint().map(Cow::into_owned),
            position: self.position(),
        }
    }
}

fn utf8(bytes: Option<&[u8]>) -> Option<&str> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok())
}
