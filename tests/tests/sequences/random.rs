//! Scripts of messages by chance, on Postgres and through the router. `SEED=n` and `COUNT=n` choose which and how many.

use crate::raw::RawClient;
use crate::{RESET, difference, prepare, run_case};
use shardgate_tests::Running;

const SEED: u64 = 1;
const COUNT: u64 = 250;

/// Numbers that look random, by a linear congruential generator with the constants of Knuth's MMIX.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).expect("below a usize")
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const STATEMENTS: &[&str] = &[
    "select 1",
    "select 1",
    "select 1/0",
    "selec",
    "select id from seq_t order by id",
    "insert into seq_t values (10,'a')",
    "begin",
    "begin",
    "begin",
    "begin read only",
    "commit",
    "rollback",
    "commit",
    "rollback",
    "savepoint a",
    "savepoint a",
    "rollback to a",
    "rollback to a",
    "release a",
    "set local work_mem = '5MB'",
    "set statement_timeout = '9s'",
    "set no_such_setting = 1",
    "set transaction read only",
    "reset statement_timeout",
    "show work_mem",
    "show statement_timeout",
    "show transaction_isolation",
    "deallocate s",
    "deallocate all",
    "unlisten *",
    "",
];

const NAMES: &[&str] = &["", "s", "t"];
const PORTALS: &[&str] = &["", "", "p"];

/// One message, or a few that belong together.
fn message(chance: &mut Chance) -> Vec<String> {
    let name = chance.of(NAMES);
    let portal = chance.of(PORTALS);
    let sql = chance.of(STATEMENTS);
    match chance.below(22) {
        0..=3 => vec![format!("Q {sql}")],
        4..=9 => vec![
            format!("P {name}|{sql}|"),
            format!("B {portal}|{name}"),
            format!("E {portal}|0"),
        ],
        10..=11 => vec![format!("P {name}|{sql}|")],
        12..=13 => vec![format!("B {portal}|{name}")],
        14 => vec![format!("E {portal}|0")],
        15 => vec![format!("D S {name}")],
        16 => vec![format!("D P {portal}")],
        17 => vec![format!("C S {name}")],
        18 => vec![format!("C P {portal}")],
        19 => vec!["H".to_string()],
        20..=21 => vec!["S".to_string()],
        other => unreachable!("{other} is not below the limit"),
    }
}

fn script(seed: u64) -> Vec<String> {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    chance.below(2);
    let length = 3 + chance.below(10);
    (0..length).flat_map(|_| message(&mut chance)).collect()
}

struct World {
    running: Running,
    direct: RawClient,
}

impl World {
    /// What Postgres and the router answer, from the same state.
    fn both(&mut self, script: &[String]) -> (Vec<String>, Vec<String>) {
        // A block that has failed would not answer the question that ends each run.
        let end = ["S", "Q rollback"];
        let lines: Vec<&str> = script.iter().map(String::as_str).chain(end).collect();
        let ports = [
            self.running.cluster.shards[0].primary.port,
            self.running.router.port,
        ];
        let [postgres, router] = ports.map(|port| {
            self.direct.run(&[&format!("Q {RESET}")]);
            run_case(port, self.running.database(), &lines)
        });
        (postgres, router)
    }

    /// The script without what the difference does not need.
    fn shorten(&mut self, mut script: Vec<String>) -> Vec<String> {
        let mut at = script.len();
        while at > 0 {
            at -= 1;
            let mut shorter = script.clone();
            shorter.remove(at);
            let (expected, got) = self.both(&shorter);
            if told(&expected) != told(&got) {
                script = shorter;
                at = at.min(script.len());
            }
        }
        script
    }
}

/// The replies as they are compared. That a block has failed is told by a server in each case, but it may be another
/// message that it tells it of: the line and routine of this error are left out.
fn told(replies: &[String]) -> Vec<String> {
    let of = |reply: &String| match reply.contains("| C25P02 |") {
        true => reply.split(" | L").next().unwrap_or_default().to_string(),
        false => reply.clone(),
    };
    replies.iter().map(of).collect()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn replies_to_random_scripts_are_those_of_postgres() {
    let running = Running::start(2, 0);
    let port = running.cluster.shards[0].primary.port;
    let direct = prepare(port, running.database());
    let mut world = World { running, direct };
    let (first, count) = (number("SEED", SEED), number("COUNT", COUNT));
    let mut wrong = Vec::new();
    for seed in first..first + count {
        let script = script(seed);
        let (expected, got) = world.both(&script);
        if told(&expected) != told(&got) {
            let script = world.shorten(script);
            let (expected, got) = world.both(&script);
            wrong.push(format!(
                "seed {seed}\n  script:   {script:?}\n{}",
                difference(&expected, &got)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} scripts differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
