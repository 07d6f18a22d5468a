//! The one error of this crate: a text that Postgres's own scanner would refuse.

use std::ops::Range;
use thiserror::Error;

/// What is wrong with a text, in Postgres's words, so that the client reads the same message from the router.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SqlError {
    /// Always a class 42 or 54 code; the client's text is at fault and repeating it cannot help.
    pub sqlstate: &'static str,
    pub message: String,
    /// Byte offset in the text to which the message points.
    pub position: usize,
}

impl SqlError {
    /// 42601, worded as Postgres's scanner does: `problem at or near "piece of the text"`.
    pub(crate) fn syntax(problem: &str, text: &str, near: Range<usize>) -> SqlError {
        let position = near.start;
        let near = text.get(near).unwrap_or_default();
        SqlError {
            sqlstate: "42601",
            message: format!("{problem} at or near \"{near}\""),
            position,
        }
    }
}
