//! The extended protocol, message by message: parameters, prepared statements, portals, pipelines.

use crate::in_time;
use crate::raw::{Raw, bind, sorted};
use crate::world::{World, done};
use bytes::BytesMut;
use shardgate_wire::frontend::put;

const INT8: u32 = 20;
const TEXT: u32 = 25;

/// A text, the types that are declared, and the parameters.
type Case<'a> = (&'a str, &'a [u32], &'a [Option<&'a str>]);

/// What both say to the same messages, rows in any order.
async fn alike(clients: (&mut Raw, &mut Raw), bytes: &BytesMut, what: &str) -> Vec<String> {
    let (router, plain) = clients;
    router.send(bytes).await;
    plain.send(bytes).await;
    let got = sorted(router.answer().await);
    let expect = sorted(plain.answer().await);
    assert_eq!(got, expect, "{what}");
    got
}

fn rows(answer: &[String]) -> usize {
    answer.iter().filter(|line| line.starts_with("D ")).count()
}

/// One execution with Describe of statement and portal.
fn whole(sql: &str, types: &[u32], params: &[Option<&str>], binary: bool) -> BytesMut {
    let mut out = BytesMut::new();
    put::parse(&mut out, b"", sql.as_bytes(), types);
    put::describe(&mut out, b'S', b"");
    bind(&mut out, "", "", params, binary);
    put::describe(&mut out, b'P', b"");
    put::execute(&mut out, b"", 0);
    put::sync(&mut out);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        let cases: &[Case<'_>] = &[
            (
                "SELECT id, name FROM users WHERE name = $1",
                &[],
                &[Some("n2")],
            ),
            ("SELECT id FROM users WHERE name = $1", &[], &[None]),
            (
                "SELECT id FROM users WHERE id > $1 AND boss < $1",
                &[],
                &[Some("4")],
            ),
            (
                "SELECT $2::text, $1::int, count(*) FROM users",
                &[],
                &[Some("1"), Some("x")],
            ),
            (
                "SELECT id, $1 FROM users WHERE id > $2",
                &[TEXT, INT8],
                &[Some("p"), Some("20")],
            ),
            ("SELECT id FROM users WHERE id > 20", &[INT8], &[Some("20")]),
            (
                "SELECT id FROM users WHERE id IN ($1, $2)",
                &[],
                &[Some("1"), Some("2")],
            ),
            (
                "SELECT id FROM users WHERE id IN ($1, $2)",
                &[],
                &[Some("5"), Some("6")],
            ),
            (
                "SELECT id FROM users WHERE id = ANY ($1)",
                &[],
                &[Some("{1,2,3,4,5,6,7,8}")],
            ),
            (
                "SELECT id FROM users WHERE id BETWEEN $1 AND $2",
                &[],
                &[Some("3"), Some("9")],
            ),
            (
                "SELECT * FROM users ORDER BY id LIMIT $1 OFFSET $2",
                &[],
                &[Some("3"), Some("4")],
            ),
            (
                "SELECT u.id FROM users u JOIN notes n ON n.id = u.id WHERE u.id = $1",
                &[],
                &[Some("1")],
            ),
            (
                "SELECT u.id FROM users u JOIN notes n ON n.id = u.id WHERE u.id = $1",
                &[],
                &[Some("2")],
            ),
            (
                "SELECT u.id FROM users u JOIN notes n ON n.id = u.id WHERE u.id = $1",
                &[],
                &[Some("3")],
            ),
            ("SELECT id FROM users WHERE tags = $1", &[], &[Some("{}")]),
            (
                "SELECT id FROM users WHERE score > $1 OR born < $2",
                &[],
                &[Some("20"), Some("2024-03-03 00:00:00+00")],
            ),
            // Errors: of a value, of a text, of the number of parameters.
            ("SELECT id FROM users WHERE id > $1", &[], &[Some("x")]),
            ("SELECT nosuch FROM users WHERE id > $1", &[], &[Some("1")]),
            ("SELECT id / $1 FROM users", &[INT8], &[Some("0")]),
            ("SELECT $2::int FROM users", &[], &[Some("1"), Some("2")]),
        ];
        let mut answered = 0;
        for (sql, types, params) in cases {
            for binary in [false, true] {
                let bytes = whole(sql, types, params, binary);
                answered += rows(&alike((&mut router, &mut plain), &bytes, sql).await);
            }
        }
        assert!(answered > 100, "{answered} rows");
    })
    .await;
}

