//! Joins: equality classes, outer joins, USING, LATERAL.

use crate::fixture::*;

#[test]
fn inner() {
    check_lines(
        "
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE o.user_id = {a} => a
        SELECT * FROM users u, orders o WHERE o.user_id = u.id AND u.id = {a} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id AND u.id = {a} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = {a} AND u.id = {b} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = {a} AND u.id = {c} => refused
        SELECT * FROM users u CROSS JOIN orders o WHERE u.id = {a} AND o.user_id = u.id => a
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id JOIN payments p ON p.user_id = o.user_id WHERE p.user_id = $1 => a
        SELECT * FROM users u JOIN tiny t ON t.id = u.id WHERE t.id = {a} => a
        SELECT * FROM users u JOIN countries c ON c.user_id = u.id WHERE c.user_id = {a} => a
        SELECT * FROM users u JOIN countries c ON c.id = u.age WHERE u.id = {a} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id AND o.p = u.age WHERE o.p = {a} => refused
        SELECT * FROM users u JOIN orders o USING (id) WHERE id = {a} => refused
        SELECT * FROM orders o JOIN payments p USING (user_id) WHERE user_id = {a} => a
        SELECT * FROM orders o JOIN payments p USING (user_id) WHERE o.user_id = {a} => a
        SELECT * FROM orders NATURAL JOIN payments WHERE user_id = {a} => a
        SELECT * FROM (orders o JOIN payments p USING (user_id)) AS j WHERE j.user_id = {a} => a
        SELECT * FROM (orders o JOIN payments p USING (user_id)) AS j WHERE o.user_id = {a} => refused
        SELECT * FROM users u JOIN far f ON f.id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u JOIN users v ON u.id = v.id WHERE u.id = {a} => a
        ",
    );
    refused(
        "
        SELECT * FROM users u, orders o WHERE u.id = {a}
        SELECT * FROM users u JOIN orders o ON o.id = u.id WHERE u.id = {a}
        SELECT * FROM users u JOIN orders o ON o.user_id = u.age WHERE u.id = {a}
        SELECT * FROM users u JOIN orders o ON o.user_id > u.id WHERE u.id = {a}
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id OR o.p = 3 WHERE u.id = {a}
        SELECT * FROM users u JOIN orders o ON o.user_id = u.x WHERE u.id = {a}
        SELECT * FROM users u JOIN users v ON u.name = v.name WHERE u.id = {a}
        SELECT * FROM users u JOIN users v ON true WHERE u.id = {a} AND v.age = 3
        SELECT * FROM users JOIN orders ON true WHERE id = {a}
        SELECT * FROM users u JOIN notes n ON n.user_id = u.id WHERE n.user_id = {a}
        SELECT * FROM tags t JOIN countries c ON t.tag = c.code WHERE c.id = 3
        SELECT * FROM users u JOIN orders o ON u.id = o.user_id
        ",
    );
}

#[test]
fn or_with_a_shared_edge() {
    check_lines(
        "
        SELECT * FROM users u, orders o WHERE (u.id = o.user_id AND o.p = 1 OR u.id = o.user_id AND o.p = 2) AND u.id = {a} => a
        SELECT * FROM users u, orders o WHERE (u.id = o.user_id AND o.p = 1 OR o.p = 2) AND u.id = {a} => refused
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = {a} OR o.user_id = {b} => a
        SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = {a} OR o.p = {b} => refused
        ",
    );
}

