//! Texts made to hurt: nothing may panic, overflow a stack, or take more than linear time.

use proptest::prelude::*;
use shardgate_sql::facts::Statement;
use shardgate_sql::{analyze, analyze_view, split};
use std::time::{Duration, Instant};

/// The stack of a tokio worker and of a test thread.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Analyses on a thread of the usual stack and checks what must hold for every text.
fn survive(name: &str, sql: String) -> Statement {
    let named = name.to_owned();

    let work = move || {
        let started = Instant::now();
        let facts = analyze(&sql);
        let pieces = split(&sql);
        let _ = analyze_view(&sql);
        for piece in pieces.iter().flatten() {
            assert!(
                sql.get(piece.clone()).is_some(),
                "{named}: {piece:?} is no piece of the text"
            );
        }
        let taken = started.elapsed();
        assert!(taken < Duration::from_secs(20), "{named} took {taken:?}");
        // The result is dropped on this stack, too.
        let copy = facts.clone();
        assert_eq!(facts, copy);
        assert!(!format!("{facts:?}").is_empty());
        drop(copy);
        facts.statement
    };
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .expect("a thread")
        .join()
        .expect("no panic")
}

fn unparsed(name: &str, sql: String) {
    match survive(name, sql) {
        Statement::Unparsed { .. } => {}
        other => panic!(
            "{name} should not be parsed, but was: {:.200}",
            format!("{other:?}")
        ),
    }
}

fn chain(first: &str, link: &str, count: usize) -> String {
    format!("select {first}{}", link.repeat(count))
}

#[test]
fn long_chains() {
    for count in [90, 150, 600, 1_900, 5_000, 100_000] {
        for (first, link) in [
            ("1", " or 1"),
            ("a = 1", " or a = 1"),
            ("1", " and 1"),
            ("1", " + 1"),
            ("1", "::int"),
            ("1", " || 'x'"),
            ("1", " union select 1"),
            ("1", " union all select 1"),
            ("1", " is null"),
            ("1", " isnull"),
            ("a", " collate \"C\""),
            ("a", " at time zone 'UTC'"),
            ("a", "[1]"),
            ("a", ".b"),
            ("a", " in (1)"),
            ("a", " between 1 and 2"),
            ("a", " like 'x'"),
            ("* from a", " join b using (x)"),
            ("* from a", " natural join b"),
            ("* from a", " join b"),
            ("* from a", ", b"),
            ("1", ", 1"),
            ("1", " 'x'"),
            ("1", " case"),
            ("f", "(1)"),
            ("1 limit 1", " for update"),
        ] {
            survive(
                &format!("{first} ({link}) x {count}"),
                chain(first, link, count),
            );
        }
    }
}

#[test]
fn long_prefixes() {
    for count in [40, 90, 150, 1_900, 5_000, 100_000] {
        for link in [
            "not ",
            "- ",
            "+ ",
            "@ ",
            "~ ",
            "(",
            "((",
            "[",
            "case when ",
            "array[",
            "f(",
            "cast(",
            "select ",
            "(select ",
            "exists (",
            "row(",
            "1 + (",
            "x in (",
            "interval ",
            "only ",
            "from (",
            "with x as (",
            "explain ",
            "values (",
            "table ",
            "not not - ",
            "$$ ",
            "u&'",
            "begin ",
            "a ? (",
            "lateral ",
            "operator(",
            "{",
            "::",
            ":",
        ] {
            survive(
                &format!("select {link} x {count}"),
                format!("select {}1", link.repeat(count)),
            );
            survive(&format!("{link} x {count}"), link.repeat(count));
        }
    }
}

