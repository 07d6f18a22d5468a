//! Messages of servers: views of those that the router acts on, and encoders of what it sends to clients itself.
//!
//! All views take the body, which is the frame without its five header bytes. A server is trusted no more than a client:
//! every count and length is checked against the frame.

mod auth;
mod error_fields;
pub mod put;
mod row;

pub use auth::Authentication;
pub use error_fields::ErrorFields;
pub use row::{DataRow, Field, data_row, parameter_description, row_description};

use crate::cursor::{Cursor, DecodeError};

/// The transaction status of ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TxStatus {
    /// `I`: no transaction.
    #[default]
    Idle,
    /// `T`: inside a transaction block.
    InTransaction,
    /// `E`: inside a failed transaction block; only its end is taken.
    Failed,
}

impl TxStatus {
    /// `I`, `T` or `E`.
    pub fn byte(self) -> u8 {
        match self {
            TxStatus::Idle => b'I',
            TxStatus::InTransaction => b'T',
            TxStatus::Failed => b'E',
        }
    }
}

/// `Z`.
pub fn ready_status(body: &[u8]) -> Result<TxStatus, DecodeError> {
    match body {
        b"I" => Ok(TxStatus::Idle),
        b"T" => Ok(TxStatus::InTransaction),
        b"E" => Ok(TxStatus::Failed),
        [] => Err(DecodeError::Insufficient),
        [status] => Err(DecodeError::Invalid(format!(
            "invalid transaction status {status}"
        ))),
        [_, _, ..] => Err(DecodeError::Residue),
    }
}

/// `S`: name and value.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), DecodeError> {
    let mut cursor = Cursor::new(body);
    let name = cursor.utf8()?;
    let value = cursor.utf8()?;
    cursor.end()?;
    Ok((name, value))
}

/// `K`: process id and secret. The secret has 4 bytes in protocol 3.0 and up to 256 in 3.2.
pub fn backend_key(body: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let mut cursor = Cursor::new(body);
    let pid = cursor.u32()?;
    let secret = cursor.rest();
    if (4..=256).contains(&secret.len()) {
        Ok((pid, secret))
    } else {
        Err(DecodeError::Invalid(format!(
            "invalid length {} of a cancel key",
            secret.len()
        )))
    }
}

/// `C`: the command tag.
pub fn command_tag(body: &[u8]) -> Result<&str, DecodeError> {
    let mut cursor = Cursor::new(body);
    let tag = cursor.utf8()?;
    cursor.end()?;
    Ok(tag)
}

/// `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    pub pid: u32,
    pub channel: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let pid = cursor.u32()?;
        let channel = cursor.string()?;
        let payload = cursor.string()?;
        cursor.end()?;
        Ok(Notification {
            pid,
            channel,
            payload,
        })
    }
}

/// `G`, `H`, `W`: the overall format, and one code for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyResponse {
    pub binary: bool,
    pub column_formats: Vec<i16>,
}

impl CopyResponse {
    pub fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let binary = match cursor.u8()? {
            0 => false,
            1 => true,
            other => return Err(DecodeError::FormatCode(i16::from(other))),
        };
        let count = usize::from(cursor.u16()?);
        let mut words = Cursor::new(cursor.bytes(count * 2)?);
        cursor.end()?;
        let column_formats = (0..count).map(|_| words.i16()).collect::<Result<_, _>>()?;
        Ok(CopyResponse {
            binary,
            column_formats,
        })
    }
}

/// `v`: the newest minor version that the server speaks (of major version 3), and the options that it does not know.
pub fn negotiate_version(body: &[u8]) -> Result<(i32, Vec<&str>), DecodeError> {
    let mut cursor = Cursor::new(body);
    let minor = cursor.i32()? & 0xffff;
    let count = cursor.u32()?;
    let mut unknown = Vec::new();
    for _ in 0..count {
        unknown.push(cursor.utf8()?);
    }
    cursor.end()?;
    Ok((minor, unknown))
}

#[cfg(test)]
mod tests;
