//! Moves between real servers: what is copied and followed, who may write meanwhile, what is left afterwards.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "moves/fixture.rs"]
mod fixture;
#[path = "moves/gate.rs"]
mod gate;
#[path = "moves/kills.rs"]
mod kills;
#[path = "moves/methods.rs"]
mod methods;
#[path = "moves/routers.rs"]
mod routers;
mod support;
#[path = "moves/whole.rs"]
mod whole;
#[path = "moves/writers.rs"]
mod writers;
