//! Statement text -> facts. The only crate that knows the parser.
//!
//! It must not know shards, the catalog or the session. The parser's tree never leaves it.

mod analyze;
mod body;
mod command;
mod cursor;
mod error;
mod explain;
pub mod facts;
mod guard;
mod hint;
mod keywords;
pub mod lexer;
pub mod lift;
mod query;
mod split;
mod utility;
mod view;
mod visit;

pub use analyze::analyze;
pub use body::called_names;
pub use error::SqlError;
pub use split::split;
pub use view::analyze_view;
