//! DDL, maintenance, and commands that name tables.

use crate::fixture::*;

#[test]
fn where_ddl_goes() {
    check_lines(
        "
        CREATE TABLE x (id int) => home
        CREATE TABLE x (id int REFERENCES countries (id)) => home
        CREATE TABLE x (id int REFERENCES notes (id)) => home
        CREATE TABLE x (user_id bigint REFERENCES users (id)) => refused: distributed table
        CREATE TABLE x (LIKE users) => refused
        CREATE TABLE x (LIKE users INCLUDING ALL) => refused
        CREATE TABLE x () INHERITS (users) => refused
        CREATE TABLE x PARTITION OF users FOR VALUES IN (1) => refused
        CREATE TABLE x AS SELECT * FROM notes => home
        CREATE TABLE x AS SELECT * FROM countries => home
        CREATE TABLE x AS SELECT * FROM users => refused
        CREATE TABLE x AS SELECT * FROM active => refused
        CREATE MATERIALIZED VIEW x AS SELECT count(*) FROM users => refused
        CREATE VIEW v AS SELECT * FROM users => all
        CREATE OR REPLACE VIEW v AS SELECT * FROM users u JOIN countries c ON true => all
        CREATE VIEW v AS SELECT * FROM active => all
        CREATE VIEW v AS SELECT * FROM notes => home
        CREATE TEMP VIEW v AS SELECT * FROM notes => home
        CREATE TEMP VIEW v AS SELECT * FROM users => refused: temporary view
        CREATE TEMP VIEW v AS SELECT * FROM countries => refused: temporary view
        CREATE VIEW pg_temp.v AS SELECT * FROM users => refused: temporary view
        CREATE VIEW v AS SELECT 1 => home
        CREATE VIEW v AS SELECT * FROM notes, users => refused
        CREATE VIEW v AS SELECT * FROM blind => refused
        DROP TABLE notes => home
        DROP TABLE users => all
        DROP TABLE users, orders => all
        DROP TABLE users, notes => refused
        DROP TABLE IF EXISTS missing => home
        DROP TABLE countries => all
        DROP VIEW active => all
        DROP VIEW note_view => home
        TRUNCATE users => all
        TRUNCATE notes => home
        TRUNCATE users, notes => refused
        VACUUM => all
        VACUUM users => all
        ANALYZE notes => home
        CREATE INDEX ON users (name) => all
        CREATE INDEX i ON notes (id) => home
        CREATE UNIQUE INDEX i ON notes (id) => home
        CREATE UNIQUE INDEX i ON users (id, name) => all
        CREATE UNIQUE INDEX i ON users (name) => refused: must contain
        CREATE UNIQUE INDEX i ON users (abs(id)) => refused: must contain
        CREATE UNIQUE INDEX i ON countries (code) => all
        ALTER TABLE users ADD COLUMN y int => all
        ALTER TABLE users ADD COLUMN y int UNIQUE => refused: must contain
        ALTER TABLE users ADD PRIMARY KEY (id) => all
        ALTER TABLE users ADD UNIQUE (name) => refused: must contain
        ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id) => all
        ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES users (id) => refused
        ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES countries (id) => all
        ALTER TABLE orders ADD FOREIGN KEY (p, user_id) REFERENCES users (age, id) => all
        ALTER TABLE orders ADD FOREIGN KEY (user_id, p) REFERENCES public.users (id, age) => all
        ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users => all
        ALTER TABLE orders ADD FOREIGN KEY (user_id, p) REFERENCES users (age, id) => refused: the same place
        ALTER TABLE orders ADD FOREIGN KEY (user_id, p) REFERENCES users => refused: the same place
        ALTER TABLE orders ADD COLUMN x bigint REFERENCES payments (user_id) => refused: the same place
        ALTER TABLE users ADD FOREIGN KEY (age) REFERENCES users (id) => refused: the same place
        ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES far (id) => refused
        ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES notes (id) => refused
        ALTER TABLE notes ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id) => refused
        ALTER TABLE notes ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES countries (id) => home
        ALTER TABLE users DROP COLUMN id => refused: sharding key
        ALTER TABLE users RENAME COLUMN id TO uid => refused: sharding key
        ALTER TABLE users RENAME id TO uid => refused: sharding key
        ALTER TABLE users ALTER COLUMN id TYPE int4 => refused: sharding key
        ALTER TABLE users RENAME COLUMN name TO nick => all
        ALTER TABLE users DROP COLUMN name => all
        ALTER TABLE users DROP CONSTRAINT shardgate_owns => refused: shardgate_owns
        ALTER TABLE users ENABLE ROW LEVEL SECURITY => refused
        ALTER TABLE users INHERIT notes => refused
        ALTER TABLE users ADD COLUMN n bigserial => refused
        ALTER TABLE users RENAME TO people => all
        ALTER TABLE notes RENAME TO memos => home
        CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f() => refused
        CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION f() => home
        CREATE POLICY p ON users USING (true) => refused
        CREATE RULE r AS ON INSERT TO users DO INSTEAD NOTHING => refused
        DROP INDEX some_index => home
        ALTER INDEX some_index RENAME TO x => home
        REINDEX INDEX some_index => home
        DROP INDEX users_name_idx => all
        DROP INDEX CONCURRENTLY users_name_idx => all
        DROP INDEX public.users_name_idx, countries_idx => all
        DROP INDEX users_name_idx, some_index => refused: together
        ALTER INDEX users_name_idx RENAME TO x => all
        REINDEX INDEX users_name_idx => all
        COMMENT ON INDEX users_name_idx IS 'x' => all
        ALTER TABLE users_name_idx RENAME TO x => all
        DROP INDEX IF EXISTS missing => home
        CREATE SCHEMA x => all
        CREATE ROLE r => all
        CREATE EXTENSION citext => all
        CREATE TYPE t AS ENUM ('a') => all
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1' => all
        GRANT SELECT ON users TO r => all
        GRANT SELECT ON notes TO r => home
        COMMENT ON TABLE users IS 'x' => all
        CREATE TEMP TABLE x (id int) => home
        CREATE TEMP TABLE x AS SELECT * FROM users => refused
        CREATE SEQUENCE s => home
        CREATE PUBLICATION p FOR TABLE notes => home
        CREATE PUBLICATION p FOR TABLE users => refused
        CREATE PUBLICATION p FOR ALL TABLES => refused
        DO $$ BEGIN END $$ => refused
        CALL f() => refused
        LOAD 'x' => home
        ",
    );
}

