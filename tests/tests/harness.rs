//! The harness itself, without a router: clusters start, stream and go, and the drivers run.

use shard_admin::cluster::Cluster;
use shardgate_tests::{assert_no_process_in, node, pgbench, psql, python, run};
use std::process::Command;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn every_driver_talks_to_a_cluster_that_leaves_nothing() {
    let cluster = Cluster::builder().shards(2).replicas(1).start().unwrap();
    let dir = cluster.dir.clone();
    let shard = &cluster.shards[1];
    let url = shard.primary.url("app", "postgres");

    let rows = psql(
        &url,
        "CREATE TABLE t (n int);\nINSERT INTO t VALUES (1), (2);\nSELECT sum(n) FROM t;",
    )
    .unwrap();
    assert_eq!(rows.success().unwrap(), "3\n");
    let failed = psql(&url, "SELECT 1/0;\nSELECT 2;").unwrap();
    assert_eq!(failed.status.code(), Some(3));
    assert!(
        failed.stderr.contains("division by zero") && failed.stdout.is_empty(),
        "{failed:?}"
    );

    let script = "import sys, psycopg\nwith psycopg.connect(sys.argv[1]) as c:\n  \
        print(c.execute('SELECT sum(n) + %s FROM t', (4,)).fetchone()[0])";
    assert_eq!(python(script, &[&url]).unwrap().success().unwrap(), "7\n");
    let script = "const {Client} = require('pg'); const c = new Client(process.argv[2]); \
        c.connect().then(() => c.query('SELECT sum(n)::int + $1::int AS s FROM t', [5])) \
        .then(r => { console.log(r.rows[0].s); return c.end(); });";
    assert_eq!(node(script, &[&url]).unwrap().success().unwrap(), "8\n");
    pgbench(&url, &["-i", "-q", "-s", "1"], DEADLINE)
        .unwrap()
        .success()
        .unwrap();
    let report = pgbench(&url, &["-S", "-n", "-c", "2", "-t", "50"], DEADLINE)
        .unwrap()
        .success()
        .unwrap();
    assert!(
        report.contains("number of transactions actually processed: 100/100"),
        "{report}"
    );

    shard.wait_caught_up(DEADLINE).unwrap();
    let replica = shard.replicas[0].url("app", "postgres");
    assert_eq!(
        psql(&replica, "SELECT count(*) FROM t;")
            .unwrap()
            .success()
            .unwrap(),
        "2\n"
    );

    drop(cluster);
    assert_no_process_in(&dir);
    assert!(!dir.exists());
}

#[test]
fn a_client_that_hangs_is_ended() {
    let start = Instant::now();
    let error = run(
        Command::new("sleep").arg("60"),
        "",
        Duration::from_millis(200),
    )
    .unwrap_err();
    assert!(error.to_string().contains("did not end"), "{error}");
    assert!(start.elapsed() < DEADLINE);
}
