//! What the black-box tests share: a deployment (shards, catalog, router) and the drivers that talk to it.
//!
//! It starts real servers with the same code as `shard-admin demo`. Nothing here knows how the router works inside.
//! A test takes one [`Running`] and asks many things of it: each costs about a second and six processes, and under
//! nextest every test is a process of its own.

pub mod drivers;
pub mod leftovers;
pub mod running;

pub use drivers::{
    Finished, node, pgbench, psql, python, python_command, run, shard_admin, shard_admin_binary,
};
pub use leftovers::assert_no_process_in;
pub use running::{Running, RunningBuilder, Session};
