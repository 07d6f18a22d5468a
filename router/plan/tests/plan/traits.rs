//! What statements do to their surroundings.

use crate::fixture::*;
use shardgate_plan::Traits;
use shardgate_plan::snapshot::{FunctionClass, Relation, UserOperator};
use std::sync::Arc;

fn traits(sql: &str) -> Traits {
    Fixture::new().compile(&fill(sql)).traits
}

#[test]
fn replica_safe() {
    for sql in [
        "SELECT 1",
        "SELECT now(), random(), gen_random_uuid()",
        "SELECT * FROM notes",
        "SELECT * FROM countries",
        "SELECT * FROM users WHERE id = {a}",
        "SELECT lower(name), count(*) FROM users WHERE id = {a} GROUP BY 1",
        "SELECT pg_is_in_recovery()",
        "SELECT pg_is_in_recovery() FROM users WHERE id = {a}",
        "WITH c AS (SELECT * FROM users WHERE id = {a}) SELECT * FROM c",
        "SELECT * FROM active WHERE id = {a}",
        "SELECT tax(1)",
        "VALUES (1)",
    ] {
        assert!(traits(sql).replica_safe, "{sql}");
        assert!(traits(sql).read_only, "{sql}");
        assert_eq!(traits(sql).taints, None, "{sql}");
    }
    for sql in [
        "SELECT * FROM notes FOR UPDATE",
        "SELECT * FROM notes FOR SHARE",
        "SELECT * INTO x FROM notes",
        "INSERT INTO notes (id) VALUES (1)",
        "WITH d AS (DELETE FROM notes RETURNING *) SELECT * FROM d",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT txid_current()",
        "SELECT set_config('a.b', 'c', true)",
        "SELECT pg_notify('a', 'b')",
        "SELECT clean_fn()",
        "SELECT opaque_fn()",
        "SELECT unknown_fn()",
        "SELECT * FROM unknown_fn()",
        "SELECT 'sad'::mood",
        "SELECT * FROM home_coded",
        "SELECT * FROM missing",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM users_seq",
        "SELECT pg_current_wal_lsn()",
        "SELECT * FROM notes WHERE (SELECT clean_fn())",
        "SELECT current_setting('in_hot_standby')",
        "SELECT current_setting('x') FROM users WHERE id = {a}",
        "SELECT * FROM fleeting",
        "SELECT * FROM notes WHERE EXISTS (SELECT FROM fleeting)",
    ] {
        assert!(!traits(sql).replica_safe, "{sql}");
    }
}

#[test]
fn reads_and_writes() {
    for sql in [
        "SELECT current_setting('x')",
        "SELECT * FROM pg_class",
        "SELECT pg_get_viewdef('v')",
        "SELECT version()",
    ] {
        assert!(traits(sql).read_only, "{sql}");
    }
    for sql in [
        "UPDATE notes SET id = 1",
        "SELECT nextval('s')",
        "SELECT clean_fn()",
        "SELECT * FROM notes FOR UPDATE",
    ] {
        assert!(!traits(sql).read_only, "{sql}");
    }
}

#[test]
fn taints() {
    for sql in [
        "SELECT upper(set_config('a.b', 'c', false))",
        "SELECT set_config(name, 'c', false) FROM notes",
        "SELECT setseed(0.5)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "SELECT 1 FROM notes WHERE pg_advisory_unlock(1)",
        "SELECT lo_open(1, 2)",
        "SELECT dblink_connect('x')",
        "SELECT currval('s'), lastval()",
        "SELECT opaque_fn()",
        "SELECT nowhere.f()",
        "INSERT INTO home_coded (id) VALUES (1)",
        "DO $$ BEGIN END $$",
        "CALL f()",
        "LOAD 'x'",
        "CREATE TEMP TABLE x (id int)",
        "SELECT * INTO TEMP x FROM notes",
        "NOTHING KNOWN",
    ] {
        assert!(traits(sql).taints.is_some(), "{sql}");
    }
    for sql in [
        "SELECT 1",
        "SELECT nextval('s')",
        "SELECT pg_advisory_unlock_all()",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_notify('a', 'b')",
        "SELECT clean_fn()",
        "INSERT INTO notes (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING *",
        "UPDATE users SET name = upper(name) WHERE id = {a}",
        "SELECT * FROM home_coded",
        "CREATE TABLE x (id int)",
        "DROP TABLE notes",
        "VACUUM",
        "SELECT * FROM pg_class",
        "SELECT * FROM notes WHERE body = 'x' AND id = 3",
    ] {
        assert_eq!(traits(sql).taints, None, "{sql}");
    }
}

