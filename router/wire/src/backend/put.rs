//! Encoders of what the router itself sends to clients. Each appends one whole message to the buffer.
//!
//! A NUL inside a string is written as `?`: messages may quote what a client has sent.

use super::TxStatus;
use crate::encode::{count, frame, value};
use crate::error::PgError;
use bytes::{BufMut, BytesMut};

fn string(buf: &mut BytesMut, text: &[u8]) {
    crate::encode::string(buf, text, b'?');
}

/// AuthenticationOk.
pub fn auth_ok(buf: &mut BytesMut) {
    frame(buf, b'R', |buf| buf.put_i32(0));
}

/// AuthenticationSASL.
pub fn auth_sasl(buf: &mut BytesMut, mechanisms: &[&str]) {
    frame(buf, b'R', |buf| {
        buf.put_i32(10);
        for mechanism in mechanisms {
            string(buf, mechanism.as_bytes());
        }
        buf.put_u8(0);
    });
}

/// AuthenticationSASLContinue with the server-first-message.
pub fn auth_sasl_continue(buf: &mut BytesMut, data: &[u8]) {
    frame(buf, b'R', |buf| {
        buf.put_i32(11);
        buf.extend_from_slice(data);
    });
}

/// AuthenticationSASLFinal with the server-final-message.
pub fn auth_sasl_final(buf: &mut BytesMut, data: &[u8]) {
    frame(buf, b'R', |buf| {
        buf.put_i32(12);
        buf.extend_from_slice(data);
    });
}

pub fn parameter_status(buf: &mut BytesMut, name: &str, value: &str) {
    frame(buf, b'S', |buf| {
        string(buf, name.as_bytes());
        string(buf, value.as_bytes());
    });
}

/// BackendKeyData; `secret` has 4 bytes in protocol 3.0.
pub fn backend_key(buf: &mut BytesMut, pid: u32, secret: &[u8]) {
    frame(buf, b'K', |buf| {
        buf.put_u32(pid);
        buf.extend_from_slice(secret);
    });
}

/// ReadyForQuery.
pub fn ready(buf: &mut BytesMut, status: TxStatus) {
    frame(buf, b'Z', |buf| buf.put_u8(status.byte()));
}

pub fn command_complete(buf: &mut BytesMut, tag: &str) {
    frame(buf, b'C', |buf| string(buf, tag.as_bytes()));
}

pub fn parse_complete(buf: &mut BytesMut) {
    frame(buf, b'1', |_| {});
}

pub fn bind_complete(buf: &mut BytesMut) {
    frame(buf, b'2', |_| {});
}

pub fn close_complete(buf: &mut BytesMut) {
    frame(buf, b'3', |_| {});
}

pub fn no_data(buf: &mut BytesMut) {
    frame(buf, b'n', |_| {});
}

pub fn portal_suspended(buf: &mut BytesMut) {
    frame(buf, b's', |_| {});
}

pub fn empty_query(buf: &mut BytesMut) {
    frame(buf, b'I', |_| {});
}

/// A column of an answer that the router makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDesc<'a> {
    pub name: &'a str,
    pub type_oid: u32,
    /// Bytes; -1 for variable width.
    pub size: i16,
}

/// RowDescription in text format, of columns that belong to no table. At most 65535 columns.
pub fn row_description(buf: &mut BytesMut, columns: &[ColumnDesc<'_>]) {
    frame(buf, b'T', |buf| {
        count(buf, columns.len());
        for column in columns {
            string(buf, column.name.as_bytes());
            buf.put_u32(0);
            buf.put_i16(0);
            buf.put_u32(column.type_oid);
            buf.put_i16(column.size);
            buf.put_i32(-1);
            buf.put_i16(0);
        }
    });
}

/// ParameterDescription. At most 65535 types.
pub fn parameter_description(buf: &mut BytesMut, types: &[u32]) {
    frame(buf, b't', |buf| {
        count(buf, types.len());
        for oid in types {
            buf.put_u32(*oid);
        }
    });
}

/// DataRow; None is NULL. At most 65535 values.
pub fn data_row(buf: &mut BytesMut, values: &[Option<&[u8]>]) {
    frame(buf, b'D', |buf| {
        count(buf, values.len());
        for entry in values {
            value(buf, *entry);
        }
    });
}

/// ErrorResponse.
pub fn error(buf: &mut BytesMut, error: &PgError) {
    fields(buf, b'E', error);
}

/// NoticeResponse.
pub fn notice(buf: &mut BytesMut, notice: &PgError) {
    fields(buf, b'N', notice);
}

fn fields(buf: &mut BytesMut, tag: u8, error: &PgError) {
    let field = |buf: &mut BytesMut, code: u8, text: &str| {
        buf.put_u8(code);
        string(buf, text.as_bytes());
    };
    frame(buf, tag, |buf| {
        field(buf, b'S', error.severity.as_str());
        field(buf, b'V', error.severity.as_str());
        field(buf, b'C', error.sqlstate.as_str());
        field(buf, b'M', &error.message);
        if let Some(detail) = &error.detail {
            field(buf, b'D', detail);
        }
        if let Some(hint) = &error.hint {
            field(buf, b'H', hint);
        }
        if let Some(position) = error.position {
            field(buf, b'P', &position.to_string());
        }
        buf.put_u8(0);
    });
}

/// NegotiateProtocolVersion: the newest minor version that we speak, and the `_pq_.` options that we do not know.
///
/// The documentation calls the number a minor version; what Postgres sends and libpq reads is the whole one, 3 << 16 and
/// the minor.
pub fn negotiate_version(buf: &mut BytesMut, minor: i32, unknown: &[&str]) {
    frame(buf, b'v', |buf| {
        buf.put_i32((3 << 16) | (minor & 0xffff));
        let unknown_count = u32::try_from(unknown.len())
            .expect("a startup packet of 10000 bytes holds few options");
        buf.put_u32(unknown_count);
        for name in unknown {
            string(buf, name.as_bytes());
        }
    });
}
