//! Conditions on one table: which bind its key.

use crate::fixture::*;

#[test]
fn equality() {
    check_lines(
        "
        SELECT * FROM users WHERE id = {a} => a
        SELECT * FROM users WHERE id = {c} => c
        SELECT * FROM users WHERE {a} = id => a
        SELECT * FROM users u WHERE u.id = {a} => a
        SELECT * FROM public.users WHERE public.users.id = {a} => a
        SELECT * FROM users WHERE users.id = {a} AND name = 'x' AND age > 3 => a
        SELECT * FROM users WHERE name = 'x' AND (age > 3 AND (id = {a})) => a
        SELECT * FROM users WHERE id = '{a}' => a
        SELECT * FROM users WHERE id = ' {a} ' => a
        SELECT * FROM users WHERE id = {a}.0 => a
        SELECT * FROM users WHERE id = {a}::int2 => a
        SELECT * FROM users WHERE id = CAST({a} AS bigint) => a
        SELECT * FROM users WHERE id = '{a}'::int4 => a
        SELECT * FROM users WHERE id = bigint '{a}' => a
        SELECT * FROM users WHERE id = {a}::numeric => a
        SELECT * FROM users WHERE id = $1 => a
        SELECT * FROM users WHERE id = $1::int8 => a
        SELECT * FROM users WHERE id = $1::int4 => a
        SELECT * FROM users WHERE id OPERATOR(pg_catalog.=) {a} => a
        SELECT * FROM users WHERE id IS NOT DISTINCT FROM {a} => a
        SELECT * FROM users WHERE (id, name) = ({a}, 'x') => a
        SELECT * FROM users WHERE (name, id) = ('x', $1) => a
        SELECT * FROM users WHERE ROW(id, age) = ROW({a}, 3) => a
        SELECT * FROM users AS u(k, n) WHERE k = {a} => a
        SELECT * FROM users AS u(k) WHERE u.k = {a} => a
        SELECT count(*), max(age) FROM users WHERE id = {a} => a
        SELECT * FROM users WHERE id = {a} ORDER BY name LIMIT 3 OFFSET 1 => a
        SELECT DISTINCT name FROM users WHERE id = {a} => a
        SELECT age, count(*) FROM users WHERE id = {a} GROUP BY age HAVING count(*) > 1 => a
        SELECT rank() OVER (PARTITION BY age ORDER BY name) FROM users WHERE id = {a} => a
        SELECT * FROM users WHERE id = {a} FOR UPDATE => a
        SELECT ctid, xmin, users FROM users WHERE id = {a} => a
        SELECT * FROM users TABLESAMPLE SYSTEM (10) WHERE id = {a} => a
        TABLE countries => any
        ",
    );
}

#[test]
fn lists() {
    check_lines(
        "
        SELECT * FROM users WHERE id IN ({a}) => a
        SELECT * FROM users WHERE id IN ({a}, {b}) => a
        SELECT * FROM users WHERE id IN ({a}, {c}) => refused: more than one shard
        SELECT * FROM users WHERE id IN ({a}, NULL) => a
        SELECT * FROM users WHERE id IN ('{a}', '{b}') => a
        SELECT * FROM users WHERE id IN ($1, $1) => a
        SELECT * FROM users WHERE id IN ({a}, 1.5) => a
        SELECT * FROM users WHERE id IN ('{a}', 1.5) => refused
        SELECT * FROM users WHERE id IN ($1, 1.5) => refused
        SELECT * FROM users WHERE (id, age) IN (({a}, 1), ({b}, 2)) => a
        SELECT * FROM users WHERE (id, age) IN (({a}, 1), ({c}, 2)) => refused
        SELECT * FROM users WHERE id = ANY (ARRAY[{a}, {b}]) => a
        SELECT * FROM users WHERE id = ANY (ARRAY[{a}, {c}]) => refused
        SELECT * FROM users WHERE id = ANY ('{{a},{b},NULL}') => a
        SELECT * FROM users WHERE id = ANY ('{{a}}'::bigint[]) => a
        SELECT * FROM users WHERE id = ANY (ARRAY['{a}']::bigint[]) => a
        SELECT * FROM users WHERE id = ANY (ARRAY['{a}']) => refused
        SELECT * FROM users WHERE id = SOME (ARRAY[{a}]) => a
        SELECT * FROM users WHERE id = ALL (ARRAY[{a}]) => refused
        SELECT * FROM users WHERE id <> ALL (ARRAY[{a}]) => refused
        SELECT * FROM users WHERE id NOT IN ({a}) => refused
        ",
    );
    let fixture = Fixture::new();
    fixture.check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{{a},{b}}")],
        "a",
    );
    fixture.check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{{a},{c}}")],
        "refused",
    );
    fixture.check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{}")],
        "home",
    );
    fixture.check("SELECT * FROM users WHERE id = ANY ($1)", &[None], "home");
    fixture.check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{{1},{2}}")],
        "refused",
    );
    fixture.check(
        "SELECT * FROM users WHERE id = ANY ($1::int8[])",
        &[Some("{{a}}")],
        "a",
    );
}

