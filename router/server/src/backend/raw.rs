//! Whole messages from a server during login, when nothing is fast and everything is bounded.

use super::ConnectError;
use bytes::{Buf, BytesMut};
use shardgate_wire::frame::{HEADER_BYTES, peek};
use shardgate_wire::{FrameError, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server may send before it is ready: many settings and notices, and no more.
const LOGIN_BYTES_MAX: usize = 256 * 1024;

/// One message.
pub(super) struct Message {
    pub tag: u8,
    pub body: BytesMut,
}

/// A socket with its two buffers.
pub(super) struct Socket {
    stream: TcpStream,
    input: BytesMut,
    pub output: BytesMut,
    limits: Limits,
    received: usize,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Socket {
            stream,
            input: BytesMut::with_capacity(4096),
            output: BytesMut::with_capacity(256),
            limits: Limits::backend(),
            received: 0,
        }
    }

    /// Writes the output buffer out.
    pub async fn flush(&mut self) -> std::io::Result<()> {
        self.stream.write_all_buf(&mut self.output).await
    }

    /// The next message.
    pub async fn message(&mut self) -> Result<Message, ConnectError> {
        let broken = |error: FrameError| ConnectError::Network(error.to_string());
        loop {
            if let Some(frame) = peek(&self.input, &self.limits).map_err(broken)? {
                if self.received + frame.len > LOGIN_BYTES_MAX {
                    return Err(ConnectError::Network(
                        "the server says too much during login".to_owned(),
                    ));
                }
                if self.input.len() >= frame.len {
                    self.received += frame.len;
                    let mut body = self.input.split_to(frame.len);
                    body.advance(HEADER_BYTES);
                    return Ok(Message {
                        tag: frame.tag,
                        body,
                    });
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ConnectError::Network(
                    "the server has closed the connection during login".to_owned(),
                ));
            }
        }
    }

    /// The next message, which must have this type; an error of the server is passed on.
    pub async fn expect(&mut self, tag: u8) -> Result<Message, ConnectError> {
        loop {
            let message = self.message().await?;
            if message.tag == tag {
                return Ok(message);
            }
            super::login::refuse_or_skip(&message)?;
        }
    }

    /// The socket, when nothing is left in the buffers.
    pub fn into_stream(self) -> Result<TcpStream, ConnectError> {
        if self.input.is_empty() {
            Ok(self.stream)
        } else {
            Err(ConnectError::Network(
                "the server has sent something behind ReadyForQuery".to_owned(),
            ))
        }
    }
}
