//! Code that may reach tables of which home has only a part.

use crate::fixture::*;
use shardgate_plan::snapshot::UserOperator;

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
    // Only one of a statement's operators is noted.
    fixture.check("SELECT id <~> 1 FROM notes", &[], "refused: <#>");
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
