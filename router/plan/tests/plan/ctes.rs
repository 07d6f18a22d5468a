//! WITH: names, references, writing and recursive CTEs.

use crate::fixture::*;

#[test]
fn plain() {
    check_lines(
        "
        WITH c AS (SELECT * FROM users WHERE id = {a}) SELECT * FROM c => a
        WITH c AS (SELECT * FROM users) SELECT * FROM c WHERE id = {a} => a
        WITH c AS (SELECT * FROM users) SELECT * FROM c WHERE id = {a} UNION ALL SELECT * FROM c WHERE id = {b} => a
        WITH c(k) AS (SELECT id FROM users) SELECT * FROM c WHERE k = {a} => a
        WITH c AS MATERIALIZED (SELECT * FROM users WHERE id = {a}) SELECT * FROM c, c d => a
        WITH c AS (SELECT id FROM users), d AS (SELECT id FROM c) SELECT * FROM d WHERE id = {a} => a
        WITH c AS (SELECT id FROM users WHERE id = {a}) SELECT * FROM c JOIN orders o ON o.user_id = c.id => a
        WITH c AS (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) SELECT * FROM users u LEFT JOIN c ON c.user_id = u.id WHERE u.id = {a} => a
        WITH c AS (SELECT {a} AS k) SELECT * FROM users, c WHERE users.id = c.k => a
        WITH c AS (SELECT * FROM countries) SELECT * FROM c => any
        WITH c AS (SELECT 1) SELECT * FROM users WHERE id = {a} => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (WITH c AS (SELECT * FROM orders o WHERE o.user_id = u.id) SELECT 1 FROM c) => a
        ",
    );
    refused(
        "
        WITH c AS (SELECT * FROM users) SELECT * FROM c
        WITH c AS (SELECT * FROM users) SELECT * FROM c WHERE id = {a} UNION ALL SELECT * FROM c
        WITH c AS (SELECT * FROM users) SELECT * FROM c a JOIN c b ON true WHERE a.id = {a}
        WITH c AS (SELECT * FROM users) SELECT * FROM c WHERE id = {a} UNION ALL SELECT * FROM c WHERE id = {c}
        WITH c AS (SELECT * FROM users LIMIT 5) SELECT * FROM c WHERE id = {a}
        WITH c AS (SELECT * FROM users) SELECT * FROM countries
        WITH c AS (SELECT * FROM users) SELECT * FROM users WHERE id = {a}
        WITH c AS (SELECT id, row_number() OVER () AS r FROM users) SELECT * FROM c WHERE id = {a}
        WITH c AS (SELECT * FROM users) SELECT (SELECT count(*) FROM c) FROM c WHERE id = {a}
        ",
    );
}

/// A CTE hides tables of its name, but not qualified ones, not targets, and not before it is defined.
#[test]
fn names() {
    check_lines(
        "
        WITH users AS (SELECT 1 AS id) SELECT * FROM users => any
        WITH users AS (SELECT id FROM countries) SELECT * FROM users => any
        WITH users AS (SELECT * FROM users WHERE id = {a}) SELECT * FROM users => a
        WITH users AS (SELECT 1) SELECT * FROM public.users WHERE id = {a} => a
        WITH orders AS (SELECT {a} AS user_id) SELECT * FROM orders JOIN users ON users.id = orders.user_id => a
        WITH notes AS (SELECT * FROM users) SELECT * FROM notes WHERE id = {a} => a
        WITH x AS (SELECT 1), users AS (SELECT 2) SELECT * FROM x => any
        ",
    );
    refused(
        "
        WITH users AS (SELECT 1) SELECT * FROM public.users
        WITH users AS (SELECT * FROM users) SELECT * FROM users
        WITH notes AS (SELECT * FROM users) SELECT * FROM notes
        WITH countries AS (SELECT * FROM users) SELECT * FROM countries
        WITH a AS (SELECT * FROM users), users AS (SELECT 1) SELECT * FROM a
        WITH users AS (SELECT 1 AS id) DELETE FROM users
        WITH users AS (SELECT 1 AS id) UPDATE users SET name = 'x'
        WITH users AS (SELECT 1 AS id) SELECT * FROM (WITH users AS (SELECT * FROM public.users) SELECT * FROM users) d
        SELECT * FROM (WITH users AS (SELECT 1 AS id) SELECT * FROM users) d, users
        ",
    );
}