/// What an earlier statement of the session drew is on its connection alone.
#[test]
fn needs_pin() {
    for (sql, expect) in [
        ("SELECT currval('s')", Some("function currval")),
        (
            "SELECT 1 FROM notes WHERE id = pg_catalog.lastval()",
            Some("function lastval"),
        ),
        (
            "INSERT INTO notes (id) VALUES (LastVal())",
            Some("function lastval"),
        ),
        (
            "CREATE TABLE x AS SELECT currval('s')",
            Some("function currval"),
        ),
        (
            "COPY (SELECT lastval()) TO STDOUT",
            Some("function lastval"),
        ),
        ("EXPLAIN ANALYZE SELECT lastval()", Some("function lastval")),
        ("NOTHING KNOWN lastval", Some("function lastval")),
        ("SELECT nextval('s')", None),
        ("SELECT other.currval('s')", None),
        ("SELECT 'lastval'", None),
        ("INSERT INTO notes (id) VALUES (1)", None),
    ] {
        assert_eq!(traits(sql).needs_pin.as_deref(), expect, "{sql}");
    }
}

#[test]
fn draws() {
    for (sql, expect) in [
        ("SELECT nextval('users_seq')", true),
        ("SELECT 1 WHERE setval('users_seq', 1) > 0", true),
        ("INSERT INTO serials (user_id) VALUES ({a})", true),
        ("INSERT INTO notes (id) VALUES (1)", false),
        ("SELECT * FROM serials WHERE user_id = {a}", false),
        ("SELECT currval('users_seq')", false),
        ("NOTHING KNOWN nextval", true),
    ] {
        assert_eq!(traits(sql).draws, expect, "{sql}");
    }
}

#[test]
fn shows_statements() {
    for (sql, expect) in [
        (
            "SELECT * FROM pg_prepared_statements",
            Some("view pg_prepared_statements"),
        ),
        (
            "SELECT name FROM pg_catalog.pg_prepared_statement()",
            Some("view pg_prepared_statement"),
        ),
        (
            "COPY (SELECT * FROM pg_prepared_statements) TO STDOUT",
            Some("view pg_prepared_statements"),
        ),
        (
            "CREATE TABLE x AS SELECT * FROM pg_prepared_statements",
            Some("view pg_prepared_statements"),
        ),
        (
            "CREATE VIEW x AS SELECT * FROM pg_prepared_statements",
            Some("view pg_prepared_statements"),
        ),
        (
            "NOTHING KNOWN pg_prepared_statements",
            Some("view pg_prepared_statements"),
        ),
        ("SELECT 'pg_prepared_statements'", None),
        ("SELECT * FROM pg_cursors", None),
    ] {
        assert_eq!(traits(sql).shows_statements.as_deref(), expect, "{sql}");
    }
}

#[test]
fn others() {
    assert!(traits("CREATE TABLE x (id int)").ddl);
    assert!(traits("SELECT * INTO x FROM notes").ddl);
    assert!(!traits("VACUUM").ddl);
    assert!(!traits("TRUNCATE notes").ddl);
    assert!(traits("VACUUM").no_transaction);
    assert!(traits("CREATE INDEX CONCURRENTLY i ON notes (id)").no_transaction);
    assert!(traits("CREATE TEMP TABLE x (id int)").temporary);
    assert!(traits("SELECT 1 INTO TEMPORARY TABLE x").temporary);
    assert!(!traits("CREATE TABLE x (id int)").temporary);
}

