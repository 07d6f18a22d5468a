//! Statements without distributed tables, names, and statements that mix placements.

use crate::fixture::*;
use std::collections::HashSet;

#[test]
fn home_and_any() {
    check_lines(
        "
        SELECT 1 => any
        SELECT now() => any
        SELECT * FROM notes => home
        SELECT * FROM pg_class => home
        SELECT * FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace => home
        SELECT * FROM information_schema.tables WHERE table_name = 'users' => home
        SELECT * FROM missing => home
        SELECT * FROM countries => any
        SELECT count(*), max(code) FROM countries WHERE id > 3 => any
        SELECT lower(code), now(), random() FROM countries => any
        SELECT tax(id) FROM countries => any
        SELECT clean_fn(id) FROM countries => home
        SELECT pg_advisory_lock(id) FROM countries => home
        SELECT nextval('users_seq') FROM countries => home
        SELECT * FROM countries FOR UPDATE => home
        SELECT * FROM countries c JOIN notes n ON n.id = c.id => home
        SELECT code::mood FROM countries => home
        SELECT * INTO copy FROM countries => home
        SELECT pg_try_advisory_lock(42) => home
        SELECT nextval('users_seq') => home
        SELECT 'users'::regclass => home
        SELECT opaque_fn() => home
        SELECT clean_fn() => home
        SELECT * FROM country_view => any
        SELECT * FROM note_view => home
        SELECT * FROM users_seq => home
        SELECT * FROM other.users => home
        DELETE FROM notes => home
        VALUES (1), (2) => any
        ",
    );
}

#[test]
fn search_path() {
    let path = |items: &[&str]| {
        let items = items.iter().map(|s| (*s).to_owned()).collect();
        Fixture::with(move |f| f.search_path = Some(items))
    };
    path(&["other", "public"]).check("SELECT * FROM users", &[], "home");
    path(&["public", "other"]).check("SELECT * FROM users", &[], "refused");
    path(&["other"]).check("SELECT * FROM orders", &[], "home");
    path(&["nowhere", "public"]).check("SELECT * FROM users WHERE id = {a}", &[], "a");
    path(&[]).check("SELECT * FROM users", &[], "home");
    path(&[]).check("SELECT * FROM public.users", &[], "refused");
    // $user counts only if there is such a schema.
    let own = |user: &str| Fixture::with(|f| f.user = user.into());
    own("other").check("SELECT * FROM users", &[], "home");
    own("nobody").check("SELECT * FROM users", &[], "refused");
    let by_role = Fixture::with(|f| {
        f.snapshot
            .search_paths
            .insert(Some("app".into()), vec!["other".into()]);
        f.snapshot.search_paths.insert(None, vec!["public".into()]);
    });
    by_role.check("SELECT * FROM users", &[], "home");
}

#[test]
fn temporary_tables_hide_others() {
    let temporary = Fixture::with(|f| f.temporary = HashSet::from(["users".to_owned()]));
    temporary.check("SELECT * FROM users", &[], "home");
    assert!(temporary.compile("SELECT * FROM users").traits.temporary);
    temporary.check("SELECT * FROM public.users", &[], "refused");
    temporary.check("SELECT * FROM pg_temp.users", &[], "home");
    temporary.check(
        "SELECT * FROM users t JOIN orders o ON o.user_id = t.id WHERE o.user_id = {a}",
        &[],
        "refused",
    );
    temporary.check("DELETE FROM users", &[], "home");
    let listed = Fixture::with(|f| {
        f.temporary = HashSet::from(["users".to_owned()]);
        f.search_path = Some(vec!["public".into(), "pg_temp".into()]);
    });
    listed.check("SELECT * FROM users", &[], "refused");
}

#[test]
fn a_table_with_a_system_name() {
    let fixture = Fixture::with(|f| {
        let mut users = f.snapshot.relations["public"]["users"].as_ref().clone();
        users.name = "pg_users".into();
        let public = f.snapshot.relations.get_mut("public").expect("public");
        public.insert("pg_users".into(), std::sync::Arc::new(users));
    });
    fixture.check("SELECT * FROM pg_users", &[], "refused");
    fixture.check("SELECT * FROM pg_class", &[], "home");
}

