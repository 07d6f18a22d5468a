//! Code that may reach tables of which home has only a part.

use crate::fixture::*;
use shardgate_plan::snapshot::{Placement, UserOperator};

#[test]
fn functions_and_the_code_of_tables() {
    check_lines(
        "
        SELECT count_users() => refused: count_users
        SELECT public.count_users() => refused: its text reads users
        SELECT Count_Users() + 1 FROM notes => refused: function_class
        SELECT * FROM count_users() => refused: count_users
        SELECT * FROM notes WHERE id IN (SELECT count_users()) => refused: count_users
        WITH c AS (SELECT count_users()) SELECT 1 => refused: count_users
        INSERT INTO notes (id) VALUES (count_users()) => refused: count_users
        SELECT name FROM users WHERE id = {a} AND age > count_users() => refused: count_users
        SELECT * FROM counting => refused: count_users
        SELECT row_count(n) FROM notes n => refused: row_count
        SELECT n.row_count FROM notes n => refused: row_count
        SELECT count(*) FROM countries WHERE count_users() > 1 => refused: count_users
        SELECT pg_catalog.count_users() => home
        SELECT 'count_users' => any
        SELECT count_users FROM notes => home
        PREPARE p AS SELECT count_users() => refused: count_users
        DECLARE c CURSOR FOR SELECT count_users() => refused: count_users
        COPY (SELECT count_users()) TO STDOUT => refused: count_users
        EXPLAIN SELECT count_users() => refused: count_users
        NOTHING KNOWN count_users() => refused: count_users
        NOTHING KNOWN counted => refused: counted
        NOTHING KNOWN users_name_idx => refused: users_name_idx
        NOTHING KNOWN notes => home

        SELECT * FROM counted => home
        INSERT INTO counted (id) VALUES (1) => refused: trigger \"t\" calls
        UPDATE counted SET id = 1 => refused: counted
        WITH d AS (DELETE FROM counted RETURNING id) SELECT * FROM d => refused: counted
        COPY counted FROM STDIN => refused: counted
        COPY counted TO STDOUT => home
        TRUNCATE counted => refused: counted
        TRUNCATE notes, counted => refused: counted
        DROP TABLE counted => home
        ALTER TABLE counted DISABLE TRIGGER t => home
        SELECT * FROM policed => refused: policy
        COPY policed TO STDOUT => refused: policy
        DELETE FROM policed => refused: policy

        CREATE TABLE x AS SELECT count_users() => refused: count_users
        CREATE MATERIALIZED VIEW x AS SELECT count_users() => refused: count_users
        ALTER TABLE notes ADD COLUMN n int DEFAULT count_users() => refused: count_users
        ALTER TABLE users ADD COLUMN n int DEFAULT count_users() => refused: count_users
        CREATE INDEX ON notes (count_users()) => refused: count_users
        ALTER TABLE notes ADD COLUMN n int => home
        DROP FUNCTION count_users() => all
        COMMENT ON FUNCTION count_users() IS 'x' => all
        ",
    );
}

/// A constraint is named after its index.
#[test]
fn the_name_of_an_index_reads_nothing() {
    let upsert =
        "INSERT INTO notes (id) VALUES (1) ON CONFLICT ON CONSTRAINT users_name_idx DO NOTHING";
    Fixture::new().check(upsert, &[], "home");
    Fixture::new().check("SELECT id AS users_name_idx FROM notes", &[], "home");
}

#[test]
fn operators_and_types() {
    let fixture = Fixture::with(|f| {
        let operator = |name: &str| UserOperator {
            name: name.into(),
            left: INT4,
            right: INT4,
        };
        f.snapshot.operators = vec![operator("<#>"), operator("<~>")];
        let why = "calls count_users".to_owned();
        f.snapshot.blind_operators.insert("<#>".into(), why);
    });
    fixture.check("SELECT id <#> 1 FROM notes", &[], "refused: operator <#>");
    // Every operator counts, by its name: the types of its operands are not known.
    for sql in [
        "SELECT name <#> 1.5 FROM notes",
        "SELECT id <~> 1, id <#> 1 FROM notes",
        "SELECT 1 FROM notes WHERE id <#> ANY (ARRAY[1])",
        "SELECT id OPERATOR(public.<#>) 1 FROM notes",
        "NOTHING KNOWN notes",
    ] {
        fixture.check(sql, &[], "refused: operator <#>");
    }
    fixture.check("SELECT id <~> 1 FROM notes", &[], "home");
    for (equality, sql) in [
        ("=", "SELECT 1 FROM notes a JOIN notes b USING (id)"),
        ("=", "SELECT 1 FROM notes a NATURAL JOIN notes b"),
        ("=", "SELECT CASE id WHEN 1 THEN 2 END FROM notes"),
        ("=", "SELECT nullif(id, 1) FROM notes"),
        ("=", "SELECT 1 FROM notes WHERE id IN (1, 2)"),
        ("~~", "SELECT 1 FROM notes WHERE name LIKE 'a'"),
        (">=", "SELECT 1 FROM notes WHERE id BETWEEN 1 AND 2"),
    ] {
        let fixture = Fixture::with(|f| {
            let why = "calls count_users".to_owned();
            f.snapshot.blind_operators.insert(equality.into(), why);
        });
        fixture.check(sql, &[], &format!("refused: operator {equality}"));
    }
    fixture.check("SELECT id + 1 FROM notes", &[], "home");
    let fixture = Fixture::with(|f| {
        let why = "calls count_users".to_owned();
        f.snapshot.blind_functions.insert("mood".into(), why);
    });
    fixture.check("SELECT 'sad'::mood", &[], "refused: mood");
    fixture.check("SELECT 'sad'::text FROM notes", &[], "home");
}

