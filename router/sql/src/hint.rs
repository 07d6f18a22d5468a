//! The router's hints in comments: `/* shardgate: shard=s2 role=primary */` before a statement or at its end.

use crate::facts::Hint;
use crate::lexer::Token;

/// The hint in the comments before the first token and behind the last one. A hint that is not understood is none:
/// a comment must never make a statement fail.
pub(crate) fn find(text: &str, tokens: &[Token]) -> Option<Hint> {
    let first = tokens.first().map_or(text.len(), |t| t.start);
    let last = tokens.last().map_or(text.len(), |t| t.end);
    let leading = text.get(..first).and_then(in_blanks);
    leading.or_else(|| text.get(last..).and_then(in_blanks))
}

/// Looks through a stretch of blanks and comments.
fn in_blanks(blanks: &str) -> Option<Hint> {
    let mut rest = blanks;
    while let Some(start) = rest.find("/*") {
        // A line comment may contain the beginning of a block comment.
        if let Some(line) = rest.get(..start)?.find("--") {
            let ended = rest.get(line..)?;
            rest = ended.get(ended.find(['\n', '\r'])?..)?;
            continue;
        }
        let body = rest.get(start + 2..)?;
        let end = body.find("*/")?;
        if let Some(hint) = body.get(..end).and_then(parse) {
            return Some(hint);
        }
        rest = body.get(end + 2..)?;
    }
    None
}

fn parse(comment: &str) -> Option<Hint> {
    let settings = comment.trim().strip_prefix("shardgate:")?;
    let mut hint = Hint::default();
    for setting in settings
        .split([' ', '\t', '\n', '\r', ','])
        .filter(|s| !s.is_empty())
    {
        let (name, value) = setting.split_once('=')?;
        let value = value.trim_matches(['\'', '"']).to_owned();
        match name.to_ascii_lowercase().as_str() {
            "shard" => hint.shard = Some(value),
            "role" => hint.role = Some(value.to_ascii_lowercase()),
            _ => return None,
        }
    }
    (hint.shard.is_some() || hint.role.is_some()).then_some(hint)
}
