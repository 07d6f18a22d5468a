//! The scripts. Each runs on Postgres and through the router from the same state; the replies must be equal.

mod binds;
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
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Cases in which the router itself says an error that no server could be made to say; there it has no file, line and
/// routine (F, L, R). All else is compared byte for byte, and a case that needs no exception may not have one.
pub const OWN: &[(&str, &str)] = &[
    (
        "a finished begin again",
        "the portal is the router's: a BEGIN reaches a server with the first statement that needs one",
    ),
    (
        "a portal of begin twice",
        "the portal is the router's: a BEGIN reaches a server with the first statement that needs one",
    ),
];