#[test]
fn outer() {
    check_lines(
        "
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.p = 3 WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = {b} WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = {c} WHERE u.id = {a} => refused
        SELECT * FROM orders o RIGHT JOIN users u ON o.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE u.id = {a} AND o.user_id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id LEFT JOIN payments p ON p.user_id = o.user_id WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN (orders o JOIN payments p ON p.user_id = o.user_id) ON o.user_id = u.id WHERE u.id = {a} => a
        SELECT * FROM countries c LEFT JOIN users u ON u.id = {a} => a
        SELECT * FROM countries c LEFT JOIN users u ON u.id = c.user_id AND c.user_id = {a} => a
        SELECT * FROM countries c LEFT JOIN users u ON u.id = c.user_id WHERE c.user_id = {a} => a
        SELECT * FROM users u LEFT JOIN countries c ON c.id = u.age WHERE u.id = {a} AND c.id IS NULL => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id = {a} AND o.id IS NULL => a
        SELECT * FROM orders o LEFT JOIN payments p USING (user_id) WHERE user_id = {a} => a
        SELECT * FROM orders o RIGHT JOIN payments p USING (user_id) WHERE user_id = {a} => a
        SELECT * FROM orders o RIGHT JOIN payments p USING (user_id) WHERE o.user_id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id = {a} OR o.user_id = {b} => a
        SELECT * FROM users u LEFT JOIN orders o ON u.id = {a} AND o.user_id = u.id WHERE u.id = {b} => a
        ",
    );
    refused(
        "
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND u.id = {a}
        SELECT * FROM users u LEFT JOIN orders o ON u.id = {a} AND o.user_id = {a}
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = {a}
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id = {a} OR o.user_id IS NULL
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE COALESCE(o.user_id, {a}) = {a}
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id IS NOT DISTINCT FROM NULL
        SELECT * FROM orders o RIGHT JOIN users u ON o.user_id = {a}
        SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id AND u.id = {a}
        SELECT * FROM users u FULL JOIN orders o ON o.p = u.id WHERE u.id = {a}
        SELECT * FROM users u FULL JOIN orders o ON u.id = {a} AND o.user_id = {a}
        SELECT * FROM orders o FULL JOIN payments p USING (user_id) WHERE user_id = {a}
        SELECT * FROM orders o NATURAL FULL JOIN payments p WHERE user_id = {a}
        SELECT * FROM users u LEFT JOIN orders o ON o.p = u.id WHERE u.id = {a}
        SELECT * FROM countries c LEFT JOIN users u ON u.id = c.user_id
        SELECT * FROM countries c RIGHT JOIN users u ON u.id = c.user_id AND c.user_id = {a}
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id LEFT JOIN payments p ON p.user_id = o.p WHERE u.id = {a}
        SELECT * FROM (users u LEFT JOIN orders o ON o.user_id = {a}) JOIN payments p ON p.user_id = {a}
        SELECT * FROM users u LEFT JOIN (orders o LEFT JOIN payments p ON o.user_id = {a}) ON o.user_id = u.id WHERE u.id = {a}
        ",
    );
}

/// A nullable side that is bound by its own ON does not bind the other side through a filter that accepts NULL.
#[test]
fn not_distinct_is_not_strict() {
    check_lines(
        "
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id IS NOT DISTINCT FROM {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id IS NOT DISTINCT FROM o.user_id AND u.id = {a} => a
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id IS NOT DISTINCT FROM o.p => refused
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id IS NOT DISTINCT FROM $1 => refused
        ",
    );
    let fixture = Fixture::new();
    fixture.check(
        "SELECT * FROM users WHERE id IS NOT DISTINCT FROM $1",
        &[Some("{a}")],
        "a",
    );
    fixture.check(
        "SELECT * FROM users WHERE id IS NOT DISTINCT FROM $1",
        &[None],
        "refused",
    );
}

#[test]
fn lateral_and_functions() {
    check_lines(
        "
        SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.id ORDER BY o.id LIMIT 3) x WHERE u.id = {a} => a
        SELECT * FROM users u LEFT JOIN LATERAL (SELECT max(o.total) FROM orders o WHERE o.user_id = u.id) x ON true WHERE u.id = {a} => a
        SELECT * FROM users u, generate_series(1, 3) g WHERE u.id = {a} => a
        SELECT * FROM users u, generate_series(1, 3) AS g(id) WHERE u.id = {a} => a
        SELECT * FROM users u CROSS JOIN LATERAL unnest(ARRAY[u.id]) AS k WHERE u.id = {a} => a
        SELECT * FROM (VALUES ({a}), ({b})) v(id) JOIN users u ON u.id = v.id => a
        SELECT * FROM (VALUES ({a}), ({c})) v(id) JOIN users u ON u.id = v.id => refused
        SELECT * FROM (SELECT {a} AS id) v JOIN users u ON u.id = v.id => a
        SELECT * FROM (SELECT $1::int8 AS id) v JOIN users u ON u.id = v.id => a
        ",
    );
    refused(
        "
        SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.p = u.id) x WHERE u.id = {a}
        SELECT * FROM users u, LATERAL (SELECT * FROM orders o ORDER BY o.user_id = u.id LIMIT 3) x WHERE u.id = {a}
        SELECT * FROM users u LEFT JOIN LATERAL (SELECT * FROM orders o WHERE o.user_id = u.id) x ON u.id = {a}
        SELECT * FROM generate_series(1, 3) g JOIN users u ON u.id = g
        SELECT * FROM generate_series(1, 3) AS g(id), users u WHERE g.id = {a}
        SELECT * FROM (VALUES ('{a}')) v(id) JOIN users u ON u.id = v.id
        SELECT * FROM (SELECT $1 AS id) v JOIN users u ON u.id = v.id
        SELECT * FROM (VALUES ({a}), (1.5)) v(id) JOIN users u ON u.id = v.id
        SELECT * FROM (SELECT {a} AS id UNION SELECT 1.5) v JOIN users u ON u.id = v.id
        ",
    );
}
