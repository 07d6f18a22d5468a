//! Moves: parts of a distribution go from one shard to another while the application runs.

pub mod verify;
