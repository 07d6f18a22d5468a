//! `shard-admin demo` as a user runs it: it starts, answers, stops, starts again, and leaves nothing, however it ends.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use serde_json::Value;
use shard_admin::cluster::{Ports, ProcessId, Signal};
use shardgate_tests::{Finished, assert_no_process_in, psql, run, shard_admin, shard_admin_binary};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A directory that does not exist yet, and two free ports.
struct Place {
    _parent: tempfile::TempDir,
    dir: PathBuf,
    ports: Ports,
}

impl Place {
    fn new() -> Place {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let dir = parent.path().join("demo");
        Place {
            _parent: parent,
            dir,
            ports: Ports::free().unwrap(),
        }
    }

    fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// `demo start` with the ports, the JSON document, and more.
    fn start_arguments<'a>(
        &'a self,
        port: &'a str,
        http: &'a str,
        more: &[&'a str],
    ) -> Vec<&'a str> {
        let mut all = vec![
            "demo",
            "start",
            "--dir",
            self.dir(),
            "--port",
            port,
            "--http-port",
            http,
            "--output",
            "json",
        ];
        all.extend(more);
        all
    }

    fn start(&self, more: &[&str]) -> Finished {
        let (port, http) = (self.ports.clients.to_string(), self.ports.http.to_string());
        shard_admin(&self.start_arguments(&port, &http, more)).unwrap()
    }

    /// In the foreground; returns when it has printed its document.
    fn start_in_foreground(&self) -> (Child, Value) {
        let (port, http) = (self.ports.clients.to_string(), self.ports.http.to_string());
        let mut child = Command::new(shard_admin_binary().unwrap())
            .args(self.start_arguments(&port, &http, &["--sample", "none", "--replicas", "0"]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let document =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        (child, document)
    }

    fn demo(&self, verb: &str) -> Finished {
        shard_admin(&["demo", verb, "--dir", self.dir(), "--output", "json"]).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that has failed half way must leave no servers either.
        if self.dir.exists() {
            self.demo("destroy");
        }
    }
}

fn document(finished: Finished) -> Value {
    let text = finished.success().unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn ask(url: &Value, sql: &str) -> String {
    psql(url.as_str().unwrap(), sql)
        .unwrap()
        .success()
        .unwrap()
        .trim()
        .to_owned()
}

fn assert_nothing_is_left(dir: &Path) {
    assert_no_process_in(dir);
    assert!(!dir.exists(), "{} is left", dir.display());
}

#[test]
fn a_detached_demo_answers_stops_starts_again_and_goes() {
    let place = Place::new();
    let demo = document(place.start(&["--detach"]));
    let (router, catalog) = (&demo["router"]["url"], demo["catalog"].as_str().unwrap());
    assert_eq!(demo["shards"].as_array().unwrap().len(), 2);
    assert_eq!(demo["shards"][0]["home"], true);
    assert_eq!(demo["shards"][1]["replicas"].as_array().unwrap().len(), 1);

    assert_eq!(ask(router, "SELECT name FROM users WHERE id = 7;"), "Hana");
    let joined = "SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 7;";
    assert_eq!(ask(router, joined), "3");
    assert_eq!(
        ask(router, "SELECT name FROM countries WHERE code = 'IS';"),
        "Iceland"
    );
    assert_eq!(ask(router, "SELECT count(*) FROM notes;"), "1");
    assert_eq!(
        ask(
            router,
            "SELECT count(*) FROM events WHERE day = '2026-02-03';"
        ),
        "2"
    );
    // Both shards have rows of their own, and together all.
    let counts: Vec<u32> = (0..2)
        .map(|i| {
            ask(&demo["shards"][i]["primary"], "SELECT count(*) FROM users;")
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        counts.iter().all(|n| *n > 0) && counts.iter().sum::<u32>() == 200,
        "{counts:?}"
    );
    let events: Vec<u32> = (0..2)
        .map(|i| {
            ask(
                &demo["shards"][i]["primary"],
                "SELECT count(*) FROM events;",
            )
            .parse()
            .unwrap()
        })
        .collect();
    assert_eq!(events.iter().sum::<u32>(), 240);
    assert_eq!(
        ask(
            &demo["shards"][1]["primary"],
            "SELECT count(*) FROM events WHERE day < '2026-07-01';"
        ),
        "0"
    );

    let tables = shard_admin(&["table", "list", "--catalog", catalog])
        .unwrap()
        .success()
        .unwrap();
    assert!(
        tables.contains("public.countries") && tables.contains("reference"),
        "{tables}"
    );
    let check = shard_admin(&["check", "--catalog", catalog]).unwrap();
    assert_eq!(check.status.code(), Some(0), "{check:?}");

    let again = place.start(&["--detach"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        again.stderr.contains("is running") && again.stderr.contains("HINT"),
        "{}",
        again.stderr
    );

    assert_eq!(document(place.demo("status"))["state"], "running");
    document(place.demo("stop"));
    assert_no_process_in(&place.dir);
    assert_eq!(document(place.demo("status"))["state"], "stopped");

    let demo = document(place.start(&["--detach"]));
    assert_eq!(
        ask(
            &demo["router"]["url"],
            "SELECT name FROM users WHERE id = 7;"
        ),
        "Hana"
    );
    document(place.demo("destroy"));
    assert_nothing_is_left(&place.dir);
}

#[test]
fn a_demo_in_the_foreground_ends_with_every_signal() {
    let place = Place::new();
    for signal in [Signal::Int, Signal::Term, Signal::Hup] {
        let (mut child, document) = place.start_in_foreground();
        let id = ProcessId::of(child.id()).unwrap();
        assert_eq!(ask(&document["router"]["url"], "SELECT 1;"), "1");
        id.signal(signal);
        assert!(id.wait_end(DEADLINE), "{signal:?}");
        assert!(child.wait().unwrap().success(), "{signal:?}");
        assert_no_process_in(&place.dir);
    }
    document(place.demo("destroy"));
    assert_nothing_is_left(&place.dir);
}

#[test]
fn what_a_killed_demo_leaves_is_ended_by_its_state() {
    let place = Place::new();
    let (mut child, _) = place.start_in_foreground();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        document(place.demo("status"))["state"],
        "running",
        "the servers are not the killed command's children"
    );
    let ended = document(place.demo("stop"));
    assert_eq!(ended["ended"], 3);
    assert_no_process_in(&place.dir);
    document(place.demo("destroy"));
    assert_nothing_is_left(&place.dir);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", place.ports.clients)).unwrap();
    let refused = place.start(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("is in use") && refused.stderr.contains("--port"),
        "{}",
        refused.stderr
    );
    assert!(!place.dir.exists());
    drop(taken);

    std::fs::create_dir_all(&place.dir).unwrap();
    std::fs::write(place.dir.join("letter"), "dear").unwrap();
    let refused = place.start(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("letter"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(&place.dir).unwrap().count(), 1);
    std::fs::remove_dir_all(&place.dir).unwrap();

    // Without a router nothing comes up; what was there before stays.
    std::fs::create_dir_all(&place.dir).unwrap();
    let mut command = Command::new(shard_admin_binary().unwrap());
    command
        .args(["demo", "start", "--dir", place.dir(), "--replicas", "0"])
        .env("SHARDGATE_BIN", "/bin/false");
    command.args(["--port", &place.ports.clients.to_string()]);
    let failed = run(&mut command, "", DEADLINE).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        failed.stderr.contains("the router ended"),
        "{}",
        failed.stderr
    );
    assert_eq!(std::fs::read_dir(&place.dir).unwrap().count(), 0);

    let none = place.demo("status");
    assert_eq!(none.status.code(), Some(1));
    assert!(none.stderr.contains("there is no demo"), "{}", none.stderr);
    assert_no_process_in(&place.dir);
}
