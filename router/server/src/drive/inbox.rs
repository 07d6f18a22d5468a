//! A read buffer that grows while much comes and can be let go of when nothing does.

use bytes::BytesMut;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The room for one read: from the first, while little comes, to the second.
const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes that have come and were not taken yet.
pub(super) struct Inbox {
    pub buffer: BytesMut,
    room: usize,
    /// The last read has filled all the room that there was, so there may be more.
    pub full: bool,
}

impl Inbox {
    pub fn new(buffer: BytesMut) -> Self {
        Inbox {
            buffer,
            room: READ_BYTES_MIN,
            full: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Reads once. Ok(0) is the end of the input.
    pub fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN / 2 {
            self.buffer.reserve(self.room);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        // The future holds no state: dropping it after one poll loses nothing.
        let read = pin!(stream.read_buf(&mut self.buffer)).poll(context);
        if let Poll::Ready(Ok(count)) = read {
            self.full = count == room;
            self.room = match count {
                count if count == room => (self.room * 2).min(READ_BYTES_MAX),
                count if count < READ_BYTES_MIN / 2 => READ_BYTES_MIN,
                _ => self.room,
            };
        }
        read
    }

    /// Frees the memory if nothing is in it.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.room = READ_BYTES_MIN;
        }
    }

    pub fn holds_memory(&self) -> bool {
        self.buffer.capacity() > 0
    }
}
