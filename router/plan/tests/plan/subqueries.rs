//! Subqueries in expressions and in FROM, set operations.

use crate::fixture::*;

#[test]
fn expressions() {
    check_lines(
        "
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) => a
        SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) AND u.id = {a} => a
        SELECT * FROM users u WHERE u.id = {a} AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.p = 3) => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = {b}) => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = {c}) => refused
        SELECT (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u WHERE u.id = {a} => a
        SELECT ARRAY(SELECT o.id FROM orders o WHERE o.user_id = u.id) FROM users u WHERE u.id = {a} => a
        SELECT CASE WHEN EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) THEN 1 END FROM users u WHERE u.id = {a} => a
        SELECT * FROM users WHERE id = {a} AND id IN (SELECT user_id FROM orders) => a
        SELECT * FROM users WHERE id IN (SELECT user_id FROM orders WHERE user_id = {a}) => a
        SELECT * FROM users WHERE id = {a} AND id NOT IN (SELECT user_id FROM orders WHERE user_id = {a}) => a
        SELECT * FROM users WHERE (id, age) IN (SELECT user_id, p FROM orders) AND id = {a} => a
        SELECT * FROM users WHERE id = {a} AND age > (SELECT avg(o.p) FROM orders o WHERE o.user_id = users.id) => a
        SELECT * FROM users WHERE id = {a} AND age IN (SELECT id FROM countries) => a
        SELECT * FROM users u WHERE u.id = {a} ORDER BY (SELECT count(*) FROM orders o WHERE o.user_id = u.id) => a
        SELECT u.id, count(*) FROM users u WHERE u.id = {a} GROUP BY u.id HAVING count(*) > (SELECT count(*) FROM orders o WHERE o.user_id = u.id) => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND EXISTS (SELECT 1 FROM payments p WHERE p.user_id = u.id)) => a
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM countries c JOIN orders o ON o.user_id = c.user_id WHERE c.user_id = u.id) => a
        SELECT * FROM countries WHERE EXISTS (SELECT 1 FROM users WHERE id = {a}) => a
        SELECT EXISTS (SELECT 1 FROM users WHERE id = {a}) => a
        SELECT (SELECT name FROM users WHERE id = {a}) => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND EXISTS (SELECT 1 FROM payments p WHERE p.user_id = o.user_id) WHERE u.id = {a} => a
        SELECT (SELECT count(*) FROM payments p WHERE p.user_id = o.user_id) FROM countries c LEFT JOIN orders o ON o.user_id = {a} => a
        ",
    );
    refused(
        "
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.p = 5)
        SELECT * FROM users u WHERE u.id = {a} AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.status = 'x')
        SELECT * FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = {a})
        SELECT * FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND u.id = {a})
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id <= u.id)
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.age)
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE u.id = {a})
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM orders o WHERE user_id = user_id)
        SELECT * FROM orders o WHERE o.user_id = {a} AND EXISTS (SELECT 1 FROM orders p WHERE user_id = o.p)
        SELECT * FROM orders o WHERE o.user_id = {a} AND EXISTS (SELECT 1 FROM payments WHERE user_id = order_id)
        SELECT * FROM users WHERE id NOT IN (SELECT user_id FROM orders WHERE user_id = {a})
        SELECT * FROM users WHERE id = {a} AND id NOT IN (SELECT user_id FROM orders)
        SELECT * FROM users WHERE id = {a} AND age IN (SELECT user_id FROM orders)
        SELECT * FROM users WHERE id = {a} AND id IN (SELECT p FROM orders)
        SELECT * FROM users WHERE id = {a} AND id IN (SELECT user_id FROM orders ORDER BY total LIMIT 5)
        SELECT * FROM users WHERE id = {a} AND id IN (SELECT max(user_id) FROM orders)
        SELECT * FROM users WHERE id = {a} AND id IN (SELECT max(user_id) FROM orders GROUP BY status)
        SELECT * FROM users WHERE id = {a} OR id IN (SELECT user_id FROM orders WHERE user_id = {a})
        SELECT id IN (SELECT user_id FROM orders) FROM users WHERE id = {a}
        SELECT * FROM users WHERE id = {a} AND (id IN (SELECT user_id FROM orders) OR age = 3)
        SELECT * FROM users WHERE id = {a} AND id >= ALL (SELECT user_id FROM orders)
        SELECT * FROM users WHERE id = {a} AND id = ANY (SELECT p FROM orders)
        SELECT (SELECT count(*) FROM orders) FROM users WHERE id = {a}
        SELECT * FROM users WHERE id = {a} ORDER BY (SELECT count(*) FROM orders)
        SELECT * FROM users WHERE id = {a} LIMIT (SELECT count(*) FROM orders)
        SELECT * FROM countries WHERE EXISTS (SELECT 1 FROM users)
        SELECT EXISTS (SELECT 1 FROM users)
        SELECT * FROM users u WHERE u.id = (SELECT o.user_id FROM orders o WHERE o.user_id = {a})
        SELECT * FROM users u WHERE EXISTS (SELECT {a} WHERE u.id = {a})
        SELECT sum(x) FILTER (WHERE EXISTS (SELECT 1 FROM orders)) FROM users WHERE id = {a}
        SELECT * FROM users u LEFT JOIN countries c ON EXISTS (SELECT 1 FROM orders o WHERE o.user_id = c.user_id) WHERE u.id = {a}
        SELECT * FROM users WHERE id = {a} GROUP BY id, name, email, age, x HAVING EXISTS (SELECT 1 FROM orders)
        ",
    );
}

