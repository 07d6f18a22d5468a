//! What a demo looks like now: for people, and as the JSON document that programs read.

use crate::demo::DATABASE;
use crate::demo::place::Place;
use crate::demo::state::{ServerState, ShardState, State, living};
use crate::output::table;
use serde_json::{Value, json};

/// `{"dir", "state", "router": {"url", "http", "pid"}, "catalog", "shards": [{"name", "home", "primary", "replicas"}]}`.
///
/// `state` is `running`, `stopped` or `partly`; a pid is null where the process does not run.
pub fn json(place: &Place, state: &State) -> Value {
    let shards: Vec<Value> = state
        .shards
        .iter()
        .enumerate()
        .map(|(i, shard)| shard_json(i == 0, shard))
        .collect();
    json!({
        "dir": place.dir.display().to_string(),
        "state": condition(state),
        "router": {
            "url": state.router_url(DATABASE),
            "http": http_url(state),
            "pid": living(state.router.process.as_ref()).map(|process| process.pid),
        },
        "catalog": state.catalog_url(),
        "shards": shards,
    })
}

fn shard_json(home: bool, shard: &ShardState) -> Value {
    let replicas: Vec<String> = shard.servers.iter().skip(1).map(ServerState::url).collect();
    json!({
        "name": shard.name,
        "home": home,
        "primary": shard.servers.first().map(ServerState::url),
        "replicas": replicas,
    })
}

pub fn http_url(state: &State) -> String {
    format!("http://127.0.0.1:{}", state.router.http_port)
}

fn condition(state: &State) -> &'static str {
    let servers = state
        .shards
        .iter()
        .map(|shard| shard.servers.len())
        .sum::<usize>();
    match state.living_processes().len() {
        0 => "stopped",
        // The router is one more.
        living if living > servers => "running",
        _ => "partly",
    }
}

/// One line for each process.
pub fn status_text(place: &Place, state: &State) -> String {
    let pid = |process: Option<&_>| {
        living(process).map_or("stopped".to_owned(), |process| process.pid.to_string())
    };
    let router = [
        "router".to_owned(),
        state.router_url(DATABASE),
        pid(state.router.process.as_ref()),
    ];
    let servers = state
        .shards
        .iter()
        .flat_map(|shard| shard.servers.iter().map(move |server| (shard, server)));
    let servers = servers.map(|(shard, server)| {
        [
            format!("{}/{}", shard.name, server.name),
            server.url(),
            pid(server.process.as_ref()),
        ]
    });
    let rows = table(
        &["process", "url", "pid"],
        std::iter::once(router).chain(servers),
    );
    format!(
        "The demo in {} is {}.\n\n{rows}",
        place.dir.display(),
        described(state)
    )
}

fn described(state: &State) -> &'static str {
    match (condition(state), state.made) {
        (_, false) => "not complete",
        ("partly", true) => "running in part",
        (condition, true) => condition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ProcessId;
    use crate::demo::state::{Process, RouterState};

    #[test]
    fn the_document_has_the_documented_shape() {
        let place = Place { dir: "/d".into() };
        let own = ProcessId::current().map(Process::from);
        let mut state = State::new(
            1,
            1,
            false,
            RouterState {
                port: 1,
                http_port: 2,
                process: own,
            },
        );
        state.made = true;
        for (name, port) in [("primary", 3), ("replica1", 4)] {
            let server = ServerState {
                name: name.to_owned(),
                port,
                data: "/d".into(),
                process: None,
            };
            state.shards[0].servers.push(server);
        }
        let expect = json!({
            "dir": "/d",
            "state": "partly",
            "router": {
                "url": "postgresql://postgres@127.0.0.1:1/app",
                "http": "http://127.0.0.1:2",
                "pid": std::process::id(),
            },
            "catalog": "postgresql://postgres@127.0.0.1:3,127.0.0.1:4/app",
            "shards": [{
                "name": "s1",
                "home": true,
                "primary": "postgresql://postgres@127.0.0.1:3/app",
                "replicas": ["postgresql://postgres@127.0.0.1:4/app"],
            }],
        });
        assert_eq!(json(&place, &state), expect);
        let text = status_text(&place, &state);
        assert!(
            text.contains("running in part") && text.contains("s1/replica1"),
            "{text}"
        );
    }
}
