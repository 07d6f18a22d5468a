//! Lifting constants out of texts: what is lifted, what is left alone, and that one shape is one meaning.

use proptest::prelude::*;
use shardgate_sql::lexer::{Kind, lex};
use shardgate_sql::lift::{Class, TextShape, analyze_lifted, lift};

/// The lifted values, if the text can be lifted and its constants stand for parameters.
fn values(text: &str) -> Option<Vec<String>> {
    let shape = lift(text)?;
    analyze_lifted(text, &shape)?;
    let values = shape.literals.iter().map(|l| l.value(text).into_owned());
    Some(values.collect())
}

fn check(text: &str, expect: Option<&[&str]>) {
    let found = values(text);
    let found: Option<Vec<&str>> = found
        .as_ref()
        .map(|list| list.iter().map(String::as_str).collect());
    assert_eq!(found.as_deref(), expect, "{text}");
}

#[test]
fn a_comment_that_opens_another_by_its_last_character_is_left_alone() {
    check("SELECT a FROM t /*/*/ */ */ WHERE id = 5", None);
    check("SELECT a FROM t /*/*/ WHERE id = 5", None);
    check("SELECT a FROM t /*/ x */ WHERE id = 5", Some(&["5"]));
}

#[test]
fn plain_constants_are_lifted() {
    check("SELECT * FROM t WHERE id = 5", Some(&["5"]));
    check("select a from t where id=5;", Some(&["5"]));
    check(
        "  SELECT a FROM t WHERE id IN (1, 2,3) ;\n",
        Some(&["1", "2", "3"]),
    );
    check(
        "INSERT INTO t (id, name, price) VALUES (1, 'O''Brien', 19.99)",
        Some(&["1", "O'Brien", "19.99"]),
    );
    check(
        "UPDATE t SET a = a + -4023 WHERE id = -7 AND b = 'x'",
        Some(&["-4023", "-7", "x"]),
    );
    check("UPDATE t SET a = a - 5 WHERE id = 1", Some(&["5", "1"]));
    check(
        "SELECT a FROM t WHERE id = 5 LIMIT 10 OFFSET 3",
        Some(&["5", "10", "3"]),
    );
    check("SELECT a -> 'k' FROM t WHERE id = 1", Some(&["k", "1"]));
    check("SELECT 'x' LIKE 'y' ESCAPE '!'", Some(&["x", "y", "!"]));
    check("SELECT '5'::int4, 6::text", Some(&["5", "6"]));
    check(
        "DELETE FROM t WHERE id = 99999999999",
        Some(&["99999999999"]),
    );
    check("SELECT f(1, b => 'x')", Some(&["1", "x"]));
    check("WITH x AS (SELECT 1 AS a) SELECT a FROM x", Some(&["1"]));
    check(
        "SELECT CASE WHEN a = 1 THEN 'b' ELSE 'c' END FROM t WHERE id = 2",
        Some(&["1", "b", "c", "2"]),
    );
    check("SELECT \"a'1\" FROM \"t 2\" WHERE id = 3", Some(&["3"]));
    check(
        "SELECT /* trace 'x' 77 */ a FROM t -- it's\n WHERE id = 3",
        Some(&["3"]),
    );
}

#[test]
fn what_belongs_to_the_grammar_stays_in_the_shape() {
    // The 1 of ORDER BY is a column, the strings are constants of a type.
    check("SELECT a FROM t WHERE id = 5 ORDER BY 1", Some(&["5"]));
    check("SELECT a FROM t WHERE id = 5 GROUP BY 1", Some(&["5"]));
    check(
        "SELECT a FROM t WHERE d > date '2020-01-01' AND id = 5",
        Some(&["5"]),
    );
    check(
        "SELECT a FROM t WHERE d > now() - interval '1 day' AND id = 5",
        Some(&["5"]),
    );
    check(
        "SELECT a FROM t WHERE d > \"date\" '2020-01-01' AND id = 5",
        Some(&["5"]),
    );
}