/// Binary parameters and a result format for each column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn formats() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        let mut out = BytesMut::new();
        let sql = "SELECT id, name, score FROM users WHERE id > $1 AND name = $2";
        put::parse(&mut out, b"", sql.as_bytes(), &[INT8, TEXT]);
        let mut body = b"\0\0".to_vec();
        body.extend_from_slice(&[0, 2, 0, 1, 0, 0, 0, 2, 0, 0, 0, 8]);
        body.extend_from_slice(&3_i64.to_be_bytes());
        body.extend_from_slice(b"\0\0\0\x02n4");
        body.extend_from_slice(&[0, 3, 0, 1, 0, 0, 0, 1]);
        out.extend_from_slice(b"B");
        out.extend_from_slice(&u32::try_from(body.len() + 4).expect("short").to_be_bytes());
        out.extend_from_slice(&body);
        put::describe(&mut out, b'P', b"");
        put::execute(&mut out, b"", 0);
        put::sync(&mut out);
        let answer = alike((&mut router, &mut plain), &out, sql).await;
        assert!(rows(&answer) > 2, "{answer:?}");
    })
    .await;
}

/// A statement is prepared once and executed often; each time it sees what was written in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        let sql = "SELECT count(*), max(x) FROM empty WHERE id > $1";
        let mut out = BytesMut::new();
        put::parse(&mut out, b"counted", sql.as_bytes(), &[]);
        put::describe(&mut out, b'S', b"counted");
        put::sync(&mut out);
        alike((&mut router, &mut plain), &out, "Parse alone").await;
        let mut last = Vec::new();
        for id in 1..=5 {
            let insert = format!("INSERT INTO empty VALUES ({id}, 'x{id}')");
            done(&mut router, &insert).await;
            done(&mut plain, &insert).await;
            let mut out = BytesMut::new();
            bind(&mut out, "", "counted", &[Some("0")], false);
            put::execute(&mut out, b"", 0);
            put::sync(&mut out);
            last = alike((&mut router, &mut plain), &out, "executed").await;
        }
        assert!(last.iter().any(|line| line == "D '5' 'x5'"), "{last:?}");
        // The unnamed statement stays what the client has made it.
        let mut out = BytesMut::new();
        put::parse(&mut out, b"", b"SELECT id FROM empty WHERE id > $1", &[]);
        for least in ["1", "3"] {
            bind(&mut out, "", "", &[Some(least)], false);
            put::execute(&mut out, b"", 0);
            put::sync(&mut out);
        }
        router.send(&out).await;
        plain.send(&out).await;
        for _ in 0..2 {
            assert_eq!(sorted(router.answer().await), sorted(plain.answer().await));
        }
    })
    .await;
}

/// A portal hands out its rows in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        let mut out = BytesMut::new();
        put::parse(&mut out, b"", b"SELECT id FROM users ORDER BY id", &[]);
        bind(&mut out, "p", "", &[], false);
        for limit in [5, 7, 1, 0] {
            put::execute(&mut out, b"p", limit);
        }
        put::describe(&mut out, b'P', b"p");
        put::close(&mut out, b'P', b"p");
        put::sync(&mut out);
        router.send(&out).await;
        plain.send(&out).await;
        let (got, expect) = (router.answer().await, plain.answer().await);
        assert_eq!(got, expect);
        assert_eq!(rows(&got), 24);
        // With a Flush after each part.
        let mut out = BytesMut::new();
        put::parse(&mut out, b"", b"SELECT id FROM users ORDER BY id DESC", &[]);
        put::flush(&mut out);
        bind(&mut out, "", "", &[], false);
        put::execute(&mut out, b"", 2);
        put::flush(&mut out);
        for client in [&mut router, &mut plain] {
            client.send(&out).await;
            let mut tags = String::new();
            while !tags.ends_with('s') {
                tags.push(char::from(client.message().await.0));
            }
            assert_eq!(tags, "12DDs");
            let mut rest = BytesMut::new();
            put::execute(&mut rest, b"", 0);
            put::sync(&mut rest);
            client.send(&rest).await;
            assert_eq!(rows(&client.answer().await), 22);
        }
    })
    .await;
}