#[test]
fn and_or_and_contradictions() {
    check_lines(
        "
        SELECT * FROM users WHERE id = {a} OR id = {b} => a
        SELECT * FROM users WHERE id = {a} OR id = {c} => refused
        SELECT * FROM users WHERE (id = {a} AND age = 1) OR (id = {b} AND age = 2) => a
        SELECT * FROM users WHERE (id = {a} OR age = 1) AND id = {c} => c
        SELECT * FROM users WHERE (id = {a} OR id = {c}) AND id = {a} => a
        SELECT * FROM users WHERE id IN ({a}, {c}) AND id IN ({c}, {h}) => c
        SELECT * FROM users WHERE id = {a} AND id = {c} => home
        SELECT * FROM users WHERE id = NULL => home
        SELECT * FROM users WHERE id = 1.5 => home
        SELECT * FROM users WHERE false => home
        SELECT * FROM users WHERE 1 = 0 => home
        SELECT count(*) FROM users WHERE id = NULL => home
        SELECT * FROM users WHERE id = {c} OR false => c
        SELECT * FROM users WHERE id = {a} OR true => refused
        SELECT * FROM users WHERE id = $1 OR true => refused
        SELECT * FROM users WHERE id = {a} OR age = 3 => refused
        SELECT * FROM users WHERE id = {a} OR id > 3 => refused
        SELECT * FROM users WHERE NOT (id <> {a}) => refused
        SELECT * FROM users WHERE NOT id = {a} => refused
        SELECT * FROM users WHERE (id = {a}) IS NOT TRUE => refused
        SELECT * FROM users WHERE (id = {a}) IS NOT FALSE => refused
        UPDATE users SET name = 'x' WHERE id = NULL => home
        ",
    );
}

#[test]
fn forms_that_do_not_bind() {
    refused(
        "
        SELECT * FROM users
        SELECT * FROM users WHERE true
        SELECT * FROM users WHERE id = id
        SELECT * FROM users WHERE id = age
        SELECT * FROM orders WHERE user_id = p
        SELECT * FROM users WHERE age = {a}
        SELECT * FROM users WHERE id IS NOT NULL
        SELECT * FROM users WHERE id IS NULL
        SELECT * FROM users WHERE id + 0 = {a}
        SELECT * FROM users WHERE id = {a} + 0
        SELECT * FROM users WHERE -id = {a}
        SELECT * FROM users WHERE abs(id) = {a}
        SELECT * FROM users WHERE id::text = '{a}'
        SELECT * FROM users WHERE id::int8 = {a}
        SELECT * FROM users WHERE id > {a}
        SELECT * FROM users WHERE id BETWEEN {a} AND {a}
        SELECT * FROM users WHERE id >= {a} AND id <= {a}
        SELECT * FROM users WHERE id <> {a}
        SELECT * FROM users WHERE id IS DISTINCT FROM {a}
        SELECT * FROM users WHERE id IS NOT DISTINCT FROM NULL
        SELECT * FROM users WHERE COALESCE(id = {a}, true)
        SELECT * FROM users WHERE COALESCE(id, 0) = {a}
        SELECT * FROM users WHERE CASE WHEN id = {a} THEN true ELSE true END
        SELECT * FROM users WHERE CASE id WHEN {a} THEN true END
        SELECT CASE WHEN id = {a} THEN name END FROM users
        SELECT count(*) FILTER (WHERE id = {a}) FROM users
        SELECT id = {a} FROM users
        SELECT max(age) FROM users HAVING max(id) = {a}
        SELECT id, count(*) FROM users GROUP BY id HAVING id = {a}
        SELECT * FROM users ORDER BY id = {a} LIMIT 1
        SELECT * FROM users WHERE id = (SELECT {a})
        SELECT * FROM users WHERE id = (SELECT max(user_id) FROM notes)
        SELECT * FROM users WHERE id = random()
        SELECT * FROM users WHERE id = {a}::float8
        SELECT * FROM users WHERE id = '{a}'::text::int8 + 0
        SELECT * FROM users WHERE id OPERATOR(public.=) {a}
        SELECT * FROM users WHERE (id, age) < ({a}, 3)
        SELECT * FROM users WHERE (id, age) <> ({a}, 3)
        SELECT * FROM users WHERE name LIKE 'x' AND email = 'y'
        SELECT * FROM users WHERE users = ({a}, 'x', 'y', 3)
        SELECT * FROM tags WHERE tag = 'x' COLLATE \"C\"
        SELECT * FROM tags WHERE tag COLLATE \"C\" = 'x'
        SELECT * FROM tags WHERE lower(tag) = 'x'
        SELECT * FROM tags WHERE tag LIKE 'x'
        SELECT * FROM tags WHERE tag = 'x'::char(3)
        SELECT * FROM tags WHERE tag = c
        SELECT * FROM tags WHERE tag = 'x'::name
        SELECT * FROM fuzzy WHERE tag = 'x'
        SELECT * FROM tags WHERE tag ~ '^x$'
        ",
    );
}

