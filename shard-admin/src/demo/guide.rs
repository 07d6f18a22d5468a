//! What `demo start` tells a newcomer: how to connect, what to try, how it ends.

use crate::demo::DATABASE;
use crate::demo::place::Place;
use crate::demo::sample::Sample;
use crate::demo::start::StartOptions;
use crate::demo::state::State;
use crate::demo::status::{http_url, status_text};

/// What `demo start` prints for people. `new` is false if a stopped demo was started again; `program` is how the
/// reader has called this one.
pub fn guide(
    place: &Place,
    state: &State,
    options: &StartOptions,
    new: bool,
    program: &str,
) -> String {
    let mut parts = vec![status_text(place, state), connect(state, program)];
    // What a re-opened demo holds is its user's business.
    if !new || options.sample == Sample::Shop {
        parts.push(try_this());
    }
    parts.push(format!(
        "Look inside:\n  psql {} -c 'SHOW SHARDS'\n  curl {}/metrics",
        state.router_url("shardgate"),
        http_url(state)
    ));
    parts.push(ending(options.detach, place, program));
    if !state.fsync {
        parts.push(
            "The servers run without fsync and let everybody on this machine in: keep nothing here that you need."
                .to_owned(),
        );
    }
    parts.join("\n\n")
}

fn connect(state: &State, program: &str) -> String {
    format!(
        "Connect as to any Postgres:\n  psql {}\n\nAdminister it:\n  export SHARDGATE_CATALOG='{}'\n  {program} status",
        state.router_url(DATABASE),
        state.catalog_url()
    )
}

/// Statements that show what a router does, each with its outcome; they fit the sample.
fn try_this() -> String {
    let lines = [
        (
            "SELECT * FROM users WHERE id = 7;",
            "one shard; its replica answers",
        ),
        (
            "EXPLAIN (ROUTE) SELECT * FROM users WHERE id = 7;",
            "where it goes, and why",
        ),
        (
            "SELECT u.name, o.total_cents FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 7;",
            "co-located",
        ),
        (
            "INSERT INTO orders (id, user_id, total_cents) VALUES (9001, 7, 4200);",
            "the primary of the same shard",
        ),
        (
            "SELECT kind, user_id FROM events WHERE day = '2026-02-03';",
            "a range of days",
        ),
        (
            "SELECT name FROM countries WHERE code = 'IS';",
            "a copy on every shard",
        ),
        ("SELECT count(*) FROM users;", "over all shards"),
    ];
    let width = lines
        .iter()
        .map(|(sql, _)| sql.len())
        .filter(|length| *length < 80)
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = lines
        .iter()
        .map(|(sql, what)| format!("  {sql:width$}  -- {what}"))
        .collect();
    format!("Try in psql:\n{}", lines.join("\n"))
}

fn ending(detached: bool, place: &Place, program: &str) -> String {
    let dir = match crate::demo::default_dir() {
        Ok(default) if default == place.dir => String::new(),
        Ok(_) | Err(_) => format!(" --dir {}", place.dir.display()),
    };
    match detached {
        true => format!("It goes on in the background: {program} demo status|stop|destroy{dir}"),
        false => format!(
            "Ctrl-C ends it and keeps the data; \"{program} demo destroy{dir}\" removes it."
        ),
    }
}
