//! The protocol and transaction state of one client: messages and events in, bytes and steps out.
//!
//! Pure: it never waits and knows no socket and no clock. So every protocol state can be tested by a script of messages in
//! memory. What it must not know: what SQL means (that is `sql` and `plan`), and how connections are made.

mod api;
mod backend;
mod client;
mod commands;
mod extended;
mod gather;
mod local;
mod login;
mod moves;
mod owed;
mod place;
mod planner;
mod provoke;
mod replies;
mod reset;
mod route;
mod sequences;
mod session;
mod settings;
mod settle;
mod several;
mod simple;
mod statements;
mod transaction;

#[cfg(test)]
mod tests;

pub use api::{Common, Edge, Event, Options, Output, SLOTS_MAX, Slot, Step, Wanted};
pub use backend::Backend;
pub use gather::budget::{GatherBudget, GatherLimits};
pub use login::{ClientKeys, Credential, LoggedIn, Login, LoginAction, LoginConfig, Method};
pub use planner::{Planned, Planner};
pub use session::{Counts, Session, SessionView};
pub use settings::Role;
pub use statements::Key;
