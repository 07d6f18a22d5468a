//! What is written down of a demo (`state.json`), so that another command can show it, end it, or start it again.
//!
//! The file is written after each process that was started: when the command itself is killed, `demo stop` finds what is
//! left by these ids, and by its directory what was started a moment before.

use crate::cluster::{Login, Node, ProcessId, connection_url};
use crate::demo::DATABASE;
use crate::demo::place::Place;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The format of the file. Another number is refused, not guessed at.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    /// False until the first start has come to its end: the data is not complete.
    pub made: bool,
    /// The command in the foreground, if the demo is not detached.
    pub supervisor: Option<Process>,
    pub fsync: bool,
    pub replicas: u16,
    pub router: RouterState,
    /// The first one is home.
    pub shards: Vec<ShardState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterState {
    pub port: u16,
    pub http_port: u16,
    pub process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardState {
    pub name: String,
    /// The primary of the first start, then the replicas.
    pub servers: Vec<ServerState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerState {
    pub name: String,
    pub port: u16,
    pub data: PathBuf,
    pub process: Option<Process>,
}

/// [`ProcessId`] as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    pub birth: String,
}

impl From<ProcessId> for Process {
    fn from(id: ProcessId) -> Process {
        Process {
            pid: id.pid,
            birth: id.birth,
        }
    }
}

impl From<&Process> for ProcessId {
    fn from(process: &Process) -> ProcessId {
        ProcessId {
            pid: process.pid,
            birth: process.birth.clone(),
        }
    }
}

/// The process if it lives.
pub fn living(process: Option<&Process>) -> Option<ProcessId> {
    process.map(ProcessId::from).filter(ProcessId::is_alive)
}

impl State {
    pub fn new(shards: u16, replicas: u16, fsync: bool, router: RouterState) -> State {
        let shards = (1..=shards)
            .map(|n| ShardState {
                name: format!("s{n}"),
                servers: Vec::new(),
            })
            .collect();
        State {
            format: FORMAT,
            made: false,
            supervisor: None,
            fsync,
            replicas,
            router,
            shards,
        }
    }

    /// None if there is no demo in the directory.
    pub fn load(place: &Place) -> Result<Option<State>, Failure> {
        let path = place.state_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io(format!("read {}", path.display()))(error)),
        };
        let state: Result<State, _> = serde_json::from_str(&text);
        match state {
            Ok(state) if state.format == FORMAT => Ok(Some(state)),
            Ok(state) => Err(Failure::new(format!(
                "{} has the format {}",
                path.display(),
                state.format
            ))
            .detail(format!("This program knows the format {FORMAT}."))
            .hint("Use the shard-admin that has started the demo.")),
            Err(error) => Err(Failure::new(format!("cannot read {}", path.display()))
                .detail(error.to_string())
                .hint(
                    "If it is a demo that nobody needs, end its servers and remove the directory.",
                )),
        }
    }

    /// As [`State::load`], but a missing demo is an error.
    pub fn require(place: &Place) -> Result<State, Failure> {
        State::load(place)?.ok_or_else(|| {
            Failure::new(format!("there is no demo in {}", place.dir.display())).hint(
                "Start one with \"shard-admin demo start\", or name its directory with --dir.",
            )
        })
    }

    /// Replaces the file as a whole: a reader sees the old or the new one.
    pub fn save(&self, place: &Place) -> Result<(), Failure> {
        let path = place.state_file();
        let failed = |source| Failure::io(format!("write {}", path.display()))(source);
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(&place.dir).map_err(failed)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        file.persist(&path)
            .map_err(|error| failed(error.error))
            .map(|_| ())
    }

    /// Writes down a server that has just been started.
    pub fn record(&mut self, node: &Node) {
        let Some((shard, name)) = node.name.split_once('/') else {
            return;
        };
        let server = ServerState {
            name: name.to_owned(),
            port: node.port,
            data: node.data.clone(),
            process: node.process().map(Process::from),
        };
        let Some(shard) = self.shards.iter_mut().find(|s| s.name == shard) else {
            return;
        };
        match shard.servers.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = server,
            None => shard.servers.push(server),
        }
    }

    /// Forgets the processes, which have ended.
    pub fn forget_processes(&mut self) {
        self.supervisor = None;
        self.router.process = None;
        self.shards
            .iter_mut()
            .flat_map(|shard| &mut shard.servers)
            .for_each(|server| server.process = None);
    }

    /// The router, then all servers, as far as they live.
    pub fn living_processes(&self) -> Vec<ProcessId> {
        let servers = self.shards.iter().flat_map(|shard| &shard.servers);
        let all = std::iter::once(self.router.process.as_ref())
            .chain(servers.map(|server| server.process.as_ref()));
        all.filter_map(living).collect()
    }

    pub fn shard_names(&self) -> Vec<String> {
        self.shards.iter().map(|shard| shard.name.clone()).collect()
    }

    /// The URL of the router for a database.
    pub fn router_url(&self, database: &str) -> String {
        connection_url(
            &Login::superuser(None),
            "127.0.0.1",
            self.router.port,
            database,
        )
    }

    /// The URL of the catalog: all servers of the home shard, because another one may be its primary one day.
    pub fn catalog_url(&self) -> String {
        let servers = self
            .shards
            .first()
            .map(|home| home.servers.as_slice())
            .unwrap_or_default();
        let hosts: Vec<String> = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        format!("postgresql://postgres@{}/{DATABASE}", hosts.join(","))
    }
}

impl ServerState {
    pub fn url(&self) -> String {
        connection_url(&Login::superuser(None), "127.0.0.1", self.port, DATABASE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path().to_owned())).unwrap();
        assert_eq!(State::load(&place).unwrap(), None);
        let mut state = State::new(
            2,
            1,
            false,
            RouterState {
                port: 6432,
                http_port: 6480,
                process: None,
            },
        );
        state.supervisor = ProcessId::current().map(Process::from);
        for (n, port) in [5001, 5002].into_iter().enumerate() {
            let server = ServerState {
                name: format!("n{n}"),
                port,
                data: dir.path().join("d"),
                process: None,
            };
            state.shards[0].servers.push(server);
        }
        state.save(&place).unwrap();
        let loaded = State::load(&place).unwrap().unwrap();
        assert_eq!(loaded, state);
        assert!(living(loaded.supervisor.as_ref()).is_some());
        assert_eq!(
            loaded.catalog_url(),
            "postgresql://postgres@127.0.0.1:5001,127.0.0.1:5002/app"
        );

        let text = std::fs::read_to_string(place.state_file()).unwrap();
        std::fs::write(
            place.state_file(),
            text.replace("\"format\": 1", "\"format\": 2"),
        )
        .unwrap();
        assert!(
            State::load(&place)
                .unwrap_err()
                .message
                .contains("the format 2")
        );
    }
}
