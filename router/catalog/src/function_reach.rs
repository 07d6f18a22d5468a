//! A function's text -> the words that say what it may read or write, or that nothing can be said.
//!
//! The scan knows words, not grammar: a table's name in the text is enough. What the words mean is concluded in
//! `blind`, which knows all functions and the placement of every table.

use crate::function_body::{Token, tokens};
use crate::raw::RawReach;
use std::collections::BTreeSet;

/// Words that hold statements as text, so the text of strings counts like code.
const CODE_IN_TEXT: &[&str] = &["do", "create", "alter"];

/// Functions that run a query which they are given as text, or read a table which they are given by name: of Postgres
/// itself and of the extensions that come with it, and the names of their code in C.
const DYNAMIC: &[&str] = &[
    "check_primary_key",
    "check_foreign_key",
    "currtid2",
    "currtid_byrelname",
    "heap_force_freeze",
    "heap_force_kill",
    "pgrowlocks",
    "pg_background_launch",
    "pg_relpages",
    "ts_rewrite",
    "tsquery_rewrite_query",
    "xpath_table",
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
    "pgstat",
    "ts_stat",
];

/// Extensions of Postgres's own distribution: their code in C runs no SQL but in the functions above.
const CONTRIB: &[&str] = &[
    "adminpack",
    "amcheck",
    "autoinc",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dblink",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_trgm",
    "pg_visibility",
    "pg_walinspect",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgres_fdw",
    "refint",
    "seg",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "xml2",
];

/// A function as the catalog has it.
pub(crate) struct Source<'s> {
    pub language: &'s str,
    pub name: &'s str,
    /// Its body, or the name of its code in C.
    pub text: &'s str,
    /// The defaults of its arguments.
    pub defaults: &'s str,
    /// The extension that it came with.
    pub extension: Option<&'s str>,
    /// It is immutable, or takes values that only Postgres itself can give (operator classes and the like).
    pub computes: bool,
}

/// Reads one function.
///
/// Code in C cannot be read. It is taken for harmless if it is Postgres's own, or if an extension says that its result
/// depends on the arguments alone; any other may run SQL (SPI).
pub(crate) fn read(function: &Source<'_>) -> RawReach {
    let written = match function.language {
        "sql" | "plpgsql" => words(&format!("{} {}", function.text, function.defaults)),
        language @ ("internal" | "c") => {
            let names = [function.name, function.text];
            if let Some(dynamic) = names.into_iter().find(|name| is_dynamic(name)) {
                return RawReach::Blind(runs_text(dynamic));
            }
            let known = match function.extension {
                Some(extension) => CONTRIB.contains(&extension) || function.computes,
                None => language == "internal",
            };
            if !known {
                return RawReach::Blind("it is written in C, where it may run SQL".to_owned());
            }
            words(function.defaults)
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
        let source = |language: &str, text: &str, extension, computes| {
            let source = Source {
                language,
                name: "f",
                text,
                defaults: "g(1)",
                extension,
                computes,
            };
            read(&source)
        };
        let check = |language: &str, text: &str, expect: &str| {
            let read = match source(language, text, None, false) {
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
        check("internal", "ts_stat1", "! ts_stat1 reads");
        check("internal", "int8pl", "g");
        check("c", "users", "! it is written in C");
        for (extension, computes, blind) in [
            ("citext", false, false),
            ("dblink", false, false),
            ("vector", true, false),
            ("vector", false, true),
        ] {
            let read = source("c", "f", Some(extension), computes);
            assert_eq!(matches!(read, RawReach::Blind(_)), blind, "{extension}");
        }
    }
}
