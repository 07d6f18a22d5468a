//! One plain Postgres with the same rows is told the same, and must say the same, message by message, and hold the same
//! rows afterwards.

use crate::raw::{Raw, bind, sorted};
use bytes::BytesMut;
use shardgate_tests::{Running, RunningBuilder};
use shardgate_wire::frontend::put;
use std::time::Duration;

const TABLES: &[&str] = &[
    "CREATE TABLE countries (code text PRIMARY KEY, title text)",
    "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, age int DEFAULT 3 CHECK (age < 1000), doc jsonb, at date, up text GENERATED ALWAYS AS (upper(name)) STORED, country text)",
    "CREATE TABLE orders (user_id bigint NOT NULL, id bigint NOT NULL, cents bigint DEFAULT 7, code text, PRIMARY KEY (user_id, id))",
    r#"CREATE TABLE "Od d" ("K" text PRIMARY KEY, "values" int, n numeric(6,2))"#,
    "CREATE TABLE days (d date PRIMARY KEY, note varchar(4))",
];

const DISTRIBUTE: &[&str] = &[
    "SELECT create_distributed_table('users', 'id')",
    "SELECT create_distributed_table('orders', 'user_id', colocate_with => 'users')",
    r#"SELECT create_distributed_table('"Od d"', 'K')"#,
    "SELECT create_distributed_table('days', 'd', 'range', bounds => ARRAY['2024-01-05', '2024-01-10'])",
];

/// Behind that, on both.
const LATER: &[&str] = &["ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id)"];

/// How the whole of each table is read.
const CONTENTS: &[&str] = &[
    "SELECT * FROM users ORDER BY id",
    "SELECT * FROM orders ORDER BY user_id, id",
    r#"SELECT * FROM "Od d" ORDER BY "K""#,
    "SELECT * FROM days ORDER BY d",
];

