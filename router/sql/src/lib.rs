//! Statement text -> facts. The only crate that knows the parser.
//!
//! It must not know shards, the catalog or the session. The parser's tree never leaves it.

pub mod facts;
