//! All the I/O of the router: listener, the one loop that carries out a session's steps, pools, health, HTTP, console.
//!
//! It must not know what SQL means; what a statement is and where it goes is asked of the session and the planner.

pub mod admin;
pub mod backend;
mod calls;
mod cancel;
pub mod check;
mod client;
pub mod config;
mod drains;
mod drive;
mod fence;
pub mod health;
mod holds;
pub mod http;
pub mod lanes;
pub mod listener;
pub mod mailbox;
pub mod marks;
pub mod metrics;
mod passwords;
pub mod pool;
mod random;
mod recovery;
pub mod registry;
pub mod run;
pub mod shared;
mod source;
pub mod stops;
pub mod verifier;