#[test]
fn nested_shapes() {
    for count in [5, 10, 20, 22, 24, 30, 40, 46, 48, 60, 95, 150, 199] {
        for (open, middle, close) in [
            ("select * from (", "select 1", ") x"),
            ("select (", "select 1", ")"),
            ("select 1 where exists (", "select 1", ")"),
            ("select a in (", "select 1", ")"),
            ("with x as (", "select 1", ") select * from x"),
            ("with x as (", "select 1", ") insert into t select * from x"),
            ("select array(", "select 1", ")"),
            ("select case when (", "select 1", ") then 2 end"),
            ("(", "select 1", ")"),
            ("(", "select 1", ") union select 2"),
            ("select 1 union (", "select 2", ")"),
        ] {
            survive(
                &format!("{open} x {count}"),
                [open.repeat(count), middle.into(), close.repeat(count)].concat(),
            );
        }
        for (open, close) in [
            ("(", ")"),
            ("f(", ")"),
            ("coalesce(1, ", ")"),
            ("case when ", " then 1 end"),
            ("case a when ", " then 1 else 2 end"),
            ("not (a = ", ")"),
            ("array[", "]"),
            ("row(1, ", ")"),
            ("cast(", " as int)"),
            ("a[", "]"),
            ("x in (1, ", ")"),
            ("x = any(", ")"),
            ("trim(", ")"),
            ("substring(a from ", ")"),
            ("extract(year from ", ")"),
            ("(a and ", ")"),
            ("(a or b and ", ")"),
            ("sum(1) over (order by ", ")"),
            ("sum(a) filter (where ", ")"),
            ("- (", ")"),
            ("a between 1 and (", ")"),
            ("(1, ", ")"),
        ] {
            let sql = [
                "select ",
                &open.repeat(count),
                "1",
                &close.repeat(count),
                " from t",
            ]
            .concat();
            survive(&format!("{open} x {count}"), sql);
        }
        for (open, middle, close) in [
            ("(", "a join b using (x)", ")"),
            ("(", "a", " join b using (x))"),
            ("(a join ", "b", " using (x))"),
            ("a join ", "b", " using (x)"),
            ("f((", "select 1", "))"),
            ("lateral (select * from ", "t", ") x"),
        ] {
            let sql = [
                "select * from ",
                &open.repeat(count),
                middle,
                &close.repeat(count),
            ]
            .concat();
            survive(&format!("{open} x {count}"), sql);
        }
    }
}

