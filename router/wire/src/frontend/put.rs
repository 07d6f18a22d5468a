//! Encoders of what the router sends to servers. Each appends one whole message to the buffer.
//!
//! A string with a NUL in it would be cut, and its rest be read as the next field: an injection. Such a byte is written
//! as 0xFF, which is valid in no UTF-8 text, so that the server refuses the string just as it refuses a NUL in a value.

use crate::encode::{count, frame, untagged, value};
use bytes::{BufMut, BytesMut};

/// Protocol 3.0.
const VERSION_3_0: u32 = 3 << 16;

fn string(buf: &mut BytesMut, text: &[u8]) {
    crate::encode::string(buf, text, 0xff);
}

/// StartupMessage of protocol 3.0.
pub fn startup(buf: &mut BytesMut, params: &[(&str, &str)]) {
    untagged(buf, |buf| {
        buf.put_u32(VERSION_3_0);
        for (name, value) in params {
            string(buf, name.as_bytes());
            string(buf, value.as_bytes());
        }
        buf.put_u8(0);
    });
}

pub fn ssl_request(buf: &mut BytesMut) {
    untagged(buf, |buf| buf.put_u32((1234 << 16) | 5679));
}

/// CancelRequest, the only packet on a connection of its own. `secret` as in the server's BackendKeyData.
pub fn cancel(buf: &mut BytesMut, pid: u32, secret: &[u8]) {
    untagged(buf, |buf| {
        buf.put_u32((1234 << 16) | 5678);
        buf.put_u32(pid);
        buf.extend_from_slice(secret);
    });
}

/// `Q`.
pub fn query(buf: &mut BytesMut, sql: &[u8]) {
    frame(buf, b'Q', |buf| string(buf, sql));
}

/// `P`. At most 65535 types.
pub fn parse(buf: &mut BytesMut, name: &[u8], sql: &[u8], types: &[u32]) {
    frame(buf, b'P', |buf| {
        string(buf, name);
        string(buf, sql);
        count(buf, types.len());
        for oid in types {
            buf.put_u32(*oid);
        }
    });
}

/// `B` with the formats, values and result formats of a client's own Bind: `rest` of [`super::Bind`].
pub fn bind_with(buf: &mut BytesMut, portal: &[u8], statement: &[u8], rest: &[u8]) {
    frame(buf, b'B', |buf| {
        string(buf, portal);
        string(buf, statement);
        buf.extend_from_slice(rest);
    });
}

/// `B` with all parameters and all results in text. At most 65535 parameters.
pub fn bind_text(buf: &mut BytesMut, portal: &[u8], statement: &[u8], params: &[Option<&[u8]>]) {
    frame(buf, b'B', |buf| {
        string(buf, portal);
        string(buf, statement);
        count(buf, 0);
        count(buf, params.len());
        for param in params {
            value(buf, *param);
        }
        count(buf, 0);
    });
}

/// `B` of the unnamed statement and portal: for each parameter and each result whether it is in binary; no entry for
/// results means text for all, one is for all. At most 65535 of each.
pub fn bind(buf: &mut BytesMut, params: &[(bool, Option<&[u8]>)], results: &[bool]) {
    frame(buf, b'B', |buf| {
        string(buf, b"");
        string(buf, b"");
        count(buf, params.len());
        for (binary, _) in params {
            buf.put_i16(i16::from(*binary));
        }
        count(buf, params.len());
        for (_, param) in params {
            value(buf, *param);
        }
        count(buf, results.len());
        for binary in results {
            buf.put_i16(i16::from(*binary));
        }
    });
}

/// `B` of the unnamed statement and portal, without parameters and with all results in binary.
pub fn bind_for_binary(buf: &mut BytesMut) {
    frame(buf, b'B', |buf| {
        string(buf, b"");
        string(buf, b"");
        count(buf, 0);
        count(buf, 0);
        count(buf, 1);
        buf.put_i16(1);
    });
}

/// `D`; `kind` is `b'S'` or `b'P'`.
pub fn describe(buf: &mut BytesMut, kind: u8, name: &[u8]) {
    frame(buf, b'D', |buf| {
        buf.put_u8(kind);
        string(buf, name);
    });
}

/// `E`; `max_rows` 0: all.
pub fn execute(buf: &mut BytesMut, portal: &[u8], max_rows: i32) {
    frame(buf, b'E', |buf| {
        string(buf, portal);
        buf.put_i32(max_rows);
    });
}

/// `C`; `kind` is `b'S'` or `b'P'`.
pub fn close(buf: &mut BytesMut, kind: u8, name: &[u8]) {
    frame(buf, b'C', |buf| {
        buf.put_u8(kind);
        string(buf, name);
    });
}

/// A message without a body, whatever its type needs.
pub fn empty(buf: &mut BytesMut, tag: u8) {
    frame(buf, tag, |_| {});
}

pub fn sync(buf: &mut BytesMut) {
    frame(buf, b'S', |_| {});
}

pub fn flush(buf: &mut BytesMut) {
    frame(buf, b'H', |_| {});
}

pub fn terminate(buf: &mut BytesMut) {
    frame(buf, b'X', |_| {});
}

/// `f`: gives up a COPY FROM STDIN.
pub fn copy_fail(buf: &mut BytesMut, reason: &str) {
    frame(buf, b'f', |buf| string(buf, reason.as_bytes()));
}

/// `p` with a password (cleartext, or the text of an MD5 answer).
pub fn password(buf: &mut BytesMut, password: &[u8]) {
    frame(buf, b'p', |buf| string(buf, password));
}

/// `p` with the chosen mechanism and the client-first-message.
pub fn sasl_initial(buf: &mut BytesMut, mechanism: &str, data: &[u8]) {
    frame(buf, b'p', |buf| {
        string(buf, mechanism.as_bytes());
        value(buf, Some(data));
    });
}

/// `p` with a later SASL message.
pub fn sasl_response(buf: &mut BytesMut, data: &[u8]) {
    frame(buf, b'p', |buf| buf.extend_from_slice(data));
}
