//! Makes a cluster: the data directories, then the servers, shard by shard in parallel.
//!
//! Each shard has an `initdb` of its own and is not a copy of one template: copies would share the system identifier,
//! by which servers of different shards are told apart. It costs half a second for each shard, and they run in parallel.

use crate::cluster::account::Account;
use crate::cluster::address::Login;
use crate::cluster::binaries::PgBinaries;
use crate::cluster::error::ClusterError;
use crate::cluster::files::{make_dir, reachable_by};
use crate::cluster::node::{Node, Runner, port_was_taken};
use crate::cluster::port::PortSearch;
use crate::cluster::settings::{self, Auth, Settings};
use crate::cluster::{Cluster, Shard, node_paths, single_value};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a server is tried on another port when somebody was quicker.
const PORT_TRIES: u32 = 5;
/// How long the replicas may take until all of them stream.
const STREAM_DEADLINE: Duration = Duration::from_secs(60);

/// What a cluster is to be like; [`ClusterBuilder::start`] makes it.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    shards: u16,
    replicas: u16,
    dir: Option<PathBuf>,
    auth: Auth,
    databases: Vec<String>,
    fsync: bool,
    max_connections: u32,
    own_group: bool,
    extra: Vec<(String, String)>,
    ports: Vec<Vec<u16>>,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        ClusterBuilder {
            shards: 2,
            replicas: 1,
            dir: None,
            auth: Auth::Trust,
            databases: vec!["app".to_owned()],
            fsync: false,
            max_connections: 300,
            own_group: false,
            extra: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl ClusterBuilder {
    /// Default 2.
    pub fn shards(mut self, count: u16) -> Self {
        self.shards = count;
        self
    }

    /// Streaming replicas for each shard; default 1.
    pub fn replicas(mut self, count: u16) -> Self {
        self.replicas = count;
        self
    }

    /// Where the data goes. Default: a temporary directory that is removed with the cluster.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Default [`Auth::Trust`].
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// The database that is created on every shard; default `app`.
    pub fn database(mut self, name: &str) -> Self {
        self.databases = vec![name.to_owned()];
        self
    }

    /// Default off: the data outlives a killed server, but not a crash of the machine.
    pub fn fsync(mut self, on: bool) -> Self {
        self.fsync = on;
        self
    }

    /// Of each server; default 300.
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = count;
        self
    }

    /// One more line of every server's configuration; it wins over the defaults.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A process group for each server, so that Ctrl-C in a terminal does not reach them; default off.
    pub fn own_group(mut self, on: bool) -> Self {
        self.own_group = on;
        self
    }

    /// The ports of a stopped cluster in its directory, shard by shard, the primary first: it is started again with them.
    pub fn reopen(mut self, ports: Vec<Vec<u16>>) -> Self {
        self.ports = ports;
        self
    }

    /// Makes the data directories (unless [`ClusterBuilder::reopen`] was called) and starts everything.
    ///
    /// Returns when all servers accept connections and all replicas stream. When it fails, what was started is ended.
    pub fn start(self) -> Result<Cluster, ClusterError> {
        self.start_seen(&|_| Ok(()))
    }

    /// As [`ClusterBuilder::start`]; `seen` is told of each server right after it has been started, so that the caller
    /// can write down what would have to be ended if the caller were killed now.
    pub fn start_seen(
        self,
        seen: &(dyn Fn(&Node) -> Result<(), ClusterError> + Sync),
    ) -> Result<Cluster, ClusterError> {
        let account = Account::find()?;
        let (dir, temporary) = self.directory(&account)?;
        let runner = Arc::new(Runner {
            binaries: PgBinaries::find()?,
            account,
            settings: Settings {
                fsync: self.fsync,
                max_connections: self.max_connections,
                extra: self.extra.clone(),
            },
            own_group: self.own_group,
        });
        let maker = Maker {
            plan: &self,
            dir: &dir,
            runner,
            search: PortSearch::seeded(),
            seen,
        };
        let made: Vec<Result<Shard, ClusterError>> = std::thread::scope(|scope| {
            let maker = &maker;
            let threads: Vec<_> = (0..self.shard_count())
                .map(|i| scope.spawn(move || maker.shard(i)))
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                .collect()
        });
        let mut cluster = Cluster {
            dir: dir.clone(),
            shards: Vec::new(),
            temporary,
        };
        let mut problem = None;
        for shard in made {
            match shard {
                Ok(shard) => cluster.shards.push(shard),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        if problem.is_none() && self.ports.is_empty() {
            problem = share_verifier(&cluster, &self.auth).err();
        }
        match problem {
            None => Ok(cluster),
            // The drop of `cluster` ends the shards that did start.
            Some(error) => Err(error),
        }
    }

    fn shard_count(&self) -> usize {
        if self.ports.is_empty() {
            usize::from(self.shards)
        } else {
            self.ports.len()
        }
    }

    fn directory(
        &self,
        account: &Account,
    ) -> Result<(PathBuf, Option<tempfile::TempDir>), ClusterError> {
        let (dir, temporary) = match &self.dir {
            Some(dir) => {
                make_dir(dir)?;
                (
                    dir.canonicalize()
                        .map_err(ClusterError::io(format!("open {}", dir.display())))?,
                    None,
                )
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("shardgate-").tempdir();
                let temporary =
                    temporary.map_err(ClusterError::io("create a temporary directory"))?;
                let open = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(temporary.path(), open)
                    .map_err(ClusterError::io("open the temporary directory"))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        reachable_by(account, &dir)?;
        Ok((dir, temporary))
    }
}

/// What the threads that make one shard each share.
struct Maker<'a> {
    plan: &'a ClusterBuilder,
    dir: &'a Path,
    runner: Arc<Runner>,
    search: PortSearch,
    seen: &'a (dyn Fn(&Node) -> Result<(), ClusterError> + Sync),
}

impl Maker<'_> {
    fn shard(&self, index: usize) -> Result<Shard, ClusterError> {
        let name = format!("s{}", index + 1);
        let folder = self.dir.join(&name);
        make_dir(&folder)?;
        self.runner.account.own(&folder)?;
        let known = self
            .plan
            .ports
            .get(index)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if known.is_empty() {
            self.new_shard(name)
        } else {
            self.old_shard(name, known)
        }
    }

    /// On an error the nodes are dropped, and with them their servers.
    fn new_shard(&self, name: String) -> Result<Shard, ClusterError> {
        let mut primary = self.node(&name, "primary", 0);
        self.initdb(&primary)?;
        self.start_anywhere(&mut primary)?;
        for database in &self.plan.databases {
            primary.query("postgres", &format!("CREATE DATABASE {}", quoted(database)))?;
        }
        let mut replicas = Vec::new();
        for number in 1..=self.plan.replicas {
            let mut replica = self.node(&name, &format!("replica{number}"), 0);
            self.copy(&primary, &replica, number)?;
            self.start_anywhere(&mut replica)?;
            replicas.push(replica);
        }
        let shard = Shard {
            name,
            primary,
            replicas,
        };
        shard.wait_streaming(STREAM_DEADLINE)?;
        Ok(shard)
    }

    fn old_shard(&self, name: String, ports: &[u16]) -> Result<Shard, ClusterError> {
        let primary = self.node(&name, "primary", ports.first().copied().unwrap_or(0));
        let replicas = ports.iter().skip(1).enumerate();
        let replicas = replicas
            .map(|(i, port)| self.node(&name, &format!("replica{}", i + 1), *port))
            .collect();
        let shard = Shard {
            name,
            primary,
            replicas,
        };
        for node in shard.nodes() {
            node.start()?;
            (self.seen)(node)?;
        }
        shard.wait_streaming(STREAM_DEADLINE)?;
        Ok(shard)
    }

    fn node(&self, shard: &str, node: &str, port: u16) -> Node {
        let (data, log) = node_paths(self.dir, shard, node);
        Node {
            name: format!("{shard}/{node}"),
            host: "127.0.0.1".to_owned(),
            port,
            data,
            log,
            superuser: self.plan.auth.superuser(),
            runner: Arc::clone(&self.runner),
            running: Mutex::new(None),
        }
    }

    /// A port is only known to be free until somebody takes it, so the start is tried on a few.
    fn start_anywhere(&self, node: &mut Node) -> Result<(), ClusterError> {
        let mut tries = 1;
        loop {
            node.port = self.search.next()?;
            match node.start_once() {
                Err(ClusterError::Ended { tail, .. })
                    if port_was_taken(&tail) && tries < PORT_TRIES =>
                {
                    tries += 1
                }
                Err(error) => return Err(error),
                Ok(()) => return (self.seen)(node),
            }
        }
    }

    /// C.UTF-8 orders by bytes as range maps of text do, and still knows letters outside of ASCII; C is everywhere.
    fn initdb(&self, primary: &Node) -> Result<(), ClusterError> {
        let first = self.initdb_with("C.UTF-8", primary);
        let result = match first {
            Err(ClusterError::Tool { output, .. }) if output.contains("locale") => {
                self.initdb_with("C", primary)
            }
            other => other,
        };
        result?;
        let conf = primary.data.join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&conf)
            .map_err(ClusterError::io(format!("open {}", conf.display())))?;
        writeln!(file, "\ninclude_if_exists = '{}'", settings::FILE)
            .map_err(ClusterError::io(format!("write {}", conf.display())))
    }

    fn initdb_with(&self, locale: &str, primary: &Node) -> Result<(), ClusterError> {
        let login = &primary.superuser;
        let mut command = self.runner.command("initdb");
        command.arg("-D").arg(&primary.data).args([
            "-U",
            &login.user,
            "-A",
            self.plan.auth.method(),
        ]);
        command.args([
            "-E",
            "UTF8",
            "--no-instructions",
            &format!("--locale={locale}"),
        ]);
        if !self.plan.fsync {
            command.arg("--no-sync");
        }
        let Some(password) = &login.password else {
            return self.runner.run(&mut command);
        };
        // The file is readable by its owner alone, from its first byte on.
        let mut file =
            tempfile::NamedTempFile::new().map_err(ClusterError::io("create a password file"))?;
        writeln!(file, "{password}").map_err(ClusterError::io("write the password file"))?;
        self.runner.account.own(file.path())?;
        self.runner.run(command.arg("--pwfile").arg(file.path()))
    }

    /// `-R` writes the primary's address and `standby.signal`; the slot keeps the WAL that a stopped replica still needs.
    fn copy(&self, primary: &Node, replica: &Node, number: u16) -> Result<(), ClusterError> {
        let Login { user, password } = &primary.superuser;
        let mut command = self.runner.command("pg_basebackup");
        let source = format!(
            "host={} port={} user={user} application_name=replica{number}",
            primary.host, primary.port
        );
        command.args(["-d", &source, "-R", "-X", "stream", "-c", "fast", "-C"]);
        command
            .args(["-S", &format!("shardgate_replica{number}")])
            .arg("-D")
            .arg(&replica.data);
        if !self.plan.fsync {
            command.arg("--no-sync");
        }
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        self.runner.run(&mut command)
    }
}

/// Gives the superuser of all shards the verifier of the first: initdb salts each, and a router that hands a client's
/// proof of its password on to the shards needs one salt.
fn share_verifier(cluster: &Cluster, auth: &Auth) -> Result<(), ClusterError> {
    let (Auth::Scram(_), Some((first, others))) = (auth, cluster.shards.split_first()) else {
        return Ok(());
    };
    let rows = first.primary.query(
        "postgres",
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'",
    )?;
    let verifier = single_value(&rows).unwrap_or_default();
    for shard in others {
        shard.primary.query(
            "postgres",
            &format!("ALTER ROLE postgres PASSWORD '{verifier}'"),
        )?;
        shard.wait_caught_up(STREAM_DEADLINE)?;
    }
    Ok(())
}

/// A quoted SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