/// A user's operator named `=` for other types does not make every comparison suspect.
#[test]
fn operators() {
    let fixture = Fixture::with(|f| {
        let operator = shardgate_plan::snapshot::UserOperator {
            name: "=".into(),
            left: 99_000,
            right: 99_000,
        };
        f.snapshot.operators.push(operator);
    });
    assert!(
        fixture
            .compile("SELECT * FROM notes WHERE user_id = 3")
            .traits
            .replica_safe
    );
    assert!(
        !fixture
            .compile("SELECT * FROM notes WHERE f = 3")
            .traits
            .replica_safe
    );
    assert!(
        !fixture
            .compile("SELECT * FROM notes WHERE id OPERATOR(public.=) 3")
            .traits
            .replica_safe
    );
}

/// The first schema of search_path that exists takes what is created without a schema.
#[test]
fn temporary_by_search_path() {
    let on = |path: &[&str]| {
        Fixture::with(|f| f.search_path = Some(path.iter().map(|s| (*s).to_owned()).collect()))
    };
    let creates = [
        "CREATE TABLE users (id int)",
        "CREATE TABLE users AS SELECT 1",
        "SELECT 1 AS id INTO users",
        "CREATE VIEW v AS SELECT 1",
        "CREATE SEQUENCE s",
        "CREATE TYPE mood2 AS ENUM ('a')",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ];
    for path in [&["pg_temp", "public"][..], &["missing", "$user", "pg_temp"]] {
        for sql in creates {
            let traits = on(path).compile(sql).traits;
            assert!(traits.temporary, "{path:?} {sql}");
            assert!(traits.taints.is_some(), "{path:?} {sql}");
        }
        let qualified = on(path).compile("CREATE TABLE public.x (id int)").traits;
        assert!(!qualified.temporary, "{path:?}");
    }
    for path in [&["public", "pg_temp"][..], &["public"]] {
        for sql in creates {
            let traits = on(path).compile(sql).traits;
            assert!(!traits.temporary, "{path:?} {sql}");
        }
        for sql in [
            "CREATE TABLE pg_temp.x (id int)",
            "CREATE TABLE pg_temp_3.x AS SELECT 1",
            "SELECT 1 AS id INTO pg_temp_3.x",
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP TABLE pg_temp_3.x",
        ] {
            let traits = on(path).compile(sql).traits;
            assert!(traits.temporary && traits.taints.is_some(), "{sql}");
        }
    }
}

#[test]
fn changes_of_settings_by_the_catalog() {
    for sql in [
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'",
        "UPDATE pg_catalog.pg_settings SET setting = 'x'",
        "WITH c AS (UPDATE pg_settings SET setting = 'x' RETURNING 1) SELECT * FROM c",
    ] {
        assert_eq!(traits(sql).taints.as_deref(), Some("pg_settings"), "{sql}");
    }
    assert_eq!(traits("SELECT * FROM pg_settings").taints, None);
    let fixture = Fixture::with(|f| {
        let public = f.snapshot.relations.get_mut("public").expect("public");
        let mut view = public["note_view"].as_ref().clone();
        let body = " SELECT name, setting FROM pg_settings;";
        view.view = Some(Arc::new(
            shardgate_sql::analyze_view(body).expect("a view's body"),
        ));
        view.name = "knobs".to_owned();
        public.insert(view.name.clone(), Arc::new(view));
    });
    let of = |sql: &str| fixture.compile(sql).traits.taints;
    assert_eq!(
        of("UPDATE knobs SET setting = 'x'").as_deref(),
        Some("view knobs")
    );
    assert_eq!(of("SELECT * FROM knobs"), None);
    assert_eq!(of("UPDATE note_view SET body = 'x'"), None);
}

