//! INSERT, UPDATE, DELETE: keys of new rows, of changed rows, and of what they read.

use crate::fixture::*;

#[test]
fn insert_values() {
    check_lines(
        "
        INSERT INTO users (id, name) VALUES ({a}, 'x') => a
        INSERT INTO users VALUES ({a}, 'x') => a
        INSERT INTO users (name, id) VALUES ('x', {a}) => a
        INSERT INTO users (name, id) VALUES ('x', $1) RETURNING * => a
        INSERT INTO users (id) VALUES ({a}), ({b}) => a
        INSERT INTO users (id) VALUES ({a}), ({c}) => refused: several shards
        INSERT INTO users (id) VALUES ('{a}') => a
        INSERT INTO users (id) VALUES ({a}.0) => a
        INSERT INTO users (id) VALUES ({a}::int2) => a
        INSERT INTO users (id) VALUES ($1::bigint) => a
        INSERT INTO users AS u (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET name = excluded.name => a
        INSERT INTO users (id, name) VALUES ({a}, 'x') ON CONFLICT (id) DO UPDATE SET id = excluded.id, name = excluded.name WHERE users.age > 3 => a
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT DO NOTHING => a
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = {b} => a
        INSERT INTO users (id, name) VALUES ({a}, (SELECT code FROM countries WHERE id = 3)) => a
        INSERT INTO users (id, name) VALUES ({a}, (SELECT status FROM orders WHERE user_id = {a} LIMIT 1)) => a
        INSERT INTO users (id) VALUES ({a}) RETURNING (SELECT count(*) FROM orders o WHERE o.user_id = users.id) => a
        INSERT INTO users (id, age) VALUES ({a}, DEFAULT) => a
        INSERT INTO users (id, name) VALUES ({a}, now()::text) => a
        INSERT INTO serials (id, user_id) VALUES (1, {a}) => a
        INSERT INTO odd (user_id, v) VALUES ({a}, 'x') => a
        INSERT INTO users (id) VALUES (NULL) => 23502
        INSERT INTO users (id) VALUES ({a}), (NULL) => 23502
        INSERT INTO notes (id) VALUES (1) => home
        INSERT INTO docs VALUES ('550e8400-e29b-41d4-a716-446655440000') => s2
        ",
    );
    let fixture = Fixture::new();
    fixture.check("INSERT INTO users (id) VALUES ($1)", &[None], "23502");
    fixture.check(
        "INSERT INTO users (id) VALUES ($1), ($2)",
        &[Some("{a}"), Some("{b}")],
        "a",
    );
    fixture.check(
        "INSERT INTO users (id) VALUES ($1), ($2)",
        &[Some("{a}"), Some("{c}")],
        "refused",
    );
    fixture.check("INSERT INTO users (id) VALUES ($1)", &[Some("abc")], "home");
    refused(
        "
        INSERT INTO users (name) VALUES ('x')
        INSERT INTO users DEFAULT VALUES
        INSERT INTO users (id) VALUES (DEFAULT)
        INSERT INTO users (id) VALUES ({a}), (DEFAULT)
        INSERT INTO users (id) VALUES (1.5)
        INSERT INTO users (id) VALUES ({a} + 0)
        INSERT INTO users (id) VALUES (abs({a}))
        INSERT INTO users (id) VALUES (random())
        INSERT INTO users (id) VALUES ((SELECT {a}))
        INSERT INTO users (id) VALUES ((SELECT max(id) FROM users WHERE id = {a}))
        INSERT INTO users (id) VALUES ('{a}'::numeric)
        INSERT INTO users (id) VALUES ({a}::float8)
        INSERT INTO users (id) VALUES (nextval('s'))
        INSERT INTO users (id, name) VALUES ({a}, nextval('s')::text)
        INSERT INTO serials (user_id, v) VALUES ({a}, 'x')
        INSERT INTO serials (id, user_id) VALUES (DEFAULT, {a})
        INSERT INTO serials (id, user_id) VALUES (1, {a}), (DEFAULT, {a})
        INSERT INTO serials (id, user_id) OVERRIDING USER VALUE VALUES (1, {a})
        INSERT INTO odd (user_id) VALUES ({a})
        INSERT INTO users (id, name) VALUES ({a}, (SELECT status FROM orders LIMIT 1))
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET name = (SELECT max(status) FROM orders)
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = {c}
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = users.age
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = excluded.age
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1
        INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET (name, id) = (SELECT 'x', 1)
        INSERT INTO users (id) VALUES ({a}) RETURNING (SELECT count(*) FROM orders)
        INSERT INTO countries (id) VALUES (1)
        INSERT INTO countries (id) VALUES (1) ON CONFLICT DO NOTHING
        INSERT INTO coded (id) VALUES ({a})
        INSERT INTO secured (id) VALUES ({a})
        INSERT INTO notes (id) SELECT id FROM users
        INSERT INTO notes (id, body) VALUES (1, (SELECT name FROM users WHERE id = {a}))
        ",
    );
}

#[test]
fn insert_select() {
    check_lines(
        "
        INSERT INTO orders (id, user_id) SELECT 1, {a} => a
        INSERT INTO orders (id, user_id) SELECT 1, $1 => a
        INSERT INTO orders (id, user_id) SELECT age, id FROM users WHERE id = {a} => a
        INSERT INTO payments SELECT user_id, total, id FROM orders WHERE user_id = {a} => a
        INSERT INTO payments SELECT * FROM (SELECT user_id, total FROM orders) d WHERE user_id = {a} => a
        INSERT INTO orders (id, user_id) SELECT id, {a} FROM countries => a
        INSERT INTO orders (id, user_id) SELECT o.id, u.id FROM users u JOIN orders o ON o.user_id = u.id WHERE o.user_id = {a} => a
        INSERT INTO orders (user_id, id) SELECT user_id, count(*) FROM payments WHERE user_id = {a} GROUP BY user_id => a
        INSERT INTO orders (user_id) SELECT {a}::int8 UNION ALL SELECT {b}::int8 => a
        INSERT INTO orders (user_id) VALUES ({a}), ({b}) ON CONFLICT DO NOTHING => a
        INSERT INTO notes (id) SELECT id FROM users WHERE id = {h} => home
        INSERT INTO notes (id) SELECT id FROM countries => home
        INSERT INTO orders (user_id) SELECT user_id FROM notes WHERE user_id = {h} => home
        INSERT INTO orders (user_id) SELECT user_id FROM notes WHERE user_id = {a} => refused: home shard
        ",
    );
    refused(
        "
        INSERT INTO orders (id, user_id) SELECT id, age FROM users WHERE id = {a}
        INSERT INTO orders (user_id, id) SELECT age, id FROM users WHERE id = {a}
        INSERT INTO orders SELECT id, age FROM users WHERE id = {a}
        INSERT INTO payments SELECT user_id, total, id FROM orders
        INSERT INTO payments (amount) SELECT total FROM orders WHERE user_id = {a}
        INSERT INTO payments (user_id) SELECT user_id + 0 FROM orders WHERE user_id = {a}
        INSERT INTO payments (user_id) SELECT generate_series(1, 5)
        INSERT INTO payments (user_id) SELECT user_id FROM orders WHERE user_id = {a} UNION ALL SELECT p FROM orders WHERE user_id = {a}
        INSERT INTO payments (user_id) SELECT {c} FROM orders WHERE user_id = {a}
        INSERT INTO payments (user_id) SELECT DISTINCT '{a}'
        INSERT INTO payments SELECT o.* FROM orders o WHERE o.user_id = {a}
        INSERT INTO names (code) SELECT tag FROM tags WHERE tag = 'abc'
        INSERT INTO users (id) SELECT user_id FROM notes
        INSERT INTO users (id) SELECT id FROM countries
        INSERT INTO users (id) SELECT k FROM generate_series(1, 3) k
        ",
    );
}

#[test]
fn update_and_delete() {
    check_lines(
        "
        UPDATE users SET name = 'x' WHERE id = {a} => a
        UPDATE users u SET name = 'x' WHERE u.id = $1 RETURNING * => a
        UPDATE users SET name = $1 WHERE id = {a} => a
        UPDATE users SET age = age + 1 WHERE id IN ({a}, {b}) => a
        UPDATE users SET age = o.p FROM orders o WHERE o.user_id = users.id AND users.id = {a} => a
        UPDATE users SET age = (SELECT max(p) FROM orders o WHERE o.user_id = users.id) WHERE id = {a} => a
        UPDATE users SET (name, age) = ('x', 3) WHERE id = {a} => a
        UPDATE users SET (name, age) = (SELECT status, 3 FROM orders o WHERE o.user_id = users.id LIMIT 1) WHERE id = {a} => a
        UPDATE users SET id = id, name = 'x' WHERE id = {a} => a
        UPDATE users SET id = {a}, name = 'x' WHERE id = {a} => a
        UPDATE users SET id = {b} WHERE id = {a} => a
        UPDATE users SET id = {c} WHERE id = {a} => refused: another shard
        UPDATE orders SET user_id = u.id FROM users u WHERE u.id = {a} AND orders.user_id = {b} => a
        UPDATE users SET name = 'x' WHERE id = {a} RETURNING (SELECT count(*) FROM orders o WHERE o.user_id = users.id) => a
        UPDATE users SET name = DEFAULT WHERE id = {a} => a
        UPDATE notes SET body = 'x' => home
        UPDATE notes SET body = u.name FROM users u WHERE u.id = {h} => home
        DELETE FROM users WHERE id = {a} => a
        DELETE FROM orders USING users u WHERE u.id = orders.user_id AND u.id = {a} => a
        DELETE FROM orders WHERE user_id = {a} AND id IN (SELECT id FROM orders WHERE user_id = {a} ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED) => a
        DELETE FROM users WHERE id = {a} RETURNING (SELECT count(*) FROM orders o WHERE o.user_id = users.id) => a
        ",
    );
    refused(
        "
        UPDATE users SET name = 'x'
        UPDATE users SET name = 'x' WHERE name = 'y'
        UPDATE users SET id = {a}
        UPDATE users SET id = id + 1 WHERE id = {a}
        UPDATE users SET id = age WHERE id = {a}
        UPDATE users SET id = DEFAULT WHERE id = {a}
        UPDATE users SET (id, name) = (SELECT 1, 'x') WHERE id = {a}
        UPDATE users SET id = (SELECT {a}) WHERE id = {a}
        UPDATE users SET age = (SELECT max(p) FROM orders) WHERE id = {a}
        UPDATE users SET age = o.p FROM orders o WHERE users.id = {a}
        UPDATE users SET age = o.p FROM orders o WHERE o.user_id = {a}
        UPDATE users u SET age = 3 FROM users v WHERE v.id = {a}
        UPDATE users SET name = 'x' WHERE id = {a} RETURNING (SELECT count(*) FROM orders)
        UPDATE orders SET p = {c} WHERE user_id = {a} AND p = {a} RETURNING (SELECT count(*) FROM users u WHERE u.id = orders.p)
        UPDATE orders SET user_id = {b} WHERE user_id = {a} RETURNING (SELECT count(*) FROM users u WHERE u.id = orders.user_id)
        UPDATE serials SET id = DEFAULT WHERE user_id = {a}
        UPDATE countries SET code = 'x'
        UPDATE countries SET code = u.name FROM users u WHERE u.id = {a}
        UPDATE notes SET body = u.name FROM users u WHERE u.id = {a}
        UPDATE notes SET body = 'x' WHERE EXISTS (SELECT 1 FROM users)
        DELETE FROM users
        DELETE FROM users WHERE age = 3
        DELETE FROM orders USING users u WHERE u.id = {a}
        DELETE FROM orders USING users u WHERE u.id = orders.p AND u.id = {a}
        DELETE FROM users WHERE id = {a} OR name = 'x'
        DELETE FROM countries
        DELETE FROM notes WHERE user_id IN (SELECT id FROM users)
        MERGE INTO users u USING countries c ON u.id = c.user_id WHEN MATCHED THEN DELETE
        ",
    );
}

#[test]
fn typed_and_long_keys() {
    let fixture = Fixture::new();
    let code = |text: &str| format!("s{}", text_shard(text).0);
    fixture.check("INSERT INTO names (code) VALUES ('abc')", &[], &code("abc"));
    fixture.check(
        "INSERT INTO names (code) VALUES ('äöüäö')",
        &[],
        &code("äöüäö"),
    );
    fixture.check(
        "INSERT INTO names (code) VALUES ($1)",
        &[Some("abcde")],
        &code("abcde"),
    );
    // Cut by the assignment cast.
    fixture.check("INSERT INTO names (code) VALUES ('abc   ')", &[], "refused");
    fixture.check(
        "INSERT INTO names (code) VALUES ($1)",
        &[Some("abc   ")],
        "refused",
    );
    // Postgres raises the error.
    fixture.check("INSERT INTO names (code) VALUES ('abcdef')", &[], "home");
    fixture.check(
        "INSERT INTO names (code) VALUES ($1)",
        &[Some("abcdef")],
        "home",
    );
    fixture.check(
        "INSERT INTO names (code) VALUES ('abcdef'::varchar(3))",
        &[],
        "refused",
    );
    fixture.check("INSERT INTO names (code) VALUES (7)", &[], &code("7"));
    fixture.check("SELECT * FROM names WHERE code = 'abc'", &[], &code("abc"));
    fixture.check(
        "SELECT * FROM names WHERE code = 'abc '",
        &[],
        &code("abc "),
    );
    fixture.check(
        "SELECT * FROM names WHERE code = 'abc'::text",
        &[],
        &code("abc"),
    );
    fixture.check(
        "SELECT * FROM names WHERE code = 'abcdef'::varchar(3)",
        &[],
        "refused",
    );
    fixture.check("SELECT * FROM names WHERE code = 7", &[], "refused");
    fixture.check(
        "SELECT * FROM names n JOIN tags t ON n.code = t.tag WHERE t.tag = 'abc'",
        &[],
        &code("abc"),
    );
    // An integer out of the column's range is Postgres's error; it is not worth a refusal.
    fixture.check(
        "SELECT * FROM tiny WHERE id = 99999999999999999999",
        &[],
        "home",
    );
    fixture.check("INSERT INTO tiny (id) VALUES (99999999999)", &[], "home");
}

/// A NULL key is an error only if there is a row that gets it.
#[test]
fn null_keys_without_rows() {
    check_lines(
        "
        UPDATE users SET id = NULL WHERE id = {a} => 0A000
        INSERT INTO users (id) SELECT NULL WHERE false => 0A000
        INSERT INTO users (id) VALUES (NULL) => 23502
        UPDATE users SET id = $1 WHERE id = {a} => a
        ",
    );
    let fixture = Fixture::new();
    for sql in [
        "UPDATE users SET id = $1 WHERE id = {a}",
        "INSERT INTO users (id) SELECT $1 WHERE false",
        "INSERT INTO users (id) VALUES ({a}) ON CONFLICT (id) DO UPDATE SET id = $1",
    ] {
        fixture.check(sql, &[None], "0A000");
    }
    fixture.check("INSERT INTO users (id) VALUES ($1)", &[None], "23502");
}

/// A number becomes text by its digits, unless the user made a cast for it.
#[test]
fn numbers_for_text_keys() {
    let cast = Fixture::with(|f| {
        f.snapshot.casts.insert((INT4, TEXT));
    });
    for sql in [
        "INSERT INTO tags (tag) VALUES (5)",
        "INSERT INTO tags (tag) VALUES (5::text)",
        "INSERT INTO tags (tag) SELECT 5",
        "SELECT * FROM tags WHERE tag = 5::text",
    ] {
        let shard = format!("s{}", text_shard("5").0);
        Fixture::new().check(sql, &[], &shard);
        cast.check(sql, &[], "refused: a cast from numbers to text");
    }
    let shard = format!("s{}", text_shard("x").0);
    cast.check("INSERT INTO tags (tag) VALUES ('x')", &[], &shard);
}
