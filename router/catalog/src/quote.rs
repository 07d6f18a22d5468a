//! Quoting of identifiers and literals for the statements that this crate writes.
//!
//! Every statement runs with `standard_conforming_strings = on` (see `connect`), so a literal needs its quotes doubled
//! and, when a backslash stands in it, the `E''` form that means the same under either setting.

/// `"name"`, always quoted.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// `'text'`
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_escaped() {
        for (input, expect) in [
            ("a", "'a'"),
            ("it's", "'it''s'"),
            ("a\\b'", " E'a\\\\b'''"),
            ("", "''"),
        ] {
            assert_eq!(literal(input), expect, "{input}");
        }
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(qualified("S", "t"), "\"S\".\"t\"");
    }
}
