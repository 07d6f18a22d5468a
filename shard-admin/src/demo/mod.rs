//! A throw-away cluster on this machine: real shards with replicas, a router, a sample schema.
//!
//! `start` makes or re-opens it, `stop` ends its processes by what `state` has written down, `destroy` removes it.
//! It is made of the same parts as the tests' clusters and knows nothing of how arguments are read.

pub mod catalog;
mod guide;
mod place;
mod sample;
mod start;
mod state;
mod status;
mod stop;
mod supervise;

pub use guide::guide;
pub use place::{Place, default_dir};
pub use sample::Sample;
pub use start::{Demo, StartOptions, start};
pub use state::State;
pub use status::{json, status_text};
pub use stop::{destroy, stop};
pub use supervise::{EndSignals, run_until_signal};

/// The database that every shard has and that clients connect to.
pub const DATABASE: &str = "app";