#[test]
fn odd_texts_are_left_alone() {
    for text in [
        "",
        "BEGIN",
        "SET x = 5",
        "EXPLAIN SELECT 5",
        "SELECT",
        "SELECT a FROM t",
        "SELECT $1, 5",
        "SELECT $$x$$, 5",
        "SELECT 5; SELECT 6",
        "SELECT E'a\\'b', 5",
        "SELECT B'01', 5",
        "SELECT U&'x', 5",
        "SELECT N'x', 5",
        "SELECT 1e5",
        "SELECT 0x1F",
        "SELECT 1_000",
        "SELECT .5",
        "SELECT 1..2",
        "SELECT 'a'\n'b', 5",
        "SELECT 'open",
        "SELECT \"open, 5",
        "SELECT 5 /* open",
        "SELECT 5 /* a /* b */ c */",
        "SELECT a::varchar(5) FROM t",
        "SELECT -5::int2",
        "SELECT 'a' 'b'",
        "/* shardgate: shard=s2 */ SELECT 5",
        "SELECT 5 FROM t TABLESAMPLE system (10)",
        "5",
        "'x'",
    ] {
        check(text, None);
    }
}

#[test]
fn a_sign_is_a_part_of_the_shape() {
    let shape = |text: &str| lift(text).expect("a constant").text;
    assert_eq!(shape("SELECT (5)"), shape("SELECT (6)"));
    assert_ne!(shape("SELECT (5)"), shape("SELECT (-5)"));
    check("SELECT (-5::text)", None);
}

#[test]
fn classes_are_those_of_postgres() {
    let classes = |text: &str| -> Vec<Class> {
        let shape = lift(text).expect("constants");
        shape.literals.iter().map(|l| l.class).collect()
    };
    use Class::{Int4, Int8, Numeric, Unknown};
    assert_eq!(
        classes(
            "SELECT 1, 2147483647, 2147483648, -2147483648, 9223372036854775807, 9223372036854775808, 1.0, '1'"
        ),
        [Int4, Int4, Int8, Int8, Int8, Numeric, Numeric, Unknown]
    );
    assert_eq!(classes("SELECT 0000000000000000000000001"), [Int4]);
}

/// Pieces of texts that meet in every order.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "IN",
        "(",
        ")",
        ",",
        "t",
        "a.b",
        "\"q\"",
        "=",
        "-",
        "+",
        "->>",
        "::",
        "int",
        "varchar(3)",
        "date",
        "interval",
        "LIMIT",
        "ORDER BY",
        "VALUES",
        "INSERT INTO t",
        "--c\n",
        "/*c*/",
        "\n",
        ";",
        "[",
        "]",
        "e",
        "N",
        "U&",
        "NOT",
        "LIKE",
        "BETWEEN",
        "CASE WHEN",
        "THEN",
        "END",
        "*",
        "<",
        "@",
        ".",
        ":",
        "''",
        "NULL",
        "ARRAY",
        "AS x",
        "UNION ALL SELECT",
        "COLLATE \"C\"",
        "AT TIME ZONE",
        "OPERATOR(pg_catalog.=)",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        3 => fixed,
        1 => "[0-9]{1,12}",
        1 => "'[a-z0-9 ]{0,4}'",
        1 => "[0-9]{1,3}\\.[0-9]{0,2}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let glue = prop::sample::select(vec!["", " ", " ", " "]);
    prop::collection::vec((piece(), glue), 0..14).prop_map(|parts| {
        let mut text = "SELECT ".to_owned();
        for (piece, glue) in parts {
            text.push_str(&piece);
            text.push_str(glue);
        }
        text
    })
}

