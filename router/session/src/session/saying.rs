//! What is said to the client, and when: as with Postgres, a reply in the extended protocol is not sent before a Flush, a
//! Sync or an error asks for it, so that a client that leaves before that is told no more than Postgres would tell it.

use crate::api::Output;
use crate::session::Session;
use crate::statements::Change;
use bytes::{Bytes, BytesMut};

/// Postgres's own buffer of what is not flushed yet, in bytes.
const UNFLUSHED_BYTES_MAX: usize = 8192;

impl Session {
    /// The client's buffer, with all in it that was to be said before.
    pub(crate) fn speak<'a>(&mut self, out: &'a mut Output) -> &'a mut BytesMut {
        if !self.unflushed.is_empty() {
            out.client.extend_from_slice(&self.unflushed.split());
        }
        &mut out.client
    }

    /// A reply that came from a server, which has sent it for a reason; only a client that has said goodbye does not hear
    /// it for that.
    pub(crate) fn say(&mut self, bytes: &[u8], out: &mut Output) {
        if self.leaving {
            self.hold(bytes, out);
        } else {
            self.speak(out).extend_from_slice(bytes);
        }
    }

    /// A reply that waits until something makes it be sent.
    fn hold(&mut self, bytes: &[u8], out: &mut Output) {
        self.unflushed.extend_from_slice(bytes);
        if self.unflushed.len() > UNFLUSHED_BYTES_MAX {
            self.speak(out);
        }
    }

    /// A made reply in the order of replies.
    pub(crate) fn made(&mut self, write: impl FnOnce(&mut BytesMut), out: &mut Output) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.reply(bytes.freeze(), out);
    }

    /// Sends a made reply of the router at its place in the order of replies.
    pub(crate) fn reply(&mut self, bytes: Bytes, out: &mut Output) {
        self.reply_changing(bytes, None, out);
    }

    /// As `reply`, of a message that has changed the client's statements: if an error before it makes the client's
    /// messages be skipped, that is undone.
    pub(crate) fn reply_changing(
        &mut self,
        bytes: Bytes,
        change: Option<Change>,
        out: &mut Output,
    ) {
        let rest = match self.batch.slot.and_then(|slot| self.place_mut(slot)) {
            Some(place) => place.made(bytes, change),
            None => Some(bytes),
        };
        if let Some(bytes) = rest {
            self.say_made(&bytes, out);
        }
    }

    /// A made reply whose turn has come. An error is sent at once.
    pub(crate) fn say_made(&mut self, bytes: &[u8], out: &mut Output) {
        self.hold(bytes, out);
        if bytes.first() == Some(&b'E') {
            self.speak(out);
        }
    }
}
