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

use crate::api::Slot;
use crate::session::Session;
use std::io::Write;

impl Session {
    pub(crate) fn use_slot(&mut self, slot: Slot) {
        self.batch.slot = Some(slot);
    }
}

/// The name of a prepared statement on a backend: the client's own empty one, or one of the router's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackendName {
    bytes: [u8; BackendName::BYTES_MAX],
    length: usize,
}

impl BackendName {
    /// `sg_` and the digits of a `u64`.
    const BYTES_MAX: usize = 23;

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The name of a prepared statement of the router's on a backend.
pub(crate) fn router_name(number: u64) -> BackendName {
    let mut name = BackendName::default();
    let mut room = name.bytes.as_mut_slice();
    // A slice takes what fits, and this always does.
    let written = write!(room, "sg_{number}").map(|()| room.len());
    name.length = BackendName::BYTES_MAX - written.unwrap_or(BackendName::BYTES_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_backends() {
        assert_eq!(router_name(0).as_bytes(), b"sg_0");
        assert_eq!(router_name(u64::MAX).as_bytes(), b"sg_18446744073709551615");
        assert_eq!(BackendName::default().as_bytes(), b"");
    }
}
