//! EXPLAIN (ROUTE).

use crate::fixture::*;
use shardgate_plan::explain;

fn check(sql: &str, expect: &[&str]) {
    let fixture = Fixture::new();
    let compiled = fixture.compile(&fill(sql));
    let decision = compiled.decide(&[], &fixture.snapshot);
    let lines = explain(&compiled, &decision, &fixture.snapshot).join("\n");
    for part in expect {
        assert!(lines.contains(part), "{sql}: no {part:?} in\n{lines}");
    }
}

#[test]
fn routes() {
    check(
        "SELECT * FROM users WHERE id = {a}",
        &[
            "Route: one shard",
            "Shards: s2",
            "replica",
            "bound by its key \"id\"",
        ],
    );
    check(
        "UPDATE users SET age = 1 WHERE id = {a}",
        &["Shards: s2", "Role: primary"],
    );
    check("SELECT * FROM notes", &["(home)", "s1 (home)"]);
    check(
        "SELECT * FROM countries",
        &["Route: any shard", "s1 (home), s2, s3, s4"],
    );
    check("DROP TABLE users", &["Route: all shards"]);
    check(
        "SELECT * FROM users u",
        &[
            "Route: gather",
            "Statement on each but home: SELECT",
            "Statement on s1 (home): SELECT * FROM pg_catalog.unnest(pg_catalog.array_cat(ARRAY(SELECT shardgate_row FROM \"public\".\"users\" AS shardgate_row), $1::\"public\".\"users\"[])) u",
            "Because: Relation \"users\" (alias \"u\") is not bound",
        ],
    );
    check(
        "UPDATE users u SET id = age",
        &["Route: refused", "0A000", "Detail: ", "Hint:"],
    );
    check("SELECT opaque_fn()", &["Keeps its backend"]);
    check("SELECT create_reference_table('t')", &["the router itself"]);
}
