//! The packet that opens a connection: a length and a version code, no type byte.
//!
//! All of it comes from strangers. Whatever Postgres answers with a silent close is [`StartupError::Garbage`].

use crate::cursor::{Cursor, DecodeError};
use crate::error::PgError;

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup<'a> {
    /// The client asks for TLS: the answer is one byte, `S` or `N`, and no byte may lie behind the request.
    Ssl,
    /// The client asks for GSSAPI encryption: the answer is `N`.
    Gss,
    /// A cancel request. The connection is closed without an answer, whatever it does.
    Cancel { pid: u32, secret: &'a [u8] },
    /// Protocol 3. `minor` may be higher than what we speak: answer NegotiateProtocolVersion. Keys are unique, keys and
    /// values are UTF-8.
    Params {
        minor: u16,
        params: Vec<(&'a str, &'a str)>,
    },
}

/// Why a connection ends with its first packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// Not our protocol, or protocol 2: close in silence.
    #[error("the first packet is not a startup packet")]
    Garbage,
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version { major: u16, minor: u16 },
    #[error("invalid startup packet layout: {0}")]
    Layout(&'static str),
    /// Two values for one key: whoever checks the first and whoever uses the last would differ.
    #[error("startup packet has more than one value for parameter \"{0}\"")]
    Duplicate(String),
    /// Postgres cuts such names before it looks them up, and two names could meet.
    #[error("{0} in startup packet is longer than 63 bytes")]
    TooLong(&'static str),
}

impl StartupError {
    /// What the client is told before the close; None: nothing.
    pub fn to_error(&self) -> Option<PgError> {
        let sqlstate = match self {
            StartupError::Garbage => return None,
            StartupError::Version { .. } => "0A000",
            StartupError::Layout(_) | StartupError::Duplicate(_) | StartupError::TooLong(_) => {
                "08P01"
            }
        };
        Some(PgError::error(sqlstate, self.to_string()).fatal())
    }
}

/// The longest startup packet without its length word (Postgres's MAX_STARTUP_PACKET_LENGTH).
const PACKET_BYTES_MAX: u32 = 10_000;
/// The longest identifier that Postgres keeps (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;
/// A cancel key: 4 bytes in protocol 3.0, up to 256 in 3.2.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// The length of the whole packet at the beginning of `buf`; None when fewer than four bytes are there.
pub fn peek_startup(buf: &[u8]) -> Result<Option<usize>, StartupError> {
    let Some(word) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*word);
    if !(8..=PACKET_BYTES_MAX + 4).contains(&length) {
        return Err(StartupError::Garbage);
    }
    usize::try_from(length)
        .map(Some)
        .map_err(|_| StartupError::Garbage)
}

impl<'a> Startup<'a> {
    /// `packet` is the whole packet with its length word, as [`peek_startup`] has measured it.
    pub fn parse(packet: &'a [u8]) -> Result<Self, StartupError> {
        if peek_startup(packet)? != Some(packet.len()) {
            return Err(StartupError::Garbage);
        }
        let mut cursor = Cursor::new(packet);
        let garbage = |_: DecodeError| StartupError::Garbage;
        cursor.u32().map_err(garbage)?;
        let major = cursor.u16().map_err(garbage)?;
        let minor = cursor.u16().map_err(garbage)?;
        match (major, minor) {
            (1234, 5678) => {
                let pid = cursor.u32().map_err(garbage)?;
                let secret = cursor.rest();
                if !SECRET_BYTES.contains(&secret.len()) {
                    return Err(StartupError::Garbage);
                }
                Ok(Startup::Cancel { pid, secret })
            }
            (1234, 5679) => cursor.end().map(|()| Startup::Ssl).map_err(garbage),
            (1234, 5680) => cursor.end().map(|()| Startup::Gss).map_err(garbage),
            (3, minor) => params(cursor.rest()).map(|params| Startup::Params { minor, params }),
            (0..=2, _) => Err(StartupError::Garbage),
            (4.., _) => Err(StartupError::Version { major, minor }),
        }
    }
}

fn params(list: &[u8]) -> Result<Vec<(&str, &str)>, StartupError> {
    let mut cursor = Cursor::new(list);
    let mut params: Vec<(&str, &str)> = Vec::new();
    loop {
        let name = text(&mut cursor)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut cursor)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(StartupError::TooLong("a parameter name"));
        }
        if params.iter().any(|(known, _)| *known == name) {
            return Err(StartupError::Duplicate(name.to_owned()));
        }
        match name {
            "user" if value.len() > NAME_BYTES_MAX => {
                return Err(StartupError::TooLong("the user name"));
            }
            "database" if value.len() > NAME_BYTES_MAX => {
                return Err(StartupError::TooLong("the database name"));
            }
            _other => params.push((name, value)),
        }
    }
    if !cursor.rest().is_empty() {
        return Err(StartupError::Layout("expected terminator as last byte"));
    }
    Ok(params)
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, StartupError> {
    cursor.utf8().map_err(|error| match error {
        DecodeError::NotUtf8 => StartupError::Layout("a name or value is not UTF-8"),
        DecodeError::Insufficient
        | DecodeError::NoData
        | DecodeError::UnterminatedString
        | DecodeError::Residue
        | DecodeError::Invalid(_)
        | DecodeError::FormatCode(_) => StartupError::Layout("expected terminator as last byte"),
    })
}

#[cfg(test)]
mod tests;
