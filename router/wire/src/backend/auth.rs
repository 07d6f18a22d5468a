//! `R`: what the server wants for a login.

use crate::cursor::{Cursor, DecodeError};

/// An authentication request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    Cleartext,
    Md5 {
        salt: [u8; 4],
    },
    /// The mechanisms that the server offers, the one it likes best first.
    Sasl {
        mechanisms: Vec<&'a str>,
    },
    /// The server-first-message.
    SaslContinue(&'a [u8]),
    /// The server-final-message.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI and whatever comes: the router does not speak them.
    Other(i32),
}

impl<'a> Authentication<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let request = match cursor.i32()? {
            0 => Authentication::Ok,
            3 => Authentication::Cleartext,
            5 => Authentication::Md5 {
                salt: cursor.array()?,
            },
            10 => Authentication::Sasl {
                mechanisms: mechanisms(&mut cursor)?,
            },
            11 => return Ok(Authentication::SaslContinue(cursor.rest())),
            12 => return Ok(Authentication::SaslFinal(cursor.rest())),
            other => return Ok(Authentication::Other(other)),
        };
        cursor.end()?;
        Ok(request)
    }
}

/// Strings up to an empty one.
fn mechanisms<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a str>, DecodeError> {
    let mut names = Vec::new();
    loop {
        let name = cursor.utf8()?;
        if name.is_empty() {
            return Ok(names);
        }
        names.push(name);
    }
}
