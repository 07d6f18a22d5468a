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

impl Session {
    pub(crate) fn use_slot(&mut self, slot: Slot) {
        self.batch.slot = Some(slot);
    }
}

/// The name of a prepared statement of the router's on a backend.
pub(crate) fn router_name(number: u64) -> String {
    format!("sg_{number}")
}
