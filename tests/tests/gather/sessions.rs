//! What a session has set holds for gathered statements too, on every shard; and what drivers send in other orders.

use crate::in_time;
use crate::raw::{Raw, bind, sorted};
use crate::world::{World, done};
use bytes::BytesMut;
use shardgate_wire::frontend::put;

async fn alike(router: &mut Raw, plain: &mut Raw, sql: &str) -> Vec<String> {
    let got = sorted(router.query(sql).await);
    assert_eq!(got, sorted(plain.query(sql).await), "{sql}");
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        for set in [
            "SET TIME ZONE 'Asia/Tokyo'",
            "SET DateStyle = 'German'",
            "SET IntervalStyle = 'iso_8601'",
            "SET bytea_output = 'escape'",
            "SET search_path = 'Sch ema', public",
            "SET extra_float_digits = -5",
        ] {
            for client in [&mut router, &mut plain] {
                done(client, set).await;
            }
            alike(&mut router, &mut plain, "SELECT * FROM users").await;
            alike(&mut router, &mut plain, "SELECT * FROM words").await;
            alike(
                &mut router,
                &mut plain,
                "SELECT * FROM moments WHERE at > '2024-05-12 03:00:00+00'",
            )
            .await;
        }
        alike(&mut router, &mut plain, "SELECT * FROM \"We\"\"ird\"").await;
        // By hand only one shard is read.
        let mut counts = Vec::new();
        for shard in ["s1", "s2"] {
            done(&mut router, &format!("SET shardgate.shard = '{shard}'")).await;
            let answer = router.query("SELECT count(*) FROM users").await;
            let count = answer
                .iter()
                .find_map(|line| line.strip_prefix("D '")?.strip_suffix('\''));
            counts.push(count.expect("a count").parse::<u64>().expect("a number"));
        }
        assert_eq!(counts.iter().sum::<u64>(), 24);
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        done(&mut router, "RESET shardgate.shard").await;
        alike(&mut router, &mut plain, "SELECT count(*) FROM users").await;
        // SET ROLE holds on every shard.
        done(&mut router, "CREATE ROLE nobody").await;
        done(&mut router, "SET ROLE nobody").await;
        let answer = router.query("SELECT count(*) FROM users").await;
        assert!(
            answer.iter().any(|line| line.contains("C=42501")),
            "{answer:?}"
        );
        done(&mut router, "RESET ROLE").await;
        alike(&mut router, &mut plain, "SELECT count(*) FROM users").await;
    })
    .await;
}

/// A session that keeps its connection gathers on others, and its temporary tables are not taken for those of that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pinned_sessions() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        for client in [&mut router, &mut plain] {
            done(client, "CREATE TEMP TABLE mine (id bigint)").await;
            done(client, "INSERT INTO mine VALUES (3)").await;
        }
        alike(&mut router, &mut plain, "SELECT count(*) FROM users").await;
        alike(&mut router, &mut plain, "SELECT * FROM mine").await;
        let answer = router
            .query("SELECT count(*) FROM users JOIN mine USING (id)")
            .await;
        assert!(
            answer
                .iter()
                .any(|line| line.contains("C=0A000") && line.contains("temporary")),
            "{answer:?}"
        );
        for client in [&mut router, &mut plain] {
            done(client, "CREATE TEMP TABLE users (id bigint)").await;
        }
        let answer = alike(&mut router, &mut plain, "SELECT count(*) FROM users").await;
        assert!(answer.contains(&"D '0'".to_owned()), "{answer:?}");
        alike(&mut router, &mut plain, "SELECT count(*) FROM public.users").await;
    })
    .await;
}

/// Long values and many bytes: longer than any buffer of the router.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_rows() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let (mut router, mut plain) = world.both().await;
        for id in 1..=8 {
            let sql = format!("INSERT INTO empty VALUES ({id}, repeat('abcdefghij{id}', 100000))");
            done(&mut router, &sql).await;
            done(&mut plain, &sql).await;
        }
        let answer = alike(
            &mut router,
            &mut plain,
            "SELECT id, length(x), md5(x) FROM empty",
        )
        .await;
        assert!(
            answer.contains(&"D '8' '1100000' '".to_owned()) || answer.len() == 11,
            "{}",
            answer.len()
        );
        alike(&mut router, &mut plain, "SELECT * FROM empty ORDER BY id").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_messages() {
    in_time(async {
        let world = World::start(2, |builder| builder.pool_size(2)).await;
        let (mut router, mut plain) = world.both().await;
        // Parse, Describe and Flush; what follows is sent only when they are answered.
        for client in [&mut router, &mut plain] {
            let mut out = BytesMut::new();
            put::parse(&mut out, b"s", b"SELECT id FROM users WHERE boss = $1", &[]);
            put::describe(&mut out, b'S', b"s");
            put::flush(&mut out);
            client.send(&out).await;
            let mut tags = String::new();
            while !tags.ends_with('T') {
                tags.push(char::from(client.message().await.0));
            }
            assert_eq!(tags, "1tT");
        }
        let mut out = BytesMut::new();
        bind(&mut out, "", "s", &[Some("3")], false);
        put::execute(&mut out, b"", 0);
        put::sync(&mut out);
        router.send(&out).await;
        plain.send(&out).await;
        assert_eq!(sorted(router.answer().await), sorted(plain.answer().await));
        // Two portals are bound before the first is run.
        let mut out = BytesMut::new();
        put::parse(
            &mut out,
            b"",
            b"SELECT id FROM users WHERE boss = $1 ORDER BY id",
            &[],
        );
        bind(&mut out, "p", "", &[Some("3")], false);
        bind(&mut out, "q", "", &[Some("4")], false);
        put::execute(&mut out, b"q", 1);
        put::execute(&mut out, b"p", 0);
        put::execute(&mut out, b"q", 0);
        put::sync(&mut out);
        router.send(&out).await;
        plain.send(&out).await;
        assert_eq!(router.answer().await, plain.answer().await);
        // Several simple queries at once.
        let mut out = BytesMut::new();
        for sql in [
            "SELECT count(*) FROM users",
            "SELECT nosuch FROM users",
            "TABLE small ORDER BY id",
        ] {
            put::query(&mut out, sql.as_bytes());
        }
        router.send(&out).await;
        plain.send(&out).await;
        for _ in 0..3 {
            assert_eq!(router.answer().await, plain.answer().await);
        }
    })
    .await;
}

/// A login applies what ALTER DATABASE and ALTER ROLE have set; connections from before are not given to new clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_that_change() {
    in_time(async {
        let world = World::start(2, |builder| builder).await;
        let mut old = world.router().await;
        // Connections to both shards lie in the pools.
        for id in 1..=8 {
            done(&mut old, &format!("SELECT name FROM users WHERE id = {id}")).await;
        }
        for (change, zone) in [
            (
                "ALTER DATABASE app SET timezone = 'Asia/Tokyo'",
                "Asia/Tokyo",
            ),
            (
                "ALTER ROLE postgres SET timezone = 'Asia/Seoul'",
                "Asia/Seoul",
            ),
        ] {
            done(&mut old, change).await;
            // The pools are told behind the answer, so the first client may still be a little early.
            let expect = vec![format!("D '{zone}'"); 8];
            loop {
                let mut new = world.router().await;
                let mut zones = Vec::new();
                for id in 1..=8 {
                    let sql =
                        format!("SELECT current_setting('timezone') FROM users WHERE id = {id}");
                    let answer = new.query(&sql).await;
                    zones.extend(answer.into_iter().filter(|line| line.starts_with("D ")));
                }
                if zones == expect {
                    break;
                }
            }
        }
    })
    .await;
}
