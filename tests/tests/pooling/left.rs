//! A client that says something that changes its connection, and leaves without waiting for the answer.

use crate::raw::RawClient;
use anyhow::{Result, ensure};
use shardgate_tests::Running;

/// What is said, and what the next client asks.
const LEFT: &[(&str, &str)] = &[
    ("Q set work_mem = '9MB'", "Q show work_mem"),
    ("Q set role pg_monitor", "Q select current_user::text"),
    (
        "Q select set_config('work_mem', '9MB', false)",
        "Q show work_mem",
    ),
    (
        "Q set default_transaction_read_only = on",
        "Q show transaction_read_only",
    ),
    ("Q set application_name = 'left'", "Q show application_name"),
    ("Q begin; set work_mem = '9MB'; commit", "Q show work_mem"),
];

pub fn all(running: &Running) -> Result<()> {
    let connect = || RawClient::connect(running.router.port, "postgres", running.database());
    let expected: Vec<_> = LEFT
        .iter()
        .map(|(_, question)| connect().run(&[question]))
        .collect();
    for round in 0..5 {
        for ((said, question), expected) in LEFT.iter().zip(&expected) {
            connect().run(&[said, "X"]);
            // Nobody reads what is answered.
            connect().send(&[said]);
            let got = connect().run(&[question]);
            ensure!(
                got == *expected,
                "round {round}: behind {said}, {question} is {got:?}, not {expected:?}"
            );
        }
    }
    Ok(())
}

/// A lock that code has taken behind messages of the router's own (a setting, a BEGIN) goes with its client.
pub fn locks(running: &Running) -> Result<()> {
    let connect = || RawClient::connect(running.router.port, "postgres", running.database());
    connect().run(&[
        "Q create function lock_78() returns void language plpgsql as $$ begin perform pg_advisory_lock(78); end $$",
    ]);
    let question =
        "Q select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    let expected = connect().run(&[question]);
    let execute = ["P |select lock_78()|", "B |", "E |0", "S"];
    for before in [
        None,
        Some("Q set application_name = 'locks'"),
        Some("Q begin"),
    ] {
        let mut client = connect();
        if let Some(before) = before {
            client.run_alone(before);
        }
        // Another one's connection, which has other settings.
        connect().run(&["Q set application_name = 'other'", "Q select 1", "X"]);
        client.run(&execute);
        client.run(&["Q commit", "X"]);
        let got = connect().run(&[question]);
        ensure!(got == expected, "behind {before:?}: {got:?}");
    }
    Ok(())
}

/// A typing error costs the client no connection.
pub fn typing_errors(running: &Running) -> Result<()> {
    let connect = || RawClient::connect(running.router.port, "postgres", running.database());
    let mut client = connect();
    for text in [
        "Q selec",
        "Q begin; selec",
        "Q select 1 from where",
        "Q set x",
    ] {
        client.run_alone(text);
        let got = connect().run(&["Q create table if not exists typed (id int)"]);
        ensure!(
            got.iter().any(|reply| reply.starts_with("C ")),
            "behind {text}: {got:?}"
        );
    }
    Ok(())
}
