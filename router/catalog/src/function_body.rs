//! A function's text -> what it may leave behind on the connection, read cautiously.
//!
//! The scan knows tokens, not grammar: a function whose text holds anything that it cannot rule out is opaque. What the
//! called names mean is concluded in `function_class`, which knows all functions and relations.

use crate::raw::RawBody;
use std::collections::BTreeSet;

/// Words that make a function opaque wherever they stand: they leave something on the connection, end the
/// transaction, run text that is not there to be read, or write (so that triggers run).
const OPAQUE_WORDS: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "checkpoint",
    "cluster",
    "comment",
    "commit",
    "copy",
    "create",
    "deallocate",
    "delete",
    "discard",
    "do",
    "drop",
    "execute",
    "explain",
    "grant",
    "import",
    "insert",
    "listen",
    "load",
    "lock",
    "merge",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "set",
    "show",
    "temp",
    "temporary",
    "truncate",
    "unlisten",
    "update",
    "vacuum",
    "hold",
    "cursor",
];

/// Words before a parenthesis that call nothing.
const SYNTAX: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "between",
    "by",
    "case",
    "check",
    "coalesce",
    "cross",
    "distinct",
    "else",
    "elsif",
    "except",
    "exists",
    "extract",
    "filter",
    "for",
    "from",
    "greatest",
    "group",
    "having",
    "if",
    "in",
    "inner",
    "intersect",
    "into",
    "is",
    "join",
    "lateral",
    "least",
    "left",
    "like",
    "limit",
    "materialized",
    "natural",
    "not",
    "nullif",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "raise",
    "recursive",
    "return",
    "returns",
    "right",
    "row",
    "rows",
    "select",
    "setof",
    "some",
    "table",
    "then",
    "union",
    "unique",
    "using",
    "values",
    "when",
    "where",
    "while",
    "window",
    "with",
    "within",
    "interval",
    "overlay",
    "position",
    "substring",
    "trim",
    "perform",
    "query",
    "numeric",
    "decimal",
    "varchar",
    "char",
    "bit",
    "timestamp",
    "time",
    "timestamptz",
];

/// Reads one function. `config` says that it has SET clauses.
pub(crate) fn read(language: &str, definer: bool, config: bool, body: &str) -> RawBody {
    let opaque = |why: &str| RawBody::Opaque(why.to_owned());
    if definer {
        return opaque("it runs with its owner's rights");
    }
    if config {
        return opaque("it changes settings while it runs");
    }
    if language != "sql" && language != "plpgsql" {
        return RawBody::Opaque(format!("it is written in {language}"));
    }
    let Some(tokens) = tokens(body) else {
        return opaque("its text could not be read");
    };
    let mut calls = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (position, token) in tokens.iter().enumerate() {
        let Token::Word { text, quoted } = token else {
            continue;
        };
        if !quoted && OPAQUE_WORDS.contains(&text.as_str()) {
            return RawBody::Opaque(format!("its text has the word {}", text.to_uppercase()));
        }
        let called = matches!(tokens.get(position + 1), Some(Token::Other('(')));
        let syntax = !quoted && SYNTAX.contains(&text.as_str());
        if called && !syntax {
            calls.insert(text.clone());
        }
        names.insert(text.clone());
    }
    RawBody::Read {
        calls: calls.into_iter().collect(),
        names: names.into_iter().collect(),
    }
}

pub(crate) enum Token {
    Word { text: String, quoted: bool },
    Other(char),
}

/// Splits text into words and single other characters; strings, comments and numbers are left out. None: a quote or a
/// comment does not end, or a form of quoting that is not modelled was met.
pub(crate) fn tokens(body: &str) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, tail)| tail);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest)?;
        } else if first == '\'' {
            // Backslashes mean nothing here: a string that has one may be an E'' string, so nothing is concluded.
            let (inside, tail) = rest.get(1..)?.split_once('\'')?;
            if inside.contains('\\') {
                return None;
            }
            rest = tail;
        } else if first == '"' {
            let (inside, tail) = rest.get(1..)?.split_once('"')?;
            if tail.starts_with('"') {
                return None;
            }
            out.push(Token::Word {
                text: inside.to_owned(),
                quoted: true,
            });
            rest = tail;
        } else if first == '$' {
            // $1 or $$: a dollar-quoted string inside of a body is rare; its text may be code.
            let digits = rest
                .get(1..)?
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            if digits == 0 {
                return None;
            }
            rest = rest.get(1 + digits..)?;
        } else if first.is_alphabetic() || first == '_' {
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                .unwrap_or(rest.len());
            let (word, tail) = rest.split_at(length);
            // U&"..." hides a name behind escapes.
            if tail.starts_with('&') && word.eq_ignore_ascii_case("u") {
                return None;
            }
            out.push(Token::Word {
                text: word.to_lowercase(),
                quoted: false,
            });
            rest = tail;
        } else {
            if !first.is_whitespace() {
                out.push(Token::Other(first));
            }
            rest = rest.get(first.len_utf8()..)?;
        }
    }
    Some(out)
}

/// What stands after the comment at the start of `text`. Comments nest.
fn after_comment(text: &str) -> Option<&str> {
    let mut depth = 0_u32;
    let mut rest = text;
    loop {
        if let Some(tail) = rest.strip_prefix("/*") {
            depth += 1;
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = tail;
            if depth == 0 {
                return Some(rest);
            }
        } else {
            rest = rest.get(rest.chars().next()?.len_utf8()..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(body: &str) -> Option<String> {
        match read("plpgsql", false, false, body) {
            RawBody::Opaque(_) => None,
            RawBody::Read { calls, .. } => Some(calls.join(",")),
        }
    }

    #[test]
    fn bodies() {
        let check =
            |body: &str, expect: Option<&str>| assert_eq!(calls(body).as_deref(), expect, "{body}");
        check("begin return a + 1; end", Some(""));
        check("begin return lower(x) || f (y); end", Some("f,lower"));
        check(
            "begin if (a) then return upper(x); end if; end",
            Some("upper"),
        );
        check("begin set x = 1; end", None);
        check(
            "begin perform set_config('a','b',false); end",
            Some("set_config"),
        );
        check("begin execute 'select 1'; end", None);
        check("select 1 -- set\n, \"F\"(2)", Some("F"));
        check("select /* set /* x */ y */ g(1)", Some("g"));
        check("select $x$ set $x$", None);
        check("select E'\\' ; set x = 1; --'", None);
        check("select u&\"\\0066\"(1)", None);
        check("select 'open", None);
        check("select $1 + $2", Some(""));
        check("create temp table x()", None);
        check("insert into t values (1)", None);
    }

    #[test]
    fn rights_settings_and_languages() {
        for (language, definer, config) in [
            ("c", false, false),
            ("sql", true, false),
            ("sql", false, true),
        ] {
            assert!(matches!(
                read(language, definer, config, "select 1"),
                RawBody::Opaque(_)
            ));
        }
    }
}