/// One after the other, each by a simple Query and, if it still makes sense, by the extended protocol.
const STATEMENTS: &[&str] = &[
    "INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f'), (7, 'g'), (8, 'h')",
    "INSERT INTO users (id, name, age) VALUES (18, 'x', 1), (11, 'y', DEFAULT), (15, 'z', NULL), (12, 'now', 4), (17, 'w', 5) RETURNING *",
    "INSERT INTO users VALUES (21, 'a'), (22, 'b', 2), (23, 'c')",
    "INSERT INTO users VALUES (21, 'a', 1), (22, 'b', 2), (23, 'c', 3) RETURNING name, id + 1, up",
    "INSERT INTO users (name, id) VALUES ('p', 31), ('q', 32), ('r', 33), ('s', 34) ON CONFLICT DO NOTHING",
    "INSERT INTO users (name, id) VALUES ('p', 31), ('q2', 36), ('r', 33), ('s', 35), ('t', 37) ON CONFLICT DO NOTHING RETURNING id, name",
    "INSERT INTO users (name, id) VALUES ('P', 36), ('Q', 32), ('R', 39), ('S', 38) ON CONFLICT (id) DO UPDATE SET name = users.name || excluded.name, age = 9 RETURNING *",
    "INSERT INTO users AS u (name, id) VALUES ('P', 36), ('Q', 32), ('R', 41), ('S', 38), ('T', 31) ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE u.age = 9 RETURNING u.id, up",
    // Two rows of one key.
    "INSERT INTO users (id, name) VALUES (51, 'a'), (52, 'b'), (51, 'c')",
    "INSERT INTO users (id, name) VALUES (51, 'a'), (52, 'b'), (51, 'c') ON CONFLICT (id) DO NOTHING RETURNING id",
    "INSERT INTO users (id, name) VALUES (51, 'a'), (52, 'b'), (51, 'c') ON CONFLICT (id) DO UPDATE SET age = 1",
    // Errors of the text, of values, and of rows.
    "INSERT INTO users (id, nosuch) VALUES (61, 'a'), (62, 'b')",
    "INSERT INTO users (id, name) VALUES (61, 'a', 1), (62, 'b', 2)",
    "INSERT INTO users (id, name) VALUES (61, 'a'), (62, 'b', 2)",
    "INSERT INTO users (id, name, age) VALUES (61, 'a', 1), (62, 'b', 'x')",
    "INSERT INTO users (id, name, age) VALUES (61, 'a', 1), (62, 'b', 1/0)",
    "INSERT INTO users (id, name, age) VALUES (61, 'a', 1), (62, 'b', 2000)",
    "INSERT INTO users (id, name, age) VALUES (61, 'a', 2000), (62, 'b', 1), (63, NULL, 1)",
    "INSERT INTO users (id, name, age) VALUES (61, NULL, 1), (62, 'b', 2000), (63, 'c', 3), (64, 'd', 4000)",
    "INSERT INTO users (id, name) VALUES (61, 'a'), (62, 'b'), (1, 'dup'), (63, NULL), (2, 'dup'), (3, 'dup')",
    "INSERT INTO users (id, name) VALUES (61, 'a'), (62, 'b'), (63, NULL), (2, 'dup'), (3, 'dup'), (1, 'dup')",
    "INSERT INTO users (id, name) VALUES (4, 'dup'), (3, 'dup'), (2, 'dup'), (1, 'dup')",
    "INSERT INTO users (id, name, up) VALUES (61, 'a', 'x'), (62, 'b', DEFAULT)",
    "INSERT INTO orders (user_id, id) VALUES (1, 1), (2, 1), (999, 1), (3, 1), (998, 2)",
    "INSERT INTO orders (user_id, id) VALUES (998, 1), (2, 1), (999, 1), (3, 1), (997, 2)",
    "INSERT INTO orders (user_id, id, cents) VALUES (999, 1, 1), (2, 1, 5), (3, 1, 6), (3, 1, 7), (2, 1, 8)",
    // Other tables, names and literals.
    "INSERT INTO orders VALUES (1, 1, 10, 'a'), (2, 1), (1, 2, 20, 'de'), (3, 1, 30, NULL), (4, 1, 40, 'fr')",
    "INSERT INTO orders VALUES (1, 1, 10, 'a'), (2, 1, 11, 'b'), (1, 2, 20, 'de'), (3, 1, 30, NULL), (4, 1, 40, 'fr'), (5, 1, 50, 'de')",
    r#"INSERT INTO "Od d" ("K", "values", n) VALUES ('a', 1, 1.005), ($$b')$$, -2, '3'), (E'c\n', 3, 1e2), ('d' /* ), ( */, 4, 5), ('e', (4), (SELECT 5)) RETURNING "K", n"#,
    r#"INSERT INTO public."Od d" AS "values" VALUES ('f', 1), ('g', 2), ('h', 3) ON CONFLICT ("K") DO UPDATE SET "values" = "values"."values" + excluded."values" RETURNING "values".*"#,
    "INSERT INTO days VALUES ('2024-01-01', 'a'), ('2024-01-07', 'b'), ('2024-01-11', 'c'), ('2024-01-02', 'd')",
    "INSERT INTO days VALUES ('2024-01-01', 'a'), ('2024-01-07', 'too long'), ('2024-02-11', 'c')",
    "INSERT INTO users (id, name, doc, at) VALUES (71, 'a', '{\"k\": \"now\"}', '2024-01-01'), (72, 'b', '[1]', NULL), (73, 'c', NULL, '2024-02-30')",
    "INSERT INTO users (id, name, doc, at) VALUES (71, 'a', '{\"k\": \"now\"}', '2024-01-01'), (72, 'b', '[1]', NULL), (73, 'c', NULL, '2024-02-20')",
    // Reference tables: every copy.
    "INSERT INTO countries VALUES ('es', 'ES'), ('it', upper('it')), ('pt', NULL) RETURNING *",
    "INSERT INTO countries (title, code) VALUES ('x', 'uk'), ('y', 'us') ON CONFLICT (code) DO UPDATE SET title = excluded.title || countries.title RETURNING code, title",
    "INSERT INTO countries VALUES (NULL, 'x')",
    "UPDATE countries SET title = title || '!' WHERE code > 'f' RETURNING code",
    "UPDATE countries SET nosuch = 1",
    "DELETE FROM countries WHERE code IN (SELECT max(code) FROM countries) RETURNING *",
    "DELETE FROM countries c USING countries d WHERE d.title > c.title AND c.code = 'pt'",
    // Changes of rows of all shards.
    "UPDATE users SET age = 5",
    "UPDATE users SET age = age + id::int, name = name || '!' WHERE id % 2 = 0 RETURNING id, age, name",
    "UPDATE users SET age = 100 * id",
    "UPDATE users SET name = NULL WHERE id = ANY (ARRAY[1, 2, 3])",
    "UPDATE users SET age = 6 WHERE id IN (1, 2, 3, 4) RETURNING up",
    "UPDATE users u SET age = o.cents FROM orders o WHERE o.user_id = u.id AND o.id = 1",
    "UPDATE users SET country = c.title FROM countries c WHERE c.code = 'de' AND users.id > 3 RETURNING id, country",
    "UPDATE users SET age = (SELECT count(*) FROM orders o WHERE o.user_id = users.id)",
    "UPDATE users SET age = 1 WHERE NOT EXISTS (SELECT FROM orders o WHERE o.user_id = users.id) RETURNING id",
    "UPDATE users SET nosuch = 1",
    "UPDATE users SET age = 1 / (age - 1)",
    "UPDATE users SET age = DEFAULT WHERE age = 1",
    "UPDATE days SET note = upper(note) WHERE d > '2024-01-02'",
    "UPDATE users SET id = id, age = 4 WHERE name > 'b'",
    "DELETE FROM users WHERE id < 5",
    "DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.age > 1000",
    "DELETE FROM orders USING users u WHERE u.id = user_id AND u.id > 2 RETURNING *, u.name",
    "WITH o AS (SELECT user_id FROM orders WHERE cents > 5) DELETE FROM orders WHERE user_id IN (SELECT user_id FROM o)",
    "DELETE FROM users WHERE id > 1000",
    "DELETE FROM users RETURNING id",
    "DELETE FROM users",
];

