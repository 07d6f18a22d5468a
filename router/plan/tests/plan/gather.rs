//! Reads over several shards: for which of them rows are gathered, the text that home runs, and why others are refused.

use crate::fixture::*;
use shardgate_plan::{Decision, Gather, Refusal};

/// The decision outside of anything else.
fn decide(fixture: &Fixture, sql: &str) -> Decision {
    let sql = fill(sql);
    fixture.compile(&sql).decide(&[], &fixture.snapshot)
}

fn gathered(sql: &str) -> Gather {
    match decide(&Fixture::new(), sql) {
        Decision::Gather(gather, _) => gather.as_ref().clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// The text, with `U` for the rows of `users` as the first parameter behind the client's, and so on.
fn check(sql: &str, expect: &str) {
    let gather = gathered(sql);
    let mut expect = fill(expect);
    for (index, table) in gather.tables.iter().enumerate() {
        let number = usize::from(gather.first_param) + index;
        let name = format!("\"{}\".\"{}\"", table.schema, table.name);
        let rows = format!(
            "pg_catalog.unnest(pg_catalog.array_cat(ARRAY(SELECT shardgate_row FROM {name} AS shardgate_row), ${number}::{name}[]))"
        );
        expect = expect.replace(&format!("<{}>", table.name), &rows);
    }
    assert_eq!(gather.text, expect, "{sql}");
}

fn refused_with(fixture: &Fixture, sql: &str) -> Refusal {
    match decide(fixture, sql) {
        Decision::Refused(refusal) => refusal,
        other => panic!("{sql}: {other:?}"),
    }
}

/// `why`: a part of the detail.
fn check_refused(sql: &str, why: &str) {
    let refusal = refused_with(&Fixture::new(), sql);
    assert_eq!(refusal.sqlstate, "0A000", "{sql}");
    let detail = refusal.detail.unwrap_or_default();
    assert!(detail.contains(why), "{sql}: {detail}");
}

#[test]
fn texts() {
    check("SELECT * FROM users", r#"SELECT * FROM <users> AS "users""#);
    check("SELECT * FROM users u", "SELECT * FROM <users> u");
    check(
        "SELECT * FROM users AS u (a)",
        "SELECT * FROM <users> AS u (a)",
    );
    check(
        "SELECT * FROM public . users WHERE age > 3",
        r#"SELECT * FROM <users> AS "users" WHERE age > 3"#,
    );
    check(
        "/* ä */ SELECT 'users' FROM \"users\"",
        r#"/* ä */ SELECT 'users' FROM <users> AS "users""#,
    );
    check("TABLE users", r#"SELECT * FROM <users> AS "users""#);
    check(
        "(table users) union all select * from users",
        r#"(SELECT * FROM <users> AS "users") union all select * from <users> AS "users""#,
    );
    check(
        "SELECT * FROM users a JOIN users b ON a.id = b.age, orders",
        r#"SELECT * FROM <users> a JOIN <users> b ON a.id = b.age, <orders> AS "orders""#,
    );
    check(
        "SELECT * FROM (users CROSS JOIN orders) x",
        r#"SELECT * FROM (<users> AS "users" CROSS JOIN <orders> AS "orders") x"#,
    );
    check(
        "SELECT (SELECT count(*) FROM orders o WHERE o.id = n.id) FROM notes n, countries c",
        "SELECT (SELECT count(*) FROM <orders> o WHERE o.id = n.id) FROM notes n, countries c",
    );
    check(
        "SELECT 1 FROM other.users o, public.users",
        r#"SELECT 1 FROM other.users o, <users> AS "users""#,
    );
    check(
        "WITH users AS (SELECT * FROM users) SELECT * FROM users, users u",
        r#"WITH users AS (SELECT * FROM <users> AS "users") SELECT * FROM users, users u"#,
    );
    check(
        "WITH RECURSIVE r AS (SELECT id FROM users UNION SELECT u.id FROM users u, r WHERE u.age = r.id) TABLE r",
        r#"WITH RECURSIVE r AS (SELECT id FROM <users> AS "users" UNION SELECT u.id FROM <users> u, r WHERE u.age = r.id) TABLE r"#,
    );
    check(
        "SELECT * FROM users WHERE id = {a} UNION ALL SELECT * FROM users WHERE id = {c}",
        r#"SELECT * FROM <users> AS "users" WHERE id = {a} UNION ALL SELECT * FROM <users> AS "users" WHERE id = {c}"#,
    );
}

#[test]
fn each_table_is_asked_for_once_and_only_where_it_has_rows() {
    let gather = gathered("SELECT * FROM users a, orders b, users c, sites");
    let names: Vec<&str> = gather
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    assert_eq!(names, ["users", "orders", "sites"]);
    let selects: Vec<&str> = gather
        .tables
        .iter()
        .map(|table| table.select.as_str())
        .collect();
    assert_eq!(
        selects[0],
        r#"SELECT shardgate_row FROM "public"."users" AS shardgate_row"#
    );
    assert_eq!(gather.tables[0].shards.len(), 4);
    assert!(gather.tables[2].shards.len() < 4, "{:?}", gather.tables[2]);
}

#[test]
fn parameters_are_numbered_behind_the_clients() {
    let first = |sql: &str, declared: Vec<u32>| {
        let fixture = Fixture::with(|fixture| fixture.declared = declared);
        match decide(&fixture, sql) {
            Decision::Gather(gather, _) => gather.first_param,
            other => panic!("{sql}: {other:?}"),
        }
    };
    assert_eq!(first("SELECT * FROM users", vec![]), 1);
    assert_eq!(first("SELECT $1 FROM users WHERE age = $3", vec![]), 4);
    assert_eq!(first("SELECT $1 FROM users", vec![INT8, TEXT, INT4]), 4);
}

/// With one value the statement goes to one shard, with others rows are gathered.
#[test]
fn parameters_decide() {
    let fixture = Fixture::new();
    let compiled = fixture.compile("SELECT * FROM users WHERE id IN ($1, $2)");
    let decide = |a: &str, b: &str| {
        let (a, b) = (fill(a), fill(b));
        let params = [&a, &b].map(|value| shardgate_plan::Param {
            binary: false,
            value: Some(value.as_bytes()),
        });
        compiled.decide(&params, &fixture.snapshot)
    };
    assert!(matches!(decide("{a}", "{b}"), Decision::Shard(_)));
    assert!(matches!(decide("{a}", "{c}"), Decision::Gather(..)));
}

#[test]
fn places_of_errors() {
    let sql = "SELECT ä, x FROM users u, orders WHERE yy";
    let gather = gathered(sql);
    let at = |what: &str, text: &str| text[..text.find(what).expect(what)].chars().count() + 1;
    for what in ["x FROM", "u,", "WHERE", "yy"] {
        assert_eq!(
            gather.client_position(at(what, &gather.text), sql),
            Some(at(what, sql)),
            "{what}"
        );
    }
    assert_eq!(
        gather.client_position(at("unnest", &gather.text), sql),
        None
    );
    assert_eq!(gather.client_position(100_000, sql), None);
    assert_eq!(gather.client_position(0, sql), None);
}

#[test]
fn refusals() {
    check_refused("SELECT * FROM users FOR UPDATE", "it locks rows");
    check_refused(
        "SELECT * FROM users u, notes n FOR SHARE OF n",
        "it locks rows",
    );
    check_refused("SELECT ctid FROM users", "no system column \"ctid\"");
    check_refused(
        "SELECT (SELECT tableoid FROM users LIMIT 1) FROM notes",
        "\"tableoid\"",
    );
    check_refused("SELECT public.users.id FROM users", "named with its schema");
    check_refused("SELECT public.users.* FROM users", "named with its schema");
    check_refused(
        "SELECT 1 FROM other.users, public.users",
        "two tables of the name \"users\" need aliases",
    );
    check_refused("SELECT * FROM ONLY users", "ONLY and TABLESAMPLE");
    check_refused("SELECT * FROM users TABLESAMPLE system (10)", "TABLESAMPLE");
}

/// Nothing but a plain read is gathered for.
#[test]
fn only_reads() {
    let fixture = Fixture::new();
    for sql in [
        "UPDATE users SET age = 1",
        "DELETE FROM users WHERE id IN (SELECT user_id FROM orders)",
        "INSERT INTO notes SELECT id FROM users",
        "WITH d AS (DELETE FROM notes RETURNING *) SELECT * FROM users, d",
        "SELECT * INTO x FROM users",
        "SELECT nextval('s'), id FROM users",
        "SELECT set_config('work_mem', '1MB', false) FROM users",
        "SELECT pg_advisory_lock(id) FROM users",
        "SELECT opaque_fn() FROM users",
        "SELECT count_users() FROM users",
        "SELECT pg_relation_size('users') FROM users",
        "SELECT query_to_xml('table users', true, true, '') FROM users",
        "SELECT nosuch(id) FROM users",
        "SELECT * FROM users, nosuch",
        "DECLARE c CURSOR FOR SELECT * FROM users",
        "EXPLAIN SELECT * FROM users",
        "EXPLAIN ANALYZE SELECT * FROM users",
        "CREATE TABLE x AS SELECT * FROM users",
        "CREATE VIEW x AS SELECT * FROM users ORDER BY id",
        "COPY (SELECT * FROM users) TO STDOUT",
    ] {
        let decision = decide(&fixture, sql);
        assert!(
            !matches!(decision, Decision::Gather(..)),
            "{sql}: {decision:?}"
        );
    }
}

/// Types whose values a shard writes otherwise than home reads them.
#[test]
fn types_of_columns() {
    const REGCLASS: u32 = 2205;
    const XML: u32 = 142;
    const OWN: u32 = 20_000;
    for ty in [REGCLASS, XML, OWN] {
        let fixture = Fixture::with(|fixture| {
            let tables = fixture
                .snapshot
                .relations
                .get_mut("public")
                .expect("a schema");
            let users = tables.get_mut("users").expect("a table");
            let users = std::sync::Arc::make_mut(users);
            users.columns.push(column("odd", ty));
        });
        let refusal = refused_with(&fixture, "SELECT id FROM users");
        let detail = refusal.detail.unwrap_or_default();
        assert!(detail.contains("type of column \"odd\""), "{detail}");
    }
}