/// What each shard computes for itself must be the same everywhere.
#[test]
fn values_that_ddl_stores() {
    check_lines(
        "
        ALTER TABLE users ADD COLUMN x int DEFAULT 7 => all
        ALTER TABLE countries ADD COLUMN x int DEFAULT 7 => all
        ALTER TABLE users ADD x int DEFAULT -7 NOT NULL, ADD y text DEFAULT 'now' => all
        ALTER TABLE users ADD COLUMN x numeric(5,2) DEFAULT 1.5 => all
        ALTER TABLE users ADD COLUMN x numeric DEFAULT (60 * 60) => all
        ALTER TABLE users ADD COLUMN x bool DEFAULT true => all
        ALTER TABLE users ADD COLUMN x text DEFAULT NULL => all
        ALTER TABLE users ADD COLUMN x jsonb DEFAULT '{}'::jsonb NOT NULL => all
        ALTER TABLE users ADD COLUMN x jsonb DEFAULT '[]' => all
        ALTER TABLE users ADD COLUMN x varchar(10) DEFAULT 'a'::varchar(10) => all
        ALTER TABLE users ADD COLUMN x text DEFAULT 'a' || 'b'::text => all
        ALTER TABLE users ADD COLUMN x int[] DEFAULT '{}' => all
        ALTER TABLE users ADD COLUMN x int[] DEFAULT ARRAY[1, 2] => all
        ALTER TABLE users ADD COLUMN x text[] DEFAULT '{}'::text[] => all
        ALTER TABLE users ADD COLUMN x date DEFAULT '2026-01-31' => all
        ALTER TABLE users ADD COLUMN x date DEFAULT date '2026-01-31' => all
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT '2026-01-31 10:00:00+02' => all
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT 'infinity' => all
        ALTER TABLE users ADD COLUMN x interval DEFAULT '1 day' => all
        ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (id + 1) STORED => all
        ALTER TABLE users ADD COLUMN identity int => all
        CREATE INDEX serial ON users (name) => all
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT now() => refused: must be a constant
        ALTER TABLE countries ADD COLUMN x timestamptz DEFAULT now() => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP => refused: must be a constant
        ALTER TABLE users ADD y int DEFAULT 1, ADD x date DEFAULT current_date => refused: must be a constant
        ALTER TABLE users ADD COLUMN x date DEFAULT 'today' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT 'now'::timestamptz => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT ' NOW ' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz[] DEFAULT '{now}' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT '2026-01-31 10:00' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT '2026-01-31'::timestamp => refused: must be a constant
        ALTER TABLE users ADD COLUMN x timestamptz DEFAULT '2026-01-31'::date => refused: must be a constant
        ALTER TABLE users ADD COLUMN x date DEFAULT '01/02/2026' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x text DEFAULT '2026-01-31 10:00+00'::timestamptz => refused: must be a constant
        ALTER TABLE users ADD COLUMN x text DEFAULT current_user => refused: must be a constant
        ALTER TABLE users ADD COLUMN x text DEFAULT current_setting('port') => refused: must be a constant
        ALTER TABLE users ADD COLUMN x float8 DEFAULT random() => refused: must be a constant
        ALTER TABLE users ADD COLUMN x uuid DEFAULT gen_random_uuid() => refused: must be a constant
        ALTER TABLE users ADD COLUMN x int DEFAULT count_users() => refused
        ALTER TABLE users ADD COLUMN x regclass DEFAULT 'users' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x money DEFAULT '1.50' => refused: must be a constant
        ALTER TABLE users ADD COLUMN x int DEFAULT nextval('s') => refused: sequence
        ALTER TABLE users ADD COLUMN x \"bigserial\" => refused: sequence
        ALTER TABLE users ADD COLUMN x int GENERATED BY DEFAULT AS IDENTITY => refused: sequence
        ALTER TABLE users ALTER COLUMN name ADD GENERATED ALWAYS AS IDENTITY => refused: sequence
        ALTER TABLE users ALTER COLUMN name SET DEFAULT now()::text => all
        ALTER TABLE users ALTER COLUMN name DROP DEFAULT => all
        ALTER TABLE countries ALTER COLUMN code SET DEFAULT 'x' => all
        ALTER TABLE countries ALTER COLUMN code SET DEFAULT now()::text => refused: reference table
        ALTER TABLE notes ADD COLUMN x timestamptz DEFAULT now() => home
        ALTER TABLE notes ADD COLUMN x bigserial => home
        ALTER TABLE users ALTER COLUMN name TYPE varchar(10) => all
        ALTER TABLE users ALTER COLUMN name TYPE varchar(10) USING left(name, 10) => all
        ALTER TABLE users ALTER COLUMN name TYPE int USING name::int => all
        ALTER TABLE users ALTER COLUMN name TYPE int USING (CASE WHEN name = '' THEN 0 ELSE length(name) END) => all
        ALTER TABLE users ALTER COLUMN name TYPE timestamptz USING to_timestamp(id) => all
        ALTER TABLE users ALTER COLUMN name TYPE timestamptz USING name::timestamptz => refused: new type
        ALTER TABLE users ALTER COLUMN name TYPE timestamptz USING now() => refused: new type
        ALTER TABLE users ALTER COLUMN name TYPE text USING name || random() => refused: new type
        ALTER TABLE users ALTER COLUMN name TYPE text USING current_user => refused: new type
        ALTER TABLE users ALTER COLUMN name TYPE text USING (SELECT 'x') => refused: new type
        ALTER TABLE users ALTER COLUMN name TYPE date => refused: new type
        ALTER TABLE orders ALTER COLUMN p TYPE bigint => all
        CREATE DOMAIN d AS int DEFAULT 7 => all
        CREATE DOMAIN d AS text DEFAULT 'x' CHECK (value <> '') => all
        CREATE DOMAIN d AS timestamptz DEFAULT now() => refused: domain
        CREATE DOMAIN d AS timestamptz DEFAULT 'now' => refused: domain
        ALTER DOMAIN d SET DEFAULT random() => refused: domain
        ALTER DOMAIN d DROP DEFAULT => all
        CREATE TABLE x AS SELECT now() FROM countries => home
        SELECT now() AS at INTO x FROM countries => home
        SELECT * INTO x FROM users => refused
        CREATE MATERIALIZED VIEW x AS SELECT now() FROM countries => home
        ",
    );
}