#[test]
fn the_reason_is_told() {
    check_lines(
        "
        SELECT * FROM users u WHERE u.age = 3 => refused: Relation \"users\" (alias \"u\") is not bound
        SELECT * FROM users WHERE id = (SELECT 1) => refused: does not bind
        SELECT * FROM tags WHERE tag = 'x' COLLATE \"C\" => refused: collation
        SELECT * FROM users WHERE id = name::int => refused
        SELECT * FROM orders WHERE id = {a} => refused: \"user_id\"
        ",
    );
}

#[test]
fn operators_of_users() {
    let with = |left: u32, right: u32| {
        Fixture::with(|f| {
            f.snapshot.operators.push(UserOperator {
                name: "=".into(),
                left,
                right,
            })
        })
    };
    let sql = "SELECT * FROM users WHERE id = {a}";
    with(INT8, INT8).check(sql, &[], "refused");
    with(INT8, TEXT).check(sql, &[], "refused");
    with(NUMERIC, NUMERIC).check(sql, &[], "refused");
    with(2283, 2283).check(sql, &[], "refused");
    with(INT8, INT8).check("SELECT * FROM users WHERE id IN ({a})", &[], "refused");
    with(INT8, INT8).check(
        "SELECT * FROM users WHERE id = ANY (ARRAY[{a}])",
        &[],
        "refused",
    );
    with(INT8, INT8).check(
        "SELECT * FROM users WHERE id IS NOT DISTINCT FROM {a}",
        &[],
        "refused",
    );
    with(INT8, INT8).check(
        "SELECT * FROM users WHERE id OPERATOR(pg_catalog.=) {a}",
        &[],
        "a",
    );
    with(INT8, INT8).check("SELECT * FROM users JOIN orders o ON o.user_id = users.id WHERE users.id OPERATOR(pg_catalog.=) {a}", &[], "refused");
    // citext's operators do not concern integers and plain text.
    with(99_000, 99_000).check(sql, &[], "a");
    with(VARCHAR, VARCHAR).check("SELECT * FROM tags WHERE tag = 'x'", &[], "refused");
    with(VARCHAR, VARCHAR).check(sql, &[], "a");
}
use shardgate_plan::snapshot::UserOperator;

#[test]
fn settings_that_change_the_meaning() {
    let nulls = Fixture::with(|f| f.transform_null_equals = true);
    nulls.check("SELECT * FROM users WHERE id = NULL", &[], "refused");
    nulls.check("SELECT * FROM users WHERE id = {a}", &[], "a");
}

