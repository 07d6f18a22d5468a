//! What a function's body calls, read cautiously from its tokens.
//!
//! The scan knows no grammar. It answers with every name that might be called, or not at all: a body that may leave
//! something behind on the connection, or run text that is not there to be read, has no list.

use crate::lexer::{Kind, Token, lex};
use std::collections::BTreeSet;

/// Words that, wherever they stand, may mean such a thing: settings, prepared statements, temporary objects,
/// notifications, cursors that outlive the transaction, text made at run time, transaction control, COPY.
const OPAQUE_WORDS: &[&str] = &[
    "call",
    "commit",
    "copy",
    "deallocate",
    "discard",
    "do",
    "execute",
    "hold",
    "listen",
    "load",
    "pg_temp",
    "prepare",
    "reset",
    "rollback",
    "temp",
    "temporary",
    "unlisten",
];

/// Functions that keep state on the connection, sorted.
const OPAQUE_FUNCTIONS: &[&str] = &[
    "currval",
    "lastval",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_export_snapshot",
    "pg_notify",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "set_config",
    "setseed",
    "ts_rewrite",
    "ts_stat",
];

/// Beginnings of names of functions that do so, or that reach other databases.
const OPAQUE_PREFIXES: &[&str] = &[
    "dblink",
    "lo_",
    "loread",
    "lowrite",
    "pg_temp_",
    "cursor_to_xml",
    "database_to_xml",
    "schema_to_xml",
    "table_to_xml",
];

/// The names (folded, without their schemas) before an open parenthesis in the body of a function in `language`
/// `sql` or `plpgsql`, so that a caller can go on with the functions among them. None: the body is opaque, or its
/// language is another one.
pub fn called_names(language: &str, body: &str) -> Option<Vec<String>> {
    if !matches!(language, "sql" | "plpgsql") {
        return None;
    }
    let tokens = lex(body).ok()?;
    let mut names = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if !token.kind.is_name() {
            continue;
        }
        let name = token.name(body)?;
        let next = tokens.get(index + 1);
        let called = next.is_some_and(|t| t.kind == Kind::LParen);
        if is_opaque(body, &tokens, index, token, &name) {
            return None;
        }
        if called {
            if OPAQUE_FUNCTIONS.binary_search(&name.as_str()).is_ok()
                || OPAQUE_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            {
                return None;
            }
            names.insert(name);
        }
    }
    Some(names.into_iter().collect())
}

fn is_opaque(body: &str, tokens: &[Token], index: usize, token: &Token, name: &str) -> bool {
    if name.starts_with("pg_temp") {
        return true;
    }
    if token.kind != Kind::Word {
        return false;
    }
    let before = index.checked_sub(1).and_then(|i| tokens.get(i));
    match name {
        // UPDATE .. SET and ON CONFLICT .. SET follow a name or UPDATE; the command begins a statement.
        "set" => before.is_none_or(|t| {
            let begins = ["begin", "then", "else", "loop"]
                .iter()
                .any(|word| t.is_word(body, word));
            t.kind == Kind::Semicolon || t.is_op(body, ">>") || begins
        }),
        // ON CONFLICT DO is no DO.
        "do" => {
            let next = tokens.get(index + 1);
            !next.is_some_and(|t| t.is_word(body, "nothing") || t.is_word(body, "update"))
        }
        // A cursor's or a loop's text, made at run time.
        _ => OPAQUE_WORDS.binary_search(&name).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(language: &str, body: &str, expected: Option<&[&str]>) {
        let names = called_names(language, body);
        let names: Option<Vec<&str>> = names
            .as_ref()
            .map(|n| n.iter().map(String::as_str).collect());
        assert_eq!(names.as_deref(), expected, "{body}");
    }

    #[test]
    fn lists_are_sorted() {
        assert!(OPAQUE_WORDS.is_sorted());
        assert!(OPAQUE_FUNCTIONS.is_sorted());
    }

    #[test]
    fn names_of_calls() {
        check("sql", "select 1", Some(&[]));
        check(
            "sql",
            "select F(a), s.\"G\"(b) from h(1)",
            Some(&["G", "f", "h"]),
        );
        check(
            "sql",
            "update t set a = 1; select count(*) from t",
            Some(&["count"]),
        );
        check(
            "sql",
            "insert into t values (1) on conflict do nothing",
            Some(&["values"]),
        );
        check(
            "sql",
            "insert into t select 1 on conflict do update set a = f(1)",
            Some(&["f"]),
        );
        check(
            "plpgsql",
            "begin if new.a then new.b := now(); end if; return new; end",
            Some(&["now"]),
        );
        check(
            "sql",
            "select pg_advisory_xact_lock(1), 'execute', nextval('s')",
            Some(&["nextval", "pg_advisory_xact_lock"]),
        );
    }

    #[test]
    fn opaque_bodies() {
        for body in [
            "begin execute 'select 1'; end",
            "begin set x = 1; end",
            "begin a := 1; set local x = 1; end",
            "begin if a then set x to 1; end if; end",
            "select set_config('a', 'b', false)",
            "select pg_catalog.SETSEED(0.5)",
            "create temp table t (a int)",
            "select * from pg_temp.t",
            "select pg_advisory_lock(1)",
            "select dblink_exec('x')",
            "select lo_create(1)",
            "for r in execute q loop end loop",
            "return query execute q",
            "declare c cursor with hold for select 1",
            "do $$ begin end $$",
            "call p()",
            "prepare a as select 1",
            "copy t to stdout",
            "select 'unterminated",
        ] {
            check("plpgsql", body, None);
        }
        check("c", "select 1", None);
    }
}
