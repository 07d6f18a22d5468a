//! `shard-admin check`, `status` and the lists against real servers: silent when all is well, loud for each thing broken.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use serde_json::Value;
use shard_admin::cluster::Cluster;
use std::process::{Command, Output};

const DATABASE: &str = "app";

fn shard_admin(catalog: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shard-admin"))
        .args(arguments)
        .env("SHARDGATE_CATALOG", catalog)
        .output()
        .unwrap()
}

fn success(catalog: &str, arguments: &[&str]) -> String {
    let output = shard_admin(catalog, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// `severity place: what`, and the exit code.
fn check(catalog: &str) -> (Vec<String>, i32) {
    let output = shard_admin(catalog, &["check", "--output", "json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = findings.as_array().unwrap().iter();
    let lines = findings.map(|f| {
        format!(
            "{} {}: {}",
            text(f, "severity"),
            text(f, "place"),
            text(f, "what")
        )
    });
    (lines.collect(), output.status.code().unwrap())
}

#[test]
fn a_cluster_is_set_up_and_checked() {
    let cluster = Cluster::builder()
        .shards(2)
        .replicas(0)
        .fsync(true)
        .database(DATABASE)
        .start()
        .unwrap();
    let (home, other) = (&cluster.shards[0].primary, &cluster.shards[1].primary);
    let catalog = home.url(DATABASE, "postgres");

    let missing = shard_admin(&catalog, &["shard", "list"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("HINT:  Run `shard-admin init`"),
        "{missing:?}"
    );

    success(&catalog, &["init", "--name", "s1"]);
    assert!(success(&catalog, &["init", "--name", "s1"]).contains("there already"));
    success(
        &catalog,
        &[
            "shard",
            "add",
            "s2",
            "--host",
            &format!("127.0.0.1:{}", other.port),
        ],
    );
    home.query(
        DATABASE,
        "CREATE TABLE users (id bigint PRIMARY KEY, name text)",
    )
    .unwrap();
    home.query(
        DATABASE,
        "CREATE TABLE orders (id bigint, user_id bigint, PRIMARY KEY (user_id, id))",
    )
    .unwrap();
    home.query(DATABASE, "CREATE TABLE events (day date PRIMARY KEY)")
        .unwrap();
    home.query(DATABASE, "CREATE TABLE countries (code text PRIMARY KEY)")
        .unwrap();
    home.query(DATABASE, "CREATE TABLE notes (id int)").unwrap();
    success(&catalog, &["table", "distribute", "users", "id"]);
    success(
        &catalog,
        &[
            "table",
            "distribute",
            "orders",
            "user_id",
            "--colocate-with",
            "users",
        ],
    );
    success(
        &catalog,
        &[
            "table",
            "distribute",
            "events",
            "day",
            "--method",
            "range",
            "--bounds",
            "2026-07-01",
        ],
    );
    success(&catalog, &["table", "reference", "countries"]);

    let map = success(&catalog, &["map", "show", "events", "--output", "json"]);
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(
        map["parts"][1],
        serde_json::json!({ "shard": "s2", "from": "2026-07-01", "to": null })
    );
    let tables = success(&catalog, &["table", "list"]);
    let placements: Vec<&str> = tables
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(
        placements,
        [
            "distributed",
            "distributed",
            "distributed",
            "home",
            "reference"
        ],
        "{tables}"
    );
    let status = success(&catalog, &["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["shards"][1]["servers"][0]["role"], "primary");

    assert_eq!(check(&catalog), (Vec::new(), 0));

    let guard = "ALTER TABLE orders DROP CONSTRAINT shardgate_owns";
    let wider = "ALTER TABLE users ADD extra int";
    for broken in [
        guard,
        wider,
        "DROP TABLE countries",
        "CREATE TABLE notes (id int)",
    ] {
        other.query(DATABASE, broken).unwrap();
    }
    home.query(
        DATABASE,
        "CREATE ROLE app LOGIN; ALTER ROLE postgres PASSWORD 'changed'",
    )
    .unwrap();
    other
        .query(DATABASE, "UPDATE shardgate.identity SET shard_id = 7")
        .unwrap();
    let (found, code) = check(&catalog);
    assert_eq!(code, 3);
    let expected = [
        "error s2: role \"app\" does not exist there, or may not log in",
        "error s2: table public.countries: the table is missing",
        "error s2: table public.notes: a table of this name is a home table",
        "error s2: table public.orders: the constraint shardgate_owns is missing",
        "error s2: table public.users: column \"extra\" is not on the home shard",
    ];
    assert_eq!(found[..5], expected);
    assert!(found[5].contains("says that it is shard 7"), "{found:?}");
    assert_eq!(
        found[6..],
        ["warning s2: role \"postgres\" has another password there, or the same with another salt"]
    );

    other.stop();
    let (found, code) = check(&catalog);
    assert_eq!(code, 3);
    assert!(
        found[0].contains("no server of the shard is a primary"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("warning s2 127.0.0.1:") && found[1].contains("cannot be reached"),
        "{found:?}"
    );
}