/// Code that no name in the statement tells of.
#[test]
fn hidden_code_taints() {
    let check = |sql: &str, change: &dyn Fn(&mut Fixture), expect: Option<&str>| {
        let traits = Fixture::with(|f| change(f)).compile(&fill(sql)).traits;
        assert_eq!(traits.taints.as_deref(), expect, "{sql}");
        assert!(expect.is_none() || !traits.replica_safe, "{sql}");
    };
    let notes = |f: &mut Fixture, change: &dyn Fn(&mut Relation)| {
        let names = f.snapshot.relations.get_mut("public").unwrap();
        change(Arc::make_mut(names.get_mut("notes").unwrap()));
    };
    let shown = |f: &mut Fixture| {
        notes(f, &|r| {
            r.code_read = Some("the type of column \"n\"".into())
        })
    };
    let expect = Some("table notes: the type of column \"n\"");
    check("SELECT * FROM notes", &shown, expect);
    check("SELECT 1 FROM countries", &shown, None);
    let operator = |f: &mut Fixture| {
        f.snapshot.operators.push(UserOperator {
            name: "<#>".into(),
            left: FLOAT8,
            right: FLOAT8,
        });
        f.snapshot.opaque_operators.insert("<#>".into());
    };
    check(
        "SELECT id <#> 1 FROM notes",
        &operator,
        Some("operator <#>"),
    );
    check("SELECT id + 1 FROM notes", &operator, None);
    // An operator that leaves nothing behind may still write.
    let clean = |f: &mut Fixture| {
        operator(f);
        f.snapshot.opaque_operators.clear();
    };
    let traits = Fixture::with(clean)
        .compile("SELECT id <#> 1 FROM notes")
        .traits;
    assert!(!traits.replica_safe && !traits.read_only);
    let cast = |f: &mut Fixture| f.snapshot.cast_code = Some("cast (a AS b)".into());
    check("SELECT 1", &cast, Some("cast (a AS b)"));
    check(
        "ALTER TABLE notes ALTER COLUMN id TYPE text",
        &cast,
        Some("cast (a AS b)"),
    );
    let event = |f: &mut Fixture| f.snapshot.event_code = Some("event trigger e".into());
    for sql in [
        "CREATE TABLE x (id int)",
        "SELECT 1 AS a INTO x",
        "DROP TABLE notes",
    ] {
        check(sql, &event, Some("event trigger e"));
    }
    check("SELECT 1", &event, None);
    check("DROP EVENT TRIGGER e", &event, None);
    let plain = |_: &mut Fixture| {};
    check("SELECT * FROM blind", &plain, Some("view blind"));
    for (sql, expect) in [
        (
            "ALTER TABLE notes ADD COLUMN x text DEFAULT set_config('a.b', 'c', false)",
            Some("function set_config"),
        ),
        (
            "ALTER TABLE notes ALTER COLUMN id TYPE text USING opaque_fn()",
            Some("function opaque_fn"),
        ),
        ("ALTER TABLE notes ADD COLUMN x int DEFAULT 1", None),
        ("ALTER TABLE notes ADD COLUMN opaque int", None),
        (
            "CREATE INDEX ON notes (opaque_fn(id))",
            Some("function opaque_fn"),
        ),
        ("CREATE INDEX ON notes (lower(name))", None),
        (
            "TRUNCATE home_coded",
            Some("table home_coded: trigger t calls f"),
        ),
        ("TRUNCATE notes", None),
    ] {
        check(sql, &plain, expect);
    }
}

#[test]
fn serializable_by_default_is_read_on_the_primary() {
    for (role, safe) in [(Some("app"), false), (Some("other"), true), (None, false)] {
        let fixture = Fixture::with(|f| {
            f.snapshot.serializable.insert(role.map(str::to_owned));
        });
        let traits = fixture.compile("SELECT 1 FROM notes").traits;
        assert_eq!(
            (traits.replica_safe, traits.read_only),
            (safe, true),
            "{role:?}"
        );
    }
}

/// A user's function of the name takes nothing away from what the system's does: either may be meant.
#[test]
fn names_that_are_taken_twice() {
    let fixture = Fixture::with(|f| {
        for (name, class) in [
            ("set_config", FunctionClass::Clean),
            ("pg_advisory_lock", FunctionClass::Pure),
            ("ts_stat", FunctionClass::Opaque),
            ("ts_rewrite", FunctionClass::Clean),
        ] {
            f.snapshot.functions.insert(name.into(), class);
        }
    });
    for sql in [
        "SELECT set_config('a.b', 'c', false)",
        "SELECT pg_advisory_lock(1)",
    ] {
        assert!(fixture.compile(sql).traits.taints.is_some(), "{sql}");
    }
    fixture.check("SELECT ts_stat('SELECT 1')", &[], "refused: ts_stat");
    fixture.check(
        "SELECT ts_rewrite('a', 'SELECT 1')",
        &[],
        "refused: ts_rewrite",
    );
    fixture.check("SELECT public.ts_stat(1)", &[], "home");
}
