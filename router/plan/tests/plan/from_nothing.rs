//! Rows that come out of no input rows: an aggregate without GROUP BY answers one even if WHERE is never true, so what
//! is computed for it is bound by the outer scopes alone.

use crate::fixture::*;

#[test]
fn subqueries_beside_an_aggregate() {
    refused(
        "
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE false
        SELECT (SELECT count(*) FROM orders), count(*) FROM users WHERE 1 = 0
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE NULL
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE id = NULL
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE id IN (NULL)
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE id = ANY ('{}')
        SELECT count(*), (SELECT count(*) FROM orders) FROM users WHERE id = 1.5
        SELECT max(age), ARRAY(SELECT id FROM orders) FROM countries, users WHERE false
        SELECT rank(3) WITHIN GROUP (ORDER BY age), (SELECT count(*) FROM orders) FROM users WHERE false
        SELECT tax(age), (SELECT count(*) FROM orders) FROM users WHERE false
        SELECT unknown_aggregate(age), (SELECT count(*) FROM orders) FROM users WHERE false
        SELECT u.count, (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT (u).count, (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT (u).array_agg[1], (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT (SELECT count(*) FROM orders) FROM users WHERE false ORDER BY count(*)
        SELECT 1 FROM users WHERE false HAVING (SELECT count(*) FROM orders) > 300
        SELECT 1 FROM users WHERE false HAVING EXISTS (SELECT 1 FROM orders)
        SELECT (SELECT count(*) FROM orders) FROM users WHERE false GROUP BY ()
        SELECT (SELECT count(*) FROM orders) FROM users WHERE false GROUP BY ROLLUP (id)
        SELECT (SELECT count(*) FROM orders) FROM users WHERE false GROUP BY GROUPING SETS ((id), ())
        SELECT (SELECT count(u.id)), (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT (SELECT max(public.users.id) FROM other.users), (SELECT count(*) FROM orders) FROM users WHERE false
        SELECT (SELECT (SELECT max(u.id + 1))), (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT (WITH c AS (SELECT sum(u.id) AS s) SELECT s FROM c), (SELECT count(*) FROM orders) FROM users u WHERE false
        SELECT count(*) FROM users WHERE false LIMIT (SELECT count(*) FROM orders)
        INSERT INTO notes SELECT count(*), 'x', (SELECT count(*) FROM users) FROM users WHERE false
        SELECT * FROM countries WHERE user_id = (SELECT count(*) + (SELECT count(*) FROM orders) FROM users WHERE false)
        ",
    );
    check_lines(
        "
        SELECT count(*), (SELECT count(*) FROM orders WHERE user_id = {a}) FROM users WHERE false => a
        SELECT 1 FROM users WHERE false HAVING EXISTS (SELECT 1 FROM orders WHERE user_id = {c}) => c
        SELECT count(*) FROM users WHERE false => home
        SELECT (SELECT count(*) FROM orders) FROM users WHERE false => home
        SELECT id, (SELECT count(*) FROM orders) FROM users WHERE false GROUP BY id => home
        SELECT count(*) OVER (), (SELECT count(*) FROM orders) FROM users WHERE false => home
        SELECT abs(age), (SELECT count(*) FROM orders) FROM users WHERE false => home
        SELECT (SELECT sum(o.total) FROM orders o WHERE o.user_id = u.id) FROM users u WHERE u.id = {a} => a
        SELECT (SELECT sum(total + u.age) FROM orders o WHERE o.user_id = u.id) FROM users u WHERE u.id = {a} => a
        SELECT * FROM users u, LATERAL (SELECT count(*), (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM payments p WHERE p.user_id = u.id) s WHERE u.id = {a} => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT count(*), (SELECT 1 FROM orders o WHERE o.user_id = u.id) FROM payments WHERE false) => a
        ",
    );
}

/// What such a row has in a constant column is that constant.
#[test]
fn their_values() {
    check_lines(
        "
        SELECT * FROM users WHERE id IN (SELECT {a} FROM orders WHERE false HAVING count(*) = 0) => a
        SELECT * FROM (SELECT {c}::int8 AS k, count(*) AS c FROM users WHERE id = NULL) s JOIN orders ON user_id = k => c
        SELECT * FROM (SELECT {c}::int8 AS k, count(*) AS c FROM users WHERE id = {a}) s JOIN orders ON user_id = k => refused
        WITH c AS (SELECT {c}::int8 AS k, count(*) FROM users WHERE false) SELECT * FROM c JOIN orders ON user_id = k => c
        SELECT * FROM users u WHERE u.id = {a} AND u.id IN (SELECT u.id FROM orders o WHERE false HAVING count(*) = 0) => a
        INSERT INTO users (id, age) SELECT {c}, count(*) FROM users WHERE false => c
        ",
    );
    refused(
        "
        SELECT * FROM countries c, users x WHERE x.id IN (SELECT c.user_id FROM orders o WHERE false HAVING count(*) = 0)
        SELECT * FROM countries c, LATERAL (SELECT c.user_id AS k, count(*) FROM orders WHERE false) s JOIN users ON id = k
        ",
    );
}

/// `= NULL` may mean IS NULL, which an outer join can make true.
#[test]
fn equal_to_null() {
    check_lines(
        "
        SELECT * FROM users WHERE id = NULL => home
        SELECT * FROM users WHERE NULL = id => home
        SELECT * FROM users u JOIN countries c ON c.user_id = u.id WHERE u.id = NULL => home
        SELECT * FROM users u LEFT JOIN countries c ON c.user_id = u.id WHERE u.id = NULL => home
        SELECT * FROM users WHERE id = {a} AND age = NULL => a
        SELECT * FROM countries c LEFT JOIN users u ON u.id = {a} WHERE u.id = NULL => a
        ",
    );
    refused(
        "
        SELECT * FROM users WHERE age = NULL
        SELECT * FROM users WHERE id = NULL OR age = 3
        SELECT * FROM countries c LEFT JOIN users u ON u.id = c.user_id WHERE u.id = NULL
        SELECT * FROM users u RIGHT JOIN countries c ON u.id = c.user_id WHERE u.id = NULL
        SELECT * FROM orders o FULL JOIN users u ON u.id = o.user_id WHERE u.id = NULL
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = {a} WHERE o.id = NULL
        SELECT * FROM (SELECT id FROM users) s WHERE id = NULL
        ",
    );
}
