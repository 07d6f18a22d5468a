//! What is compared: the direct line, PgBouncer, HAProxy, Shardgate, and proxies that the command line names.
//!
//! All poolers may have the same number of server connections, all are told to log little, and trust their clients.

use crate::arguments::{Arguments, Mode, Other, Start};
use crate::child::ChildProcess;
use crate::servers::{PLAIN, SHARDED, USER, full};
use crate::usage;
use anyhow::{Context, Result, bail};
use shard_admin::cluster::{
    Account, Cluster, ProcessId, RouterConfig, RouterProcess, free_port, router_binary,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Clients at once that a proxy must bear: those of the idle case and some more.
const CLIENTS_MAX: u32 = 12_000;
/// The same for HAProxy, which needs two descriptors for each client and has no part in the idle case.
const HAPROXY_CLIENTS_MAX: u32 = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Direct,
    PgBouncer,
    HaProxy,
    Shardgate,
    Other,
}

/// One way to the tables.
pub struct Target {
    pub name: String,
    pub kind: Kind,
    /// With its version where it tells one.
    pub description: String,
    pub port: u16,
    pub database: &'static str,
    /// False: it cannot do prepared statements.
    prepared: bool,
    /// None: nothing to start.
    starter: Option<Starter>,
    running: Option<Running>,
}

type Starter = Box<dyn Fn() -> Result<Running>>;

enum Running {
    Router(RouterProcess),
    Child(ChildProcess),
    Stranger(ProcessId),
}

impl Target {
    /// Why the mode cannot be driven through it.
    pub fn lacks(&self, mode: Mode) -> Option<String> {
        (mode == Mode::Prepared && !self.prepared).then(|| {
            format!(
                "{} has no prepared statements in transaction pooling",
                self.description
            )
        })
    }

    /// It takes a server connection for each client.
    pub fn passes_through(&self) -> bool {
        matches!(self.kind, Kind::Direct | Kind::HaProxy)
    }

    /// Its processes; empty for the direct line.
    pub fn processes(&self) -> Vec<ProcessId> {
        match &self.running {
            None => Vec::new(),
            Some(Running::Router(router)) => vec![router.process().clone()],
            Some(Running::Child(child)) => usage::family(&child.id),
            Some(Running::Stranger(process)) => usage::family(process),
        }
    }

    /// Starts it anew, so that its memory is as after a start. A stranger's process stays as it is.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(starter) = &self.starter {
            self.running = None;
            self.running = Some(starter()?);
        }
        Ok(())
    }
}

/// Where things are, for the makers below.
struct Site<'a> {
    arguments: &'a Arguments,
    cluster: &'a Cluster,
    dir: &'a Path,
    account: Account,
    threads: usize,
}

/// Starts all that were asked for, Shardgate first: the tables are made through it.
pub fn start(arguments: &Arguments, cluster: &Cluster, dir: &Path) -> Result<Vec<Target>> {
    let site = Site {
        arguments,
        cluster,
        dir,
        account: Account::find().map_err(full)?,
        threads: threads(arguments),
    };
    let binary = match &arguments.shardgate {
        Some(path) => path.clone(),
        None => router_binary().map_err(full)?,
    };
    let mut targets = vec![site.router("shardgate", &binary, 1)?];
    for (number, router) in arguments.router.iter().enumerate() {
        let id = u16::try_from(number)? + 2;
        targets.push(site.router(&router.name, &router.path, id)?);
    }
    if arguments.has("direct") {
        targets.push(site.direct());
    }
    if arguments.has("pgbouncer") {
        targets.push(site.pgbouncer()?);
    }
    if arguments.has("haproxy") {
        targets.push(site.haproxy()?);
    }
    for other in &arguments.proxy {
        targets.push(site.other(other)?);
    }
    for target in &mut targets {
        if target.running.is_none() {
            target.restart()?;
        }
    }
    Ok(targets)
}

/// Worker threads of the router and of HAProxy.
pub fn threads(arguments: &Arguments) -> usize {
    match usize::try_from(arguments.threads) {
        Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
        Ok(threads) => threads,
    }
}

