//! Throw-away Postgres servers for this crate's tests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use shardgate_catalog::{Backend, InitOptions, NewShard, add_shard, hosts_of, init};
use shardgate_plan::snapshot::Host;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio_postgres::Config;

/// One server in a temporary directory, stopped when it is dropped.
pub struct Server {
    directory: tempfile::TempDir,
    pub port: u16,
}

impl Server {
    pub fn start(settings: &[&str]) -> Server {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            let owner = |flag: &str| {
                let id = Command::new("id")
                    .args([flag, "postgres"])
                    .output()
                    .unwrap()
                    .stdout;
                String::from_utf8(id)
                    .unwrap()
                    .trim()
                    .parse::<u32>()
                    .unwrap()
            };
            std::os::unix::fs::chown(directory.path(), Some(owner("-u")), Some(owner("-g")))
                .unwrap();
        }
        let data = directory.path().join("data");
        succeed(
            program("initdb")
                .args([
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "--no-sync",
                    "-D",
                ])
                .arg(&data),
        );
        // The port is free now and may be taken by somebody else before the server has it: then the next one.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut options = format!(
                "-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c wal_level=logical",
                directory.path().display()
            );
            for setting in settings {
                options.push_str(&format!(" -c {setting}"));
            }
            let mut start = program("pg_ctl");
            start
                .arg("-D")
                .arg(&data)
                .arg("-l")
                .arg(directory.path().join("log"))
                .args(["-w", "-o", &options, "start"]);
            if start.stdout(Stdio::null()).status().unwrap().success() {
                return Server { directory, port };
            }
        }
        panic!(
            "{}",
            std::fs::read_to_string(directory.path().join("log")).unwrap()
        );
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .user("postgres")
            .dbname("postgres")
            .host("127.0.0.1")
            .port(self.port);
        config
    }

    pub fn hosts(&self) -> Vec<Host> {
        hosts_of(&self.config())
    }

    pub async fn connect(&self) -> Backend {
        Backend::primary(&self.config(), "the server")
            .await
            .unwrap()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Kills every process of the server at once, as a crash would.
    pub fn stop(&self) {
        succeed(program("pg_ctl").arg("-D").arg(self.data()).args([
            "-w",
            "-m",
            "immediate",
            "stop",
        ]));
    }

    /// Starts it again with the same options.
    pub fn restart(&self) {
        let mut restart = program("pg_ctl");
        restart
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.directory.path().join("log"))
            .args(["-w", "-m", "immediate", "restart"]);
        // The server inherits the pipes: waiting for their end would wait for the server's.
        assert!(restart.stdout(Stdio::null()).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = program("pg_ctl");
        stop.arg("-D")
            .arg(self.data())
            .args(["-w", "-m", "immediate", "stop"]);
        // A test may have stopped it already.
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    id.trim_ascii() == b"0"
}

/// A server program, run as the user postgres when this is root: Postgres refuses to run as root.
fn program(name: &str) -> Command {
    let path = binaries().join(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/");
    command
}

/// Where the server's programs are: the newest version under Debian's directory, or wherever pg_config says.
fn binaries() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().unwrap_or_else(|| {
        let said = Command::new("pg_config")
            .arg("--bindir")
            .output()
            .expect("no Postgres server is installed")
            .stdout;
        PathBuf::from(String::from_utf8(said).unwrap().trim())
    })
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A home shard `s1` and further shards `s2`, `s3`, ..
pub struct Cluster {
    pub servers: Vec<Server>,
    pub home: Backend,
}

impl Cluster {
    pub async fn start(shards: usize) -> Cluster {
        Cluster::start_with(shards, &["max_prepared_transactions=10"]).await
    }

    pub async fn start_with(shards: usize, settings: &[&str]) -> Cluster {
        let servers: Vec<Server> = (0..shards).map(|_| Server::start(settings)).collect();
        let mut home = servers[0].connect().await;
        let options = InitOptions {
            shard_name: "s1".to_owned(),
            weight: 100,
            hosts: servers[0].hosts(),
        };
        init(&mut home, &options).await.unwrap();
        for (number, server) in servers.iter().enumerate().skip(1) {
            let new = NewShard {
                name: format!("s{}", number + 1),
                hosts: server.hosts(),
                weight: 100,
                dbname: None,
            };
            add_shard(&mut home, &new).await.unwrap();
        }
        Cluster { servers, home }
    }

    pub fn config(&self) -> Config {
        self.servers[0].config()
    }
}

/// One text value.
pub async fn text(backend: &Backend, sql: &str) -> String {
    let row = backend
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.get::<_, Option<String>>(0)
        .unwrap_or_else(|| "NULL".to_owned())
}
