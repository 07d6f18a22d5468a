//! Many answers -> one: what a client is told when several shards have run the same statement.
//!
//! It sees messages of the wire protocol, never SQL text, and no socket. Where the parts do not fit together it is an
//! error: nothing is guessed.

pub mod tags;

pub use tags::{TagError, combine};
