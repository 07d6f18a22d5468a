//! Shapes that look bound and are not, beyond those of the other files: what an adversary would try.

use crate::fixture::*;

#[test]
fn more_that_looks_bound() {
    refused(
        "
        SELECT * FROM users AS users(x, id) WHERE id = {a}
        SELECT * FROM users AS u(name, id) WHERE u.id = {a}
        SELECT * FROM users u(a, b, c, d) WHERE u.d = {a}
        SELECT u.* FROM users u, orders u2 WHERE u2.user_id = {a}
        SELECT id AS name, name AS id FROM users WHERE name = '{a}'
        SELECT {a} AS id FROM users
        SELECT * FROM users WHERE ({a}) IN (SELECT id)
        SELECT * FROM users WHERE {a} IN (id, age)
        SELECT * FROM users WHERE {a} = ANY (ARRAY[id, age])
        SELECT * FROM users WHERE {a} = {a}
        SELECT * FROM users WHERE $1 = {a}
        SELECT * FROM users WHERE 'id = {a}' <> ''
        SELECT * FROM users WHERE name = 'id = {a}'
        SELECT * FROM users -- WHERE id = {a}
        SELECT * FROM users /* WHERE id = {a} */
        SELECT * FROM users WHERE id IN (SELECT {a} UNION SELECT age FROM users)
        SELECT * FROM users WHERE EXISTS (SELECT 1 WHERE id = {a}) OR true
        SELECT * FROM users WHERE (SELECT id = {a})
        SELECT * FROM users WHERE NULLIF(id = {a}, false)
        SELECT * FROM users WHERE GREATEST(id, {a}) = {a}
        SELECT * FROM users WHERE id = {a} IS NULL
        SELECT * FROM users WHERE (id = {a}) = false
        SELECT * FROM users WHERE (id = {a}) <> true
        SELECT * FROM users WHERE id IN ({a}) IS UNKNOWN
        SELECT * FROM users WHERE (id = {a}) OR (id = {a}) IS NULL
        SELECT * FROM users u WHERE (u).id = {a} OR age = 1
        SELECT * FROM users WHERE id = {a} UNION ALL TABLE users
        SELECT * FROM users u1 JOIN users u2 USING (name) WHERE u1.id = {a}
        SELECT * FROM users u1 NATURAL JOIN users u2 WHERE u1.name = 'x'
        SELECT * FROM users, orders WHERE users.id = {a} AND orders.id = {a}
        SELECT * FROM orders WHERE EXISTS (SELECT 1 FROM users WHERE users.id = orders.user_id AND users.id = {a}) OR true
        SELECT * FROM orders o, (SELECT {a} AS user_id) o2 WHERE o2.user_id = {a}
        SELECT * FROM orders o, (SELECT {a} AS user_id OFFSET 0) k WHERE k.user_id = {a} AND o.p = k.user_id
        SELECT * FROM orders o WHERE o.user_id = ANY (SELECT user_id FROM orders)
        SELECT * FROM users WHERE id = {a} INTERSECT SELECT * FROM users
        SELECT max(id) FROM users
        SELECT count(*) FROM users WHERE count(*) = {a}
        SELECT DISTINCT ON (id) * FROM users ORDER BY id, age
        SELECT * FROM users WHERE id = {a} AND age = (SELECT count(*) FROM payments)
        SELECT * FROM users WHERE id = {a} AND age > ANY (SELECT p FROM orders)
        SELECT ROW(users.*) FROM users
        SELECT * FROM users, LATERAL (SELECT {a} AS k) l WHERE l.k = {a}
        SELECT * FROM ONLY users
        SELECT * FROM only(users)
        SELECT * FROM users*
        SELECT * FROM parent WHERE id = {a}
        SELECT * FROM coded WHERE id = {a}
        SELECT * FROM secured WHERE id = {a}
        SELECT * INTO copy FROM users WHERE id = {a}
        CREATE TABLE copy AS SELECT * FROM users WHERE id = {a}
        SELECT * FROM users WHERE id = {a}; DELETE FROM users
        SELECT xmlelement(name users, id) FROM users
        SELECT * FROM countries c LEFT JOIN users u ON u.id = {a} WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = c.user_id)
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = {a}
        SELECT * FROM users u RIGHT JOIN orders o ON o.user_id = u.id WHERE u.id = {a} OR u.id IS NULL
        SELECT * FROM users u LEFT JOIN countries c ON c.user_id = u.id WHERE c.user_id = {a} OR c.user_id IS NULL
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE (o.user_id = {a}) IS NOT FALSE
        SELECT * FROM users u WHERE u.id = {a} AND u.id = ALL (SELECT user_id FROM orders)
        SELECT * FROM users u WHERE (u.id, {a}) = ({a}, {a}) OR u.age = 3
        SELECT * FROM users WHERE id = '{a}'::varchar
        SELECT * FROM users WHERE id = {a}::text::int8::text::int8
        SELECT * FROM users WHERE id = '0x10'
        SELECT * FROM stamps WHERE at = '2026-01-01 00:00:00'
        SELECT * FROM stamps WHERE at = 'now'
        SELECT * FROM stamps WHERE at = plain
        SELECT * FROM stamps WHERE at = '2026-01-01'::date
        SELECT * FROM stamps WHERE at = '2026-01-01 00:00:00'::timestamp
        SELECT * FROM docs WHERE id = gen_random_uuid()
        SELECT * FROM docs WHERE id::text = '550e8400-e29b-41d4-a716-446655440000'
        ",
    );
}

