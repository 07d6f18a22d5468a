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
