//! Writes over several shards: for which of them each shard does its own part, the text of each part, and why others are
//! refused.

use crate::fixture::*;
use shardgate_plan::snapshot::{Column, ColumnDefault, Relation};
use shardgate_plan::{Compiled, Decision, Param, Refusal, Returns, Spread};
use shardgate_shard_map::ShardId;
use std::sync::Arc;

const NOW: &str = "T";

fn decide(fixture: &Fixture, sql: &str, params: &[Option<&str>]) -> Decision {
    let filled: Vec<Option<String>> = params.iter().map(|param| param.map(fill)).collect();
    let params: Vec<Param<'_>> = filled
        .iter()
        .map(|value| Param {
            binary: false,
            value: value.as_deref().map(str::as_bytes),
        })
        .collect();
    let compiled: Compiled = fixture.compile(&fill(sql));
    compiled.decide(&params, &fixture.snapshot)
}

fn spread_with(fixture: &Fixture, sql: &str, params: &[Option<&str>]) -> Spread {
    match decide(fixture, sql, params) {
        Decision::Spread(spread) => spread.as_ref().clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// Each part as `shard: text`, one a line, with the time as T.
fn parts(spread: &Spread) -> Vec<String> {
    let part = |part| {
        let text = spread.part_text(part, NOW);
        let text = text.replace("'T'::pg_catalog.timestamptz", "T");
        format!("s{}: {text}", part.shard.0)
    };
    spread.parts.iter().map(part).collect()
}

fn check_with(fixture: &Fixture, sql: &str, expect: &[&str]) {
    let spread = spread_with(fixture, sql, &[]);
    let expect: Vec<String> = expect.iter().map(|part| fill(part)).collect();
    assert_eq!(parts(&spread), expect, "{sql}");
}

fn check(sql: &str, expect: &[&str]) {
    check_with(&Fixture::new(), sql, expect);
}

/// On all four shards, with the same text.
fn everywhere(sql: &str, text: &str) {
    let spread = spread_with(&Fixture::new(), sql, &[]);
    let expect: Vec<String> = (1..=4).map(|id| format!("s{id}: {}", fill(text))).collect();
    assert_eq!(parts(&spread), expect, "{sql}");
}

fn refusal(sql: &str, params: &[Option<&str>]) -> Refusal {
    match decide(&Fixture::new(), sql, params) {
        Decision::Refused(refusal) => refusal,
        other => panic!("{sql}: {other:?}"),
    }
}

/// `why`: a part of the message or the detail.
fn check_refused(sql: &str, why: &str) {
    let refusal = refusal(sql, &[]);
    assert_eq!(refusal.sqlstate, "0A000", "{sql}");
    let said = format!("{} {}", refusal.message, refusal.detail.unwrap_or_default());
    assert!(said.contains(why), "{sql}: {said}");
}

#[test]
fn rows_go_to_the_shards_of_their_keys() {
    check(
        "INSERT INTO users (id, name) VALUES ({a}, 'x'), ({c}, 'y'), ({b}, 'z')",
        &[
            "s2: INSERT INTO users (id, name) VALUES ({a}, 'x'), ({b}, 'z')",
            "s3: INSERT INTO users (id, name) VALUES ({c}, 'y')",
        ],
    );
    // Home is first, whatever its place.
    check(
        "insert into public . users as u values ({c}), ({h}) on conflict (id) do nothing",
        &[
            "s1: insert into public . users as u values ({h}) on conflict (id) do nothing",
            "s3: insert into public . users as u values ({c}) on conflict (id) do nothing",
        ],
    );
    check(
        "INSERT INTO users (id, name) VALUES ({a}, 'a), (b'), ({c}, ')' || $$'$$ /* ), ( */) ; -- end",
        &[
            "s2: INSERT INTO users (id, name) VALUES ({a}, 'a), (b') ; -- end",
            "s3: INSERT INTO users (id, name) VALUES ({c}, ')' || $$'$$ /* ), ( */) ; -- end",
        ],
    );
    check(
        "INSERT INTO users (id, age) VALUES ({a}, (1)), ({c}, (SELECT max(id) FROM countries)), ({a}, abs(-1))",
        &[
            "s2: INSERT INTO users (id, age) VALUES ({a}, (1)), ({a}, abs(-1))",
            "s3: INSERT INTO users (id, age) VALUES ({c}, (SELECT max(id) FROM countries))",
        ],
    );
    check(
        "INSERT INTO users (id, x) VALUES ({a}, random()), ({c}, DEFAULT) ON CONFLICT (id) DO UPDATE SET id = excluded.id, x = users.x + 1 WHERE users.x > 2",
        &[
            "s2: INSERT INTO users (id, x) VALUES ({a}, random()) ON CONFLICT (id) DO UPDATE SET id = excluded.id, x = users.x + 1 WHERE users.x > 2",
            "s3: INSERT INTO users (id, x) VALUES ({c}, DEFAULT) ON CONFLICT (id) DO UPDATE SET id = excluded.id, x = users.x + 1 WHERE users.x > 2",
        ],
    );
}

#[test]
fn rows_of_one_shard_go_there_as_they_are() {
    let fixture = Fixture::new();
    for sql in [
        "INSERT INTO users (id) VALUES ({a}), ({b})",
        "INSERT INTO users (id) VALUES ($1), ($2)",
    ] {
        let decision = decide(&fixture, sql, &[Some("{a}"), Some("{b}")]);
        assert_eq!(decision, Decision::Shard(ShardId(2)), "{sql}");
    }
}

#[test]
fn parameters_of_a_part_are_those_that_it_mentions() {
    let fixture = Fixture::new();
    let sql = "INSERT INTO users (id, name, age) VALUES ($1, $2, 1), ($3, $4, $5 + 1) ON CONFLICT (id) DO UPDATE SET name = $6";
    let values = ["{a}", "x", "{c}", "y", "1", "z"].map(Some);
    let spread = spread_with(&fixture, sql, &values);
    let params: Vec<_> = spread.parts.iter().map(|part| part.params(9)).collect();
    assert_eq!(params, [Some([1, 2, 6].into()), Some([3, 4, 5, 6].into())]);
    // Two uses in one column are alike; in two columns they are not, unless the type is declared.
    let alike = "INSERT INTO users (id, name) VALUES ($1, $2), ($3, $2)";
    spread_with(&fixture, alike, &[Some("{a}"), Some("x"), Some("{c}")]);
    let unlike = "INSERT INTO users (id, name, age) VALUES ($1, $2, 1), ($3, 'x', $2)";
    let values = [Some("{a}"), Some("7"), Some("{c}")];
    assert!(matches!(
        decide(&fixture, unlike, &values),
        Decision::Refused(_)
    ));
    let declared = Fixture::with(|fixture| fixture.declared = vec![INT8, INT4, INT8]);
    spread_with(&declared, unlike, &values);
    let users = Fixture::with(|fixture| fixture.declared = vec![INT8, 16_400, INT8]);
    assert!(matches!(
        decide(&users, alike, &values),
        Decision::Refused(_)
    ));
}

#[test]
fn returning_is_in_the_order_of_the_rows() {
    let fixture = Fixture::new();
    let values = "INSERT INTO users (id) VALUES ({c}), ({a}), ({c}), ({b})";
    let returns = |sql: &str| {
        let spread = spread_with(&fixture, sql, &[]);
        (spread.rows, spread.returns)
    };
    let rows = vec![1, 0, 1, 0];
    assert_eq!(returns(values), (rows.clone(), Returns::Nothing));
    for tail in [
        "RETURNING id",
        "ON CONFLICT (id) DO UPDATE SET age = 1 RETURNING *",
    ] {
        let sql = format!("{values} {tail}");
        assert_eq!(returns(&sql), (rows.clone(), Returns::InOrder), "{sql}");
    }
    for tail in [
        "ON CONFLICT DO NOTHING RETURNING id -- x",
        "ON CONFLICT (id) DO UPDATE SET age = 1 WHERE users.age > 1 RETURNING *, age + 1;",
    ] {
        let spread = spread_with(&fixture, &format!("{values} {tail}"), &[]);
        assert!(matches!(spread.returns, Returns::ByKey(_)), "{tail}");
        let text = spread.part_text(&spread.parts[0], NOW);
        let expect = tail
            .replace("RETURNING id", "RETURNING id, \"id\"")
            .replace("age + 1;", "age + 1, \"id\";");
        assert!(text.ends_with(&expect), "{text}");
    }
    let of = |sql: &str| returns(sql).1;
    assert_eq!(
        of("UPDATE users SET age = 1 RETURNING id"),
        Returns::AnyOrder
    );
    assert_eq!(of("DELETE FROM users"), Returns::Nothing);
}

#[test]
fn rows_that_were_left_out_are_found_by_their_keys() {
    let fixture = Fixture::new();
    let sql = "INSERT INTO orders (user_id, id) VALUES ({c}, 1), ({a}, 1), ({b}, 2), ({a}, 3), ({b}, 4) ON CONFLICT DO NOTHING RETURNING id";
    let spread = spread_with(&fixture, sql, &[]);
    let Returns::ByKey(keys) = &spread.returns else {
        panic!("{spread:?}");
    };
    let rows: Vec<usize> = spread.parts[0].rows.iter().map(|row| row.number).collect();
    assert_eq!(rows, [1, 2, 3, 4]);
    let check = |returned: &[&str], expect: Option<Vec<usize>>| {
        let bytes: Vec<[u8; 8]> = returned
            .iter()
            .map(|name| key(name).to_be_bytes())
            .collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(|bytes| bytes.as_slice()).collect();
        assert_eq!(keys.returned(&rows, &bytes), expect, "{returned:?}");
    };
    check(&[], Some(vec![]));
    check(&["a", "b", "a", "b"], Some(vec![1, 2, 3, 4]));
    check(&["b", "b"], Some(vec![2, 4]));
    check(&["a", "a"], Some(vec![1, 3]));
    check(&["a"], None);
    check(&["c"], None);
    check(&["a", "b", "a", "b", "b"], None);
    // Where the key itself is what conflicts, the first one is written.
    let sql = "INSERT INTO users (id) VALUES ({c}), ({a}), ({b}), ({a}) ON CONFLICT (id) DO NOTHING RETURNING id";
    let spread = spread_with(&fixture, sql, &[]);
    let Returns::ByKey(keys) = &spread.returns else {
        panic!("{spread:?}");
    };
    let (a, b) = (key("a").to_be_bytes(), key("b").to_be_bytes());
    assert_eq!(keys.returned(&[1, 2, 3], &[&a, &b]), Some(vec![1, 2]));
    assert_eq!(keys.returned(&[1, 2, 3], &[&b]), Some(vec![2]));
    assert_eq!(keys.returned(&[1, 2, 3], &[&a, &a]), None);
}

#[test]
fn a_part_of_the_first_rows() {
    let spread = spread_with(
        &Fixture::new(),
        "INSERT INTO users (id) VALUES ({c}), ({a}), ({c}), ({b})",
        &[],
    );
    let text = |part: usize, count| spread.part_of_first(&spread.parts[part], count, NOW);
    let some = |text: &str| Some(fill(text));
    assert_eq!(text(0, 1), None);
    assert_eq!(text(0, 3), some("INSERT INTO users (id) VALUES ({a})"));
    assert_eq!(
        text(0, 4),
        some("INSERT INTO users (id) VALUES ({a}), ({b})")
    );
    assert_eq!(text(1, 1), some("INSERT INTO users (id) VALUES ({c})"));
}

/// `users` with more columns.
fn with_columns(columns: Vec<Column>) -> Fixture {
    Fixture::with(|fixture| {
        let tables = fixture
            .snapshot
            .relations
            .get_mut("public")
            .expect("public");
        let users = tables.get_mut("users").expect("users");
        let mut changed: Relation = users.as_ref().clone();
        changed.columns.extend(columns);
        *users = Arc::new(changed);
    })
}

fn clocked(name: &str, text: &str) -> Column {
    Column {
        default: ColumnDefault::Clock(Arc::from(text)),
        ..column(name, TIMESTAMPTZ)
    }
}

#[test]
fn one_time_for_all_shards() {
    everywhere(
        "UPDATE users SET name = now()::text WHERE x > extract(epoch from CURRENT_TIMESTAMP(0)) and pg_catalog.now() > LOCALTIMESTAMP",
        "UPDATE users SET name = (T)::text WHERE x > extract(epoch from (T::pg_catalog.timestamptz(0))) and (T) > (T::pg_catalog.timestamp)",
    );
    everywhere(
        "UPDATE users SET name = clock_timestamp()::text, x = random()",
        "UPDATE users SET name = clock_timestamp()::text, x = random()",
    );
    check(
        "INSERT INTO users (id, name) VALUES ({a}, now()), ({c}, current_date)",
        &[
            "s2: INSERT INTO users (id, name) VALUES ({a}, (T))",
            "s3: INSERT INTO users (id, name) VALUES ({c}, (T::pg_catalog.date))",
        ],
    );
    let fixture = with_columns(vec![
        clocked("made", "now()"),
        clocked("ends", "(CURRENT_TIMESTAMP + '7 days'::interval)"),
    ]);
    check_with(
        &fixture,
        "INSERT INTO users (id, ends) VALUES ({a}, DEFAULT), ({c}, '2024-01-01')",
        &[
            "s2: INSERT INTO users (id, ends, \"made\") VALUES ({a}, (((T::pg_catalog.timestamptz) + '7 days'::interval)), ((T)))",
            "s3: INSERT INTO users (id, ends, \"made\") VALUES ({c}, '2024-01-01', ((T)))",
        ],
    );
    check_with(
        &fixture,
        "INSERT INTO users AS u VALUES ({a}, 'x'), ({c}, 'y')",
        &[
            "s2: INSERT INTO users AS u  (\"id\", \"name\", \"made\", \"ends\") VALUES ({a}, 'x', ((T)), (((T::pg_catalog.timestamptz) + '7 days'::interval)))",
            "s3: INSERT INTO users AS u  (\"id\", \"name\", \"made\", \"ends\") VALUES ({c}, 'y', ((T)), (((T::pg_catalog.timestamptz) + '7 days'::interval)))",
        ],
    );
    let said = with_columns(vec![clocked("made", "'now'::text::date")]);
    let sql = "INSERT INTO users (id) VALUES ({a}), ({c})";
    assert!(matches!(decide(&said, sql, &[]), Decision::Refused(_)));
}

#[test]
fn constants_that_may_be_times() {
    let words = "INSERT INTO sites (id, region) VALUES (1, 'eu'), (2, 'us')";
    spread_with(&Fixture::new(), words, &[]);
    let words =
        "INSERT INTO users (id, name) VALUES ({a}, 'now'), ({c}, 'I know what is due today')";
    spread_with(&Fixture::new(), words, &[]);
    check_refused(
        "INSERT INTO events (day, n) VALUES ('2024-01-01', 1), ('2025-06-01', length('now'))",
        "read by the clock",
    );
    check_refused("UPDATE stamps SET plain = 'tomorrow'", "read by the clock");
    check_refused(
        "DELETE FROM stamps WHERE plain < 'now'",
        "read by the clock",
    );
    everywhere(
        "UPDATE users SET name = 'now'",
        "UPDATE users SET name = 'now'",
    );
    let says = |sql: &str| decide(&Fixture::new(), sql, &[Some("now")]);
    assert!(matches!(
        says("UPDATE users SET name = $1"),
        Decision::Spread(_)
    ));
    assert!(matches!(
        says("UPDATE stamps SET plain = $1"),
        Decision::Refused(_)
    ));
}

#[test]
fn every_shard_changes_its_own_rows() {
    for sql in [
        "UPDATE users SET age = 1",
        "DELETE FROM users",
        "UPDATE users SET age = age + 1 WHERE name LIKE 'x%' AND id > 3",
        "UPDATE users u SET id = u.id, age = 1 WHERE id BETWEEN 1 AND 9",
        "UPDATE users SET age = o.id FROM orders o WHERE o.user_id = users.id AND o.status = 'x'",
        "UPDATE users SET name = c.code FROM countries c WHERE c.id = users.age",
        "DELETE FROM orders USING users u WHERE u.id = user_id AND u.age > 3",
        "DELETE FROM orders o USING users u LEFT JOIN payments p ON p.user_id = u.id WHERE u.id = o.user_id",
        "DELETE FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id)",
        "DELETE FROM orders WHERE user_id IN (SELECT id FROM users WHERE age > 3)",
        "UPDATE users SET age = (SELECT count(*) FROM orders o WHERE o.user_id = users.id) RETURNING id",
        "UPDATE users SET age = 1 RETURNING (SELECT count(*) FROM orders o WHERE o.user_id = users.id)",
        "WITH o AS (SELECT user_id FROM orders WHERE total > 5) UPDATE users SET age = 1 FROM o WHERE o.user_id = id",
        "DELETE FROM users WHERE age IN (SELECT id FROM countries)",
        "UPDATE users SET age = (SELECT max(id) FROM countries)",
        "UPDATE users SET id = o.user_id FROM orders o WHERE o.user_id = users.id",
    ] {
        everywhere(sql, sql);
    }
}

#[test]
fn keys_of_some_shards_only() {
    check(
        "UPDATE users SET age = 1 WHERE id IN ({a}, {c}, {b})",
        &[
            "s2: UPDATE users SET age = 1 WHERE id IN ({a}, {c}, {b})",
            "s3: UPDATE users SET age = 1 WHERE id IN ({a}, {c}, {b})",
        ],
    );
    check(
        "DELETE FROM events WHERE day >= '2025-06-01'",
        &[
            "s2: DELETE FROM events WHERE day >= '2025-06-01'",
            "s3: DELETE FROM events WHERE day >= '2025-06-01'",
        ],
    );
    let fixture = Fixture::new();
    let sql = "DELETE FROM users WHERE id = ANY ($1)";
    let spread = spread_with(&fixture, sql, &[Some("{{a},{c}}")]);
    assert_eq!(spread.parts.len(), 2);
    assert_eq!(
        decide(&fixture, sql, &[Some("{{a},{b}}")]),
        Decision::Shard(ShardId(2))
    );
}

#[test]
fn what_a_shard_cannot_do_alone() {
    for (sql, why) in [
        (
            "UPDATE users SET age = 1 FROM orders o WHERE o.id = users.id",
            "not joined by its key",
        ),
        (
            "UPDATE users SET age = 1 FROM orders o WHERE o.status = users.name",
            "not joined by its key",
        ),
        (
            "UPDATE users SET age = (SELECT count(*) FROM orders)",
            "not joined by its key",
        ),
        (
            "DELETE FROM users WHERE EXISTS (SELECT 1 FROM orders WHERE total > 1)",
            "not joined by its key",
        ),
        (
            "UPDATE users SET age = 1 FROM far WHERE far.id = users.id",
            "not joined by its key",
        ),
        (
            "DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY age LIMIT 3)",
            "not joined by its key",
        ),
        (
            "UPDATE users SET name = n.body FROM notes n WHERE n.user_id = users.id",
            "home shard alone",
        ),
        (
            "UPDATE users SET x = (SELECT random())",
            "once for the whole statement",
        ),
        (
            "DELETE FROM users USING generate_series(1, (random() * 9)::int) g WHERE g = age",
            "once for the whole statement",
        ),
        (
            "UPDATE users SET name = (SELECT code FROM countries LIMIT 1)",
            "other rows of a reference table",
        ),
        (
            "UPDATE users SET name = (SELECT string_agg(code, ',') FROM countries)",
            "order of rows",
        ),
        ("UPDATE users SET name = ctid::text", "system column"),
        (
            "DELETE FROM users RETURNING now()",
            "RETURNING reads the clock",
        ),
        (
            "DELETE FROM users RETURNING id, current_date",
            "RETURNING reads the clock",
        ),
        (
            "INSERT INTO users (id) VALUES ({a}), ({c}) RETURNING now()",
            "RETURNING reads the clock",
        ),
        (
            "WITH w AS (SELECT 1) INSERT INTO users (id) VALUES ({a}), ({c})",
            "it has a WITH",
        ),
        (
            "INSERT INTO users (id, age) VALUES ({a}, (SELECT age FROM users WHERE id = {a})), ({c}, 1)",
            "is read by it",
        ),
        (
            "INSERT INTO users (id) VALUES ({a}), ({c}) ON CONFLICT (id) DO UPDATE SET id = {a}",
            "another key",
        ),
        (
            "INSERT INTO users (id) VALUES ({a}), ({c}) RETURNING (SELECT 1)",
            "a query stands behind its rows",
        ),
        (
            "WITH d AS (DELETE FROM users RETURNING id) SELECT * FROM d",
            "inside of another statement",
        ),
        (
            "UPDATE users SET name = current_setting('x')",
            "one server's settings",
        ),
    ] {
        check_refused(sql, why);
    }
    // Other things stand against these.
    refused(
        "
        UPDATE users SET id = id + 1
        UPDATE users SET id = {a}
        UPDATE users SET id = age
        INSERT INTO users (id) SELECT age FROM users
        INSERT INTO users (id) VALUES ({a}), ({c} + 0)
        INSERT INTO serials (user_id) VALUES ({a}), ({c})
        DELETE FROM coded
        DELETE FROM secured
        DELETE FROM parent
        DELETE FROM users WHERE clean_fn(id)
        ",
    );
}

#[test]
fn reference_tables_are_written_everywhere() {
    for sql in [
        "INSERT INTO countries (id, code) VALUES (1, 'de')",
        "INSERT INTO countries VALUES (1, 'de'), (2, lower('FR')) ON CONFLICT (id) DO UPDATE SET code = excluded.code RETURNING *",
        "UPDATE countries SET code = code || 'x' WHERE id > 3",
        "DELETE FROM countries c USING countries d WHERE d.id = c.id + 1",
        "DELETE FROM countries WHERE id IN (SELECT max(id) FROM countries)",
    ] {
        everywhere(sql, sql);
        let spread = spread_with(&Fixture::new(), sql, &[]);
        assert_eq!(spread.copies.as_deref(), Some("public.countries"), "{sql}");
    }
    everywhere(
        "INSERT INTO countries (id, code) VALUES (1, now()::text)",
        "INSERT INTO countries (id, code) VALUES (1, (T)::text)",
    );
    for (sql, why) in [
        (
            "INSERT INTO countries (id, code) VALUES (1, random()::text)",
            "function random",
        ),
        ("INSERT INTO countries SELECT 1, 'x'", "come from a query"),
        ("INSERT INTO countries DEFAULT VALUES", "are defaults"),
        (
            "UPDATE countries SET code = d.code FROM countries d",
            "FROM",
        ),
        (
            "DELETE FROM countries WHERE id IN (SELECT id FROM countries LIMIT 1)",
            "other rows",
        ),
        (
            "UPDATE countries SET code = (SELECT string_agg(code, ',') FROM countries)",
            "order of rows",
        ),
        (
            "DELETE FROM countries USING notes WHERE notes.id = countries.id",
            "no reference table",
        ),
        (
            "DELETE FROM countries USING users WHERE users.id = {a}",
            "no reference table",
        ),
    ] {
        check_refused(sql, why);
    }
    let fixture = Fixture::with(|fixture| {
        let tables = fixture
            .snapshot
            .relations
            .get_mut("public")
            .expect("public");
        let countries = tables.get_mut("countries").expect("countries");
        let mut changed: Relation = countries.as_ref().clone();
        changed.columns[0].default = ColumnDefault::Sequence;
        changed.columns[1].default = ColumnDefault::Anew;
        *countries = Arc::new(changed);
    });
    for (sql, able) in [
        ("INSERT INTO countries (id, code) VALUES (1, 'x')", true),
        ("INSERT INTO countries (code) VALUES ('x')", false),
        ("INSERT INTO countries VALUES (1)", false),
        ("INSERT INTO countries VALUES (1, DEFAULT)", false),
        ("UPDATE countries SET code = DEFAULT", false),
    ] {
        let spread = matches!(decide(&fixture, sql, &[]), Decision::Spread(_));
        assert_eq!(spread, able, "{sql}");
    }
}

#[test]
fn rows_whose_keys_cannot_be() {
    let fixture = Fixture::new();
    let sql = "INSERT INTO users (id) VALUES ($1), ($2), ($3)";
    // Postgres says that a parameter is no number.
    assert_eq!(
        decide(&fixture, sql, &[Some("{a}"), Some("x"), Some("{c}")]),
        Decision::Shard(ShardId(1))
    );
    let null = [Some("{a}"), None, Some("{c}")];
    match decide(&fixture, sql, &null) {
        Decision::Refused(refusal) => assert_eq!(refusal.sqlstate, "23502"),
        other => panic!("{other:?}"),
    }
    // Where the column is NOT NULL, the row fails in its turn.
    let not_null = Fixture::with(|fixture| {
        let tables = fixture
            .snapshot
            .relations
            .get_mut("public")
            .expect("public");
        let users = tables.get_mut("users").expect("users");
        let mut changed: Relation = users.as_ref().clone();
        changed.columns[0].not_null = true;
        *users = Arc::new(changed);
    });
    let spread = spread_with(&not_null, sql, &null);
    assert_eq!(spread.parts[0].params(9), Some([1, 2].into()));
    assert_eq!(spread.parts[0].params(1), Some([1].into()));
    let sites = "INSERT INTO sites (id, region) VALUES (1, $1), (2, $2)";
    match decide(&fixture, sites, &[Some("eu"), Some("mars")]) {
        Decision::Refused(refusal) => assert_eq!(refusal.sqlstate, "23514"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_explanation_shows_every_part() {
    let fixture = Fixture::new();
    let sql = fill("INSERT INTO users (id, name) VALUES ({a}, 'x'), ({c}, now())");
    let compiled = fixture.compile(&sql);
    let decision = compiled.decide(&[], &fixture.snapshot);
    let lines = shardgate_plan::explain(&compiled, &decision, &fixture.snapshot).join("\n");
    for part in [
        "Route: several shards, all or nothing",
        "Statement on s2: INSERT INTO users (id, name) VALUES (",
        "time of the transaction",
    ] {
        assert!(lines.contains(part), "{lines}");
    }
}
