//! What a block sees of a row that is committed in its middle: the snapshot is taken when Postgres takes it.

use crate::raw::RawClient;
use shardgate_tests::Running;

/// A login role, what it says before the row is committed, and what behind it. Every line begins with the number of
/// ReadyForQuery messages that end its replies.
type Case = (
    &'static str,
    &'static [(usize, &'static str)],
    &'static [(usize, &'static str)],
);

const COUNT: &str = "Q select count(*) from snap";

const CASES: &[Case] = &[
    (
        "postgres",
        &[(1, "Q begin isolation level repeatable read")],
        &[(1, COUNT)],
    ),
    (
        "postgres",
        &[
            (1, "Q begin isolation level repeatable read"),
            (1, "Q select 1"),
        ],
        &[(1, COUNT)],
    ),
    (
        "postgres",
        &[
            (1, "Q begin isolation level repeatable read"),
            (0, "P |set local work_mem = '5MB'|"),
            (0, "B |"),
            (0, "E |0"),
            (0, "P |set local app.x = 'y'|"),
            (0, "B |"),
            (0, "E |0"),
            (1, "S"),
        ],
        &[(1, COUNT), (1, "Q show work_mem"), (1, "Q show app.x")],
    ),
    (
        "postgres",
        &[
            (1, "Q begin isolation level repeatable read"),
            (1, "Q set local work_mem = '5MB'"),
            (1, "Q show work_mem"),
            (1, "Q savepoint s"),
        ],
        &[(1, COUNT)],
    ),
    (
        "postgres",
        &[
            (1, "Q begin isolation level repeatable read"),
            (1, "Q savepoint s"),
            (0, "P |set local work_mem = '5MB'|"),
            (0, "B |"),
            (0, "E |0"),
            (0, "P |set no_such_setting = 1|"),
            (0, "B |"),
            (0, "E |0"),
            (1, "S"),
            (1, "Q rollback to s"),
            (0, "P |set local work_mem = '6MB'|"),
            (0, "B |"),
            (0, "E |0"),
            (1, "S"),
        ],
        &[(1, COUNT), (1, "Q show work_mem")],
    ),
    (
        "postgres",
        &[
            (1, "Q begin isolation level repeatable read"),
            (0, "P a|show work_mem|"),
            (0, "H"),
            (0, "P |set local work_mem = '5MB'|"),
            (0, "B |"),
            (0, "E |0"),
            (1, "S"),
        ],
        &[(1, COUNT)],
    ),
    (
        "postgres",
        &[
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
    (
        "snap_rr",
        &[
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
    (
        "snap_rr",
        &[
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (0, "D S s"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
    (
        "snap_ser",
        &[
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[
            (0, "B |s"),
            (0, "E |0"),
            (1, "S"),
            (1, "Q show transaction_isolation"),
        ],
    ),
    (
        "snap_rr",
        &[
            (1, "Q begin isolation level read committed"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
    (
        "snap_rr",
        &[
            (1, "Q set default_transaction_isolation = 'read committed'"),
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[
            (0, "B |s"),
            (0, "E |0"),
            (1, "S"),
            (1, "Q commit"),
            (1, "Q reset default_transaction_isolation"),
            (1, "Q show default_transaction_isolation"),
        ],
    ),
    (
        "snap_rr",
        &[
            (1, "Q set default_transaction_isolation = 'read committed'"),
            (1, "Q reset all"),
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
    (
        "postgres",
        &[
            (
                1,
                "Q set session characteristics as transaction isolation level repeatable read",
            ),
            (1, "Q begin"),
            (0, "P s|select count(*) from snap|"),
            (1, "S"),
        ],
        &[(0, "B |s"), (0, "E |0"), (1, "S")],
    ),
];

fn say(client: &mut RawClient, lines: &[(usize, &str)]) -> Vec<String> {
    let ready = lines.iter().map(|(ready, _)| ready).sum();
    let script: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
    client.run_to(&script, ready)
}

fn run_case(port: u16, database: &str, other: &mut RawClient, case: &Case) -> Vec<String> {
    let (role, before, after) = case;
    other.run_alone("Q truncate snap");
    let mut client = RawClient::connect(port, role, database);
    let mut replies = say(&mut client, before);
    other.run_alone("Q insert into snap values (1)");
    replies.extend(say(&mut client, after));
    // Its locks must be gone before the next case; an answer to what is sent behind the rollback shows that they are.
    client.run_alone("Q rollback");
    replies
}

#[test]
fn a_blocks_snapshot_is_taken_when_postgres_takes_it() {
    let running = Running::start(2, 0);
    let home = &running.cluster.shards[0].primary;
    let database = running.database();
    let mut other = RawClient::connect(home.port, "postgres", database);
    let mut admin = RawClient::connect(running.router.port, "postgres", database);
    for sql in [
        "Q create table snap (id int8)",
        "Q create role snap_rr login superuser",
        "Q create role snap_ser login superuser",
        "Q alter role snap_rr set default_transaction_isolation = 'repeatable read'",
        "Q alter role snap_ser set default_transaction_isolation = 'serializable'",
        // A server has parsed it, so that no server is needed when it is parsed again.
        "Q select count(*) from snap",
    ] {
        let replies = admin.run_alone(sql);
        assert!(
            !replies.iter().any(|reply| reply.starts_with('E')),
            "{sql}: {replies:?}"
        );
    }
    for role in ["postgres", "snap_rr", "snap_ser"] {
        let mut client = RawClient::connect(running.router.port, role, database);
        client.run(&["P s|select count(*) from snap|"]);
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let expected = run_case(home.port, database, &mut other, case);
        let got = run_case(running.router.port, database, &mut other, case);
        if expected != got {
            wrong.push(format!(
                "{case:?}\n  postgres: {expected:?}\n  router:   {got:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
