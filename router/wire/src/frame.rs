//! Where one message ends: type byte, signed length, and the limit of each type.
//!
//! Only the five header bytes are needed. The body may be gigabytes away, so whoever relays it can begin before it is
//! there.

use crate::error::PgError;

/// The header of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type byte.
    pub tag: u8,
    /// The length of the whole frame in bytes, type byte and length word included: at least 5.
    pub len: usize,
}

/// The bytes before the body: the type byte and the length word.
pub const HEADER_BYTES: usize = 5;

/// Who has sent the frame; it only matters for the text of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Frontend,
    Backend,
}

/// Why no further byte of this connection can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid {} message type {tag}", side.word())]
    UnknownType { tag: u8, side: Side },
    /// The length word counts itself, so it is at least 4; it is signed.
    #[error("invalid length {length} of message type {tag}")]
    TooShort { tag: u8, length: i32 },
    #[error("length {length} of message type {tag} exceeds the limit of {max} bytes")]
    TooLong { tag: u8, length: i32, max: u32 },
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Side::Frontend => "frontend",
            Side::Backend => "backend",
        }
    }
}

impl FrameError {
    /// FATAL 08P01: the borders of messages are lost, so the connection ends.
    pub fn to_error(&self) -> PgError {
        PgError::error("08P01", self.to_string()).fatal()
    }
}

impl From<FrameError> for PgError {
    fn from(error: FrameError) -> Self {
        error.to_error()
    }
}

/// For each type byte the largest length word; 0 for types that are not expected.
///
/// A kilobyte: make one and share it.
#[derive(Clone, Debug)]
pub struct Limits {
    side: Side,
    max: [u32; 256],
}

/// Postgres's limit of small frontend messages (PQ_SMALL_MESSAGE_LIMIT).
const FRONTEND_SMALL_BYTES: u32 = 10_000;
/// Postgres's limit of large frontend messages (PQ_LARGE_MESSAGE_LIMIT).
const FRONTEND_LARGE_BYTES: u32 = 0x3fff_fffe;
/// Postgres's limit of a password or SASL message (PG_MAX_AUTH_TOKEN_LENGTH).
const LOGIN_BYTES: u32 = 65_535;
/// libpq's limit of backend messages that are not by nature long.
const BACKEND_SMALL_BYTES: u32 = 30_000;
/// libpq's limit of the others.
const BACKEND_LARGE_BYTES: u32 = 1 << 30;

impl Limits {
    /// What a client may send once it is logged in: Q P B d F up to `max_message` bytes (never more than Postgres takes),
    /// the other types 10000 bytes. `p` is not among them, as in Postgres; see [`Limits::login`].
    pub fn frontend(max_message: usize) -> Self {
        let large = u32::try_from(max_message)
            .unwrap_or(FRONTEND_LARGE_BYTES)
            .clamp(4, FRONTEND_LARGE_BYTES);
        Limits::none(Side::Frontend)
            .with(b"QPBdF", large)
            .with(b"DECHSXcf", FRONTEND_SMALL_BYTES.min(large))
    }

    /// What a client may send between its startup packet and AuthenticationOk: `p` of at most 65535 bytes.
    pub fn login() -> Self {
        Limits::none(Side::Frontend).with(b"p", LOGIN_BYTES)
    }

    /// What a server may send: T D d V E N A t up to 1 GiB, the other types 30000 bytes.
    pub fn backend() -> Self {
        Limits::none(Side::Backend)
            .with(b"TDdVENAt", BACKEND_LARGE_BYTES)
            .with(b"123nsICGHWRSKZcv", BACKEND_SMALL_BYTES)
    }

    fn none(side: Side) -> Self {
        Limits {
            side,
            max: [0; 256],
        }
    }

    fn with(mut self, tags: &[u8], max: u32) -> Self {
        for tag in tags {
            if let Some(entry) = self.max.get_mut(usize::from(*tag)) {
                *entry = max;
            }
        }
        self
    }

