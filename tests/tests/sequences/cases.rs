//! The scripts. Each runs on Postgres and through the router from the same state; the replies must be equal.

mod binds;
mod corners;
mod errors;
mod extended;
mod held;
mod own;
mod reset;
mod session;
mod simple;
pub mod spread;

/// Name and messages.
pub type Case = (&'static str, &'static [&'static str]);

/// All cases on tables that are on one shard.
pub fn all() -> impl Iterator<Item = Case> {
    [
        simple::CASES,
        extended::CASES,
        session::CASES,
        errors::CASES,
        binds::CASES,
        held::CASES,
        own::CASES,
        reset::CASES,
        corners::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
