//! Messages of clients: views of what they send, and encoders of what the router sends to servers.
//!
//! All views take the body, which is the frame without its five header bytes. They borrow from it and have been checked
//! to the last byte.

mod bind;
pub mod put;
mod startup;

pub use bind::{Appended, Bind, BindHead, Param, Params, ResultFormats};
pub use startup::{Startup, StartupError, peek_startup};

use crate::cursor::{Cursor, DecodeError};

/// `P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub sql: &'a [u8],
    /// Declared parameter types; 0 leaves a type to the server.
    pub types: Vec<u32>,
}

impl<'a> Parse<'a> {
    // All views are made by `parse`; that this one is also called so is Postgres's choice of a name.
    #[allow(clippy::self_named_constructors)]
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let name = cursor.string()?;
        let sql = cursor.string()?;
        let count = usize::from(cursor.u16()?);
        // The bytes are taken before memory is: a count without types must not allocate.
        let mut words = Cursor::new(cursor.bytes(count * 4)?);
        cursor.end()?;
        let types = (0..count).map(|_| words.u32()).collect::<Result<_, _>>()?;
        Ok(Parse { name, sql, types })
    }
}

/// What `D` and `C` name: a statement or a portal.
fn target<'a>(body: &'a [u8], message: &str) -> Result<(u8, &'a [u8]), DecodeError> {
    let mut cursor = Cursor::new(body);
    let kind = cursor.u8()?;
    let name = cursor.string()?;
    cursor.end()?;
    if kind == b'S' || kind == b'P' {
        Ok((kind, name))
    } else {
        Err(DecodeError::Invalid(format!(
            "invalid {message} message subtype {kind}"
        )))
    }
}

/// `D`. `kind` is `b'S'` (statement) or `b'P'` (portal), nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Describe<'a> {
    pub kind: u8,
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        target(body, "DESCRIBE").map(|(kind, name)| Describe { kind, name })
    }
}

/// `C`. `kind` is `b'S'` (statement) or `b'P'` (portal), nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    pub kind: u8,
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        target(body, "CLOSE").map(|(kind, name)| Close { kind, name })
    }
}

/// `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// Zero and below: all rows.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let portal = cursor.string()?;
        let max_rows = cursor.i32()?;
        cursor.end()?;
        Ok(Execute { portal, max_rows })
    }
}

/// `Q`: one string of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let sql = cursor.string()?;
        cursor.end()?;
        Ok(Query { sql })
    }
}

/// `S`, `H`, `X`, `c`: messages without a body.
pub fn empty(body: &[u8]) -> Result<(), DecodeError> {
    Cursor::new(body).end()
}

/// `f`: the reason why a COPY is given up.
pub fn copy_fail(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut cursor = Cursor::new(body);
    let reason = cursor.string()?;
    cursor.end()?;
    Ok(reason)
}

/// `p` as the answer to a request for a password: one string. Never log it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a>(pub &'a [u8]);

impl<'a> Password<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let password = cursor.string()?;
        cursor.end()?;
        Ok(Password(password))
    }
}

impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// `p` as the first answer to AuthenticationSASL. The later ones are the body itself, without any structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    pub mechanism: &'a str,
    /// None: the client sends no initial response, which is allowed by the protocol and useless for SCRAM.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitial<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let mechanism = cursor.utf8()?;
        let data = cursor.value()?;
        cursor.end()?;
        Ok(SaslInitial { mechanism, data })
    }
}

#[cfg(test)]
mod tests;