pub struct World {
    pub running: Running,
}

impl World {
    pub async fn start(
        shards: u16,
        change: impl FnOnce(RunningBuilder) -> RunningBuilder,
    ) -> World {
        let world = World {
            running: Running::start_with(shards, 0, change),
        };
        let home = world.running.cluster.shards[0].primary.port;
        let mut direct = Raw::connect(home, "postgres", "postgres").await;
        done(&mut direct, "CREATE DATABASE plain").await;
        let (mut router, mut plain) = world.both().await;
        for sql in TABLES {
            done(&mut plain, sql).await;
            done(&mut router, sql).await;
        }
        for sql in DISTRIBUTE {
            done(&mut router, sql).await;
        }
        for client in [&mut router, &mut plain] {
            for sql in LATER {
                done(client, sql).await;
            }
        }
        done(&mut router, "SELECT create_reference_table('countries')").await;
        let row = "INSERT INTO countries VALUES ('de', 'DE'), ('fr', 'FR')";
        done(&mut plain, row).await;
        done(&mut router, row).await;
        world
    }

    /// A client of the router, and one of the plain database.
    pub async fn both(&self) -> (Raw, Raw) {
        let database = self.running.database();
        let home = self.running.cluster.shards[0].primary.port;
        (
            Raw::connect(self.running.router.port, database, "postgres").await,
            Raw::connect(home, "plain", "postgres").await,
        )
    }

    /// All tables hold the same rows.
    async fn same_rows(&self, what: &str) {
        let (mut router, mut plain) = self.both().await;
        let copy = "SELECT * FROM countries ORDER BY code";
        let expect = plain.query(copy).await;
        for shard in &self.running.cluster.shards {
            let port = shard.primary.port;
            let mut direct = Raw::connect(port, self.running.database(), "postgres").await;
            let got = direct.query(copy).await;
            assert_eq!(got, expect, "the copy of {} after {what}", shard.name);
        }
        for sql in CONTENTS {
            assert_eq!(
                router.query(sql).await,
                plain.query(sql).await,
                "{sql} after {what}"
            );
        }
    }
}

/// Runs it.
///
/// # Panics
/// If it fails.
pub async fn done(client: &mut Raw, sql: &str) {
    let answer = client.query(sql).await;
    let failed = answer.iter().any(|line| line.starts_with("E "));
    assert!(!failed, "{sql}: {answer:?}");
}

