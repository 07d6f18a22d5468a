//! The bytes of PostgreSQL's frontend/backend protocol (3.0 and 3.2).
//!
//! Decides where one message ends, how large it may be, and how the messages look that the router reads or makes.
//! Pure: no socket, no clock, no randomness (nonces and secrets are arguments), no SQL. Views borrow from the frame and
//! check every bound; bytes left over in a frame are an error, because whoever reads fewer bytes than Postgres does can be
//! led to see another message than Postgres sees. No decoder panics, whatever the bytes.

pub mod backend;
mod cursor;
mod encode;
mod error;
pub mod frame;
pub mod frontend;
pub mod scram;

pub use backend::TxStatus;
pub use cursor::DecodeError;
pub use error::{PgError, Severity, SqlState};
pub use frame::{Frame, FrameError, Limits, Side};