/// With one shard, home has everything.
#[test]
fn one_shard() {
    let fixture = Fixture::with(|f| f.snapshot.shards.truncate(1));
    for sql in [
        "SELECT count_users()",
        "INSERT INTO counted (id) VALUES (1)",
        "COPY counted FROM STDIN",
        "TRUNCATE counted",
        "SELECT * FROM policed",
    ] {
        fixture.check(sql, &[], "home");
    }
}

/// The catalog does not read what is in the session's temporary schema.
#[test]
fn temporary_code() {
    check_lines(
        "
        CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1' => refused: temporary schema
        CREATE DOMAIN pg_temp.d AS int CHECK (VALUE > 1) => refused: temporary schema
        CREATE CAST (int AS text) WITH FUNCTION pg_temp.f(int) => refused: temporary schema
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1' => all
        SELECT pg_temp.f() => refused: pg_temp.f
        SELECT 1 OPERATOR(pg_temp.+) 1 => refused: pg_temp.+
        SELECT 1::pg_temp.d => refused: pg_temp.d
        NOTHING KNOWN pg_temp.f() => refused: pg_temp
        CREATE TEMP VIEW v AS SELECT count_users() => refused: count_users
        CREATE TEMP VIEW v AS SELECT * FROM counting => refused: count_users
        CREATE TABLE x AS SELECT * FROM counting => refused: count_users
        CREATE MATERIALIZED VIEW x AS SELECT * FROM counting => refused: count_users
        CREATE VIEW v AS SELECT * FROM counting => home
        CREATE TEMP TABLE x (n int DEFAULT count_users()) => refused: count_users
        CREATE TEMP TABLE x (LIKE counted INCLUDING ALL) => refused: counted
        CREATE TEMP TABLE x (n int) => home
        CREATE TEMP VIEW v AS SELECT * FROM notes => home
        CREATE TABLE x (n int DEFAULT count_users()) => home
        ",
    );
    let fixture = Fixture::with(|f| {
        f.temporary.insert("mine".to_owned());
    });
    check_lines_with(
        &fixture,
        "
        CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION count_users() => refused: count_users
        CREATE RULE r AS ON INSERT TO mine DO ALSO DELETE FROM users => refused
        ALTER TABLE mine ADD COLUMN n int DEFAULT count_users() => refused: count_users
        ALTER TABLE mine ADD COLUMN n int => home
        DROP TABLE mine => home
        INSERT INTO mine VALUES (1) => home
        ",
    );
    let home_only = Fixture::with(|f| {
        f.snapshot
            .relations
            .values_mut()
            .for_each(|names| names.retain(|_, r| r.placement == Placement::Home));
    });
    home_only.check("SELECT pg_temp.f()", &[], "home");
}

#[test]
fn functions_made_in_pg_catalog() {
    let fixture = Fixture::with(|f| {
        f.snapshot.catalog_functions.insert("count_users".into());
    });
    fixture.check(
        "SELECT pg_catalog.count_users()",
        &[],
        "refused: count_users",
    );
}

#[test]
fn event_triggers_and_casts() {
    let fixture = Fixture::with(|f| {
        f.snapshot.blind_event = Some("event trigger \"e\" calls count_users".into());
    });
    check_lines_with(
        &fixture,
        "
        CREATE TABLE x (id int) => refused: event trigger
        ALTER TABLE users ADD COLUMN x int => refused: event trigger
        SELECT 1 AS a INTO x => refused: event trigger
        CREATE TABLE x AS SELECT 1 => refused: event trigger
        DROP EVENT TRIGGER e => all
        ALTER EVENT TRIGGER e DISABLE => all
        SELECT 1 => any
        INSERT INTO notes (id) VALUES (1) => home
        TRUNCATE notes => home
        ",
    );
    let fixture = Fixture::with(|f| {
        f.snapshot.blind_cast = Some("cast (text AS integer) calls count_users".into());
    });
    check_lines_with(
        &fixture,
        "
        SELECT 1 => refused: cast
        INSERT INTO notes (id) VALUES (1) => refused: cast
        ALTER TABLE notes ALTER COLUMN id TYPE text => refused: cast
        NOTHING KNOWN notes => refused: cast
        DROP CAST (text AS integer) => all
        ",
    );
}
