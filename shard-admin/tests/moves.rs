//! `shard-admin move`, `rebalance`, `shard add|drain|remove` and `range` against real servers, as an operator uses them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use serde_json::{Value, json};
use shard_admin::cluster::Cluster;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const DATABASE: &str = "app";

struct Admin {
    cluster: Cluster,
    catalog: String,
}

impl Admin {
    /// Servers of which the first two are shards; tables `users` and `orders` by 64 buckets, with 600 keys.
    fn start(servers: u16) -> Admin {
        let cluster = Cluster::builder()
            .shards(servers)
            .replicas(0)
            .database(DATABASE)
            .setting("wal_retrieve_retry_interval", "50ms")
            .start()
            .unwrap();
        let catalog = cluster.shards[0].primary.url(DATABASE, "postgres");
        let admin = Admin { cluster, catalog };
        admin.success(&["init", "--name", "s1"]);
        admin.add(2);
        for sql in [
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text)",
            "CREATE TABLE orders (user_id bigint, n int, PRIMARY KEY (user_id, n))",
            "CREATE TABLE events (day date PRIMARY KEY)",
        ] {
            admin.cluster.shards[0]
                .primary
                .query(DATABASE, sql)
                .unwrap();
        }
        admin.success(&["table", "distribute", "users", "id", "--buckets", "64"]);
        admin.success(&[
            "table",
            "distribute",
            "orders",
            "user_id",
            "--colocate-with",
            "users",
        ]);
        for shard in &admin.cluster.shards[..2] {
            // The guard says which rows are the shard's own.
            let fill = "DO $$ BEGIN FOR n IN 1..600 LOOP BEGIN INSERT INTO users VALUES (n, 'user ' || n, repeat('x', 100)); \
                        INSERT INTO orders VALUES (n, 1), (n, 2); EXCEPTION WHEN check_violation THEN NULL; END; END LOOP; END $$";
            shard.primary.query(DATABASE, fill).unwrap();
            shard.primary.query(DATABASE, "ANALYZE").unwrap();
        }
        admin
    }

    fn add(&self, number: usize) -> String {
        let port = self.cluster.shards[number - 1].primary.port;
        self.success(&[
            "shard",
            "add",
            &format!("s{number}"),
            "--host",
            &format!("127.0.0.1:{port}"),
        ])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shard-admin"));
        command
            .args(arguments)
            .env("SHARDGATE_CATALOG", &self.catalog);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn success(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text} {errors}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.success(&all)).unwrap()
    }

    /// The exit code and what is said.
    fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code().unwrap_or(-1), text)
    }

    /// What one value is on a shard.
    fn ask(&self, shard: usize, sql: &str) -> String {
        let rows = self.cluster.shards[shard - 1]
            .primary
            .query(DATABASE, sql)
            .unwrap();
        format!("{rows:?}")
    }

    /// Users on each server.
    fn users(&self) -> Vec<u64> {
        let count = |shard: usize| {
            let text = self.ask(shard, "SELECT coalesce((SELECT count(*) FROM users), 0)");
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        };
        (1..=self.cluster.shards.len()).map(count).collect()
    }

    /// Nothing is wrong, and no row lies where it does not belong.
    fn is_clean(&self) {
        let output = self.run(&["check", "--rows", "--output", "json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let errors: Vec<&Value> = found
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["severity"] == "error")
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        for shard in 1..=self.cluster.shards.len() {
            let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_subscription) \
                        + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~shardgate%')";
            assert!(
                self.ask(shard, left).contains("\"0\""),
                "shard {shard}: {}",
                self.ask(shard, left)
            );
        }
    }
}