#[test]
fn ranges_of_range_tables() {
    check_lines(
        "
        SELECT * FROM events WHERE day = '2024-05-01' => s1
        SELECT * FROM events WHERE day = '2025-05-01' => s2
        SELECT * FROM events WHERE day = DATE '2026-05-01' => s3
        SELECT * FROM events WHERE day = '2025-01-01' => s2
        SELECT * FROM events WHERE day = '2024-12-31' => s1
        SELECT * FROM events WHERE day BETWEEN '2025-02-01' AND '2025-03-01' => s2
        SELECT * FROM events WHERE day >= '2025-01-01' AND day < '2026-01-01' => s2
        SELECT * FROM events WHERE day >= '2025-01-01' AND day <= '2026-01-01' => refused
        SELECT * FROM events WHERE day < '2025-01-01' => s1
        SELECT * FROM events WHERE day <= '2025-01-01' => refused
        SELECT * FROM events WHERE '2026-01-01' <= day => s3
        SELECT * FROM events WHERE day > '2025-12-31' => refused
        SELECT * FROM events WHERE day >= '2025-01-01' => refused
        SELECT * FROM events WHERE day BETWEEN '2026-03-01' AND '2026-02-01' => s3
        SELECT * FROM events WHERE day BETWEEN SYMMETRIC '2026-03-01' AND '2026-02-01' => refused
        SELECT * FROM events WHERE day NOT BETWEEN '2026-03-01' AND '2026-02-01' => refused
        SELECT * FROM events WHERE day = 'infinity' => s3
        SELECT * FROM events WHERE day = 'today' => refused
        SELECT * FROM events WHERE day = current_date => refused
        SELECT * FROM events WHERE day = now() => refused
        SELECT * FROM events WHERE day = '2025-05-01 10:00:00'::timestamp => refused
        SELECT * FROM events WHERE day < '2024-01-01' OR day = '2024-02-01' => s1
        SELECT * FROM events WHERE day < '2024-01-01' OR day > '2027-02-01' => refused
        SELECT * FROM sites WHERE region = 'eu' => s2
        SELECT * FROM sites WHERE region IN ('eu', 'us') => refused
        SELECT * FROM sites WHERE region = 'mars' => home
        SELECT * FROM sites WHERE region IN ('us', 'mars') => s3
        INSERT INTO sites (id, region) VALUES (1, 'us') => s3
        INSERT INTO sites (id, region) VALUES (1, 'mars') => 23514
        ",
    );
}

/// A cast may round a constant that equals no key of its own type, and long numbers are Postgres's to read.
#[test]
fn constants_that_are_rounded() {
    let zeros = "0".repeat(60);
    let long = format!("{}.{zeros}{zeros}", key("a"));
    for constant in [
        "1.6::numeric::int",
        "1.6::numeric::bigint",
        "1.6::int",
        long.as_str(),
        "0.00000000000000000000000000000000000000000000002e47",
        "2.5::numeric::int8::int4",
    ] {
        for sql in [
            format!("SELECT * FROM users WHERE id = {constant}"),
            format!("SELECT * FROM users WHERE id IN ({{a}}, {constant})"),
            format!("SELECT * FROM users WHERE id = ANY (ARRAY[{constant}])"),
        ] {
            check_lines(&format!("{sql} => refused"));
        }
    }
    check_lines(
        "
        SELECT * FROM users WHERE id = ANY (ARRAY[1.6]::int[]) => refused
        SELECT * FROM users WHERE id = ANY (ARRAY[1.6]::bigint[]) => refused
        SELECT * FROM users WHERE id = ANY (ARRAY[{a}, 1.6]::bigint[]) => refused
        SELECT * FROM users WHERE id = ANY (ARRAY[1.6::numeric]::bigint[]) => refused
        SELECT * FROM users WHERE id = ANY (ARRAY[{a}.0, '{b}']::bigint[]) => a
        SELECT * FROM users WHERE id = ANY (ARRAY[$1, '{b}']::bigint[]) => a
        SELECT * FROM users WHERE id = {a}.0::numeric => a
        SELECT * FROM users WHERE id = {a}::bigint::int => a
        SELECT * FROM users WHERE id = {a}.0::numeric::int => a
        SELECT * FROM users WHERE id = 1.6::numeric => home
        ",
    );
}

/// One numeric makes the whole list numeric, and with it the parameters in it.
#[test]
fn lists_of_a_wider_type() {
    check_lines(
        "
        SELECT * FROM users WHERE id IN ($1, {a}::numeric) => refused
        SELECT * FROM users WHERE id IN ({a}::numeric, $1) AND id = $1 => refused
        SELECT * FROM users WHERE id IN ($1, {a}::float8) => refused
        SELECT * FROM users WHERE id IN ($1, 1.5) => refused
        SELECT * FROM users WHERE id IN ('{a}', {a}::numeric) => refused
        SELECT * FROM users WHERE id = $1 AND id IN ($1, (SELECT 5.0)) => refused
        SELECT * FROM users WHERE (id, age) IN (($1, 1), ({a}::numeric, 1)) => refused
        SELECT * FROM events WHERE day IN ($1, '2025-03-01 12:00'::timestamp) => refused
        SELECT * FROM users WHERE id IN ($1, {a}::int2) => a
        SELECT * FROM users WHERE id IN ($1, '{b}', NULL, {a}) => a
        SELECT * FROM users WHERE id IN ({b}, {a}::numeric) => a
        ",
    );
}
