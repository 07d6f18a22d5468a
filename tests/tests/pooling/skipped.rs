//! Messages that Postgres skips after an error owe no reply: a router that waits for one keeps its backend for ever.

use crate::raw::RawClient;
use anyhow::{Result, ensure};
use shardgate_tests::Running;

/// Each is run by one client; the next client must find the only backend free.
const SCRIPTS: &[&[&str]] = &[
    // The second client that sends this finds its text known to the backend, behind a BEGIN that is not sent yet.
    &[
        "Q begin",
        "P known|select 5|",
        "S",
        "B |known",
        "E |0",
        "S",
        "Q commit",
    ],
    &["P bad|selec|", "Q select 1", "S"],
    &["P bad|selec|", "S"],
    &["P bad|selec|", "B |bad", "D P ", "E |0", "C S bad", "S"],
    &["P |select 1/0|", "B |", "E |0", "Q select 2", "S"],
    &[
        "P |select 1|",
        "B |",
        "E |0",
        "B |missing",
        "E |0",
        "Q select 3",
        "H",
        "S",
    ],
    &[
        "B |missing",
        "P x|select 1|",
        "Q select 1",
        "S",
        "Q select 2",
    ],
    &["P |select 1|", "B |", "E |0", "Q select 4", "S"],
    &["P |selec|", "H", "Q select 5", "Q select 6", "S", "S"],
    &["E missing|0", "Q select 1", "S"],
    &["D S missing", "Q select 1", "S"],
    &["D P missing", "D S missing", "S", "D S missing", "S"],
    &["C S missing", "C P missing", "S"],
    &["Q begin", "P |selec|", "Q select 1", "S", "Q rollback"],
    &[
        "Q begin",
        "Q select 1/0",
        "P |select 1|",
        "B |",
        "E |0",
        "S",
        "Q commit",
    ],
    &["P |insert into skipped values (1)|", "B |", "E |0", "X"],
    &["Q begin", "X"],
    &["P bad|selec|", "X"],
    &["P known|select 5|", "X"],
    &["P s|select 1|", "P s|select 2|", "S"],
    &[
        "P s|select $1::int4|",
        "B |s",
        "E |0",
        "S",
        "B |s|1",
        "E |0",
        "S",
    ],
    &["P s|select $1::int4|", "B |s", "X"],
    &["Q begin", "P s|select $1::int4|", "B |s", "S", "Q rollback"],
    &["B |", "E |0", "S"],
    &["Q select 'open", "P |select 1; select 2|", "S"],
];

pub fn all(running: &Running) -> Result<()> {
    let home = &running.cluster.shards[0].primary;
    let mut direct = RawClient::connect(home.port, "postgres", running.database());
    direct.run(&["Q create table skipped (n int)"]);
    for script in SCRIPTS {
        let expected = RawClient::connect(home.port, "postgres", running.database()).run(script);
        let mut clients = Vec::new();
        for number in 1..=2 {
            let mut client =
                RawClient::connect(running.router.port, "postgres", running.database());
            let replies = client.run(script);
            ensure!(
                replies == expected,
                "client {number}: {script:?}\nrouter:   {replies:#?}\npostgres: {expected:#?}"
            );
            clients.push(client);
        }
        // These clients are still there, unless they have said goodbye.
        let mut next = RawClient::connect(running.router.port, "postgres", running.database());
        let replies = next.run(&["Q select 'free'"]);
        ensure!(
            replies
                .iter()
                .any(|reply| reply.starts_with("D ") && reply.contains("free")),
            "{script:?}: {replies:?}"
        );
    }
    println!("{} scripts, the backend free after each", SCRIPTS.len());
    Ok(())
}
