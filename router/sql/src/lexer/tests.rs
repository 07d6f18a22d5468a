//! Where tokens are cut and what they mean, as Postgres's scanner does it.

use super::{Kind, lex};

/// The tokens as written, with a bar between them.
fn check(text: &str, expected: &str) {
    let tokens = lex(text).expect("the text is sound");
    let got: Vec<&str> = tokens.iter().map(|t| t.raw(text)).collect();
    assert_eq!(got.join(" | "), expected, "{text}");
}

fn error(text: &str, message: &str, position: usize) {
    let error = lex(text).expect_err(text);
    assert_eq!(
        (error.sqlstate, error.message.as_str(), error.position),
        ("42601", message, position)
    );
}

/// The value of a text that is one string constant.
fn string(text: &str, expected: Option<&str>) {
    let tokens = lex(text).expect("the text is sound");
    assert_eq!(tokens.len(), 1, "{text}");
    assert_eq!(
        tokens.first().and_then(|t| t.string(text)).as_deref(),
        expected,
        "{text}"
    );
}

fn name(text: &str, expected: Option<&str>) {
    let tokens = lex(text).expect("the text is sound");
    assert_eq!(tokens.len(), 1, "{text}");
    assert_eq!(
        tokens.first().and_then(|t| t.name(text)).as_deref(),
        expected,
        "{text}"
    );
}

#[test]
fn operators() {
    check("id>=-1", "id | >= | - | 1");
    check("id<>-1", "id | <> | - | 1");
    check("id=-1", "id | = | - | 1");
    check("a@-b", "a | @- | b");
    check("a *- b", "a | * | - | b");
    check("a +-+- b", "a | + | - | + | - | b");
    // So it is in Postgres, too: an operator with a `!` may end in a sign.
    check("a !=-1", "a | !=- | 1");
    check("a ~~-1", "a | ~~- | 1");
    check("a<>/*c*/1", "a | <> | 1");
    check("a<--c\n1", "a | < | 1");
    check("a->>'b'", "a | ->> | 'b'");
    check("f(a=>1, b := 2)", "f | ( | a | => | 1 | , | b | := | 2 | )");
    check("a=>-1", "a | => | - | 1");
    check("a::int[]", "a | :: | int | [ | ]");
    check("a[1:2]", "a | [ | 1 | : | 2 | ]");
    check("a?|b ?& c", "a | ?| | b | ?& | c");
    check("1..10", "1 | .. | 10");
    check("- -1", "- | - | 1");
    check("{", "{");
}

#[test]
fn numbers_and_parameters() {
    check(
        "1 1.5 .5 1. 1e3 1.5e-3 1e",
        "1 | 1.5 | .5 | 1. | 1e3 | 1.5e-3 | 1e",
    );
    check("$1 $23,$4", "$1 | $23 | , | $4");
    let kind = |text: &str| lex(text).expect("sound").first().map(|t| t.kind);
    assert_eq!(kind("1e3"), Some(Kind::Number));
    for text in ["0x1F", "1_000", "1a", "$1a", "0b1", "1e"] {
        assert_eq!(kind(text), Some(Kind::BadNumber), "{text}");
    }
    assert_eq!(kind("$"), Some(Kind::Other));
}

#[test]
fn strings() {
    string("'a''b'", Some("a'b"));
    string(r"'a\'", Some(r"a\"));
    string("''", Some(""));
    string("'a'\n'b'", Some("ab"));
    string("'a' -- comment\n 'b'\n\t'c'", Some("abc"));
    string(r"E'a\nb\'c\\'", Some("a\nb'c\\"));
    string(r"e'\101\x42\u0043\U00000044'", Some("ABCD"));
    string(r"E'\xc3\xa9'", Some("é"));
    string(r"E'\ud83d\ude00'", Some("\u{1F600}"));
    string("E'a'\n'\\n'", Some("a\n"));
    string(r"E'\xff'", None);
    string(r"E'\000'", None);
    string(r"E'\u12'", None);
    string(r"E'\ud83d'", None);
    string("$$a'b$$", Some("a'b"));
    string("$tag$a $$ b$tag$", Some("a $$ b"));
    string("$$$$", Some(""));
    string(r"U&'\0061\+000062\\'", Some(r"ab\"));
    string("U&'!0061' UESCAPE '!'", Some("a"));
    string(r"U&'\006'", None);
    string("b'01'", None);
    string("X'1f'", None);
    string("n'a'", None);
    check("'a' 'b'", "'a' | 'b'");
    check("'a' /* c */\n 'b'", "'a' | 'b'");
    check("a$$b$$", "a$$b$$");
    check("a $$b$$", "a | $$b$$");
}

#[test]
fn names() {
    name("Users", Some("users"));
    name("\"Users\"", Some("Users"));
    name("\"a\"\"b\"", Some("a\"b"));
    name("GRÜSSE", Some("grÜsse"));
    name(r#"U&"\0061bc""#, Some("abc"));
    name(r#"u&"!0061" uescape '!'"#, Some("a"));
    name(r#"U&"\006""#, None);
    name(&"x".repeat(70), Some(&"x".repeat(63)));
    // A character that does not fit wholly is left out.
    name(&format!("\"{}é\"", "x".repeat(62)), Some(&"x".repeat(62)));
    check("u & \"x\"", "u | & | \"x\"");
}

#[test]
fn comments() {
    check("a /* b /* c */ d */ e -- f\ng", "a | e | g");
    check("a --", "a");
    check("/*/**/*/", "");
    check("-/**/-", "- | -");
}

#[test]
fn errors() {
    error(
        "select 'abc",
        "unterminated quoted string at or near \"'abc\"",
        7,
    );
    error(
        "select E'a\\'",
        "unterminated quoted string at or near \"E'a\\'\"",
        7,
    );
    error(
        "b'0",
        "unterminated bit string literal at or near \"b'0\"",
        0,
    );
    error(
        "x'0",
        "unterminated hexadecimal string literal at or near \"x'0\"",
        0,
    );
    error(
        "\"abc",
        "unterminated quoted identifier at or near \"\"abc\"",
        0,
    );
    error(
        "a \"\" b",
        "zero-length delimited identifier at or near \"\"\"\"",
        2,
    );
    error(
        "$a$ b $b$",
        "unterminated dollar-quoted string at or near \"$a$ b $b$\"",
        0,
    );
    error(
        "a /* /* */",
        "unterminated /* comment at or near \"/* /* */\"",
        2,
    );
    let long = "@".repeat(64);
    error(
        &long,
        &format!("operator too long at or near \"{long}\""),
        0,
    );
}
