//! The cluster code against real servers: everything starts, streams, survives kills, and nothing is left.

use shard_admin::cluster::{Auth, Cluster, Login, Node, ProcessId, Rows, connection_url, query};
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// The postmasters and their children.
fn processes_in(cluster: &Cluster) -> Vec<ProcessId> {
    let masters: Vec<ProcessId> = cluster.nodes().filter_map(Node::process).collect();
    let children = masters
        .iter()
        .flat_map(ProcessId::children)
        .collect::<Vec<_>>();
    masters.into_iter().chain(children).collect()
}

fn assert_gone(processes: &[ProcessId], dir: &Path) {
    for process in processes {
        assert!(
            process.wait_end(DEADLINE),
            "process {} still lives",
            process.pid
        );
    }
    assert!(!dir.exists(), "{} is left", dir.display());
}

#[test]
fn two_shards_start_stream_and_go() {
    let cluster = Cluster::builder().shards(2).replicas(1).start().unwrap();
    assert_eq!(cluster.shards.len(), 2);
    for shard in &cluster.shards {
        shard
            .primary
            .query(
                "app",
                "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n",
            )
            .unwrap();
        shard.wait_caught_up(DEADLINE).unwrap();
        let rows = shard.replicas[0]
            .query("app", "SELECT count(*), pg_is_in_recovery() FROM t")
            .unwrap();
        assert_eq!(rows, [[Some("1000".to_owned()), Some("t".to_owned())]]);
    }
    let identity = |i: usize| {
        cluster.shards[i]
            .primary
            .query("app", "SELECT system_identifier FROM pg_control_system()")
    };
    assert_ne!(
        identity(0).unwrap(),
        identity(1).unwrap(),
        "two shards must not look like one"
    );
    let settings = "SELECT current_setting('wal_level'), current_setting('max_prepared_transactions'), \
        current_setting('server_encoding'), (SELECT datcollate FROM pg_database WHERE datname = 'app')";
    let rows = cluster.shards[1].replicas[0]
        .query("app", settings)
        .unwrap();
    let values: Vec<&str> = rows[0].iter().flatten().map(String::as_str).collect();
    assert!(
        matches!(values[..], ["logical", "200", "UTF8", "C.UTF-8" | "C"]),
        "{values:?}"
    );

    let (processes, dir) = (processes_in(&cluster), cluster.dir.clone());
    assert!(processes.len() > 8, "{processes:?}");
    drop(cluster);
    assert_gone(&processes, &dir);
}

#[test]
fn servers_are_killed_stopped_and_started_again() {
    let cluster = Cluster::builder().shards(1).replicas(1).start().unwrap();
    let (shard, dir) = (&cluster.shards[0], cluster.dir.clone());
    shard
        .primary
        .query("app", "CREATE TABLE t (n int)")
        .unwrap();
    let mut seen = Vec::new();
    for round in 1..=2 {
        seen.extend(processes_in(&cluster));
        shard.primary.kill9();
        assert_eq!(shard.primary.pid(), None);
        shard
            .primary
            .query("app", "SELECT 1")
            .expect_err("a killed server answers nothing");
        shard.primary.start().unwrap();
        shard.replicas[0].kill9();
        shard.replicas[0].start().unwrap();
        shard
            .primary
            .query("app", &format!("INSERT INTO t VALUES ({round})"))
            .unwrap();
        shard.wait_streaming(DEADLINE).unwrap();
        shard.wait_caught_up(DEADLINE).unwrap();
        let rows = shard.replicas[0]
            .query("app", "SELECT max(n) FROM t")
            .unwrap();
        assert_eq!(rows, [[Some(round.to_string())]]);
        shard.replicas[0].restart().unwrap();
        shard.primary.restart().unwrap();
    }
    seen.extend(processes_in(&cluster));
    drop(cluster);
    assert_gone(&seen, &dir);
}

#[test]
fn passwords_are_asked_for() {
    let password = "it's a \"pass\\word\"";
    let builder = Cluster::builder().shards(2);
    let cluster = builder
        .auth(Auth::Scram(password.to_owned()))
        .start()
        .unwrap();
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'";
    let verifiers: Vec<Rows> = cluster
        .nodes()
        .map(|node| node.query("app", verifier).unwrap())
        .collect();
    assert!(
        verifiers.iter().all(|rows| *rows == verifiers[0]),
        "{verifiers:?}"
    );
    let shard = &cluster.shards[0];
    let server = &shard.replicas[0];
    assert_eq!(
        server.query("app", "SELECT 1").unwrap(),
        [[Some("1".to_owned())]]
    );
    let wrong = Login {
        user: "postgres".to_owned(),
        password: Some("wrong".to_owned()),
    };
    let refused = query(
        &connection_url(&wrong, &server.host, server.port, "app"),
        "SELECT 1",
    )
    .unwrap_err();
    assert!(
        refused
            .full_text()
            .contains("password authentication failed"),
        "{}",
        refused.full_text()
    );
}

#[test]
fn a_stopped_cluster_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let cluster = Cluster::builder()
        .shards(1)
        .dir(dir.path())
        .own_group(true)
        .start()
        .unwrap();
    cluster.shards[0]
        .primary
        .query("app", "CREATE TABLE kept (n int)")
        .unwrap();
    let ports: Vec<u16> = cluster.nodes().map(|node| node.port).collect();
    let processes = processes_in(&cluster);
    cluster.stop();
    drop(cluster);
    for process in &processes {
        assert!(
            process.wait_end(DEADLINE),
            "process {} still lives",
            process.pid
        );
    }
    let cluster = Cluster::builder()
        .dir(dir.path())
        .reopen(vec![ports.clone()])
        .start()
        .unwrap();
    assert_eq!(
        cluster.nodes().map(|node| node.port).collect::<Vec<_>>(),
        ports
    );
    assert_eq!(
        cluster.shards[0].replicas[0]
            .query("app", "TABLE kept")
            .unwrap(),
        Rows::new()
    );
}

#[test]
fn a_failed_start_tells_why_and_leaves_no_server() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let builder = Cluster::builder().shards(2).dir(dir.path());
    // The first server of one shard runs when the start is given up; the other shard may be anywhere.
    let error = builder
        .start_seen(&|node| {
            seen.lock().unwrap().extend(node.process());
            node.query("app", "SELECT no_such_column").map(|_| ())
        })
        .unwrap_err();
    assert!(
        error.full_text().contains("no_such_column") || error.full_text().contains("app"),
        "{}",
        error.full_text()
    );
    let seen = seen.into_inner().unwrap();
    assert!(!seen.is_empty());
    for process in &seen {
        assert!(
            process.wait_end(DEADLINE),
            "process {} still lives",
            process.pid
        );
    }

    let error = Cluster::builder()
        .shards(1)
        .setting("no_such_setting", "1")
        .start()
        .unwrap_err();
    let text = error.full_text();
    assert!(
        text.contains("unrecognized configuration parameter"),
        "{text}"
    );
}
