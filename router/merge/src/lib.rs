//! Many answers -> one: what a client is told when several shards have run the same statement, and the rows that several
//! shards have sent as one value.
//!
//! It sees messages of the wire protocol, never SQL text, and no socket. Where the parts do not fit together it is an
//! error: nothing is guessed.

pub mod rows;
pub mod tags;

pub use rows::{RowError, Rows, array_bytes, put_array};
pub use tags::{TagError, combine};