/// Texts near to what applications write: most of them can be lifted.
fn sane() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[0-9]{1,11}",
        "-[0-9]{1,4}",
        "'[a-z ]{0,3}'",
        "[0-9]{1,3}\\.[0-9]{1,2}",
        "'a''b'"
    ];
    let column = prop::sample::select(vec!["a", "t.b", "\"C\"", "lower(d)"]);
    let op = prop::sample::select(vec!["=", "<", " <> ", ">=", " LIKE ", "||", "->>", "+"]);
    let term = (column, op, value.clone()).prop_map(|(c, o, v)| format!("{c}{o}{v}"));
    let list = prop::collection::vec(value, 1..4)
        .prop_map(|values| format!("a IN ({})", values.join(", ")));
    let condition = prop::collection::vec(prop_oneof![3 => term, 1 => list], 1..4);
    (
        condition,
        prop::sample::select(vec!["", " LIMIT 5", " ORDER BY 1", ";", " -- x"]),
    )
        .prop_map(|(terms, tail)| {
            format!("SELECT a, 'k' FROM t WHERE {}{tail}", terms.join(" AND "))
        })
}

/// The text with other constants of the same classes.
fn with_others(text: &str, shape: &TextShape, seed: u64) -> String {
    let mut result = String::new();
    let mut at = 0;
    for (n, literal) in (seed..).zip(&shape.literals) {
        result.push_str(&text[at..literal.range.start]);
        at = literal.range.end;
        let sign = if text[literal.range.clone()].starts_with('-') {
            "-"
        } else {
            ""
        };
        match literal.class {
            Class::Int4 => result.push_str(&format!("{sign}{}", n % 1000)),
            Class::Int8 => result.push_str(&format!("{sign}{}", 5_000_000_000 + n)),
            Class::Numeric => result.push_str(&format!("{sign}{}.{}", n % 100, n % 7)),
            Class::Unknown => result.push_str(
                ["'z'", "''", "'it''s'", "'-- x'", "'/* y'", "'5'", "'a\\'"]
                    [usize::try_from(n % 7).expect("small")],
            ),
        }
    }
    result.push_str(&text[at..]);
    result
}

/// Token kinds, and the bytes of all that is no constant.
fn skeleton(text: &str, shape: &TextShape) -> Vec<(Kind, String)> {
    let tokens = lex(text).expect("the text can be read");
    let constant = |start: usize| shape.literals.iter().any(|l| l.range.contains(&start));
    tokens
        .iter()
        .map(|t| {
            let raw = if constant(t.start) { "" } else { t.raw(text) };
            (t.kind, raw.to_owned())
        })
        .collect()
}

/// Facts without the places in the text.
fn meaning(text: &str, shape: &TextShape) -> String {
    let facts = analyze_lifted(text, shape).expect("the shape is known to be good");
    let shown = format!("{facts:?}");
    let mut result = String::new();
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("span: ") {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find([',', '}']).expect("more follows");
        rest = &rest[end..];
    }
    result + rest
}

fn one_shape_is_one_meaning(text: &str, seed: u64) {
    let Some(shape) = lift(text) else { return };
    let known = analyze_lifted(text, &shape).is_some();
    let other = with_others(text, &shape, seed);
    let again = lift(&other).unwrap_or_else(|| panic!("{text:?} is lifted, {other:?} is not"));
    assert_eq!(shape.text, again.text, "{text:?} and {other:?}");
    if known {
        assert_eq!(
            skeleton(text, &shape),
            skeleton(&other, &again),
            "{text:?} and {other:?}"
        );
        assert_eq!(
            meaning(text, &shape),
            meaning(&other, &again),
            "{text:?} and {other:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn any_text(text in text(), seed in 0u64..10_000) {
        one_shape_is_one_meaning(&text, seed);
    }

    #[test]
    fn sane_text(text in sane(), seed in 0u64..10_000) {
        one_shape_is_one_meaning(&text, seed);
        // They are what lifting is for.
        prop_assert!(lift(&text).is_some_and(|shape| analyze_lifted(&text, &shape).is_some()), "{text}");
    }

    #[test]
    fn bytes_never_panic(text in "\\PC{0,40}") {
        let text = format!("SELECT {text}");
        if let Some(shape) = lift(&text) {
            let _ = analyze_lifted(&text, &shape);
        }
    }
}
