//! The same messages to Postgres and through the router, from the same state: the replies must be equal.

mod cases;
mod random;
mod raw;
mod snapshots;

use raw::RawClient;
use shardgate_tests::Running;

/// What every case finds.
const RESET: &str = "truncate seq_d, seq_t, seq_i restart identity; select setval('seq_s', 10, false); insert into seq_t values (1,'one'),(2,'two'),(3,'three')";

/// A login that differs by server or time is no part of the comparison; these messages are. Lines `o name=value` at the
/// script's head are settings of the start-up packet.
fn run_case(port: u16, database: &str, script: &[&str]) -> Vec<String> {
    let settings: Vec<(&str, &str)> = script
        .iter()
        .map_while(|line| line.strip_prefix("o "))
        .map(|line| line.split_once('=').expect("name=value"))
        .collect();
    let rest = &script[settings.len()..];
    RawClient::connect_with(port, "postgres", database, &settings).run(rest)
}

/// What was compared, and what was found wrong.
#[derive(Default)]
struct Findings {
    count: usize,
    wrong: Vec<String>,
}

impl Findings {
    fn compare(&mut self, name: &str, script: &[&str], expected: &[String], got: &[String]) {
        self.count += 1;
        if expected == got {
            return;
        }
        let problem = difference(expected, got);
        self.wrong
            .push(format!("{name}\n  script:   {script:?}\n{problem}"));
    }

    fn report(self) {
        assert!(self.count > 0, "no case is named so");
        assert!(
            self.wrong.is_empty(),
            "{} of {} cases differ:\n{}",
            self.wrong.len(),
            self.count,
            self.wrong.join("\n")
        );
    }
}

/// Makes the tables, by a client that then sees to the state that every case finds.
fn prepare(port: u16, database: &str) -> RawClient {
    let mut direct = RawClient::connect(port, "postgres", database);
    direct.run(&["Q create table seq_t (id int8 primary key, v text)"]);
    direct.run(&[
        "Q create table seq_d (id int8, t int8 references seq_t deferrable initially deferred)",
    ]);
    direct.run(&["Q create table seq_i (id bigserial, v text); create sequence seq_s"]);
    direct
}

/// `CASE=name` runs one case alone.
fn chosen(name: &str) -> bool {
    std::env::var("CASE").map_or(true, |only| only == name)
}

#[test]
fn replies_are_those_of_postgres() {
    let running = Running::start(2, 0);
    let home = &running.cluster.shards[0].primary;
    let database = running.database();
    let mut direct = prepare(home.port, database);
    let mut findings = Findings::default();
    for (name, script) in cases::all().filter(|(name, _)| chosen(name)) {
        direct.run(&[&format!("Q {RESET}")]);
        let expected = run_case(home.port, database, script);
        direct.run(&[&format!("Q {RESET}")]);
        let got = run_case(running.router.port, database, script);
        findings.compare(name, script, &expected, &got);
    }
    findings.report();
}

#[test]
fn replies_of_a_distributed_table_are_those_of_a_plain_one() {
    use cases::spread::{DISTRIBUTE, RESET, SPREAD, TABLE};
    let running = Running::start(2, 0);
    let home = &running.cluster.shards[0].primary;
    let database = running.database();
    RawClient::connect(home.port, "postgres", database).run(&["Q create database plain"]);
    let mut plain = RawClient::connect(home.port, "postgres", "plain");
    let mut spread = RawClient::connect(running.router.port, "postgres", database);
    let table = format!("Q {TABLE}");
    plain.run(&[&table]);
    let made = spread.run(&[&table, &format!("Q {DISTRIBUTE}")]);
    assert!(!made.iter().any(|reply| reply.starts_with('E')), "{made:?}");
    let reset: Vec<String> = RESET.iter().map(|sql| format!("Q {sql}")).collect();
    let reset: Vec<&str> = reset.iter().map(String::as_str).collect();
    let mut findings = Findings::default();
    for (name, script) in SPREAD.iter().filter(|(name, _)| chosen(name)) {
        let (before, after) = (plain.run(&reset), spread.run(&reset));
        assert_eq!(before, after, "the state before {name}");
        let expected = run_case(home.port, "plain", script);
        let got = run_case(running.router.port, database, script);
        findings.compare(name, script, &without_oids(&expected), &without_oids(&got));
    }
    findings.report();
}

/// RowDescriptions name the table by an oid that each database gives anew: it follows the column's name and its NUL.
fn without_oids(replies: &[String]) -> Vec<String> {
    let strip = |reply: &String| match reply.strip_prefix("T ") {
        None => reply.clone(),
        Some(body) => {
            let names = ["id", "v", "n"];
            let mut body = format!("T {body}");
            for name in names {
                let mut from = 0;
                let start = format!("{name}\\x00");
                while let Some(at) = body[from..].find(&start) {
                    let begin = from + at + start.len();
                    // Four bytes, each one character or an escape of four.
                    let mut end = begin;
                    for _ in 0..4 {
                        let escaped = body[end..].starts_with("\\x");
                        let short = !escaped && body[end..].starts_with('\\');
                        end += if escaped {
                            4
                        } else if short {
                            2
                        } else {
                            1
                        };
                    }
                    body.replace_range(begin..end, "OID");
                    from = begin + 3;
                }
            }
            body
        }
    };
    replies.iter().map(strip).collect()
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