#[test]
fn writing() {
    check_lines(
        "
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING *) SELECT * FROM d => a
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING *) SELECT count(*) FROM d => a
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING user_id, total) INSERT INTO payments (user_id, amount) SELECT user_id, total FROM d => a
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING user_id, p) SELECT * FROM users u JOIN d ON d.user_id = u.id => a
        WITH i AS (INSERT INTO users (id, name) VALUES ({a}, 'x') RETURNING id) INSERT INTO orders (id, user_id) SELECT 1, id FROM i => a
        WITH u AS (UPDATE users SET age = 3 WHERE id = {a} RETURNING id) UPDATE orders SET p = 1 FROM u WHERE orders.user_id = u.id => a
        WITH u AS (UPDATE users SET age = 3 WHERE id = {a}) SELECT 1 => a
        WITH x AS (SELECT {a} AS id) UPDATE users SET age = 3 FROM x WHERE users.id = x.id => a
        WITH x AS (SELECT id FROM users WHERE id = {a}) DELETE FROM orders USING x WHERE orders.user_id = x.id => a
        ",
    );
    refused(
        "
        WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d WHERE user_id = {a}
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING *) SELECT * FROM d, users
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING p) SELECT * FROM users u JOIN d ON d.p = u.id
        WITH d AS (DELETE FROM orders WHERE user_id = {a} RETURNING p) INSERT INTO payments (user_id) SELECT p FROM d
        WITH u AS (UPDATE users SET age = 3) SELECT 1 FROM countries
        WITH u AS (UPDATE orders SET p = 3 WHERE user_id = {a} AND p = {a} RETURNING p) SELECT * FROM users, u WHERE users.id = u.p
        WITH i AS (INSERT INTO users (id) VALUES ({a})) INSERT INTO users (id) VALUES ({c})
        WITH i AS (INSERT INTO countries (id) VALUES (1)) SELECT 1
        ",
    );
}

#[test]
fn recursive() {
    check_lines(
        "
        WITH RECURSIVE r AS (SELECT id FROM users WHERE id = {a} UNION ALL SELECT r.id FROM r JOIN orders o ON o.user_id = r.id) SELECT * FROM r => a
        WITH RECURSIVE r(k, n) AS (SELECT user_id, id FROM orders WHERE user_id = {a} UNION ALL SELECT o.user_id, o.id FROM orders o JOIN r ON o.user_id = r.k AND o.p = r.n) SELECT * FROM r => a
        WITH RECURSIVE r(k, n) AS (SELECT user_id, id FROM orders WHERE user_id = {a} UNION SELECT o.user_id, o.id FROM orders o, r WHERE o.user_id = {a} AND o.p = r.n) SELECT * FROM r => a
        WITH RECURSIVE r AS (SELECT id FROM users WHERE id = {a} UNION ALL SELECT r.id FROM r WHERE false) SELECT * FROM r JOIN orders o ON o.user_id = r.id => a
        WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM users, n WHERE users.id = {a} => a
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n => any
        WITH RECURSIVE c AS (SELECT user_id FROM orders UNION SELECT user_id FROM payments) SELECT * FROM c WHERE user_id = {a} => a
        WITH RECURSIVE c AS (SELECT * FROM users) SELECT * FROM c WHERE id = {a} => a
        ",
    );
    refused(
        "
        WITH RECURSIVE r AS (SELECT id FROM users UNION ALL SELECT r.id FROM r JOIN orders o ON o.user_id = r.id) SELECT * FROM r WHERE id = {a}
        WITH RECURSIVE r AS (SELECT id FROM users WHERE id = {a} UNION ALL SELECT o.p FROM r JOIN orders o ON o.user_id = r.id) SELECT * FROM r
        WITH RECURSIVE r(k, n) AS (SELECT user_id, p FROM orders WHERE user_id = {a} UNION ALL SELECT o.user_id, o.p FROM orders o JOIN r ON o.user_id = r.n) SELECT * FROM r
        WITH RECURSIVE r(k, n) AS (SELECT user_id, p FROM orders WHERE user_id = {a} UNION ALL SELECT r.n, r.k FROM r JOIN orders o ON o.user_id = r.k) SELECT * FROM r
        WITH RECURSIVE r(i) AS (SELECT {a}::int8 UNION ALL SELECT i + 1 FROM r WHERE i < 10) SELECT * FROM users, r WHERE users.id = r.i
        WITH RECURSIVE r AS (SELECT id FROM users WHERE id = {a} UNION ALL SELECT o.user_id FROM orders o, r) SELECT * FROM r
        ",
    );
}

/// WITH and the other clauses of a recursive CTE's own body.
#[test]
fn bodies_with_clauses() {
    refused(
        "
        WITH RECURSIVE t(n) AS (WITH countries AS (SELECT user_id AS n FROM orders) SELECT n FROM countries UNION ALL SELECT n FROM t WHERE false) SELECT count(*) FROM t
        WITH RECURSIVE t(n) AS (WITH countries AS (SELECT user_id AS n FROM orders) SELECT n FROM countries UNION ALL SELECT n FROM t WHERE false) SELECT count(*), (SELECT count(*) FROM orders WHERE user_id = {a}) FROM t
        WITH RECURSIVE t(n) AS (WITH countries AS (SELECT user_id AS n FROM orders) SELECT n FROM countries UNION ALL SELECT n FROM countries) SELECT count(*) FROM t
        WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT 2 ORDER BY (SELECT count(*) FROM orders)) SELECT * FROM t
        WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT 2 LIMIT (SELECT count(*) FROM orders)) SELECT * FROM t
        ",
    );
    check_lines(
        "
        WITH RECURSIVE t(n) AS (WITH c AS (SELECT user_id AS n FROM orders WHERE user_id = {a}) SELECT n FROM c UNION ALL SELECT n FROM c) SELECT count(*) FROM t => a
        WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT 2 LIMIT (SELECT count(*) FROM orders WHERE user_id = {a})) SELECT * FROM t => a
        WITH RECURSIVE t(n) AS (WITH c AS (SELECT 1 AS n) SELECT n FROM c UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT count(*) FROM t => home
        ",
    );
}
