//! Functions, and code of tables, that may reach a table of which the home shard has only a part; where indexes are,
//! and what is unlogged.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{Caller, DistributeRequest, distribute_table, load, reference_table};
use shardgate_plan::snapshot::{Placement, Snapshot};
use support::Cluster;

async fn snapshot(cluster: &mut Cluster) -> Snapshot {
    let raw = load(&mut cluster.home, None).await.unwrap();
    raw.build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_reach_a_distributed_table_is_known() {
    let mut cluster = Cluster::start(2).await;
    cluster.home.batch_execute(SAMPLE).await.unwrap();
    cluster
        .home
        .batch_execute("SET search_path = pg_catalog")
        .await
        .unwrap();
    let before = snapshot(&mut cluster).await;
    assert!(before.blind_functions.is_empty() && before.blind_operators.is_empty());
    let tables = before.relations.values().flat_map(|names| names.values());
    let blind: Vec<&str> = tables
        .filter(|relation| relation.blind_code.is_some() || relation.blind_read.is_some())
        .map(|relation| relation.name.as_str())
        .collect();
    assert_eq!(blind, [""; 0], "home has everything");

    let request = DistributeRequest {
        relation: "public.users".to_owned(),
        column: "id".to_owned(),
        ..DistributeRequest::default()
    };
    let caller = Caller::default();
    distribute_table(&mut cluster.home, &request).await.unwrap();
    reference_table(&mut cluster.home, "public.countries", &caller)
        .await
        .unwrap();
    // Code of a temporary schema that is there before stands in the way.
    cluster
        .home
        .batch_execute(
            "CREATE FUNCTION pg_temp.passing() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM public.users'; \
             CREATE TABLE public.of_passing (n int8 DEFAULT pg_temp.passing())",
        )
        .await
        .unwrap();
    let after = snapshot(&mut cluster).await;
    functions(&after);
    tables_with_code(&after);
    indexes(&after);

    // What is declared is noticed and believed, and so are its callers.
    let fingerprint = load(&mut cluster.home, None).await.unwrap().fingerprint;
    cluster
        .home
        .batch_execute(
            "INSERT INTO shardgate.function_class VALUES ('public.count_users()', 'clean'), \
             ('public.count_in_plpgsql()', 'pure'), ('public.calls_it()', 'opaque')",
        )
        .await
        .unwrap();
    let raw = load(&mut cluster.home, None).await.unwrap();
    assert_ne!(raw.fingerprint, fingerprint);
    let declared = raw.build().unwrap();
    for (name, blind) in [
        ("count_users", false),
        ("count_in_plpgsql", false),
        ("calls_it", false),
        ("atomic", true),
        ("dynamic", true),
    ] {
        assert_eq!(declared.blind_functions.contains_key(name), blind, "{name}");
    }
    let triggered = declared.relation("public", "triggered").unwrap();
    assert!(triggered.blind_code.is_some(), "the trigger's own function");
}

fn functions(snapshot: &Snapshot) {
    let direct = "its text reads or writes distributed table public.users";
    for (name, expect) in [
        ("count_users", Some(direct)),
        ("count_in_plpgsql", Some(direct)),
        ("atomic", Some(direct)),
        (
            "calls_it",
            Some("its text calls count_users, which may reach other tables"),
        ),
        (
            "calls_by_default",
            Some("its text calls count_users, which may reach other tables"),
        ),
        (
            "reads_view",
            Some(
                "its text uses view public.old_users, which reads or writes distributed table public.users",
            ),
        ),
        ("dynamic", Some("it runs SQL that it makes (EXECUTE)")),
        (
            "by_text",
            Some("query_to_xml reads tables that it is told by name or by a query's text"),
        ),
        (
            "renamed_builtin",
            Some("query_to_xml reads tables that it is told by name or by a query's text"),
        ),
        (
            "aggregated",
            Some("its text calls add_count, which may reach other tables"),
        ),
        (
            "uses_operator",
            Some("its text uses operator <##>, whose function may reach other tables"),
        ),
        (
            "changes_country",
            Some("its text changes reference table public.countries"),
        ),
        (
            "fires",
            Some("its text uses table public.triggered, where trigger \"tr\" calls note_count"),
        ),
        (
            "reads_pair",
            Some(
                "its text uses table public.of_pair, where the type of column \"p\" calls from_pair",
            ),
        ),
        ("in_c", Some("it is written in C, where it may run SQL")),
        (
            "renamed_statistics",
            Some("ts_stat1 reads tables that it is told by name or by a query's text"),
        ),
        (
            "crosstab3",
            Some("crosstab3 reads tables that it is told by name or by a query's text"),
        ),
        (
            "among_the_systems",
            Some("its text reads or writes distributed table public.users"),
        ),
        ("normal_rand", None),
        ("regexp_matches", None),
        ("crypt", None),
        ("in_comment", None),
        ("reads_country", None),
        ("reads_home", None),
        ("reads_triggered", None),
        ("pure_math", None),
        ("drawn_on_home", None),
        ("decide", None),
    ] {
        let why = snapshot.blind_functions.get(name).map(String::as_str);
        assert_eq!(why, expect, "{name}");
    }
    assert!(snapshot.blind_functions.contains_key("counted"), "a domain");
    assert!(snapshot.blind_functions.contains_key("pair"), "a cast");
    assert!(!snapshot.blind_functions.contains_key("plain"), "a type");
    let mut of_row: Vec<&String> = snapshot.blind_of_row.iter().collect();
    of_row.sort();
    assert_eq!(of_row, ["from_pair", "orders_of"]);
    for name in ["fresh", "two_of", "spread"] {
        assert!(snapshot.blind_functions.contains_key(name), "type {name}");
    }
    assert!(!snapshot.blind_functions.contains_key("citext"));
    let operators: Vec<&String> = snapshot.blind_operators.keys().collect();
    assert_eq!(operators, ["<##>"]);
    assert!(snapshot.catalog_functions.contains("among_the_systems"));
    assert_eq!(
        (
            snapshot.blind_cast.as_deref(),
            snapshot.blind_event.as_deref()
        ),
        (
            Some("cast (text AS integer) calls to_number_of"),
            Some("event trigger \"watches\" calls on_change")
        )
    );
}

fn tables_with_code(snapshot: &Snapshot) {
    for (name, written, read) in [
        ("notes", None, None),
        ("quiet", None, None),
        ("triggered", Some("trigger \"tr\" calls note_count"), None),
        (
            "conditional",
            Some("trigger \"tr\" calls count_users, which"),
            None,
        ),
        (
            "ruled",
            Some("rule \"r\" reads or writes distributed table"),
            None,
        ),
        (
            "policed",
            Some("policy \"p\" reads or writes"),
            Some("policy \"p\" reads or writes"),
        ),
        ("policed_off", Some("policy \"p\" reads or writes"), None),
        ("policed_home", None, None),
        (
            "defaulted",
            Some("the default of column \"n\" calls count_users"),
            None,
        ),
        (
            "checked",
            Some("check constraint \"c\" calls count_users"),
            None,
        ),
        (
            "of_domain",
            Some("the type of column \"n\" calls count_users"),
            None,
        ),
        (
            "of_default",
            Some("the default of column \"n\" calls count_users"),
            None,
        ),
        ("keyed", Some("the partition key calls lies"), None),
        (
            "generated",
            Some("the default of column \"n\" calls lies"),
            None,
        ),
        ("expressed", Some("index \"by_lies\" calls lies"), None),
        (
            "indexed",
            Some("index \"by_count\" with operator class \"by_count\" calls compares"),
            Some("index \"by_count\" with operator class \"by_count\" calls compares"),
        ),
        (
            "sorted",
            Some("the partition key with operator class"),
            Some("the partition key with operator class"),
        ),
        (
            "of_pair",
            Some("the type of column \"p\" calls from_pair"),
            Some("the type of column \"p\" calls from_pair"),
        ),
        (
            "of_both",
            Some("the type of column \"b\" calls from_pair"),
            Some("the type of column \"b\" calls from_pair"),
        ),
        (
            "of_range",
            Some("the type of column \"r\" calls compares"),
            Some("the type of column \"r\" calls compares"),
        ),
        (
            "of_passing",
            Some("the default of column \"n\" calls a function of a temporary schema"),
            None,
        ),
        (
            "owner",
            Some("its changes reach table public.owned: trigger \"tr\""),
            None,
        ),
        ("owned", Some("trigger \"tr\" calls note_count"), None),
        (
            "whole",
            Some("its changes reach table public.part: trigger \"tr\""),
            None,
        ),
        ("stored", Some("its query calls count_users, which"), None),
        (
            "triggered_view",
            Some("the view uses table public.triggered"),
            None,
        ),
    ] {
        let relation = snapshot.relation("public", name).unwrap();
        for (what, found, expect) in [
            ("written", &relation.blind_code, written),
            ("read", &relation.blind_read, read),
        ] {
            let same = match (found, expect) {
                (Some(found), Some(expect)) => found.starts_with(expect),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(same, "{name} {what}: {found:?}");
        }
    }
}

fn indexes(snapshot: &Snapshot) {
    let at = |name: &str| &snapshot.relation("public", name).unwrap().placement;
    for name in ["users_pkey", "by_name"] {
        assert_eq!(at(name), at("users"), "{name}");
        assert!(matches!(at(name), Placement::Distributed { .. }));
    }
    assert_eq!(at("countries_pkey"), &Placement::Reference);
    assert_eq!(at("notes_pkey"), &Placement::Home);
    for (name, unlogged) in [
        ("notes", false),
        ("fleeting", true),
        ("partly", true),
        ("whole", false),
    ] {
        let relation = snapshot.relation("public", name).unwrap();
        assert_eq!(relation.unlogged, unlogged, "{name}");
    }
}

const SAMPLE: &str = "SET search_path = public;
    CREATE TABLE users (id int8 PRIMARY KEY, name text);
    CREATE INDEX by_name ON users (name);
    CREATE TABLE countries (id int PRIMARY KEY, name text);
    CREATE TABLE notes (id int PRIMARY KEY, name text);
    CREATE TABLE quiet (a int DEFAULT abs(1) CHECK (a > 0), b date DEFAULT current_date);
    CREATE FUNCTION count_users() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM Users';
    CREATE FUNCTION count_in_plpgsql() RETURNS int8 LANGUAGE plpgsql AS 'declare n int8; begin select count(*) into n from \"users\"; return n; end';
    CREATE FUNCTION atomic() RETURNS int8 LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM users; END;
    CREATE FUNCTION calls_it() RETURNS int8 LANGUAGE sql AS 'SELECT count_users() + 1';
    CREATE FUNCTION calls_by_default(a int8 DEFAULT count_users()) RETURNS int8 LANGUAGE sql AS 'SELECT a';
    CREATE VIEW old_users AS SELECT * FROM users WHERE id < 100;
    CREATE FUNCTION reads_view() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM old_users';
    CREATE FUNCTION dynamic(t text) RETURNS int LANGUAGE plpgsql AS 'declare n int; begin execute ''select 1 from '' || t into n; return n; end';
    CREATE FUNCTION by_text() RETURNS xml LANGUAGE sql AS 'SELECT query_to_xml(''select 1'', true, true, '''')';
    CREATE FUNCTION renamed_builtin(text, bool, bool, text) RETURNS xml LANGUAGE internal AS 'query_to_xml';
    CREATE FUNCTION add_count(int8, int8) RETURNS int8 LANGUAGE sql AS 'SELECT $1 + $2 + count_users()';
    CREATE AGGREGATE aggregated(int8) (SFUNC = add_count, STYPE = int8, INITCOND = 0);
    CREATE OPERATOR <##> (LEFTARG = int8, RIGHTARG = int8, FUNCTION = add_count);
    CREATE FUNCTION uses_operator() RETURNS int8 LANGUAGE sql AS 'SELECT 1::int8<##>2';
    CREATE FUNCTION changes_country() RETURNS void LANGUAGE sql AS 'UPDATE countries SET name = lower(name)';
    CREATE FUNCTION reads_country() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM countries';
    CREATE FUNCTION reads_home() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM notes';
    CREATE FUNCTION in_comment() RETURNS text LANGUAGE sql AS 'SELECT ''users'' /* of users */';
    CREATE FUNCTION pure_math(int) RETURNS int LANGUAGE plpgsql AS 'begin return $1 * 2; end';
    CREATE FUNCTION orders_of(notes) RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM users WHERE id = $1.id';
    CREATE FUNCTION note_count() RETURNS trigger LANGUAGE plpgsql AS 'begin perform count(*) from users; return new; end';
    CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
    CREATE TRIGGER tr BEFORE INSERT ON quiet FOR EACH ROW EXECUTE FUNCTION noop();
    CREATE TABLE triggered (id int);
    CREATE TRIGGER tr BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION note_count();
    CREATE FUNCTION fires() RETURNS void LANGUAGE sql AS 'INSERT INTO triggered VALUES (1)';
    CREATE FUNCTION reads_triggered() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM triggered';
    CREATE VIEW triggered_view AS SELECT id FROM triggered;
    CREATE TABLE conditional (id int);
    CREATE TRIGGER tr BEFORE INSERT ON conditional FOR EACH ROW WHEN (count_users() > 0) EXECUTE FUNCTION noop();
    CREATE TABLE ruled (id int);
    CREATE RULE r AS ON INSERT TO ruled DO ALSO DELETE FROM users;
    CREATE TABLE policed (id int);
    CREATE POLICY p ON policed USING (EXISTS (SELECT FROM users u WHERE u.id = policed.id));
    ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
    CREATE TABLE policed_off (id int);
    CREATE POLICY p ON policed_off USING (EXISTS (SELECT FROM users));
    CREATE TABLE policed_home (id int);
    CREATE POLICY p ON policed_home USING (EXISTS (SELECT FROM countries));
    ALTER TABLE policed_home ENABLE ROW LEVEL SECURITY;
    CREATE TABLE defaulted (n int8 DEFAULT count_users());
    CREATE TABLE checked (n int8 CONSTRAINT c CHECK (count_users() > n));
    CREATE DOMAIN counted AS int8 CHECK (count_users() > VALUE);
    CREATE TABLE of_domain (n counted);
    CREATE TYPE pair AS (a int, b int);
    CREATE TYPE plain AS (a int, b int);
    CREATE FUNCTION from_pair(pair) RETURNS int8 LANGUAGE sql AS 'SELECT count_users()';
    CREATE CAST (pair AS int8) WITH FUNCTION from_pair(pair);
    CREATE TABLE owner (id int PRIMARY KEY);
    CREATE TABLE owned (id int REFERENCES owner ON DELETE CASCADE);
    CREATE TRIGGER tr BEFORE DELETE ON owned FOR EACH ROW EXECUTE FUNCTION note_count();
    CREATE TABLE whole (id int) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF whole DEFAULT;
    CREATE TRIGGER tr BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION note_count();
    CREATE UNLOGGED TABLE fleeting (id int);
    CREATE TABLE partly (id int) PARTITION BY RANGE (id);
    CREATE UNLOGGED TABLE partly_rest PARTITION OF partly DEFAULT;
    CREATE MATERIALIZED VIEW stored AS SELECT count_users();
    CREATE DOMAIN fresh AS int8 DEFAULT count_users();
    CREATE TABLE of_default (id int, n fresh);
    CREATE FUNCTION lies(int8) RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT count(*) FROM users WHERE id < $1';
    CREATE TABLE keyed (id int8) PARTITION BY RANGE (lies(id));
    CREATE TABLE generated (id int8, n int8 GENERATED ALWAYS AS (lies(id)) STORED);
    CREATE TABLE expressed (id int8);
    CREATE INDEX by_lies ON expressed (lies(id));
    CREATE FUNCTION compares(int8, int8) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT (count_users() + $1 - $2)::int';
    CREATE OPERATOR CLASS by_count FOR TYPE int8 USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
        OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compares(int8, int8);
    CREATE TABLE indexed (n int8);
    CREATE INDEX by_count ON indexed (n by_count);
    CREATE TABLE sorted (n int8) PARTITION BY RANGE (n by_count);
    CREATE TABLE of_pair (p pair);
    CREATE TYPE two_of AS (p pair, i int);
    CREATE TABLE of_both (b two_of);
    CREATE FUNCTION reads_pair() RETURNS int8 LANGUAGE sql AS 'SELECT sum(1 + p) FROM of_pair';
    CREATE TYPE spread AS RANGE (subtype = int8, subtype_opclass = by_count);
    CREATE TABLE of_range (r spread);
    CREATE FUNCTION in_c() RETURNS trigger LANGUAGE c AS '$libdir/autoinc', 'autoinc';
    CREATE FUNCTION renamed_statistics(text, OUT word text, OUT ndoc int, OUT nentry int) RETURNS SETOF record
        LANGUAGE internal AS 'ts_stat1';
    CREATE EXTENSION tablefunc;
    CREATE EXTENSION citext;
    CREATE EXTENSION pgcrypto;
    CREATE FUNCTION pg_catalog.among_the_systems() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM public.users';
    CREATE FUNCTION to_number_of(text) RETURNS int4 LANGUAGE sql AS 'SELECT count_users()::int';
    CREATE CAST (text AS int4) WITH FUNCTION to_number_of(text) AS ASSIGNMENT;
    CREATE FUNCTION on_change() RETURNS event_trigger LANGUAGE plpgsql AS 'begin perform count(*) from public.users; end';
    CREATE EVENT TRIGGER watches ON ddl_command_end EXECUTE FUNCTION on_change();";
