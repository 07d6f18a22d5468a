//! Random reads of the shapes that no proof about keys covers: windows, grouping sets, DISTINCT ON, LATERAL, recursion,
//! whole rows, tables by their own names. Rows of all shards are needed for nearly all of them.

use crate::generator::{Generator, Scope};

/// One statement.
pub struct Wide {
    pub shape: &'static str,
    pub sql: String,
    /// Its rows have one order only.
    pub ordered: bool,
}

/// Makes the text, and says whether its rows have one order only.
type Make = fn(&mut Generator) -> (String, bool);

/// Tables with an integer column that every one of them can be joined by.
const JOINED: &[(&str, &str)] = &[
    ("users", "id"),
    ("orders", "user_id"),
    ("levels", "level"),
    ("notes", "id"),
    ("countries", "id"),
];

pub fn wide(generator: &mut Generator) -> Wide {
    let make: [(&'static str, Make); 13] = [
        ("windows", windows),
        ("grouping sets", grouping_sets),
        ("distinct on", distinct_on),
        ("lateral", lateral),
        ("recursive", recursive),
        ("whole rows", whole_rows),
        ("own names", own_names),
        ("aggregates", aggregates),
        ("ordered", ordered),
        ("subqueries in lists", in_lists),
        ("values", values),
        ("set operations", set_operations),
        ("plain", |generator| {
            (generator.select(3, &[], false), false)
        }),
    ];
    let (shape, make) = *generator.random.pick(&make);
    let (sql, ordered) = make(generator);
    Wide {
        shape,
        sql,
        ordered,
    }
}

fn all_numbers(scopes: &[Scope]) -> Vec<String> {
    scopes
        .iter()
        .flat_map(|scope| scope.numbers.clone())
        .collect()
}

/// FROM and WHERE, and the columns that are to be had there.
fn rows(generator: &mut Generator) -> (String, Vec<Scope>) {
    let (from, scopes) = generator.from(1);
    let filter = if generator.random.chance(50) {
        format!(" WHERE {}", generator.predicate(&scopes, &[], 1))
    } else {
        String::new()
    };
    (format!("FROM {from}{filter}"), scopes)
}

fn windows(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let (part, value) = (
        generator.pick_number(&scopes),
        generator.pick_number(&scopes),
    );
    let order = all_numbers(&scopes).join(", ");
    let call = generator
        .random
        .pick(&[
            "rank()".to_owned(),
            "dense_rank()".to_owned(),
            format!("sum({value})"),
            format!("max({value})"),
            "count(*)".to_owned(),
        ])
        .clone();
    // All columns are in the order, so that peers are alike.
    let sql = format!(
        "SELECT {value}, {call} OVER (PARTITION BY {part} ORDER BY {order} RANGE UNBOUNDED PRECEDING) {rows}"
    );
    (sql, false)
}

fn grouping_sets(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let (a, b) = (
        generator.pick_number(&scopes),
        generator.pick_number(&scopes),
    );
    let value = generator.pick_number(&scopes);
    let sets = generator
        .random
        .pick(&[
            format!("ROLLUP ({a}, {b})"),
            format!("CUBE ({a}, {b})"),
            format!("GROUPING SETS (({a}), ({b}), ())"),
        ])
        .clone();
    let sql = format!(
        "SELECT {a}, {b}, grouping({a}, {b}), count(*), sum({value}) {rows} GROUP BY {sets} HAVING count(*) > {}",
        generator.random.below(3)
    );
    (sql, false)
}

fn distinct_on(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let numbers = all_numbers(&scopes);
    let (first, list) = (generator.pick_number(&scopes), numbers.join(", "));
    (
        format!("SELECT DISTINCT ON ({first}) {list} {rows} ORDER BY {first}, {list}"),
        true,
    )
}

fn lateral(generator: &mut Generator) -> (String, bool) {
    let (from, scopes) = generator.from(0);
    let outer = generator.pick_number(&scopes);
    let (table, key) = *generator.random.pick(JOINED);
    let join = *generator
        .random
        .pick(&["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
    let on = if join.starts_with("LEFT") {
        " ON true"
    } else {
        ""
    };
    let sql = format!(
        "SELECT {outer}, l.* FROM {from} {join} (SELECT count(*) c, max({key}) m FROM {table} WHERE {key} < {outer}) l{on}"
    );
    (sql, false)
}

fn recursive(generator: &mut Generator) -> (String, bool) {
    let start = generator.random.below(6);
    let (table, key) = *generator.random.pick(&JOINED[..3]);
    let union = *generator.random.pick(&["UNION", "UNION ALL"]);
    let sql = format!(
        "WITH RECURSIVE r (n, d) AS (SELECT {key}::int8, 1 FROM {table} WHERE {key} = {start} {union} \
         SELECT u.id, d + 1 FROM users u JOIN r ON u.id = r.n + 1 WHERE d < 5) \
         SELECT r.n, r.d, {table}.* FROM r LEFT JOIN {table} ON {table}.{key} = r.n"
    );
    (sql, false)
}

fn whole_rows(generator: &mut Generator) -> (String, bool) {
    let (a, ka) = *generator.random.pick(JOINED);
    let (b, kb) = *generator.random.pick(&JOINED[..3]);
    let item = *generator.random.pick(&[
        "y",
        "to_jsonb(y)",
        "x.*, y IS NULL",
        "row(x, y)::text",
        "count(y) OVER ()",
    ]);
    let join = *generator.random.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
    (
        format!("SELECT {item} FROM {a} x {join} {b} y ON x.{ka} = y.{kb}"),
        false,
    )
}

fn own_names(generator: &mut Generator) -> (String, bool) {
    let n = generator.random.below(12);
    let list = [
        "TABLE orders".to_owned(),
        format!(
            "SELECT users.id, orders.amount FROM users, orders WHERE users.id > {n} AND orders.user_id = users.id"
        ),
        "SELECT * FROM users NATURAL JOIN notes".to_owned(),
        "SELECT id, name, status FROM users JOIN orders USING (id)".to_owned(),
        format!("SELECT * FROM orders, public.levels WHERE level = amount AND level > {n}"),
        format!("SELECT users FROM public.users WHERE age <> {n}"),
        "SELECT count(*) FROM (users CROSS JOIN levels) AS both_of_them".to_owned(),
        format!("WITH users AS (SELECT * FROM users WHERE id < {n}) SELECT * FROM users, tags"),
    ];
    (generator.random.pick(&list).clone(), false)
}

fn aggregates(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let (a, b) = (
        generator.pick_number(&scopes),
        generator.pick_number(&scopes),
    );
    let call = generator
        .random
        .pick(&[
            format!("count(DISTINCT {a}), sum({b})"),
            format!("array_agg({a} ORDER BY {a})"),
            format!("string_agg({a}::text, ',' ORDER BY {a}) FILTER (WHERE {b} > 3)"),
            format!("avg({a}), min({b}), bool_or({a} > {b})"),
            format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {a})"),
            format!("jsonb_agg({a} ORDER BY {a}, {b})"),
        ])
        .clone();
    if generator.random.chance(50) {
        (format!("SELECT {b}, {call} {rows} GROUP BY {b}"), false)
    } else {
        (format!("SELECT {call} {rows}"), false)
    }
}

fn ordered(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let list = all_numbers(&scopes).join(", ");
    let desc = if generator.random.chance(50) {
        " DESC NULLS LAST"
    } else {
        ""
    };
    let limit = generator
        .random
        .pick(&[
            "",
            " LIMIT 5",
            " LIMIT 3 OFFSET 2",
            " FETCH FIRST 2 ROWS WITH TIES",
        ])
        .to_owned();
    (
        format!(
            "SELECT {list} {rows} ORDER BY {}{desc}, {list}{limit}",
            generator.pick_number(&scopes)
        ),
        true,
    )
}

fn in_lists(generator: &mut Generator) -> (String, bool) {
    let (rows, scopes) = rows(generator);
    let a = generator.pick_number(&scopes);
    let inner = generator.derived(1);
    let sql = match generator.random.below(4) {
        0 => format!("SELECT {a}, ({}) {rows}", "SELECT count(*) FROM orders"),
        1 => format!(
            "SELECT {a}, EXISTS ({inner}), ARRAY(SELECT x FROM ({inner}) s ORDER BY x) IS NULL {rows}"
        ),
        2 => format!("SELECT {a} IN (SELECT level FROM levels), count(*) {rows} GROUP BY 1"),
        _ => format!(
            "SELECT CASE WHEN {a} > ALL (SELECT amount FROM orders WHERE amount IS NOT NULL) THEN 1 ELSE {a} END {rows}"
        ),
    };
    // The subquery may have a LIMIT of its own, but in the order of its only column.
    (sql, false)
}

fn values(generator: &mut Generator) -> (String, bool) {
    let inner = generator.derived(1);
    (
        format!(
            "SELECT * FROM (VALUES ((SELECT count(*) FROM ({inner}) s)), (2)) v (n) JOIN levels ON level >= n"
        ),
        false,
    )
}

fn set_operations(generator: &mut Generator) -> (String, bool) {
    let kind = *generator.random.pick(&[
        "UNION",
        "UNION ALL",
        "INTERSECT",
        "INTERSECT ALL",
        "EXCEPT",
        "EXCEPT ALL",
    ]);
    let (a, b) = (generator.derived(1), generator.derived(1));
    (format!("({a}) {kind} ({b}) ORDER BY 1"), true)
}
