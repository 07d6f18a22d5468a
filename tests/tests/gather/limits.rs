//! What stops a gathering: limits, cancel requests, errors and lost connections; and what is left behind, which is nothing.

use crate::in_time;
use crate::raw::Raw;
use crate::world::{World, done};
use bytes::BytesMut;
use shardgate_wire::frontend::put;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn has(answer: &[String], parts: &[&str]) {
    for part in parts {
        let found = answer.iter().any(|line| line.contains(part));
        assert!(found, "no {part} in {answer:#?}");
    }
}

/// The session goes on, and the very same statement is answered when nothing stands against it.
async fn still_answers(router: &mut Raw) {
    has(
        &router.query("SELECT count(*) FROM small").await,
        &["D '6'", "Z I"],
    );
    let by_key = "SELECT n FROM words WHERE w = 'w5'";
    has(&router.query(by_key).await, &["D '5'"]);
}

async fn metric(world: &World, name: &str) -> u64 {
    let port = world.running.router.http_port;
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("the metrics");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("asked");
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text)
        .await
        .expect("the metrics");
    text.lines()
        .find_map(|line| {
            line.strip_prefix(&format!("shardgate_{name}_total "))?
                .parse()
                .ok()
        })
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows() {
    in_time(async {
        const MAX: usize = 9;
        let limit = MAX.to_string();
        let world = World::start(2, |b| b.router_setting("limits.gather_rows", &limit)).await;
        let mut router = world.router().await;
        // What home has itself is not gathered.
        let port = world.running.cluster.shards[1].primary.port;
        let mut second = Raw::connect(port, world.running.database(), "postgres").await;
        let mut of = async |table: &str| {
            let answer = second.query(&format!("SELECT * FROM {table}")).await;
            answer.iter().filter(|line| line.starts_with("D ")).count()
        };
        assert!(of("users").await > MAX);
        let two = of("small").await + of("words").await;
        let four = two + of("days").await + of("moments").await;
        assert!(two <= MAX && MAX < four, "{two} {four}");
        for _ in 0..3 {
            let answer = router.query("SELECT count(*) FROM users").await;
            has(
                &answer,
                &["C=54000", "at most 9 rows", "limits.gather_rows", "Z I"],
            );
            let answer = router
                .extended("SELECT count(*) FROM users", &[], true)
                .await;
            has(&answer, &["C=54000", "limits.gather_rows", "Z I"]);
        }
        // The sum over all tables counts.
        let answer = router.query("SELECT count(*) FROM small, words").await;
        has(&answer, &["D '36'"]);
        let answer = router
            .query("SELECT count(*) FROM small, words, days, moments")
            .await;
        has(&answer, &["C=54000"]);
        assert_eq!(metric(&world, "gather_limit_refusals").await, 7);
        assert_eq!(metric(&world, "statements_gathered").await, 1);
        let rows = u64::try_from(two).expect("a small number");
        assert_eq!(metric(&world, "gathered_rows").await, rows);
        assert!(metric(&world, "gathered_bytes").await > 100);
        still_answers(&mut router).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes() {
    in_time(async {
        let world = World::start(2, |b| {
            b.router_setting("limits.gather_bytes", "1KiB")
                .router_setting("limits.gather_bytes_total", "1500B")
        })
        .await;
        let mut router = world.router().await;
        let answer = router.query("SELECT count(*) FROM users").await;
        has(
            &answer,
            &["C=54000", "at most 1024 bytes", "limits.gather_bytes"],
        );
        still_answers(&mut router).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_all() {
    in_time(async {
        let world =
            World::start(2, |b| b.router_setting("limits.gather_bytes_total", "1KiB")).await;
        let mut router = world.router().await;
        for _ in 0..3 {
            let answer = router.query("SELECT count(*) FROM users").await;
            has(
                &answer,
                &["C=53200", "1024 bytes", "limits.gather_bytes_total"],
            );
        }
        // What was held is given back each time.
        for _ in 0..20 {
            still_answers(&mut router).await;
        }
    })
    .await;
}

/// Locks a table on one shard, so that its rows come only when the lock is gone.
async fn lock(world: &World, shard: usize, table: &str) -> Raw {
    let port = world.running.cluster.shards[shard].primary.port;
    let mut holder = Raw::connect(port, world.running.database(), "postgres").await;
    done(&mut holder, "BEGIN").await;
    done(
        &mut holder,
        &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
    )
    .await;
    holder
}

/// Until one of the router's sessions on the shard waits for a lock: then it is in the middle of a gathering.
async fn waits(holder: &mut Raw) {
    loop {
        let answer = holder
            .query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()")
            .await;
        if !answer.contains(&"D '0'".to_owned()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn send(router: &mut Raw, sql: &str) {
    let mut out = BytesMut::new();
    put::query(&mut out, sql.as_bytes());
    router.send(&out).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel() {
    in_time(async {
        let world = World::start(2, |b| b.pool_size(2)).await;
        for shard in [0, 1] {
            let mut holder = lock(&world, shard, "users").await;
            let mut router = world.router().await;
            for extended in [false, true] {
                if extended {
                    let mut out = BytesMut::new();
                    put::parse(&mut out, b"", b"SELECT count(*) FROM users", &[]);
                    crate::raw::bind(&mut out, "", "", &[], false);
                    put::execute(&mut out, b"", 0);
                    put::sync(&mut out);
                    router.send(&out).await;
                } else {
                    send(&mut router, "SELECT count(*) FROM users").await;
                }
                waits(&mut holder).await;
                let mut out = BytesMut::new();
                put::cancel(&mut out, router.pid, &router.secret);
                let port = world.running.router.port;
                let mut stream = TcpStream::connect(("127.0.0.1", port))
                    .await
                    .expect("connects");
                stream.write_all(&out).await.expect("sent");
                let answer = router.answer().await;
                has(
                    &answer,
                    &["C=57014", "canceling statement due to user request", "Z I"],
                );
                still_answers(&mut router).await;
            }
            done(&mut holder, "ROLLBACK").await;
            has(
                &router.query("SELECT count(*) FROM users").await,
                &["D '24'"],
            );
        }
    })
    .await;
}

/// All rows have come, and home runs the statement over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_at_home() {
    in_time(async {
        let world = World::start(2, |b| b).await;
        let mut router = world.router().await;
        let mut watcher = Raw::connect(world.home_port(), "app", "postgres").await;
        send(&mut router, "SELECT pg_sleep(50), id FROM users").await;
        loop {
            let answer = watcher
                .query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
                .await;
            if answer.contains(&"D '1'".to_owned()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut out = BytesMut::new();
        put::cancel(&mut out, router.pid, &router.secret);
        let port = world.running.router.port;
        let mut stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("connects");
        stream.write_all(&out).await.expect("sent");
        has(&router.answer().await, &["C=57014", "Z I"]);
        still_answers(&mut router).await;
    })
    .await;
}

/// A connection of the gathering is killed: an error of the statement, and the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    in_time(async {
        let world = World::start(2, |b| b).await;
        // Home runs the statement, so that the loss of its connection is that of the session's, as for any statement.
        for (shard, says) in [
            (1, ["C=08006", "was lost", "Z I"]),
            (0, ["C=57P01", "administrator command", "S=FATAL"]),
        ] {
            let mut holder = lock(&world, shard, "users").await;
            let mut router = world.router().await;
            send(&mut router, "SELECT count(*) FROM users, orders").await;
            waits(&mut holder).await;
            done(
                &mut holder,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
            )
            .await;
            let answer = match shard {
                0 => vec![router.message_shown().await],
                _ => router.answer().await,
            };
            has(&answer, &says);
            done(&mut holder, "ROLLBACK").await;
            if shard == 0 {
                continue;
            }
            still_answers(&mut router).await;
            has(&router.query("SELECT count(*) FROM users").await, &["D '24'"]);
        }
    })
    .await;
}

/// An error of one shard is the answer, and names nothing of the router's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_a_shard() {
    in_time(async {
        let world = World::start(2, |b| b).await;
        let mut router = world.router().await;
        done(&mut router, "SET statement_timeout = '300ms'").await;
        for shard in [0, 1] {
            let mut holder = lock(&world, shard, "users").await;
            let answer = router.query("SELECT count(*) FROM users").await;
            has(&answer, &["C=57014", "statement timeout", "Z I"]);
            done(&mut holder, "ROLLBACK").await;
        }
        still_answers(&mut router).await;
        // On one shard alone a privilege is missing.
        done(&mut router, "CREATE ROLE reader LOGIN").await;
        done(&mut router, "GRANT SELECT ON small, words TO reader").await;
        let port = world.running.cluster.shards[1].primary.port;
        let mut direct = Raw::connect(port, world.running.database(), "postgres").await;
        done(&mut direct, "REVOKE SELECT ON words FROM reader").await;
        let router_port = world.running.router.port;
        let mut reader = Raw::connect(router_port, world.running.database(), "reader").await;
        has(
            &reader.query("SELECT count(*) FROM small").await,
            &["D '6'"],
        );
        let answer = reader.query("SELECT count(*) FROM words").await;
        has(
            &answer,
            &["C=42501", "permission denied for table words", "Z I"],
        );
        let answer = reader.query("SELECT count(*) FROM users").await;
        has(
            &answer,
            &["C=42501", "permission denied for table users", "Z I"],
        );
        has(
            &reader.query("SELECT count(*) FROM small").await,
            &["D '6'"],
        );
    })
    .await;
}

/// A client that leaves in the middle keeps no connection: with one connection for each shard the next is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves() {
    in_time(async {
        let world = World::start(2, |b| b.pool_size(1)).await;
        let mut holder = lock(&world, 1, "users").await;
        let mut router = world.router().await;
        send(&mut router, "SELECT count(*) FROM users").await;
        waits(&mut holder).await;
        drop(router);
        done(&mut holder, "ROLLBACK").await;
        let mut next = world.router().await;
        has(&next.query("SELECT count(*) FROM users").await, &["D '24'"]);
    })
    .await;
}

/// Many at once with one connection for each shard: nobody holds one while waiting for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_pool() {
    in_time(async {
        let world = World::start(3, |b| b.pool_size(1)).await;
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let mut router = world.router().await;
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    let sql = "SELECT count(*) FROM users u JOIN orders o ON o.id < u.id";
                    let simple = router.query(sql).await;
                    let extended = router.extended(sql, &[], false).await;
                    has(&simple, &["D '"]);
                    has(&extended, &["D '"]);
                }
            }));
        }
        for task in tasks {
            task.await.expect("answered");
        }
    })
    .await;
}
