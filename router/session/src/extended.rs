//! The extended query protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Which backend a statement needs is known at its Bind at the earliest, so a Parse (and a Describe of the statement) is
//! held until the Bind behind it, or until something shows that none follows; then home, which has every table's
//! definition, answers it. A file for each message; here is what they share.

mod bind;
mod describe;
pub(crate) mod held;
mod parse;
mod portal;
mod prepared;

use crate::api::{Output, Slot};
use crate::session::Session;
use bytes::{Bytes, BytesMut};
use shardgate_wire::PgError;

impl Session {
    /// A made reply in the order of replies.
    pub(crate) fn made(&mut self, write: impl FnOnce(&mut BytesMut), out: &mut Output) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.reply(bytes.freeze(), out);
    }

    /// Sends a made reply of the router at its place in the order of replies.
    pub(crate) fn reply(&mut self, bytes: Bytes, out: &mut Output) {
        self.reply_parsed(bytes, None, out);
    }

    /// As `reply`, of a Parse of the named statement: if an error before it makes the client's messages be skipped, the
    /// statement does not exist.
    pub(crate) fn reply_parsed(&mut self, bytes: Bytes, parsed: Option<Bytes>, out: &mut Output) {
        let rest = match self.batch.slot.and_then(|slot| self.place_mut(slot)) {
            Some(place) => place.made(bytes, parsed),
            None => Some(bytes),
        };
        if let Some(bytes) = rest {
            out.client.extend_from_slice(&bytes);
        }
    }

    pub(crate) fn use_slot(&mut self, slot: Slot) {
        self.batch.slot = Some(slot);
    }
}

fn no_statement(name: &[u8]) -> PgError {
    if name.is_empty() {
        return PgError::error("26000", "unnamed prepared statement does not exist");
    }
    PgError::error(
        "26000",
        format!(
            "prepared statement \"{}\" does not exist",
            String::from_utf8_lossy(name)
        ),
    )
}

/// The name of a prepared statement of the router's on a backend.
pub(crate) fn router_name(number: u64) -> String {
    format!("sg_{number}")
}