/// Without the text nothing proves that an index is not unique.
#[test]
fn indexes_without_the_text() {
    let fixture = Fixture::new();
    let context = shardgate_plan::Context {
        user: "app",
        search_path: None,
        declared: &[],
        temporary: &fixture.temporary,
        transform_null_equals: false,
    };
    for (sql, refused) in [
        ("CREATE INDEX ON users (name)", true),
        ("ALTER TABLE users ADD COLUMN y int", true),
        ("ALTER TABLE users DROP COLUMN name", false),
        ("CREATE INDEX ON notes (id)", false),
    ] {
        let compiled =
            shardgate_plan::compile(&shardgate_sql::analyze(sql), &fixture.snapshot, &context);
        assert_eq!(
            matches!(compiled.route, shardgate_plan::Route::Refused(_)),
            refused,
            "{sql}"
        );
    }
}

#[test]
fn commands() {
    check_lines(
        "
        COPY notes TO STDOUT => home
        COPY notes FROM STDIN => home
        COPY users TO STDOUT => refused
        COPY users FROM STDIN => refused
        COPY countries FROM STDIN => refused
        COPY (SELECT * FROM users WHERE id = {a}) TO STDOUT => a
        COPY (SELECT * FROM users) TO STDOUT => refused
        LOCK TABLE notes => home
        LOCK TABLE users => refused
        DECLARE c CURSOR FOR SELECT * FROM users WHERE id = {a} => a
        DECLARE c CURSOR FOR SELECT * FROM users => refused
        PREPARE p AS SELECT * FROM users WHERE id = {a} => a
        EXPLAIN SELECT * FROM users WHERE id = {a} => a
        EXPLAIN ANALYZE SELECT * FROM users => refused
        EXPLAIN SELECT * FROM notes => home
        EXPLAIN CREATE TABLE x AS SELECT * FROM users => refused
        EXPLAIN (ROUTE) SELECT * FROM users WHERE id = {a} => a
        BEGIN => home
        SET a.b = 'c' => home
        ",
    );
}
