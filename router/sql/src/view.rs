//! Bodies of views.

use crate::facts::{Body, Query};
use crate::lexer::{Kind, lex};
use crate::query;

/// The facts of a view's body as `pg_get_viewdef` prints it, with or without a semicolon behind it. None if it was
/// not understood for certain, or if it is no plain query: then nothing may be concluded about the view.
pub fn analyze_view(body: &str) -> Option<Query> {
    let tokens = lex(body).ok()?;
    let tokens = match tokens.split_last() {
        Some((last, rest)) if last.kind == Kind::Semicolon => rest,
        Some(_) | None => tokens.as_slice(),
    };
    let query = query::parse(body, tokens).ok()?;
    match &query.body {
        Body::Select(_) | Body::Values(_) | Body::SetOperation { .. } => Some(query),
        Body::Insert(_) | Body::Update(_) | Body::Delete(_) | Body::Opaque(_) => None,
    }
}
