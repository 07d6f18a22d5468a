//! What is read from the tokens alone: statements of a message, hints, parameters, identifiers, spans.

use shardgate_sql::facts::{Body, Facts, FromItem, Hint, Statement};
use shardgate_sql::{analyze, analyze_view, split};

fn pieces(text: &str, expected: &[&str]) {
    let pieces = split(text).expect("the text is sound");
    let got: Vec<&str> = pieces
        .into_iter()
        .map(|p| text.get(p).expect("a piece of the text"))
        .collect();
    assert_eq!(got, expected, "{text}");
}

#[test]
fn statements_of_a_message() {
    pieces("select 1", &["select 1"]);
    pieces("select 1;", &["select 1"]);
    pieces(" select 1 ; ; select ';' ; ", &["select 1", "select ';'"]);
    pieces("", &[]);
    pieces(" -- nothing\n ; /* ; */", &[]);
    pieces("select (1;2); x", &["select (1;2)", "x"]);
    pieces(
        "copy t from stdin; delete from t",
        &["copy t from stdin", "delete from t"],
    );
    pieces(
        "begin; insert into t values (1); commit",
        &["begin", "insert into t values (1)", "commit"],
    );
    pieces("do $$ a; b $$; select 2", &["do $$ a; b $$", "select 2"]);
    pieces(
        "create function f() returns int begin atomic select case when a then 1 end; select 2; end; select 3",
        &[
            "create function f() returns int begin atomic select case when a then 1 end; select 2; end",
            "select 3",
        ],
    );
    pieces(
        "select begin atomic from t; delete from t",
        &["select begin atomic from t", "delete from t"],
    );
    pieces(
        "create rule r as on insert to t do (a; b); c",
        &["create rule r as on insert to t do (a; b)", "c"],
    );
    pieces(
        "/* shardgate: shard=a */ x; /* shardgate: shard=b */ y",
        &["/* shardgate: shard=a */ x", "/* shardgate: shard=b */ y"],
    );
    pieces(
        "x /* shardgate: shard=a */",
        &["x /* shardgate: shard=a */"],
    );
}

#[test]
fn a_message_that_is_refused() {
    let error = split("select 1; select 'a").expect_err("a string is not closed");
    assert_eq!(error.sqlstate, "42601");
    assert_eq!(
        error.to_string(),
        "unterminated quoted string at or near \"'a\""
    );
}

fn hint(text: &str, shard: Option<&str>, role: Option<&str>) {
    let expected = (shard.is_some() || role.is_some()).then(|| Hint {
        shard: shard.map(str::to_owned),
        role: role.map(str::to_owned),
    });
    assert_eq!(analyze(text).hint, expected, "{text}");
}

#[test]
fn hints() {
    hint(
        "/* shardgate: shard=s2 role=primary */ select 1",
        Some("s2"),
        Some("primary"),
    );
    hint(
        "-- a comment\n/* other */ /*shardgate: role=Replica*/ select 1",
        None,
        Some("replica"),
    );
    hint("select 1 /* shardgate: shard=s2 */", Some("s2"), None);
    hint("select 1 /* shardgate: shard='s2' */;", Some("s2"), None);
    hint("select /* shardgate: shard=s2 */ 1", None, None);
    hint("select '/* shardgate: shard=s2 */'", None, None);
    hint("-- /* shardgate: shard=s2 */\nselect 1", None, None);
    hint("/* shardgate: nonsense */ select 1", None, None);
    hint("/* shardgate: other=1 */ select 1", None, None);
    hint("select 1", None, None);
}

fn facts(text: &str, params: u16, literal_free: bool, identifiers: &[&str]) {
    let facts = analyze(text);
    assert_eq!(
        (facts.params, facts.literal_free),
        (params, literal_free),
        "{text}"
    );
    assert_eq!(facts.identifiers, identifiers, "{text}");
}

#[test]
fn parameters_and_identifiers() {
    facts(
        "select $2 from Users u where id = $1",
        2,
        true,
        &["users", "u", "id"],
    );
    facts(
        "select 'x', a from \"Users\", a -- b\n",
        0,
        false,
        &["a", "Users"],
    );
    facts(
        r#"select * from U&"i\006B" where x = 1"#,
        0,
        true,
        &["ik", "x"],
    );
    facts(
        "select a.user, \"select\" from public.table",
        0,
        true,
        &["a", "user", "select", "public", "table"],
    );
    facts("select $$x$$", 0, false, &[]);
    facts("do $$ delete from t $$", 0, false, &[]);
    facts("nonsense $3 from t", 3, true, &["nonsense", "t"]);
    facts("", 0, true, &[]);
}

/// The text under the span of the only relation.
fn span<'a>(text: &'a str, facts: &Facts) -> Option<&'a str> {
    let Statement::Query(query) = &facts.statement else {
        return None;
    };
    let relation = match &query.body {
        Body::Select(select) => match select.from.first()? {
            FromItem::Relation(relation) => relation,
            _ => return None,
        },
        Body::Insert(insert) => &insert.target,
        Body::Update(update) => &update.target,
        Body::Delete(delete) => &delete.target,
        _ => return None,
    };
    text.get(relation.span.clone()?)
}

#[test]
fn spans() {
    for (text, expected) in [
        (
            "select é, 'ü' from public . \"Users\" u",
            "public . \"Users\"",
        ),
        ("select x>=-1 from only (t) where a", "t"),
        ("table t", "t"),
        ("insert into a.b values (date '2020-01-01')", "a.b"),
        ("update only T set a = 1", "T"),
        (
            "with x as (select 1) delete from U&\"\\0061\" where b isnull",
            "U&\"\\0061\"",
        ),
        (
            "select interval '1' day, numeric(3) '1' from t for no key update",
            "t",
        ),
    ] {
        assert_eq!(span(text, &analyze(text)), Some(expected), "{text}");
    }
}

#[test]
fn inner_statements() {
    let text = "explain (route) select * from t";
    let Statement::Explain {
        inner, inner_text, ..
    } = analyze(text).statement
    else {
        panic!("EXPLAIN")
    };
    let inner_sql = text.get(inner_text).expect("a piece of the text");
    assert_eq!(inner_sql, "select * from t");
    assert_eq!(span(inner_sql, &inner), Some("t"));
    assert_eq!(*inner, analyze(inner_sql));
}

#[test]
fn views() {
    assert!(analyze_view(" SELECT users.id\n   FROM users\n  WHERE (users.id > 5);").is_some());
    assert!(analyze_view("SELECT 1 UNION ALL SELECT 2").is_some());
    assert!(analyze_view("DELETE FROM users").is_none());
    assert!(analyze_view("SELECT 1; SELECT 2").is_none());
    assert!(analyze_view("SELECT xmlelement(NAME a)").is_none());
}

#[test]
fn what_is_no_statement() {
    assert_eq!(analyze("").statement, Statement::Empty);
    assert_eq!(analyze(" -- x\n;").statement, Statement::Empty);
    for text in [
        "select 1; select 2",
        "create table a (b int); drop table c",
        "select 'a",
        "\"select\" 1",
    ] {
        assert!(
            matches!(analyze(text).statement, Statement::Unparsed { .. }),
            "{text}"
        );
    }
}
