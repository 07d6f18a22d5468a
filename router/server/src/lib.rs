//! All the I/O of the router: listener, the one loop that carries out a session's steps, pools, health, HTTP, console.
//!
//! It must not know what SQL means; what a statement is and where it goes is asked of the session and the planner.

pub mod admin;
pub mod check;
pub mod config;
pub mod health;
pub mod http;
pub mod metrics;