/// The column of the inner relation wins over the outer one of the same name.
#[test]
fn names_of_inner_scopes() {
    check_lines(
        "
        SELECT * FROM users WHERE id = {a} AND EXISTS (SELECT 1 FROM countries WHERE id = {c}) => a
        SELECT * FROM orders WHERE user_id = {a} AND EXISTS (SELECT 1 FROM payments WHERE payments.user_id = orders.user_id) => a
        SELECT * FROM orders WHERE user_id = {a} AND EXISTS (SELECT 1 FROM users WHERE users.id = user_id) => a
        SELECT * FROM users u WHERE id = {a} AND EXISTS (SELECT 1 FROM users u WHERE u.id = {b}) => a
        ",
    );
    refused(
        "
        SELECT * FROM users WHERE EXISTS (SELECT 1 FROM countries WHERE id = {a})
        SELECT * FROM users WHERE EXISTS (SELECT 1 FROM tiny WHERE id = {a})
        SELECT * FROM users WHERE id = {a} AND EXISTS (SELECT 1 FROM orders WHERE id = user_id)
        SELECT * FROM users u WHERE id = {a} AND EXISTS (SELECT 1 FROM users v WHERE v.id = v.id)
        SELECT * FROM users u WHERE u.id = {a} AND EXISTS (SELECT 1 FROM users u WHERE u.id = u.id)
        SELECT * FROM users WHERE EXISTS (SELECT 1 FROM generate_series(1, 2) g WHERE id = {a})
        SELECT * FROM users, missing WHERE name_of_missing = {a}
        SELECT * FROM orders o WHERE o.user_id = {a} AND EXISTS (SELECT 1 FROM payments, missing WHERE user_id = o.user_id AND missing.user_id = 3)
        ",
    );
}

