//! The tables and rows of these tests: distributed over the shards of one deployment, and whole in one plain database.

use crate::raw::Raw;
use shardgate_tests::{Running, RunningBuilder};

/// Through the router and on the plain database. `old` is dropped again: stored rows have a hole there.
const TABLES: &[&str] = &[
    r#"CREATE TABLE users (id bigint PRIMARY KEY, old int, name text, boss bigint, tags text[], doc jsonb, score numeric(10,2), born timestamptz, "Odd Name" varchar(20), flag bool, up text GENERATED ALWAYS AS (upper(name)) STORED)"#,
    "CREATE TABLE orders (user_id bigint NOT NULL, id bigint NOT NULL, cents bigint, day date, code text, PRIMARY KEY (user_id, id))",
    r#"CREATE SCHEMA "Sch ema""#,
    r#"CREATE TABLE "Sch ema"."We""ird" ("Id" uuid PRIMARY KEY, "select" int, shardgate_row text)"#,
    r#"CREATE TABLE words (w text COLLATE "C" PRIMARY KEY, n smallint, b bytea, r int4range, ts timestamp, iv interval, f float8, ip inet, bits bit(5), ch char(6), m int[][])"#,
    "CREATE TABLE days (d date PRIMARY KEY, note varchar(10))",
    "CREATE TABLE moments (at timestamptz PRIMARY KEY, n int)",
    "CREATE TABLE small (id int PRIMARY KEY, one int)",
    "CREATE TABLE empty (id bigint PRIMARY KEY, x text)",
    "CREATE TABLE countries (code text PRIMARY KEY, title text)",
    "CREATE TABLE notes (id bigint PRIMARY KEY, body text)",
];

const DISTRIBUTE: &[&str] = &[
    "SELECT create_distributed_table('users', 'id')",
    "SELECT create_distributed_table('orders', 'user_id', colocate_with => 'users')",
    r#"SELECT create_distributed_table('"Sch ema"."We""ird"', 'Id')"#,
    "SELECT create_distributed_table('words', 'w')",
    "SELECT create_distributed_table('days', 'd')",
    "SELECT create_distributed_table('moments', 'at')",
    "SELECT create_distributed_table('small', 'id')",
    "SELECT create_distributed_table('empty', 'id')",
];

const LATER: &[&str] = &[
    "ALTER TABLE users DROP COLUMN old",
    "CREATE VIEW everybody AS SELECT * FROM users",
];

fn rows() -> Vec<String> {
    let mut rows = Vec::new();
    for id in 1..=24 {
        let name = if id % 6 == 0 {
            "NULL".into()
        } else {
            format!("'n{}'", id % 5)
        };
        let boss = if id < 3 {
            "NULL".into()
        } else {
            (id / 3).to_string()
        };
        let tags = match id % 4 {
            0 => "NULL".to_owned(),
            1 => "'{}'".to_owned(),
            _ => format!("ARRAY['a{id}', NULL, 'x\"y']"),
        };
        rows.push(format!(
            r#"INSERT INTO users (id, name, boss, tags, doc, score, born, "Odd Name", flag) VALUES ({id}, {name}, {boss}, {tags}, '{{"k": {id}, "l": [1, "ä"]}}', {score}, '2024-03-{day:02} 10:00:00+02', 'q''{id}', {flag})"#,
            score = if id % 7 == 0 { "NULL".to_owned() } else { format!("{id}.50") },
            day = id,
            flag = id % 2 == 0,
        ));
        for number in 0..id % 3 {
            rows.push(format!(
                "INSERT INTO orders VALUES ({id}, {number}, {}, '2024-01-{:02}', '{}')",
                id * 100 + number,
                number + 1,
                if id % 2 == 0 { "de" } else { "fr" },
            ));
        }
    }
    for n in 0..6 {
        rows.push(format!(
            r#"INSERT INTO "Sch ema"."We""ird" VALUES ('00000000-0000-4000-8000-00000000000{n}', {n}, 'r{n}')"#
        ));
        rows.push(format!(
            r"INSERT INTO words VALUES ('w{n}', {n}, '\x0{n}ff', '[{n},9)', '2024-02-0{} 01:02:03.45', '{n} days 2 hours', {n}.25, '10.0.0.{n}', B'0010{}', 'c{n}', ARRAY[[{n},2],[3,NULL]])",
            n + 1,
            n % 2,
        ));
        rows.push(format!("INSERT INTO days VALUES ('2024-05-1{n}', 'd{n}')"));
        rows.push(format!(
            "INSERT INTO moments VALUES ('2024-05-1{n} 12:00:00+00', {n})"
        ));
        rows.push(format!("INSERT INTO small VALUES ({n}, {})", n % 2));
        rows.push(format!("INSERT INTO notes VALUES ({n}, 'b{n}')"));
    }
    rows
}

#[derive(Debug)]
pub struct World {
    pub running: Running,
}

impl World {
    pub async fn start(
        shards: u16,
        change: impl FnOnce(RunningBuilder) -> RunningBuilder,
    ) -> World {
        let running = Running::start_with(shards, 0, change);
        let world = World { running };
        let home = world.home_port();
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
        // A reference table cannot be written through the router yet.
        let copies = world
            .running
            .cluster
            .shards
            .iter()
            .map(|shard| (shard.primary.port, world.running.database()));
        for (port, database) in copies.chain([(home, "plain")]) {
            let mut client = Raw::connect(port, database, "postgres").await;
            done(
                &mut client,
                "INSERT INTO countries VALUES ('de', 'DE'), ('fr', 'FR')",
            )
            .await;
        }
        for row in rows() {
            done(&mut plain, &row).await;
            done(&mut router, &row).await;
        }
        world
    }

    pub fn home_port(&self) -> u16 {
        self.running.cluster.shards[0].primary.port
    }

    pub async fn router(&self) -> Raw {
        Raw::connect(
            self.running.router.port,
            self.running.database(),
            "postgres",
        )
        .await
    }

    pub async fn plain(&self) -> Raw {
        Raw::connect(self.home_port(), "plain", "postgres").await
    }

    /// A client of the router, and one of the plain database.
    pub async fn both(&self) -> (Raw, Raw) {
        (self.router().await, self.plain().await)
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
