//! The look at an idle connection before it is used: an idle server speaks.
//!
//! A server that is shut down, or a session that is terminated, leaves a FATAL error and an end of file in the socket of
//! an idle connection, where the next client would take it for the answer to its statement. The runtime's own idea of
//! readiness is a moment late, so the socket itself is asked.

use super::Link;
use bytes::{Buf, BytesMut};
use shardgate_wire::Limits;
use shardgate_wire::backend::{ErrorFields, parameter_status};
use shardgate_wire::frame::{HEADER_BYTES, peek};
use std::io::{ErrorKind, Read};
use std::mem::MaybeUninit;

/// More than this from an idle connection is nothing that a sound server says.
const IDLE_BYTES_MAX: usize = 16 * 1024;

impl Link {
    /// False: the connection is to be closed. Notices are dropped, and changed settings are noted in its state.
    ///
    /// One system call when there is nothing to read, which is nearly always.
    pub fn look(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match socket2::SockRef::from(&self.stream).peek(&mut byte) {
            Ok(0) => false,
            Ok(_) => self.listen(),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn listen(&mut self) -> bool {
        let mut buffer = [0u8; 4096];
        let mut input = BytesMut::new();
        loop {
            let read = (&*socket2::SockRef::from(&self.stream)).read(&mut buffer);
            match read {
                Ok(0) => return false,
                Ok(count) => input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
            if input.len() > IDLE_BYTES_MAX {
                return false;
            }
        }
        let limits = Limits::backend();
        while let Ok(Some(frame)) = peek(&input, &limits) {
            if frame.len > input.len() {
                return false;
            }
            let mut body = input.split_to(frame.len);
            body.advance(HEADER_BYTES);
            if !self.hear(frame.tag, &body) {
                return false;
            }
        }
        input.is_empty()
    }

    fn hear(&mut self, tag: u8, body: &[u8]) -> bool {
        match tag {
            b'N' => true,
            b'S' => match parameter_status(body) {
                // A standby that became a primary is another server to us.
                Ok(("in_hot_standby", value)) => (value == "on") == self.info.standby,
                Ok((name, value)) => {
                    if let Some(state) = &mut self.state {
                        state.params.insert(name.to_owned(), value.to_owned());
                    }
                    true
                }
                Err(_) => false,
            },
            b'E' => {
                let error = ErrorFields::parse(body).map(|fields| fields.to_error());
                if let Ok(error) = error {
                    tracing::info!(server = %self.info.peer, pid = self.info.pid, "an idle connection was ended: {error}");
                }
                false
            }
            // A notification or anything else: somebody was forgotten on this connection.
            tag => {
                tracing::warn!(server = %self.info.peer, pid = self.info.pid, "message type {tag} on an idle connection");
                false
            }
        }
    }
}