impl Site<'_> {
    fn server_port(&self, shard: usize) -> Result<u16> {
        let shard = self.cluster.shards.get(shard).context("no such shard")?;
        Ok(shard.primary.port)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.dir.join(name);
        std::fs::create_dir_all(&folder)?;
        self.account.own(&folder).map_err(full)?;
        Ok(folder)
    }

    fn router(&self, name: &str, binary: &Path, id: u16) -> Result<Target> {
        let home = self.cluster.shards.first().context("no home shard")?;
        let hosts = home.nodes().map(|node| (node.host.clone(), node.port));
        let mut config = RouterConfig::new(self.dir.join(name), hosts.collect()).map_err(full)?;
        config.name = name.to_owned();
        config.pool_size = self.arguments.pool;
        config.own_group = true;
        config.drain_seconds = 1;
        config.env = [
            ("ROUTER__ID", id.to_string()),
            ("ROUTER__LOG", "warn".to_owned()),
            ("ROUTER__WORKER_THREADS", self.threads.to_string()),
            ("LISTEN__MAX_CLIENT_CONN", CLIENTS_MAX.to_string()),
        ]
        .map(|(key, value)| (format!("SHARDGATE__{key}"), value))
        .to_vec();
        let port = config.ports.clients;
        let binary = binary.to_owned();
        Ok(Target {
            name: name.to_owned(),
            kind: Kind::Shardgate,
            description: version(&binary, &["--version"]),
            port,
            database: SHARDED,
            prepared: true,
            starter: Some(Box::new(move || {
                RouterProcess::start(&binary, &config)
                    .map(Running::Router)
                    .map_err(full)
            })),
            running: None,
        })
    }

    fn direct(&self) -> Target {
        let home = self.cluster.shards.first();
        Target {
            name: "direct".to_owned(),
            kind: Kind::Direct,
            description: "no proxy".to_owned(),
            port: home.map(|shard| shard.primary.port).unwrap_or_default(),
            database: PLAIN,
            prepared: true,
            starter: None,
            running: None,
        }
    }

    fn pgbouncer(&self) -> Result<Target> {
        let binary = self.arguments.pgbouncer.clone();
        let description = version(&binary, &["--version"]);
        // 1.21 was the first to keep prepared statements over transactions.
        let prepared = minor(&description).is_some_and(|version| version >= (1, 21));
        let folder = self.folder("pgbouncer")?;
        let port = free_port().map_err(full)?;
        let users = folder.join("users.txt");
        std::fs::write(&users, format!("\"{USER}\" \"\"\n"))?;
        let mut text = format!(
            "[databases]\n{PLAIN} = host=127.0.0.1 port={server} dbname={PLAIN} pool_size={pool}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             max_client_conn = {CLIENTS_MAX}\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n\
             ignore_startup_parameters = extra_float_digits\n",
            server = self.server_port(0)?,
            pool = self.arguments.pool,
            users = users.display(),
        );
        if prepared {
            text.push_str("max_prepared_statements = 200\n");
        }
        let config = folder.join("pgbouncer.ini");
        std::fs::write(&config, text)?;
        let command = move || {
            let mut command = Command::new(&binary);
            command.arg(&config);
            command
        };
        Ok(self.child(
            "pgbouncer",
            Kind::PgBouncer,
            description,
            port,
            prepared,
            folder,
            command,
        ))
    }

    fn haproxy(&self) -> Result<Target> {
        let binary = self.arguments.haproxy.clone();
        let folder = self.folder("haproxy")?;
        let port = free_port().map_err(full)?;
        let text = format!(
            "global\n    maxconn {HAPROXY_CLIENTS_MAX}\n    nbthread {threads}\n\
             defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n\
             listen postgres\n    bind 127.0.0.1:{port}\n    server s1 127.0.0.1:{server}\n",
            threads = self.threads,
            server = self.server_port(0)?,
        );
        let config = folder.join("haproxy.cfg");
        std::fs::write(&config, text)?;
        let description = version(&binary, &["-v"]);
        let command = move || {
            let mut command = Command::new(&binary);
            command.arg("-db").arg("-f").arg(&config);
            command
        };
        Ok(self.child(
            "haproxy",
            Kind::HaProxy,
            description,
            port,
            true,
            folder,
            command,
        ))
    }

    fn other(&self, other: &Other) -> Result<Target> {
        let command = match &other.start {
            Start::Running(pid) => {
                let process = ProcessId::of(*pid)
                    .with_context(|| format!("{}: no process {pid}", other.name))?;
                return Ok(Target {
                    name: other.name.clone(),
                    kind: Kind::Other,
                    description: format!("process {pid}"),
                    port: other.port,
                    database: PLAIN,
                    prepared: true,
                    starter: None,
                    running: Some(Running::Stranger(process)),
                });
            }
            Start::Command(command) => command.clone(),
        };
        let folder = self.folder(&other.name)?;
        let servers = (self.server_port(0)?, self.server_port(1)?);
        let (dir, description) = (folder.clone(), command.clone());
        let command = move || {
            let mut shell = Command::new("/bin/sh");
            shell
                .arg("-c")
                .arg(&command)
                .current_dir(&dir)
                .env("BENCH_SERVER1_PORT", servers.0.to_string())
                .env("BENCH_SERVER2_PORT", servers.1.to_string())
                .env("BENCH_DATABASE", PLAIN)
                .env("BENCH_USER", USER)
                .env("BENCH_DIR", &dir);
            shell
        };
        Ok(self.child(
            &other.name,
            Kind::Other,
            description,
            other.port,
            true,
            folder,
            command,
        ))
    }

    #[allow(clippy::too_many_arguments)]
    fn child(
        &self,
        name: &str,
        kind: Kind,
        description: String,
        port: u16,
        prepared: bool,
        folder: PathBuf,
        command: impl Fn() -> Command + 'static,
    ) -> Target {
        let (label, account) = (name.to_owned(), self.account.clone());
        let log = folder.join("log");
        Target {
            name: name.to_owned(),
            kind,
            description,
            port,
            database: PLAIN,
            prepared,
            starter: Some(Box::new(move || {
                ChildProcess::start(&label, command(), &log, port, &account).map(Running::Child)
            })),
            running: None,
        }
    }
}

/// The first line of what a program says of itself.
pub fn version(binary: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let line = text.lines().next().unwrap_or("unknown version");
    // HAProxy adds the address of its site.
    line.split(" - http").next().unwrap_or(line).to_owned()
}

/// `PgBouncer 1.25.0` -> (1, 25)
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Every name may be there once: it is the key of the figures.
pub fn check_names(targets: &[Target]) -> Result<()> {
    for (number, target) in targets.iter().enumerate() {
        if targets
            .iter()
            .skip(number + 1)
            .any(|other| other.name == target.name)
        {
            bail!("two proxies are named {}", target.name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        assert_eq!(minor("PgBouncer 1.18.0"), Some((1, 18)));
        assert_eq!(minor("PgBouncer 1.25.1"), Some((1, 25)));
        assert_eq!(minor("unknown version"), None);
        assert!(minor("PgBouncer 1.18.0") < Some((1, 21)));
    }
}
