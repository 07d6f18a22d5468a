//! The same messages to Postgres and through the router, from the same state: the replies must be equal.

mod cases;
mod raw;

use raw::RawClient;
use shardgate_tests::Running;

/// What every case finds.
const RESET: &str =
    "truncate seq_d, seq_t; insert into seq_t values (1,'one'),(2,'two'),(3,'three')";

/// A login that differs by server or time is no part of the comparison; these messages are.
fn run_case(port: u16, database: &str, script: &[&str]) -> Vec<String> {
    RawClient::connect(port, "postgres", database).run(script)
}

#[test]
fn replies_are_those_of_postgres() {
    let running = Running::start(2, 0);
    let home = &running.cluster.shards[0].primary;
    let database = running.database();
    let mut direct = RawClient::connect(home.port, "postgres", database);
    direct.run(&["Q create table seq_t (id int8 primary key, v text)"]);
    direct.run(&[
        "Q create table seq_d (id int8, t int8 references seq_t deferrable initially deferred)",
    ]);
    let only = std::env::var("CASE").ok();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, script) in cases::CASES {
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        count += 1;
        direct.run(&[&format!("Q {RESET}")]);
        let expected = run_case(home.port, database, script);
        direct.run(&[&format!("Q {RESET}")]);
        let got = run_case(running.router.port, database, script);
        if expected != got {
            wrong.push(format!(
                "{name}\n  script:   {script:?}\n{}",
                difference(&expected, &got)
            ));
        }
    }
    assert!(count > 0, "no case is named so");
    assert!(
        wrong.is_empty(),
        "{} of {count} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The replies side by side, from the first that differs.
fn difference(expected: &[String], got: &[String]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(1);
    let show = |list: &[String]| {
        list.iter()
            .skip(from)
            .take(6)
            .map(|line| format!("      {line}\n"))
            .collect::<String>()
    };
    format!(
        "    postgres:\n{}    router:\n{}",
        show(expected),
        show(got)
    )
}