#[test]
fn a_move_goes_there_and_back_and_to_its_end() {
    let admin = Admin::start(2);
    let before = admin.users();
    let owned = admin.json(&["map", "show", "users"]);
    let buckets = owned["parts"][0]["buckets"].as_str().unwrap().to_owned();
    let plan = admin.json(&[
        "move",
        "start",
        "--buckets",
        &buckets,
        "--to",
        "s2",
        "--dry-run",
    ]);
    assert_eq!(
        (plan["from"].as_str(), plan["rows"].as_u64()),
        (Some("s1"), Some(before[0] * 3))
    );
    assert_eq!(
        plan["steps"],
        json!(["prepare", "copy", "catch_up", "verified"])
    );
    assert_eq!(admin.json(&["move", "list", "--all"]), json!([]));

    let started = admin.json(&["move", "start", "--buckets", &buckets, "--to", "s2"]);
    assert_eq!(
        (started["id"].as_i64(), started["step"].as_str()),
        (Some(1), Some("verified"))
    );
    assert_eq!(started["rows"].as_u64(), Some(before[0] * 3));
    let (code, text) = admin.failure(&["move", "start", "--key", "5", "--to", "s2"]);
    assert!(code == 1 && text.contains("move 1"), "{code} {text}");
    // A row that somebody has changed on the target is found and named.
    let plant = |sql: &str| {
        let sql = format!("BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT");
        admin.cluster.shards[1]
            .primary
            .query(DATABASE, &sql)
            .unwrap();
    };
    let lost = admin
        .ask(1, "SELECT min(id) FROM users")
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>();
    plant(&format!(
        "UPDATE users SET name = 'other' WHERE id = {lost}"
    ));
    let (code, text) = admin.failure(&["move", "verify", "1"]);
    assert!(
        code == 3
            && text.contains(&format!(
                "table public.users: row (id)=({lost}) differs in name"
            )),
        "{code} {text}"
    );
    plant(&format!(
        "UPDATE users SET name = 'user {lost}' WHERE id = {lost}"
    ));
    let compared = admin.json(&["move", "verify", "1"]);
    assert_eq!(
        (compared["equal"].as_bool(), compared["rows"].as_u64()),
        (Some(true), Some(before[0] * 3))
    );

    assert_eq!(admin.json(&["move", "switch", "1"])["step"], "switched");
    let (code, text) = admin.failure(&["move", "cancel", "1"]);
    assert!(
        code == 1 && text.contains("HINT:") && text.contains("reverse"),
        "{code} {text}"
    );
    assert_eq!(admin.json(&["move", "verify", "1"])["equal"], true);
    assert_eq!(admin.json(&["move", "reverse", "1"])["step"], "reversed");
    assert_eq!(admin.json(&["move", "switch", "1"])["step"], "switched");
    assert_eq!(admin.json(&["move", "complete", "1"])["step"], "completed");
    assert_eq!(admin.users(), [0, 600]);
    admin.is_clean();
    assert!(
        admin
            .success(&["move", "list"])
            .contains("No move is under way")
    );
    assert!(
        admin
            .success(&["move", "status", "1"])
            .contains("completed")
    );
    let (code, text) = admin.failure(&["move", "status", "9"]);
    assert!(
        code == 1 && text.contains("move 9 does not exist"),
        "{code} {text}"
    );
    for wrong in [
        &["move", "start", "--to", "s2"][..],
        &[
            "move",
            "start",
            "--to",
            "s2",
            "--key",
            "1",
            "--buckets",
            "1",
        ],
        &["move", "start", "--to", "s2", "--buckets", "4-1"],
        &["move", "resume", "1", "--until", "hold"],
    ] {
        assert_eq!(admin.failure(wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn a_move_whose_driver_dies_is_resumed_or_cancelled() {
    let admin = Admin::start(2);
    let before = admin.users();
    let killed = |edge: &str, arguments: &[&str]| {
        let output = admin
            .command(arguments)
            .env("SHARDGATE_KILL_AT", edge)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "{edge}: {output:?}");
    };
    let key = |n: u64| n.to_string();
    let mine: u64 = admin
        .ask(1, "SELECT max(id) FROM users")
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    let start = ["move", "start", "--key", &key(mine), "--to", "s2"];
    killed("move-copied", &start);
    let found = admin.json(&["move", "list"]);
    assert_eq!(found[0]["step"], "copy");
    assert_eq!(admin.json(&["move", "resume", "1"])["step"], "verified");
    killed("move-drained", &["move", "switch", "1"]);
    // Another one undoes it, or goes on.
    assert_eq!(admin.json(&["move", "switch", "1"])["step"], "switched");
    killed("move-complete-deleted", &["move", "complete", "1"]);
    assert_eq!(admin.json(&["move", "resume", "1"])["step"], "completed");
    admin.is_clean();
    assert_eq!(admin.users(), [before[0] - 1, before[1] + 1]);
    // In the background; then it is cancelled.
    let started = admin.json(&[
        "move",
        "start",
        "--key",
        &key(mine),
        "--to",
        "s1",
        "--detach",
    ]);
    assert_eq!(started["id"], 2);
    let until = Instant::now() + Duration::from_secs(60);
    while admin.json(&["move", "status", "2"])["step"] != "verified" {
        assert!(
            Instant::now() < until,
            "{}",
            admin.success(&["move", "status", "2"])
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(admin.json(&["move", "cancel", "2"])["step"], "cancelled");
    admin.is_clean();
    assert_eq!(admin.users(), [before[0] - 1, before[1] + 1]);
    let (code, text) = admin.failure(&["move", "resume", "99"]);
    assert!(
        code == 1 && text.contains("move 99 does not exist"),
        "{text}"
    );
}

#[test]
fn a_shard_comes_gets_its_share_is_emptied_and_leaves() {
    let admin = Admin::start(3);
    assert!(admin.add(3).contains("rebalance plan"));
    let plan = admin.json(&["rebalance", "plan", "--of", "users"]);
    let moved: u64 = plan[0]["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["load"]["units"].as_u64().unwrap())
        .sum();
    assert_eq!(moved, 64 / 3);
    assert!(admin.success(&["rebalance", "plan"]).contains("->"));
    let done = admin.json(&["rebalance", "start"]);
    let steps: Vec<&Value> = done["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["step"])
        .collect();
    assert_eq!(steps, ["completed", "completed"]);
    let users = admin.users();
    assert_eq!(users.iter().sum::<u64>(), 600);
    assert!(users.iter().all(|count| *count > 100), "{users:?}");
    admin.is_clean();
    assert_eq!(admin.json(&["rebalance", "plan"])[0]["moves"], json!([]));

    let (code, text) = admin.failure(&["shard", "remove", "s2"]);
    assert!(code == 1 && text.contains("shard drain s2"), "{text}");
    assert!(
        admin
            .success(&["shard", "drain", "s2", "--dry-run"])
            .contains("s2")
    );
    admin.success(&["shard", "drain", "s2"]);
    let users = admin.users();
    assert_eq!((users[1], users.iter().sum::<u64>()), (0, 600));
    admin.is_clean();
    admin.success(&["shard", "remove", "s2"]);
    let shards = admin.json(&["shard", "list"]);
    let names: Vec<&str> = shards
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["s1", "s3"]);
}