/// Rows of an INSERT have an order; those of an UPDATE or DELETE have none, and which of them fails is free: what kind of
/// error it is must agree.
fn comparable(sql: &str, mut answer: Vec<String>) -> Vec<String> {
    if sql.starts_with("INSERT") {
        return answer;
    }
    for line in answer.iter_mut().filter(|line| line.starts_with("E ")) {
        line.truncate(line.find(" D=").unwrap_or(line.len()));
    }
    sorted(answer)
}

pub async fn statements(shards: u16) {
    let world = World::start(shards, |builder| builder).await;
    let (mut router, mut plain) = world.both().await;
    let mut wrong = Vec::new();
    for sql in STATEMENTS {
        for way in 0..3 {
            let (got, expect) = match way {
                0 => (router.query(sql).await, plain.query(sql).await),
                _ => (
                    router.extended(sql, &[], way == 2).await,
                    plain.extended(sql, &[], way == 2).await,
                ),
            };
            let (got, expect) = (comparable(sql, got), comparable(sql, expect));
            if got != expect {
                wrong.push(format!(
                    "{sql} ({way})\n  got {got:#?}\n  expected {expect:#?}"
                ));
            }
        }
        world.same_rows(sql).await;
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    println!(
        "{} statements, three ways each, on {shards} shards",
        STATEMENTS.len()
    );
}

/// A text, the types that are declared, and executions with their parameters.
type Case<'a> = (&'a str, &'a [u32], &'a [&'a [Option<&'a str>]]);

const CASES: &[Case<'_>] = &[
    (
        "INSERT INTO users (id, name, age) VALUES ($1, $2, $3), ($4, $5, $6), ($7, $8, $9) RETURNING id, name",
        &[],
        &[
            &[
                Some("1"),
                Some("a"),
                Some("1"),
                Some("2"),
                Some("now"),
                None,
                Some("3"),
                Some("c"),
                Some("3"),
            ],
            &[
                Some("11"),
                Some("a"),
                Some("1"),
                Some("12"),
                None,
                None,
                Some("13"),
                Some("c"),
                Some("3"),
            ],
            &[
                Some("11"),
                Some("a"),
                Some("1"),
                Some("12"),
                Some("b"),
                None,
                Some("x"),
                Some("c"),
                Some("3"),
            ],
            &[
                Some("11"),
                Some("a"),
                Some("1"),
                None,
                Some("b"),
                None,
                Some("14"),
                Some("c"),
                Some("3"),
            ],
            &[
                Some("21"),
                Some("a"),
                Some("1"),
                Some("22"),
                Some("b"),
                None,
                Some("23"),
                Some("c"),
                Some("99999999999"),
            ],
            // All on one shard.
            &[
                Some("31"),
                Some("a"),
                Some("1"),
                Some("31"),
                Some("b"),
                None,
                Some("31"),
                Some("c"),
                Some("3"),
            ],
        ],
    ),
    (
        "INSERT INTO users (id, name, doc, at) VALUES ($1, $2, $3, '2024-01-01'), ($4, $2, NULL, $5) ON CONFLICT (id) DO UPDATE SET name = $6 RETURNING *",
        &[],
        &[
            &[
                Some("41"),
                Some("x"),
                Some("{}"),
                Some("42"),
                Some("2024-03-03"),
                Some("up"),
            ],
            &[
                Some("41"),
                Some("x"),
                Some("{}"),
                Some("42"),
                Some("2024-03-03"),
                Some("up"),
            ],
            &[
                Some("41"),
                Some("x"),
                Some("{"),
                Some("42"),
                Some("2024-03-03"),
                Some("up"),
            ],
        ],
    ),
    (
        "INSERT INTO orders (user_id, id, cents) VALUES ($1, $2, $2), ($3, $4, $4)",
        &[20, 20, 20, 20],
        &[&[Some("41"), Some("1"), Some("42"), Some("2")]],
    ),
    (
        "UPDATE users SET age = $1, name = $2 WHERE id > $3 RETURNING id, age, name",
        &[],
        &[
            &[Some("7"), Some("q"), Some("2")],
            &[Some("7"), None, Some("2")],
            &[Some("7"), Some("q"), Some("x")],
        ],
    ),
    (
        "DELETE FROM orders USING users u WHERE u.id = user_id AND u.age = $1 AND u.id = ANY ($2)",
        &[],
        &[&[Some("7"), Some("{41,42,43}")], &[Some("7"), Some("{41}")]],
    ),
    (
        "DELETE FROM users WHERE $1",
        &[],
        &[&[Some("f")], &[Some("t")]],
    ),
];