/// Beside other statements, in a block or behind something in a pipeline, it is refused, and nothing is half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_in_a_transaction() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, _) = world.both().await;
        let refused_with = |answer: &[String], why: &str| {
            let why = format!("can be gathered from all shards, but not {why}.");
            let says = |line: &String| line.contains("C=0A000") && line.contains(&why);
            assert!(answer.iter().any(says), "{why}: {answer:?}");
        };
        done(&mut router, "BEGIN").await;
        let answer = router.query("SELECT count(*) FROM users").await;
        refused_with(&answer, "in a transaction block");
        done(&mut router, "ROLLBACK").await;
        let answer = router.query("SELECT count(*) FROM users; SELECT 1").await;
        refused_with(&answer, "beside other statements in one Query");
        let answer = router
            .query("INSERT INTO notes VALUES (99, 'x'); SELECT count(*) FROM users")
            .await;
        refused_with(&answer, "beside other statements in one Query");
        let mut out = BytesMut::new();
        for sql in [
            "INSERT INTO notes VALUES (99, 'x')",
            "SELECT count(*) FROM users",
        ] {
            put::parse(&mut out, b"", sql.as_bytes(), &[]);
            bind(&mut out, "", "", &[], false);
            put::execute(&mut out, b"", 0);
        }
        put::sync(&mut out);
        router.send(&out).await;
        let answer = router.answer().await;
        refused_with(&answer, "behind another statement of a pipeline");
        let answer = router
            .query("SELECT count(*) FROM notes WHERE id = 99")
            .await;
        assert!(answer.contains(&"D '0'".to_owned()), "{answer:?}");
        // The first in a pipeline may have others behind it.
        let mut out = BytesMut::new();
        for sql in ["SELECT count(*) FROM users", "SELECT count(*) FROM notes"] {
            put::parse(&mut out, b"", sql.as_bytes(), &[]);
            bind(&mut out, "", "", &[], false);
            put::execute(&mut out, b"", 0);
        }
        put::sync(&mut out);
        router.send(&out).await;
        let answer = router.answer().await;
        assert!(answer.contains(&"D '24'".to_owned()), "{answer:?}");
        assert!(answer.contains(&"D '6'".to_owned()), "{answer:?}");
    })
    .await;
}

/// What was parsed under other settings than those that are in force when it is executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_after_parse() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        for sql in [
            "CREATE SCHEMA sc",
            "CREATE TABLE w (id int PRIMARY KEY, q int)",
            "CREATE TABLE sc.w (id int PRIMARY KEY, q text)",
            "CREATE TABLE sc.small (id int PRIMARY KEY, one int)",
        ] {
            done(&mut router, sql).await;
            done(&mut plain, sql).await;
        }
        for table in ["w", "sc.w", "sc.small"] {
            let sql = format!("SELECT create_distributed_table('{table}', 'id')");
            done(&mut router, &sql).await;
        }
        for id in 1..=6 {
            for sql in [
                format!("INSERT INTO public.w VALUES ({id}, {id})"),
                format!("INSERT INTO sc.w VALUES ({id}, 's{id}')"),
                format!("INSERT INTO sc.small VALUES ({id}, -{id})"),
            ] {
                done(&mut router, &sql).await;
                done(&mut plain, &sql).await;
            }
        }
        for (number, (sql, sets)) in [
            (
                "SELECT * FROM w WHERE id > 1",
                ["SET search_path = sc", "SET search_path = public"],
            ),
            (
                "SELECT * FROM w WHERE id = 2",
                ["SET search_path = sc", "SET search_path = public"],
            ),
            (
                "SELECT * FROM small WHERE id > 1",
                ["SET search_path = sc", "SET search_path = public"],
            ),
            (
                "SELECT id, name = NULL FROM users",
                [
                    "SET transform_null_equals = on",
                    "SET transform_null_equals = off",
                ],
            ),
            (
                "SELECT id, name = NULL FROM users WHERE id = 3",
                [
                    "SET transform_null_equals = on",
                    "SET transform_null_equals = off",
                ],
            ),
            (
                "SELECT count(*), max('01/02/2026'::date) FROM days WHERE d < '05/12/2024'",
                ["SET datestyle = 'ISO, DMY'", "SET datestyle = 'ISO, MDY'"],
            ),
            (
                "SELECT id, born > '2024-03-05 12:00' FROM users WHERE name LIKE 'n%'",
                ["SET timezone = 'Asia/Tokyo'", "SET timezone = 'UTC'"],
            ),
            (
                "SELECT id FROM users WHERE name LIKE 'n%'",
                [
                    "SET application_name = 'x'",
                    "SET statement_timeout = '1min'",
                ],
            ),
        ]
        .into_iter()
        .enumerate()
        {
            for described in [false, true] {
                let name = format!("s{number}{described}");
                let mut out = BytesMut::new();
                put::parse(&mut out, name.as_bytes(), sql.as_bytes(), &[]);
                if described {
                    put::describe(&mut out, b'S', name.as_bytes());
                }
                put::sync(&mut out);
                alike((&mut router, &mut plain), &out, sql).await;
                for set in [None, Some(sets[0]), Some(sets[1])] {
                    if let Some(set) = set {
                        done(&mut router, set).await;
                        done(&mut plain, set).await;
                    }
                    let mut out = BytesMut::new();
                    bind(&mut out, "", &name, &[], false);
                    put::execute(&mut out, b"", 0);
                    put::sync(&mut out);
                    for client in [&mut router, &mut plain] {
                        client.send(&out).await;
                    }
                    let (got, expect) = (router.answer().await, plain.answer().await);
                    assert_eq!(sorted(got), sorted(expect), "{sql} behind {set:?}");
                }
            }
        }
    })
    .await;
}