/// `$1` gets its type from all places together; a second use may make it numeric, text or char(n).
#[test]
fn parameters_used_elsewhere() {
    refused(
        "
        SELECT * FROM users WHERE id = $1 AND age + $1 > 2
        SELECT $1 FROM users WHERE id = $1
        SELECT * FROM users WHERE id = $1 AND name = $1
        SELECT * FROM users WHERE id = $1 AND x = $1
        SELECT * FROM users WHERE x > $1 AND id = $1
        SELECT * FROM tags WHERE tag = $1 AND c = $1
        SELECT * FROM tags WHERE c = $1 AND tag = $1
        SELECT * FROM tags WHERE tag = $1 AND lower($1) = 'x'
        SELECT * FROM users WHERE id = $1 LIMIT $1
        SELECT * FROM users WHERE id = $1 AND id = $1::numeric
        SELECT * FROM users WHERE id = $1 AND id = ANY ($1)
        INSERT INTO orders (user_id, total) VALUES ($1, $1)
        INSERT INTO tags (tag, c) VALUES ($1, $1)
        ",
    );
    check_lines(
        "
        SELECT * FROM users WHERE id = $1 AND age = $1 => a
        SELECT * FROM users u JOIN orders o ON o.user_id = $1 WHERE u.id = $1 => a
        SELECT * FROM users WHERE id = $1 AND (age < $1 OR age > $1) => a
        INSERT INTO orders (user_id, p) VALUES ($1, $1) => a
        SELECT * FROM users WHERE id = $1 AND name = $2 => a
        UPDATE orders SET p = $1 WHERE user_id = $1 => a
        ",
    );
}

/// A table's name in a part that the analysis does not model.
#[test]
fn unparsed_statements() {
    refused(
        "
        SELECT * FROM users WHERE id = {a} WINDOW
        REFRESH users
        SELECT (SELECT FROM users
        UPDATE users SET
        NOTHING KNOWN users
        ",
    );
    check_lines(
        "
        NOTHING KNOWN => home
        SELECT * FROM U&\"users\" WHERE id = {a} => a
        SELECT * FROM U&\"\\0075sers\" => refused
        ",
    );
}

/// A deep or huge statement is not analysed; it must not overflow the stack either.
#[test]
fn too_complex() {
    let fixture = Fixture::new();
    let mut chain = String::from("WITH c0 AS (SELECT * FROM users WHERE id = {a})");
    for i in 1..40 {
        chain.push_str(&format!(
            ", c{i} AS (SELECT * FROM c{} UNION ALL SELECT * FROM c{})",
            i - 1,
            i - 1
        ));
    }
    chain.push_str(" SELECT * FROM c39");
    fixture.check(&chain, &[], "refused");
    let sum = vec!["1"; 80].join(" + ");
    fixture.check(
        &format!("SELECT * FROM users WHERE id = {{a}} AND age = {sum}"),
        &[],
        "a",
    );
    let ors = vec!["id = {a}"; 1000].join(" OR ");
    fixture.check(&format!("SELECT * FROM users WHERE {ors}"), &[], "a");
    let unions = vec!["SELECT id FROM users WHERE id = {a}"; 60].join(" UNION ALL ");
    fixture.check(&unions, &[], "a");
    let list = vec!["{a}"; 3000].join(", ");
    fixture.check(
        &format!("SELECT * FROM users WHERE id IN ({list})"),
        &[],
        "a",
    );
}