/// Prepared under a name and executed again and again, with Describe of statement and portal, results in text and binary.
pub async fn parameters(shards: u16) {
    let world = World::start(shards, |builder| builder).await;
    let (mut router, mut plain) = world.both().await;
    for (number, (sql, types, executions)) in CASES.iter().enumerate() {
        let name = format!("s{number}");
        let mut out = BytesMut::new();
        put::parse(&mut out, name.as_bytes(), sql.as_bytes(), types);
        put::describe(&mut out, b'S', name.as_bytes());
        put::sync(&mut out);
        for (round, params) in executions.iter().enumerate() {
            let portal = if round % 2 == 0 { "" } else { "p" };
            bind(&mut out, portal, &name, params, round % 2 == 1);
            put::describe(&mut out, b'P', portal.as_bytes());
            put::execute(&mut out, portal.as_bytes(), 0);
            put::close(&mut out, b'P', portal.as_bytes());
            put::sync(&mut out);
        }
        // All in one piece: a pipeline of transactions.
        router.send(&out).await;
        plain.send(&out).await;
        for round in 0..=executions.len() {
            let got = comparable(sql, router.answer().await);
            let expect = comparable(sql, plain.answer().await);
            assert_eq!(got, expect, "{sql}, round {round}");
        }
        world.same_rows(sql).await;
    }
    portals(&mut router, &mut plain).await;
    not_alone(&world, &mut router).await;
}

/// Row-limited portals, and messages behind an Execute.
async fn portals(router: &mut Raw, plain: &mut Raw) {
    for max in [1, 2, 3] {
        let mut out = BytesMut::new();
        let sql = format!(
            "INSERT INTO days VALUES ('2024-01-0{max}', 'a'), ('2024-01-2{max}', 'b') RETURNING d"
        );
        put::parse(&mut out, b"", sql.as_bytes(), &[]);
        bind(&mut out, "", "", &[], false);
        put::execute(&mut out, b"", max);
        put::sync(&mut out);
        router.send(&out).await;
        plain.send(&out).await;
        assert_eq!(router.answer().await, plain.answer().await, "{max} rows");
    }
}

/// Where its transaction does not end with it, the statement is refused, and nothing of it is done.
async fn not_alone(world: &World, router: &mut Raw) {
    let sql = "INSERT INTO users (id, name) VALUES (901, 'a'), (902, 'b'), (903, 'c'), (904, 'd')";
    let refused = |answer: &[String]| {
        assert!(
            answer.iter().any(|line| line.contains("C=0A000")),
            "{answer:?}"
        );
    };
    done(router, "BEGIN").await;
    refused(&router.query(sql).await);
    done(router, "ROLLBACK").await;
    refused(&router.query(&format!("{sql}; SELECT 1")).await);
    // Behind another statement, before one, and with a Flush.
    let one = |out: &mut BytesMut, sql: &str| {
        put::parse(out, b"", sql.as_bytes(), &[]);
        bind(out, "", "", &[], false);
        put::execute(out, b"", 0);
    };
    let first = "INSERT INTO users (id, name) VALUES (905, 'x')";
    for order in [[first, sql], [sql, first]] {
        let mut out = BytesMut::new();
        for sql in order {
            one(&mut out, sql);
        }
        put::sync(&mut out);
        router.send(&out).await;
        refused(&router.answer().await);
    }
    let mut out = BytesMut::new();
    one(&mut out, sql);
    put::flush(&mut out);
    put::sync(&mut out);
    router.send(&out).await;
    refused(&router.answer().await);
    world.same_rows("what was refused").await;
    // Without a Sync it waits for one; a client that leaves has nothing done.
    let (mut leaving, _) = world.both().await;
    let mut out = BytesMut::new();
    one(&mut out, sql);
    leaving.send(&out).await;
    drop(leaving);
    let (mut late, _) = world.both().await;
    let mut out = BytesMut::new();
    one(&mut out, "DELETE FROM users WHERE id > 900 AND id < 905");
    late.send(&out).await;
    let mut out = BytesMut::new();
    put::sync(&mut out);
    late.send(&out).await;
    let answer = late.answer().await;
    assert!(
        answer.iter().any(|line| line.starts_with("C DELETE 0")),
        "{answer:?}"
    );
    world.same_rows("a client that has left").await;
}