#[test]
fn limits_refuse() {
    unparsed("100k terms of OR", chain("a = 1", " or a = 1", 100_000));
    unparsed("100k unions", chain("1", " union select 1", 100_000));
    unparsed(
        "50k parentheses",
        format!("select {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
    );
    unparsed("a long list", chain("1", ", 1", 20_000));
    unparsed("many casts", chain("1", "::int", 1_000));
}

#[test]
fn limits_allow() {
    for (name, sql) in [
        ("600 ORs", chain("a = 1", " or a = 1", 600)),
        (
            "9000 values",
            format!("select 1 where a in (1{})", ",1".repeat(9_000)),
        ),
        (
            "1000 rows",
            format!("insert into t values (1,2,3){}", ",(1,2,3)".repeat(1_000)),
        ),
        (
            "30 parentheses",
            format!("select {}1{}", "(".repeat(30), ")".repeat(30)),
        ),
        ("60 concatenations", chain("a", " || 'x'", 60)),
        ("60 joins", chain("* from a", " join b using (x)", 60)),
    ] {
        match survive(name, sql) {
            Statement::Query(_) => {}
            other => panic!("{name}: {:.300}", format!("{other:?}")),
        }
    }
}

#[test]
fn large_texts() {
    let comments = format!("select 1 {}{}", "/*".repeat(200_000), "*/".repeat(200_000));
    match survive("nested comments", comments) {
        Statement::Query(_) => {}
        other => panic!("{other:?}"),
    }
    survive(
        "open comments",
        format!("select 1 {}", "/*".repeat(500_000)),
    );
    survive("quotes", "'".repeat(1_000_000));
    survive("double quotes", "\"".repeat(1_000_001));
    survive("dollars", "$a$ $b$ ".repeat(100_000));
    survive("dollar signs", "$".repeat(1_000_000));
    survive(
        "continued strings",
        format!("select {}", "'a'\n".repeat(200_000)),
    );
    survive(
        "comments between strings",
        format!("select 'a'{}'b'", "--\n".repeat(200_000)),
    );
    survive("operators", format!("select 1 {} 2", "+-".repeat(500_000)));
    survive(
        "minus and slash",
        format!("select 1 {} 2", "/-".repeat(500_000)),
    );
    survive("semicolons", ";".repeat(1_000_000));
    survive("statements", "select 1;".repeat(100_000));
    survive("words", "a ".repeat(500_000));
    survive("dots", "a.".repeat(500_000));
    survive("one word", "a".repeat(1_000_000));
    survive("one string", format!("select '{}'", "x".repeat(1_000_000)));
    survive(
        "typed strings",
        format!("select f{} 'x'", "(1) 'a'".repeat(3_000)),
    );
    survive("numbers", "1e+".repeat(300_000));
    survive("unicode", "é\u{1F600}".repeat(200_000));
    survive("hints", "/* shardgate: shard=a */".repeat(50_000));
    survive("line comments", "--/*\n".repeat(200_000));
    survive(
        "conflict",
        format!(
            "insert into t values (1) on conflict {}",
            "(a".repeat(6_000)
        ),
    );
    survive("conflicts", "on conflict (a) where ".repeat(3_000));
    survive("prefix operators", format!("select {}", "@ (".repeat(150)));
    survive("sums", format!("select {}", "@ a * b ".repeat(4_000)));
    survive(
        "create",
        format!(
            "create table t ({})",
            "references x, like y, ".repeat(50_000)
        ),
    );
    survive(
        "create as",
        format!("create table t {}", "as (".repeat(50_000)),
    );
    survive(
        "views",
        format!("create view v {}", "as select ".repeat(50_000)),
    );
    survive("grant", format!("grant {}", "on ".repeat(100_000)));
    survive("fetch", "fetch ".repeat(100_000));
    survive(
        "merge",
        format!("merge into t {}", "using (select ".repeat(100)),
    );
    survive(
        "explain",
        format!("explain (route) {}", "prepare a as ".repeat(10_000)),
    );
    survive(
        "explain declare",
        format!("explain {}", "declare a cursor for ".repeat(10_000)),
    );
}

/// Pieces from which texts are put together that come near to SQL.
const PIECES: &[&str] = &[
    "select",
    "from",
    "where",
    "insert into",
    "values",
    "update",
    "set",
    "delete from",
    "with",
    "as",
    "union all",
    "join",
    "on",
    "using",
    "order by",
    "group by",
    "limit",
    "for update",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    ";",
    "::",
    ":=",
    "=>",
    "=",
    "<>-",
    ">=-",
    "*",
    "+",
    "-",
    "||",
    "@",
    "!!",
    "'a'",
    "'",
    "\"",
    "\"A\"",
    "$1",
    "$",
    "$$",
    "e'\\'",
    "u&\"\\0061\"",
    "1",
    "1.5e3",
    "0x1",
    "a",
    "t",
    "only",
    "table",
    "isnull",
    "notnull",
    "interval '1' day",
    "not",
    "null",
    "case",
    "when",
    "end",
    "exists",
    "any",
    "cast",
    "int",
    "over",
    "filter",
    "returning",
    "on conflict",
    "do",
    "nothing",
    "overriding system value",
    "begin",
    "copy",
    "explain",
    "(route)",
    "prepare",
    "declare c cursor for",
    "create",
    "view",
    "trigger",
    "alter",
    "drop",
    "grant",
    "merge into",
    "lateral",
    "operator(",
    "pg_catalog",
    "é",
    "\n",
    "--",
    "/*",
    "*/",
    "uescape '!'",
    "date '2020-01-01'",
    "exclude ties",
    "both",
    "variadic",
    "array",
    "row",
    "between",
    "symmetric",
    "like",
    "tablesample system (1)",
    "current of c",
    "default",
    "b'0'",
    "x'1'",
    "n'a'",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(sql in "\\PC{0,80}") {
        check(&sql);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn nearly_sql(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..40)) {
        check(&pieces.join(" "));
        check(&pieces.concat());
    }
}

fn check(sql: &str) {
    let _ = analyze(sql);
    let _ = analyze_view(sql);
    if let Ok(tokens) = shardgate_sql::lexer::lex(sql) {
        let mut end = 0;
        for token in &tokens {
            assert!(
                end <= token.start && token.start < token.end,
                "tokens overlap in {sql:?}"
            );
            assert!(
                sql.get(token.range()).is_some(),
                "a token is no piece of {sql:?}"
            );
            end = token.end;
        }
        let pieces = split(sql).expect("the text was lexed");
        let mut end = 0;
        for piece in pieces {
            assert!(
                end <= piece.start && piece.start < piece.end,
                "pieces overlap in {sql:?}"
            );
            assert!(
                sql.get(piece.clone())
                    .is_some_and(|p| !p.trim_ascii().is_empty())
            );
            end = piece.end;
        }
    }
}