#[test]
fn derived_tables() {
    check_lines(
        "
        SELECT * FROM (SELECT * FROM users WHERE id = {a}) d => a
        SELECT * FROM (SELECT * FROM users) d WHERE d.id = {a} => a
        SELECT * FROM (SELECT id AS k, name FROM users) d WHERE k = {a} => a
        SELECT * FROM (SELECT id, name FROM users) d(k) WHERE d.k = {a} => a
        SELECT * FROM (SELECT DISTINCT id, name FROM users) d WHERE id = {a} => a
        SELECT * FROM (SELECT user_id, sum(total) AS s FROM orders GROUP BY user_id) d WHERE user_id = {a} => a
        SELECT * FROM (SELECT user_id, sum(total) AS s FROM orders GROUP BY 1) d WHERE user_id = {a} => a
        SELECT * FROM (SELECT DISTINCT ON (user_id) user_id, total FROM orders ORDER BY user_id, total) d WHERE user_id = {a} => a
        SELECT * FROM (SELECT user_id FROM orders UNION SELECT user_id FROM payments) d WHERE user_id = {a} => a
        SELECT * FROM (SELECT user_id FROM orders UNION ALL SELECT id FROM users) d WHERE d.user_id = {a} => a
        SELECT * FROM (SELECT user_id FROM orders EXCEPT SELECT user_id FROM payments) d WHERE user_id = {a} => a
        SELECT * FROM (SELECT * FROM (SELECT * FROM users) x) y WHERE y.id = {a} => a
        SELECT * FROM (SELECT u.id FROM users u JOIN orders o ON o.user_id = u.id) d WHERE d.id = {a} => a
        SELECT * FROM (SELECT id FROM users WHERE id = {a} LIMIT 3) d JOIN orders o ON o.user_id = d.id => a
        SELECT * FROM users u JOIN (SELECT user_id, count(*) FROM orders GROUP BY user_id) d ON d.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) d ON d.user_id = u.id WHERE u.id = {a} => a
        SELECT count(*) FROM (SELECT * FROM users WHERE id = {a} ORDER BY name LIMIT 5) d => a
        ",
    );
    refused(
        "
        SELECT * FROM (SELECT * FROM users LIMIT 10) d WHERE d.id = {a}
        SELECT * FROM (SELECT * FROM users OFFSET 1) d WHERE d.id = {a}
        SELECT * FROM (SELECT * FROM users FETCH FIRST 1 ROWS ONLY) d WHERE d.id = {a}
        SELECT * FROM (SELECT * FROM users FOR UPDATE) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, rank() OVER (ORDER BY age) AS r FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, rank() OVER (PARTITION BY age) AS r FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, sum(age) OVER w AS r FROM users WINDOW w AS (ORDER BY age)) d WHERE d.id = {a}
        SELECT * FROM (SELECT DISTINCT ON (name) id, name FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT max(id) AS id FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT max(id) AS id, age FROM users GROUP BY age) d WHERE d.id = {a}
        SELECT * FROM (SELECT user_id, status, count(*) FROM orders GROUP BY ROLLUP (user_id, status)) d WHERE user_id = {a}
        SELECT * FROM (SELECT user_id FROM orders GROUP BY GROUPING SETS ((user_id), ())) d WHERE user_id = {a}
        SELECT * FROM (SELECT id + 0 AS id FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT age AS id, id AS age FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, random() AS r FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, generate_series(1, 2) FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT id, unnest(ARRAY[1]) FROM users) d WHERE d.id = {a}
        SELECT * FROM (SELECT user_id FROM orders UNION SELECT p FROM orders) d WHERE d.user_id = {a}
        SELECT * FROM (SELECT user_id, p FROM orders UNION SELECT p, user_id FROM orders) d WHERE d.user_id = {a}
        SELECT * FROM ((SELECT user_id FROM orders LIMIT 3) UNION SELECT user_id FROM payments) d WHERE d.user_id = {a}
        SELECT * FROM (SELECT user_id FROM orders UNION SELECT 1.5) d WHERE d.user_id = {a}
        SELECT * FROM (SELECT user_id FROM orders UNION SELECT user_id FROM payments ORDER BY 1 LIMIT 2) d WHERE user_id = {a}
        SELECT * FROM users u LEFT JOIN (SELECT user_id FROM orders) d ON d.user_id = u.id AND u.id = {a}
        SELECT * FROM (SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = {a}) d
        SELECT * FROM (SELECT o.user_id FROM users u LEFT JOIN orders o ON o.user_id = {a}) d
        SELECT * FROM (SELECT count(*) AS id FROM users) d WHERE id = {a}
        SELECT * FROM users u JOIN (SELECT u.id FROM users u) d ON true WHERE u.id = {a}
        ",
    );
}

#[test]
fn set_operations() {
    check_lines(
        "
        SELECT id FROM users WHERE id = {a} UNION SELECT user_id FROM orders WHERE user_id = {a} => a
        SELECT id FROM users WHERE id = {a} UNION ALL SELECT id FROM countries => a
        SELECT id FROM users WHERE id = {a} UNION ALL SELECT 7 => a
        SELECT id FROM users WHERE id = {a} EXCEPT SELECT user_id FROM orders WHERE user_id = {b} => a
        SELECT id FROM users WHERE id = {a} INTERSECT SELECT user_id FROM orders WHERE user_id = {c} => refused
        SELECT id FROM countries UNION SELECT id FROM countries => any
        (SELECT id FROM users WHERE id = {a} LIMIT 1) UNION ALL (SELECT user_id FROM orders WHERE user_id = {a} LIMIT 1) ORDER BY 1 => a
        ",
    );
    refused(
        "
        SELECT id FROM users WHERE id = {a} UNION SELECT user_id FROM orders
        SELECT id FROM users UNION SELECT user_id FROM orders WHERE user_id = {a}
        SELECT id FROM users WHERE id = {a} UNION SELECT user_id FROM orders WHERE user_id = {c}
        SELECT id FROM users WHERE id = {a} EXCEPT SELECT user_id FROM orders
        SELECT id FROM users INTERSECT SELECT user_id FROM orders WHERE user_id = {a}
        SELECT id FROM users WHERE id = {a} UNION ALL SELECT id FROM notes
        ",
    );
}