/// A cancel request ends a write that waits for a lock on the second shard, on both.
pub async fn cancelled() {
    let world = World::start(2, |builder| builder).await;
    let (mut router, _) = world.both().await;
    done(
        &mut router,
        "INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
    )
    .await;
    let second = world.running.cluster.shards[1].primary.port;
    let mut holder = Raw::connect(second, world.running.database(), "postgres").await;
    done(&mut holder, "BEGIN").await;
    done(&mut holder, "SELECT * FROM users FOR UPDATE").await;
    let mut out = BytesMut::new();
    put::query(&mut out, b"UPDATE users SET age = 77");
    router.send(&out).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE users%'";
    let mut watcher = Raw::connect(second, world.running.database(), "postgres").await;
    while !watcher.query(waits).await.contains(&"D '1'".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut cancel = BytesMut::new();
    put::cancel(&mut cancel, router.pid, &router.secret);
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", world.running.router.port))
        .await
        .expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &cancel)
        .await
        .expect("sent");
    let answer = router.answer().await;
    assert!(answer[0].contains("C=57014"), "{answer:?}");
    done(&mut holder, "ROLLBACK").await;
    let rows = router
        .query("SELECT count(*) FROM users WHERE age = 77")
        .await;
    assert!(rows.contains(&"D '0'".to_owned()), "{rows:?}");
    done(&mut router, "UPDATE users SET age = 78").await;
}

/// Many writers of the same rows on all shards, in different orders, and with a pool of one connection: none waits for
/// ever, and no row is half written.
pub async fn many_writers() {
    let world = World::start(3, |builder| builder.pool_size(2)).await;
    let (mut router, _) = world.both().await;
    done(&mut router, "INSERT INTO users (id, name, age) VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (4, 'd', 0), (5, 'e', 0), (6, 'f', 0)").await;
    let mut tasks = Vec::new();
    for writer in 0..6 {
        let (mut client, _) = world.both().await;
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let sql = match (writer + round) % 3 {
                    0 => "UPDATE users SET age = age + 1".to_owned(),
                    1 => {
                        let mut ids: Vec<i32> = (1..=6).collect();
                        if writer % 2 == 0 {
                            ids.reverse();
                        }
                        let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 'n', 0)")).collect();
                        format!(
                            "INSERT INTO users (id, name, age) VALUES {} ON CONFLICT (id) DO UPDATE SET age = users.age + 1",
                            rows.join(", ")
                        )
                    }
                    _ => "UPDATE users SET age = age + 1 WHERE id IN (6, 5, 4, 3, 2, 1) RETURNING id".to_owned(),
                };
                done(&mut client, &sql).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a writer ends");
    }
    let rows = router.query("SELECT min(age), max(age) FROM users").await;
    assert!(rows.contains(&"D '120' '120'".to_owned()), "{rows:?}");
}

/// Many writers of a reference table: the copies stay alike, and nobody waits in a circle.
pub async fn many_writers_of_copies() {
    let world = World::start(3, |builder| builder.pool_size(3)).await;
    let mut tasks = Vec::new();
    for writer in 0..6 {
        let (mut client, _) = world.both().await;
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let sql = match (writer + round) % 4 {
                    0 => format!("INSERT INTO countries VALUES ('w{}', '{writer}') ON CONFLICT (code) DO UPDATE SET title = '{writer}.{round}'", round % 5),
                    1 => format!("INSERT INTO countries VALUES ('n{writer}.{round}', 'n')"),
                    2 => format!("UPDATE countries SET title = title || '{writer}' WHERE code LIKE 'w%'"),
                    _ => format!("DELETE FROM countries WHERE code LIKE 'n%' AND code < 'n{writer}.{round}'"),
                };
                done(&mut client, &sql).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a writer ends");
    }
    let mut copies = Vec::new();
    for shard in &world.running.cluster.shards {
        let port = shard.primary.port;
        let mut direct = Raw::connect(port, world.running.database(), "postgres").await;
        copies.push(direct.query("SELECT * FROM countries ORDER BY code").await);
    }
    assert!(copies[0].len() > 5, "{copies:?}");
    assert!(
        copies.windows(2).all(|pair| pair[0] == pair[1]),
        "{copies:#?}"
    );
}

