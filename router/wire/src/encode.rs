//! The writing side that both directions share: the frame around a body, strings, counts.

use bytes::{BufMut, BytesMut};

/// Writes `tag`, a length word, and whatever `body` writes; then sets the length.
///
/// The length is that of what the router holds in memory, which the frame limits keep below 1 GiB.
pub(crate) fn frame(buf: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    buf.put_u8(tag);
    untagged(buf, body);
}

/// As [`frame`] without a type byte: the packets before login.
pub(crate) fn untagged(buf: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = buf.len();
    buf.put_i32(0);
    body(buf);
    let length = i32::try_from(buf.len() - start)
        .expect("the frame limits keep what one message is made of below 1 GiB");
    if let Some(word) = buf.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// A string and its NUL. A NUL inside the string would end it early, and the rest would be read as other fields; it is
/// written as `instead`.
pub(crate) fn string(buf: &mut BytesMut, text: &[u8], instead: u8) {
    let start = buf.len();
    buf.extend_from_slice(text);
    if text.contains(&0)
        && let Some(copy) = buf.get_mut(start..)
    {
        for byte in copy.iter_mut().filter(|byte| **byte == 0) {
            *byte = instead;
        }
    }
    buf.put_u8(0);
}

/// The number of entries of a list: an unsigned 16-bit word, as Postgres reads it.
pub(crate) fn count(buf: &mut BytesMut, entries: usize) {
    buf.put_u16(
        u16::try_from(entries).expect("parameters and columns are at most 65535 by the protocol"),
    );
}

/// A value with its length before it; None is NULL (-1).
pub(crate) fn value(buf: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => buf.put_i32(-1),
        Some(bytes) => {
            let length = i32::try_from(bytes.len())
                .expect("the frame limits keep what one message is made of below 1 GiB");
            buf.put_i32(length);
            buf.extend_from_slice(bytes);
        }
    }
}