#[test]
fn home_beside_distributed() {
    check_lines(
        "
        SELECT * FROM users u JOIN notes n ON n.user_id = u.id WHERE u.id = {h} => home
        SELECT * FROM users u JOIN notes n ON n.user_id = u.id WHERE u.id = {a} => refused: lives on home shard
        SELECT * FROM users u, pg_class c WHERE u.id = {a} => refused
        SELECT * FROM users u, missing m WHERE u.id = {a} => refused
        SELECT * FROM users u WHERE u.id = {h} AND EXISTS (SELECT 1 FROM notes) => home
        SELECT * FROM users u JOIN countries c ON true WHERE u.id = {a} => a
        ",
    );
}

#[test]
fn one_shard_takes_everything() {
    let single = Fixture::with(|f| f.snapshot.shards.truncate(1));
    check_lines_with(
        &single,
        "
        SELECT * FROM users => home
        UPDATE users SET id = 7 => home
        INSERT INTO countries (id) VALUES (1) => home
        MERGE INTO users u USING countries c ON u.id = c.user_id WHEN MATCHED THEN DELETE => home
        DO $$ BEGIN END $$ => home
        DROP TABLE users => home
        CREATE UNIQUE INDEX ON users (name) => home
        COPY users FROM STDIN => home
        SELECT create_distributed_table('t', 'id') => call
        SELECT create_distributed_table('t', 'id') FROM users => refused
        ",
    );
}

#[test]
fn functions_beside_distributed() {
    check_lines(
        "
        SELECT lower(name), length(email), coalesce(age, 0), now(), random() FROM users WHERE id = {a} => a
        SELECT tax(age) FROM users WHERE id = {a} => a
        SELECT public.tax(age) FROM users WHERE id = {a} => a
        SELECT pg_is_in_recovery() FROM users WHERE id = {a} => a
        SELECT jsonb_build_object('a', name), string_agg(name, ',' ORDER BY id) FROM users WHERE id = {a} GROUP BY name => a
        SELECT name FROM users WHERE id = {a} AND name ~* 'x' AND age::text LIKE '3%' => a
        SELECT extract(year FROM now()), current_date, current_user FROM users WHERE id = {a} => a
        SELECT clean_fn(age) FROM users WHERE id = {a} => refused: clean_fn
        SELECT opaque_fn(age) FROM users WHERE id = {a} => refused: opaque_fn
        SELECT other.lower(name) FROM users WHERE id = {a} => refused: lower
        SELECT pg_advisory_xact_lock(id) FROM users WHERE id = {a} => refused
        SELECT nextval('users_seq') FROM users WHERE id = {a} => refused
        SELECT query_to_xml('select * from users', true, true, '') FROM users WHERE id = {a} => refused
        SELECT pg_backend_pid() FROM users WHERE id = {a} => refused
        SELECT set_config('a.b', 'c', false) FROM users WHERE id = {a} => refused
        SELECT current_setting('x'), pg_typeof(age) FROM users WHERE id = {a} => a
        SELECT * FROM users WHERE id = {a} AND name = current_setting('app.name') => a
        SELECT * FROM users WHERE id = current_setting('app.id')::int8 => refused
        SELECT current_setting('x') => home
        SELECT current_setting('x') FROM countries => home
        SELECT has_table_privilege('notes', 'select') FROM users WHERE id = {a} => refused
        SELECT unknown_fn(id) FROM users WHERE id = {a} => refused
        SELECT * FROM users WHERE id = {a} AND unknown_fn(id) => refused
        SELECT * FROM users WHERE id = {a} ORDER BY clean_fn(age) => refused
        SELECT * FROM users u, clean_fn(3) f WHERE u.id = {a} => refused
        UPDATE users SET name = clean_fn(3) WHERE id = {a} => refused
        SELECT query_to_xml('select * from users', true, true, '') => refused
        SELECT * FROM ts_stat('select name from users') => refused
        ",
    );
    let shadowed = Fixture::with(|f| {
        f.snapshot
            .functions
            .insert("lower".into(), FunctionClass::Clean);
    });
    shadowed.check(
        "SELECT lower(name) FROM users WHERE id = {a}",
        &[],
        "refused",
    );
    shadowed.check(
        "SELECT pg_catalog.lower(name) FROM users WHERE id = {a}",
        &[],
        "a",
    );
    shadowed.check("SELECT lower(code) FROM countries", &[], "home");
}
use shardgate_plan::snapshot::FunctionClass;
