//! The router's own configuration: one TOML file, overridden by environment variables, as a plain typed value.
//!
//! It decides what is a correct configuration and says everything that is wrong with one, each with its place. It must
//! not know what the settings are used for, and nothing of the network: names are not resolved, nothing is connected.
//!
//! A variable `SHARDGATE__SECTION__KEY` overrides `key` in `[section]`; a variable with that prefix that names nothing
//! is an error, like an unknown key in the file.

mod build;
mod finding;
mod hosts;
mod kinds;
mod quantities;
mod reader;
#[cfg(test)]
mod tests;
mod units;

pub use finding::{Finding, Findings, Place, Position, Severity};

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the admin console's database; no served database can have it.
pub const ADMIN_DATABASE: &str = "shardgate";

/// What every overriding environment variable begins with.
pub const VARIABLE_PREFIX: &str = "SHARDGATE__";

/// A configuration file longer than this is refused unread.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub listen: Listen,
    /// Absent: there is no HTTP listener.
    pub http: Option<Http>,
    pub router: Router,
    pub auth: Auth,
    pub database: Database,
    pub pool: Pool,
    pub limits: Limits,
    pub replicas: Replicas,
    pub catalog: Catalog,
    pub admin: Admin,
    /// Every setting as text, with its default and where it came from: for `SHOW CONFIG`. Passwords are masked.
    pub settings: Vec<Setting>,
}

/// `[listen]`: where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A host name or address; `*` is every address of the machine.
    pub host: String,
    pub port: u16,
    /// Clients at once, those that log in included.
    pub max_client_conn: usize,
    /// From the accept to the end of the login.
    pub client_login_timeout: Duration,
}

/// `[http]`: where metrics and health are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub host: String,
    pub port: u16,
}

/// `[router]`: this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    pub name: String,
    /// Where the last snapshot is kept; absent: it is not kept. A relative path in the file is taken from the folder of
    /// the file.
    pub state_dir: Option<PathBuf>,
    /// Tells the routers of one catalog apart, 0..=1023.
    pub id: u16,
    /// 0: one for each core.
    pub worker_threads: usize,
    /// From this share of its processor time on, a worker thread hands clients to another one.
    pub worker_full_percent: u8,
    /// A filter as `tracing` reads it: `info`, `warn,shardgate=debug`.
    pub log: String,
}

/// `[auth]`: how clients prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub method: AuthMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    Trust,
    ScramSha256,
}

/// `[[database]]`: the database that is served, and where its home shard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    /// Candidates for the home shard's primary; at least one, no two equal.
    pub home: Vec<HostPort>,
    /// The router's own role: catalog, health, password verifiers. Absent: `postgres`.
    pub admin_user: String,
    pub admin_password: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

/// `[pool]`: connections to servers. `None` is "never" and is written 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Connections for each server and role.
    pub size: usize,
    pub query_wait_timeout: Duration,
    pub server_idle_timeout: Option<Duration>,
    pub server_lifetime: Option<Duration>,
    pub server_connect_timeout: Duration,
}

/// `[limits]`. `None` is "no limit" and is written 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message that a client may send, in bytes.
    pub message_bytes: usize,
    pub client_buffer_bytes: usize,
    pub server_buffer_bytes: usize,
    /// Prepared statements of one client.
    pub prepared_statements: usize,
    /// Prepared statements that the router keeps on one connection to a server.
    pub server_prepared_statements: usize,
    pub plan_cache_bytes: usize,
    /// Rows that one statement may gather from the shards.
    pub gather_rows: u64,
    /// Their bytes.
    pub gather_bytes: usize,
    /// Bytes of gathered rows of all statements at once.
    pub gather_bytes_total: usize,
    pub client_write_timeout: Duration,
    pub client_idle_timeout: Option<Duration>,
    pub idle_transaction_timeout: Option<Duration>,
    pub drain_timeout: Duration,
    pub cancel_wait_timeout: Duration,
    /// Clients whose statements may wait at once for the switch of a move.
    pub held_clients: usize,
    /// How long one of them waits.
    pub hold_timeout: Duration,
    /// How long a switch waits for transactions that may still use keys that move, before those are held too.
    pub hold_grace: Duration,
}

/// `[replicas]`: when reads go to replicas. `None` is "no limit" and is written 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// What a session starts with; it can change it.
    pub role: Role,
    pub lag_bytes_max: Option<u64>,
    pub lag_ms_max: Option<Duration>,
    /// How often a replica in use is asked for its position.
    pub probe_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Proven reads go to replicas, all else to the primary.
    Auto,
    Primary,
    Replica,
}

/// `[catalog]`: how the catalog is followed beside its notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    pub poll_interval: Duration,
}

/// `[admin]`: who may use the database `shardgate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub users: Vec<String>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for the one who has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"********\"")
    }
}

/// One setting as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`.
    pub name: String,
    pub value: String,
    /// Empty if there is none.
    pub default: String,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The line in the file, from 1.
    File {
        line: usize,
    },
    /// The name of the environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { line } => write!(f, "file, line {line}"),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

/// What reading a configuration gave. `config` is there if and only if no finding is an error.
#[derive(Clone, Debug)]
pub struct Report {
    pub config: Option<Config>,
    pub findings: Findings,
}

/// Reads the file at `path` with the overrides in `variables` (as `std::env::vars_os` gives them; those without the
/// prefix are skipped). A file that cannot be read is a finding too.
pub fn load<I>(path: &Path, variables: I) -> Report
where
    I: IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
{
    let file = path.display().to_string();
    let mut overrides = Vec::new();
    let mut findings = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|n| n.starts_with(VARIABLE_PREFIX)) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => overrides.push((name.to_owned(), value)),
            Err(_) => findings.push(Finding::error(
                Place::Variable(name.to_owned()),
                "the value is not UTF-8",
            )),
        }
    }
    let mut report = match read(path) {
        Ok(text) => parse(&file, &text, &overrides),
        Err(finding) => {
            let findings = Findings {
                file,
                list: vec![*finding],
            };
            Report {
                config: None,
                findings,
            }
        }
    };
    if !findings.is_empty() {
        report.config = None;
        report.findings.list.append(&mut findings);
    }
    if let Some(config) = &mut report.config
        && let Some(folder) = path.parent()
        && let Some(state_dir) = &mut config.router.state_dir
    {
        *state_dir = folder.join(&*state_dir);
    }
    report
}

fn read(path: &Path) -> Result<String, Box<Finding>> {
    let refuse = |message: String| Box::new(Finding::error(Place::Whole, message));
    let length = std::fs::metadata(path)
        .map_err(|e| refuse(format!("could not open the configuration file: {e}")))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(refuse(format!(
            "the configuration file has {length} bytes, the limit is {FILE_BYTES_MAX}"
        )));
    }
    let bytes = std::fs::read(path)
        .map_err(|e| refuse(format!("could not read the configuration file: {e}")))?;
    String::from_utf8(bytes).map_err(|e| {
        let before = e.utf8_error().valid_up_to();
        let lines = e.as_bytes()[..before]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        refuse(format!("line {} is not UTF-8", lines + 1))
    })
}

/// Reads a configuration from `text`; `file` is its name in findings. `variables` are the overrides.
pub fn parse(file: &str, text: &str, variables: &[(String, String)]) -> Report {
    let (config, list) = build::build(text, variables);
    let findings = Findings {
        file: file.to_owned(),
        list,
    };
    let config = config.filter(|_| !findings.has_errors());
    Report { config, findings }
}
