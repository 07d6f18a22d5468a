//! What a gathered read sees of others at the same time: a transaction that lies on one shard whole or not at all, and the
//! columns of a table that is altered meanwhile as they were or as they are.

use super::World;
use super::in_time;
use super::raw::Raw;
use super::world::done;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Asks at least so often, and until the writer has said all that it says three times. The number of its round stands for
/// `{n}`. Every answer has to be 0.
async fn beside(world: &World, writer: &[&str], reads: &[&str], count: usize) {
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut changing = world.router().await;
    let write = async {
        while !over.load(Ordering::Relaxed) {
            let n = rounds.load(Ordering::Relaxed) + 1;
            for sql in writer {
                done(&mut changing, &sql.replace("{n}", &n.to_string())).await;
            }
            rounds.store(n, Ordering::Relaxed);
        }
    };
    let mut reader = world.router().await;
    let read = async {
        for sql in reads {
            let (mut asked, begun) = (0, rounds.load(Ordering::Relaxed));
            while asked < count || rounds.load(Ordering::Relaxed) < begun + 3 {
                asked += 1;
                let answer = reader.query(sql).await;
                assert!(answer.contains(&"D '0'".to_owned()), "{sql}: {answer:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_on_one_shard() {
    in_time(async {
        let world = World::start(2, |b| b).await;
        let mut router = world.router().await;
        for sql in [
            "CREATE TABLE ma (k int PRIMARY KEY, v int)",
            "CREATE TABLE mb (k int PRIMARY KEY, v int)",
            "CREATE TABLE mh (k int PRIMARY KEY, v int)",
            "SELECT create_distributed_table('ma', 'k')",
            "SELECT create_distributed_table('mb', 'k', colocate_with => 'ma')",
        ] {
            done(&mut router, sql).await;
        }
        for k in 1..=12 {
            for table in ["ma", "mb", "mh"] {
                done(&mut router, &format!("INSERT INTO {table} VALUES ({k}, 0)")).await;
            }
        }
        let key = async |shard: usize| {
            let port = world.running.cluster.shards[shard].primary.port;
            let mut direct = Raw::connect(port, world.running.database(), "postgres").await;
            let answer = direct.query("SELECT min(k) FROM ma").await;
            let row = answer.iter().find_map(|line| line.strip_prefix("D '"));
            row.expect("a row").trim_end_matches('\'').to_owned()
        };
        let (at_home, elsewhere) = (key(0).await, key(1).await);
        let set = |table: &str, key: &str| format!("UPDATE {table} SET v = {{n}} WHERE k = {key}");
        for key in [&at_home, &elsewhere] {
            let (a, b) = (set("ma", key), set("mb", key));
            beside(
                &world,
                &["BEGIN", &a, &b, "COMMIT"],
                &[
                    "SELECT count(*) FROM ma JOIN mb USING (k) WHERE ma.v <> mb.v",
                    "SELECT (SELECT sum(v) FROM ma) - (SELECT sum(v) FROM mb)",
                ],
                100,
            )
            .await;
        }
        // Where both begin, before the writer's first round.
        done(
            &mut router,
            &format!("UPDATE ma SET v = 0 WHERE k = {at_home}"),
        )
        .await;
        let (a, h) = (set("ma", &at_home), set("mh", &at_home));
        let differ = format!(
            "SELECT count(*) FROM ma JOIN mh USING (k) WHERE ma.v <> mh.v AND k + 0 = {at_home}"
        );
        beside(&world, &["BEGIN", &a, &h, "COMMIT"], &[&differ], 100).await;
    })
    .await;
}

/// In all states of the table `a` is 10 and `b` is 20 in all rows; only the order of the columns changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns() {
    in_time(async {
        let world = World::start(2, |b| b).await;
        let mut router = world.router().await;
        done(
            &mut router,
            "CREATE TABLE sw (k int PRIMARY KEY, a int DEFAULT 10, b int DEFAULT 20)",
        )
        .await;
        done(&mut router, "SELECT create_distributed_table('sw', 'k')").await;
        for k in 0..20 {
            done(&mut router, &format!("INSERT INTO sw (k) VALUES ({k})")).await;
        }
        beside(
            &world,
            &[
                "ALTER TABLE sw DROP COLUMN a, ADD COLUMN a int DEFAULT 10",
                "ALTER TABLE sw ALTER COLUMN a TYPE bigint",
                "ALTER TABLE sw DROP COLUMN b, ADD COLUMN b int DEFAULT 20",
                "ALTER TABLE sw ADD COLUMN c text",
                "ALTER TABLE sw DROP COLUMN c",
            ],
            &["SELECT count(*) FROM sw WHERE a <> 10 OR b <> 20 OR k < 0"],
            50,
        )
        .await;
    })
    .await;
}
