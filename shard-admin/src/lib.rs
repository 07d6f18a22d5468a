//! What the administration binary is made of; the tests use its [`cluster`] to start real servers.
//!
//! `cli` reads arguments and prints, one file for each verb; `check` finds what could go wrong; `demo` runs a throw-away cluster; `cluster` starts servers.
//! What a change of the catalog means is decided by `shardgate_catalog` alone.

pub mod check;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod failure;
pub mod output;
