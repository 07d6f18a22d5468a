//! A bounds-checked reader over one message's body, and the one error that all decoders share.
//!
//! Texts are Postgres's own (pqformat.c), so that a client cannot tell who has refused its message.

use crate::error::PgError;
use std::ffi::CStr;

/// Why a message's body cannot be what its type says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends before the value does.
    #[error("insufficient data left in message")]
    Insufficient,
    /// As `Insufficient`, where one byte is missing.
    #[error("no data left in message")]
    NoData,
    /// No NUL ends the string.
    #[error("invalid string in message")]
    UnterminatedString,
    /// Bytes are left over behind the last field.
    #[error("invalid message format")]
    Residue,
    /// Text that must be UTF-8 (a setting's name, a command tag, a mechanism) is not.
    #[error("invalid text in message")]
    NotUtf8,
    /// A list has an impossible length, or a code is none that the protocol knows.
    #[error("{0}")]
    Invalid(String),
    /// A format that is neither 0 (text) nor 1 (binary).
    #[error("unsupported format code: {0}")]
    FormatCode(i16),
}

impl DecodeError {
    /// What the client is told: 08P01 (22023 for a format code), severity ERROR, as Postgres does.
    pub fn to_error(&self) -> PgError {
        let sqlstate = match self {
            DecodeError::FormatCode(_) => "22023",
            DecodeError::Insufficient
            | DecodeError::NoData
            | DecodeError::UnterminatedString
            | DecodeError::Residue
            | DecodeError::NotUtf8
            | DecodeError::Invalid(_) => "08P01",
        };
        PgError::error(sqlstate, self.to_string())
    }
}

impl From<DecodeError> for PgError {
    fn from(error: DecodeError) -> Self {
        error.to_error()
    }
}

/// The part of a body that is not read yet. Every read either yields the value and moves on, or fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Cursor { rest: body }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Insufficient)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Insufficient)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (byte, tail) = self.rest.split_first().ok_or(DecodeError::NoData)?;
        self.rest = tail;
        Ok(*byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A NUL-terminated string, without its NUL.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        // The search of the standard library looks at many bytes at once.
        let text = CStr::from_bytes_until_nul(self.rest)
            .map_err(|_| DecodeError::UnterminatedString)?
            .to_bytes();
        self.bytes(text.len() + 1)?;
        Ok(text)
    }

    /// A NUL-terminated string that must be UTF-8.
    pub(crate) fn utf8(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.string()?).map_err(|_| DecodeError::NotUtf8)
    }

    /// A value with a 4-byte length before it; -1 is NULL, and no other negative length exists.
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| DecodeError::Insufficient)?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// The body must end here.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Residue)
        }
    }
}
