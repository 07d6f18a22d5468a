//! Reads whose tables are not bound to one shard: the router gathers the rows and home answers. One plain Postgres with
//! the same rows is asked the same, and must say the same, message by message.

mod extended;
mod limits;
mod moments;
mod raw;
mod sessions;
mod shapes;
mod world;

use shapes::{ANSWERED, ORDERED};
use std::time::Duration;
use world::World;

const DEADLINE: Duration = Duration::from_secs(240);

/// Tests must not hang.
async fn in_time(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test)
        .await
        .expect("the test ends in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_answers_as_one_postgres() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        let mut wrong = Vec::new();
        let mut count = 0;
        for sql in ANSWERED.iter().chain(ORDERED) {
            let ordered = ORDERED.contains(sql);
            let compare = |got: Vec<String>, expect: Vec<String>| {
                let (got, expect) = if ordered {
                    (got, expect)
                } else {
                    (raw::sorted(got), raw::sorted(expect))
                };
                (got != expect).then(|| format!("{sql}\n  got {got:#?}\n  expected {expect:#?}"))
            };
            let got = router.query(sql).await;
            wrong.extend(compare(got, plain.query(sql).await));
            for binary in [false, true] {
                let got = router.extended(sql, &[], binary).await;
                wrong.extend(compare(got, plain.extended(sql, &[], binary).await));
            }
            count += 1;
        }
        assert!(
            wrong.is_empty(),
            "{} of {count}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        println!("{count} statements, three ways each");
    })
    .await;
}

/// The statements are really gathered for, and the router says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_what_is_gathered() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, _) = world.both().await;
        for sql in ANSWERED.iter().chain(ORDERED) {
            let plan = router.query(&format!("EXPLAIN (ROUTE) {sql}")).await.join("\n");
            assert!(plan.contains("Route: gather"), "{sql}\n{plan}");
        }
        let plan = router
            .query("EXPLAIN (ROUTE) SELECT count(*) FROM users WHERE score > 1")
            .await
            .join("\n")
            .replace('\\', "");
        for part in [
            r#"SELECT shardgate_row FROM "public"."users" AS shardgate_row (parameter 1)"#,
            r#"SELECT count(*) FROM pg_catalog.unnest(pg_catalog.array_cat(ARRAY(SELECT shardgate_row FROM "public"."users" AS shardgate_row), $1::"public"."users"[])) AS "users" WHERE score > 1"#,
            "Shards: s1 (home), s2",
        ] {
            assert!(plan.contains(part), "{part}\n{plan}");
        }
        let answer = router.query("EXPLAIN SELECT * FROM users").await;
        assert!(answer.iter().any(|line| line.contains("0A000")), "{answer:?}");
    })
    .await;
}