    fn max(&self, tag: u8) -> u32 {
        self.max.get(usize::from(tag)).copied().unwrap_or(0)
    }
}

/// The header at the beginning of `buf`; None when fewer than five bytes are there.
///
/// An unknown type is told from its first byte, without waiting for a length.
pub fn peek(buf: &[u8], limits: &Limits) -> Result<Option<Frame>, FrameError> {
    let Some(&tag) = buf.first() else {
        return Ok(None);
    };
    let max = limits.max(tag);
    if max == 0 {
        return Err(FrameError::UnknownType {
            tag,
            side: limits.side,
        });
    }
    let Some(&[_, a, b, c, d]) = buf.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    match u32::try_from(length) {
        Ok(unsigned) if unsigned >= 4 => {
            if unsigned > max {
                return Err(FrameError::TooLong { tag, length, max });
            }
            let len = usize::try_from(unsigned)
                .expect("a length below 2^31 fits the address space of the supported machines")
                + 1;
            Ok(Some(Frame { tag, len }))
        }
        Ok(_) | Err(_) => Err(FrameError::TooShort { tag, length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(tag: u8, length: i32) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn header_by_header() {
        let client = Limits::frontend(1 << 20);
        let server = Limits::backend();
        let login = Limits::login();
        let check = |limits: &Limits, tag: u8, length: i32, expect: &str| {
            let got = match peek(&header(tag, length), limits) {
                Ok(Some(frame)) => format!("{} {}", char::from(frame.tag), frame.len),
                Ok(None) => "incomplete".into(),
                Err(FrameError::UnknownType { .. }) => "unknown".into(),
                Err(FrameError::TooShort { .. }) => "short".into(),
                Err(FrameError::TooLong { .. }) => "long".into(),
            };
            assert_eq!(got, expect, "{:?} {length}", char::from(tag));
        };
        check(&client, b'Q', 4, "Q 5");
        check(&client, b'Q', 3, "short");
        check(&client, b'Q', 0, "short");
        check(&client, b'Q', -1, "short");
        check(&client, b'Q', i32::MIN, "short");
        check(&client, b'Q', i32::MAX, "long");
        check(&client, b'Q', 1 << 20, "Q 1048577");
        check(&client, b'Q', (1 << 20) + 1, "long");
        check(&client, b'D', 10_000, "D 10001");
        check(&client, b'D', 10_001, "long");
        check(&client, b'p', 10, "unknown");
        check(&client, b'Z', 5, "unknown");
        check(&client, 0, 5, "unknown");
        check(&client, 0xff, 5, "unknown");
        check(&login, b'p', 65_535, "p 65536");
        check(&login, b'p', 65_536, "long");
        check(&login, b'p', 0, "short");
        check(&login, b'Q', 600_000_000, "unknown");
        check(&server, b'D', 1 << 30, "D 1073741825");
        check(&server, b'D', (1 << 30) + 1, "long");
        check(&server, b'Z', 30_000, "Z 30001");
        check(&server, b'Z', 30_001, "long");
        check(&server, b'Q', 5, "unknown");
        let unbounded = Limits::frontend(usize::MAX);
        check(&unbounded, b'B', 0x3fff_fffe, "B 1073741823");
        check(&unbounded, b'B', 0x3fff_ffff, "long");
    }

    #[test]
    fn a_header_in_pieces_is_incomplete() {
        let whole = header(b'P', 77);
        for end in 0..5 {
            assert_eq!(peek(&whole[..end], &Limits::frontend(1000)), Ok(None));
        }
        assert!(peek(b"?", &Limits::frontend(1000)).is_err());
    }

    #[test]
    fn errors_end_the_connection_in_postgres_words() {
        let error = peek(b"?", &Limits::frontend(1000)).unwrap_err().to_error();
        assert_eq!(
            error.to_string(),
            "FATAL: invalid frontend message type 63 (08P01)"
        );
    }
}
