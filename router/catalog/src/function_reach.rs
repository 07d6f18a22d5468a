//! A function's text -> the words that say what it may read or write, or that nothing can be said.
//!
//! The scan knows words, not grammar: a table's name in the text is enough. What the words mean is concluded in
//! `blind`, which knows all functions and the placement of every table.

use crate::function_body::{Token, tokens};
use crate::raw::RawReach;
use std::collections::BTreeSet;

/// Words that hold statements as text, so the text of strings counts like code.
const CODE_IN_TEXT: &[&str] = &["do", "create", "alter"];

/// Functions that run a query which they are given as text, or read a table which they are given by name.
const DYNAMIC: &[&str] = &[
    "ts_stat",
    "ts_rewrite",
    "xpath_table",
    "check_primary_key",
    "check_foreign_key",
    "pgrowlocks",
    "pg_background_launch",
];
const DYNAMIC_PREFIXES: &[&str] = &[
    "query_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
    "dblink",
    "crosstab",
    "connectby",
];

/// Reads one function. `text`: its body, or the name of its code in C; `defaults`: the defaults of its arguments.
pub(crate) fn read(language: &str, name: &str, text: &str, defaults: &str) -> RawReach {
    let written = match language {
        "sql" | "plpgsql" => words(&format!("{text} {defaults}")),
        "internal" | "c" => {
            if let Some(dynamic) = [name, text].into_iter().find(|name| is_dynamic(name)) {
                return RawReach::Blind(runs_text(dynamic));
            }
            words(defaults)
        }
        other => return RawReach::Blind(format!("it is written in {other}")),
    };
    let hidden = written
        .iter()
        .find(|word| word.as_str() == "execute" || word.as_str() == HIDDEN || is_dynamic(word));
    match hidden.map(String::as_str) {
        None => RawReach::Words(written),
        Some("execute") => RawReach::Blind("it runs SQL that it makes (EXECUTE)".to_owned()),
        Some(HIDDEN) => RawReach::Blind("its text hides names behind escapes".to_owned()),
        Some(word) => RawReach::Blind(runs_text(word)),
    }
}

fn is_dynamic(name: &str) -> bool {
    DYNAMIC.contains(&name)
        || DYNAMIC_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn runs_text(name: &str) -> String {
    format!("{name} reads tables that it is told by name or by a query's text")
}

/// As Postgres lists them for CREATE OPERATOR.
const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

/// Stands for a name that cannot be read; no name has such a character.
const HIDDEN: &str = "&\"";

/// The words of a text, in lower case, and its runs of operator characters. Strings and comments are left out only
/// where they certainly are such. Letters, digits and underscores make words, so that a quoted name may be several:
/// see `names`.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let code = tokens(text).filter(|tokens| {
        !tokens.iter().any(
            |token| matches!(token, Token::Word { text, .. } if CODE_IN_TEXT.contains(&text.as_str())),
        )
    });
    let mut operators = String::new();
    match code {
        Some(tokens) => {
            for token in &tokens {
                match token {
                    Token::Word { text, .. } => {
                        found.extend(names(text));
                        operators.push(' ');
                    }
                    Token::Other(char) => operators.push(*char),
                }
            }
        }
        None => {
            if text.to_lowercase().contains("u&\"") {
                found.insert(HIDDEN.to_owned());
            }
            found.extend(names(text));
            operators.push_str(text);
        }
    }
    let runs = operators.split(|c: char| !OPERATOR_CHARACTERS.contains(c));
    found.extend(runs.map(str::to_owned));
    found.remove("");
    found.into_iter().collect()
}

/// The words that a name consists of: one, unless it is quoted and has other characters.
pub(crate) fn names(name: &str) -> Vec<String> {
    name.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_may_reach() {
        let check = |language: &str, text: &str, expect: &str| {
            let read = match read(language, "f", text, "g(1)") {
                RawReach::Blind(why) => format!("! {why}"),
                RawReach::Words(words) => words.join(" "),
            };
            let same = read == expect || (expect.starts_with('!') && read.starts_with(expect));
            assert!(same, "{language} {text}: {read}");
        };
        check("sql", "select * from Users", "* from g select users");
        check("sql", "select 'users' -- t\n", "g select");
        check("plpgsql", "perform \"My Table\"", "g my perform table");
        check("sql", "select a<->b", "<-> a b g select");
        // Quoting that is not modelled: every word of the text counts.
        check("sql", "select E'\\'' || users", "1 e g select users ||");
        check("plpgsql", "do 'select users'", "1 do g select users");
        check("plpgsql", "execute 'x'", "! it runs SQL that it makes");
        check(
            "plpgsql",
            "EXECUTE $q$ x $q$",
            "! it runs SQL that it makes",
        );
        check("sql", "select u&\"\\0075sers\"", "! its text hides names");
        check("sql", "select query_to_xml('x')", "! query_to_xml reads");
        check("plpython3u", "pass", "! it is written in plpython3u");
        check(
            "internal",
            "query_to_xmlschema",
            "! query_to_xmlschema reads",
        );
        check("c", "crosstab", "! crosstab reads");
        check("c", "users", "g");
    }
}