/// One time for all rows of all shards, of `now()` in the text and in defaults.
pub async fn one_time() {
    let world = World::start(3, |builder| builder).await;
    let (mut router, _) = world.both().await;
    for sql in [
        "CREATE TABLE timed (id bigint PRIMARY KEY, a timestamptz DEFAULT now(), b date DEFAULT CURRENT_DATE, c timestamp DEFAULT timezone('utc', now()), d timestamptz, u uuid DEFAULT gen_random_uuid())",
        "SELECT create_distributed_table('timed', 'id')",
        "SET timezone = 'Asia/Tokyo'",
        "SET datestyle = 'SQL, DMY'",
    ] {
        done(&mut router, sql).await;
    }
    let rows: Vec<String> = (0..40).map(|id| format!("({id}, now())")).collect();
    done(
        &mut router,
        &format!("INSERT INTO timed (id, d) VALUES {}", rows.join(", ")),
    )
    .await;
    let rows: Vec<String> = (40..60).map(|id| format!("({id}, DEFAULT)")).collect();
    done(
        &mut router,
        &format!("INSERT INTO timed VALUES {}", rows.join(", ")),
    )
    .await;
    let check = "SELECT count(DISTINCT a), count(DISTINCT b), count(DISTINCT c), bool_and(coalesce(d = a, true)), bool_and(c = a AT TIME ZONE 'UTC'), count(DISTINCT u), bool_and(abs(extract(epoch FROM a - clock_timestamp())) < 60) FROM timed";
    let rows = router.query(check).await;
    assert!(
        rows.contains(&"D '2' '1' '2' 't' 't' '60' 't'".to_owned()),
        "{rows:?}"
    );
    done(
        &mut router,
        "UPDATE timed SET d = CURRENT_TIMESTAMP, a = now(), c = LOCALTIMESTAMP",
    )
    .await;
    let check = "SELECT count(DISTINCT a), count(DISTINCT c), bool_and(d = a), bool_and(c = a::timestamp) FROM timed";
    let rows = router.query(check).await;
    assert!(rows.contains(&"D '1' '1' 't' 't'".to_owned()), "{rows:?}");
}

/// What stands in the way before anything is written.
pub async fn not_able() {
    let world = World::start(2, |builder| builder).await;
    let server = &world.running.cluster.shards[1].primary;
    let mut direct = Raw::connect(server.port, world.running.database(), "postgres").await;
    done(
        &mut direct,
        "ALTER SYSTEM SET max_prepared_transactions = 0",
    )
    .await;
    drop(direct);
    tokio::task::block_in_place(|| server.restart().expect("it starts again"));
    let (mut router, _) = world.both().await;
    let sql = "INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')";
    let mut answer = router.query(sql).await;
    // The router has to find out that the server is back.
    for _ in 0..200 {
        if answer[0].contains("C=55000") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = router.query(sql).await;
    }
    assert!(answer[0].contains("C=55000"), "{answer:?}");
    let rows = router.query("SELECT count(*) FROM users").await;
    assert!(rows.contains(&"D '0'".to_owned()), "{rows:?}");
    done(
        &mut router,
        "SET default_transaction_isolation = 'serializable'",
    )
    .await;
    let answer = router.query(sql).await;
    assert!(answer[0].contains("SERIALIZABLE"), "{answer:?}");
    done(&mut router, "RESET default_transaction_isolation").await;
    // A read-only transaction says so itself.
    done(&mut router, "SET default_transaction_read_only = on").await;
    let answer = router.query(sql).await;
    assert!(answer[0].contains("C=25006"), "{answer:?}");
}
