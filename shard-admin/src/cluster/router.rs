//! The router as a child of this process: its configuration file, its start, its end.

use crate::cluster::error::ClusterError;
use crate::cluster::files::{length, log_since, log_tail, open_log};
use crate::cluster::port::PortSearch;
use crate::cluster::process::{ProcessId, Signal};
use crate::cluster::settings::Auth;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the router may take until it says that it is ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may drain after SIGTERM before it is killed.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// The router's configuration, as far as a local cluster needs it.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    pub name: String,
    pub ports: Ports,
    /// For the configuration file, the state and the log; it is made where it is missing.
    pub dir: PathBuf,
    /// Towards clients. The password of [`Auth::Scram`] is also the one of the router's own role on the shards.
    pub auth: Auth,
    pub database: String,
    /// Host and port of the home shard's servers.
    pub home: Vec<(String, u16)>,
    /// Backends for each shard and role.
    pub pool_size: u32,
    /// How long clients may finish after SIGTERM, in seconds.
    pub drain_seconds: u32,
    /// Settings by environment variable, for example `SHARDGATE__POOL__SIZE`; they win over the file.
    pub env: Vec<(String, String)>,
    /// A process group of its own, so that Ctrl-C in a terminal does not reach it.
    pub own_group: bool,
}

/// The two ports on which a router listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub clients: u16,
    pub http: u16,
}

impl Ports {
    /// Two that are free now.
    pub fn free() -> Result<Ports, ClusterError> {
        let search = PortSearch::seeded();
        Ok(Ports {
            clients: search.next()?,
            http: search.next()?,
        })
    }
}

impl RouterConfig {
    /// For tests: free ports, trust, the database `app`.
    pub fn new(
        dir: impl Into<PathBuf>,
        home: Vec<(String, u16)>,
    ) -> Result<RouterConfig, ClusterError> {
        Ok(RouterConfig {
            name: "router1".to_owned(),
            ports: Ports::free()?,
            dir: dir.into(),
            auth: Auth::Trust,
            database: "app".to_owned(),
            home,
            pool_size: 20,
            drain_seconds: 2,
            env: Vec::new(),
            own_group: false,
        })
    }

    /// The text of the configuration file.
    pub fn to_toml(&self) -> String {
        let text = toml_string;
        let login = self.auth.superuser();
        let hosts: Vec<String> = self
            .home
            .iter()
            .map(|(host, port)| format!("{{ host = {}, port = {port} }}", text(host)))
            .collect();
        let mut out = String::new();
        let mut line = |line: String| {
            let _infallible = writeln!(out, "{line}");
        };
        line(format!(
            "[listen]\nhost = \"127.0.0.1\"\nport = {}\n",
            self.ports.clients
        ));
        line(format!(
            "[http]\nhost = \"127.0.0.1\"\nport = {}\n",
            self.ports.http
        ));
        let state = self.dir.join("state");
        line(format!(
            "[router]\nname = {}\nstate_dir = {}\n",
            text(&self.name),
            text(&state.display().to_string())
        ));
        line(format!("[auth]\nmethod = {}\n", text(self.auth.method())));
        line(format!(
            "[[database]]\nname = {}\nhome = [{}]",
            text(&self.database),
            hosts.join(", ")
        ));
        line(format!("admin_user = {}", text(&login.user)));
        if let Some(password) = &login.password {
            line(format!("admin_password = {}", text(password)));
        }
        line(format!("\n[pool]\nsize = {}", self.pool_size));
        line(format!(
            "\n[limits]\ndrain_timeout = {}",
            self.drain_seconds
        ));
        out
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("shardgate.toml")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("shardgate.log")
    }
}

/// A TOML basic string.
fn toml_string(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `SHARDGATE_BIN` if it is set, else `shardgate` beside the running binary (or one folder up, for test binaries).
pub fn router_binary() -> Result<PathBuf, ClusterError> {
    if let Some(chosen) = std::env::var_os("SHARDGATE_BIN").map(PathBuf::from) {
        return if chosen.is_file() {
            Ok(chosen)
        } else {
            Err(ClusterError::NoRouter {
                searched: vec![chosen],
            })
        };
    }
    let own = std::env::current_exe().map_err(ClusterError::io("find the running binary"))?;
    let searched: Vec<PathBuf> = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("shardgate"))
        .collect();
    match searched.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(ClusterError::NoRouter { searched }),
    }
}

/// A running router. Dropping it ends it: SIGTERM, and SIGKILL if it does not drain in time.
#[derive(Debug)]
pub struct RouterProcess {
    pub pid: u32,
    pub port: u16,
    pub http_port: u16,
    pub config: PathBuf,
    pub log: PathBuf,
    id: ProcessId,
    /// None: it lives on without us.
    child: Mutex<Option<Child>>,
}

impl RouterProcess {
    /// Writes the configuration, starts the binary and returns once `/readyz` says 200.
    pub fn start(binary: &Path, config: &RouterConfig) -> Result<RouterProcess, ClusterError> {
        crate::cluster::files::make_dir(&config.dir)?;
        let (file, log) = (config.file(), config.log());
        write_private(&file, &config.to_toml())?;
        let log_begin = length(&log);
        let (stdout, stderr) = open_log(&log)?;
        let mut command = Command::new(binary);
        command
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        command.envs(config.env.iter().map(|(name, value)| (name, value)));
        if config.own_group {
            command.process_group(0);
        }
        let mut child = command
            .spawn()
            .map_err(ClusterError::io(format!("start {}", binary.display())))?;
        let pid = child.id();
        let Some(id) = ProcessId::of(pid) else {
            return Err(ended(&mut child, &log, log_begin));
        };
        let router = RouterProcess {
            pid,
            port: config.ports.clients,
            http_port: config.ports.http,
            config: file,
            log,
            id,
            child: Mutex::new(Some(child)),
        };
        router.await_ready(log_begin)?;
        Ok(router)
    }

    /// `postgresql://user@127.0.0.1:port/database`, for a role that needs no password.
    pub fn url(&self, database: &str, user: &str) -> String {
        let login = crate::cluster::Login {
            user: user.to_owned(),
            password: None,
        };
        crate::cluster::connection_url(&login, "127.0.0.1", self.port, database)
    }

    pub fn process(&self) -> &ProcessId {
        &self.id
    }

    /// False once the process has ended by itself.
    pub fn is_running(&self) -> bool {
        self.id.is_alive()
    }

    pub fn signal(&self, signal: Signal) {
        self.id.signal(signal);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&self) {
        self.signal(Signal::Kill);
        self.await_end(DRAIN_DEADLINE);
    }

    /// SIGTERM, and SIGKILL if it has not ended in time.
    pub fn stop(&self) {
        self.signal(Signal::Term);
        self.await_end(DRAIN_DEADLINE);
    }

    /// Lets the router live on after this value, and after this process.
    pub fn detach(self) {
        *self.lock() = None;
    }

    /// The status code and the body of a GET on the HTTP port.
    pub fn http_get(&self, path: &str) -> Result<(u16, String), ClusterError> {
        http_get(self.http_port, path)
            .map_err(ClusterError::io(format!("read {path} from the router")))
    }

    fn await_ready(&self, log_begin: u64) -> Result<(), ClusterError> {
        let start = Instant::now();
        loop {
            if let Some(child) = self.lock().as_mut()
                && child.try_wait().is_ok_and(|status| status.is_some())
            {
                return Err(ended(child, &self.log, log_begin));
            }
            let answer = http_get(self.http_port, "/readyz");
            if answer.as_ref().is_ok_and(|(status, _)| *status == 200) {
                return Ok(());
            }
            if start.elapsed() > READY_DEADLINE {
                let said = answer.map_or_else(
                    |e| e.to_string(),
                    |(status, body)| format!("/readyz: {status} {body}"),
                );
                return Err(ClusterError::Timeout {
                    what: "the router to be ready".to_owned(),
                    seconds: READY_DEADLINE.as_secs(),
                    last: Some(format!("{said}\n{}", log_tail(&self.log))),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn await_end(&self, deadline: Duration) {
        let Some(mut child) = self.lock().take() else {
            return;
        };
        if !self.id.wait_end(deadline) {
            self.id.signal(Signal::Kill);
            self.id.wait_end(deadline);
        }
        if !self.id.is_alive() {
            let _status = child.wait();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RouterProcess {
    fn drop(&mut self) {
        if self.lock().is_some() {
            self.stop();
        }
    }
}

fn ended(child: &mut Child, log: &Path, log_begin: u64) -> ClusterError {
    ClusterError::Ended {
        name: "the router".to_owned(),
        status: child
            .wait()
            .map_or_else(|e| e.to_string(), |s| s.to_string()),
        log: log.to_owned(),
        tail: log_since(log, log_begin).trim_end().to_owned(),
    }
}

/// The file may hold a password, so nobody else may read it.
fn write_private(path: &Path, text: &str) -> Result<(), ClusterError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |source| ClusterError::Io {
        what: format!("write {}", path.display()),
        source,
    };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)
}

/// HTTP/1.1 as much as a probe needs: one request, the connection closed by the server.
fn http_get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let time = Duration::from_secs(5);
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), time)?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    match status {
        Some(status) => Ok((status, body)),
        None => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "no HTTP status line",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_strings_are_escaped() {
        let check = |value: &str, expect: &str| assert_eq!(toml_string(value), expect);
        check("plain", "\"plain\"");
        check("a\"b\\c", "\"a\\\"b\\\\c\"");
        check("a\nb", "\"a\\u000Ab\"");
    }

    #[test]
    fn the_configuration_has_what_was_asked() {
        let config = RouterConfig {
            name: "demo".to_owned(),
            ports: Ports {
                clients: 6432,
                http: 6480,
            },
            dir: PathBuf::from("/d"),
            auth: Auth::Scram("pw".to_owned()),
            database: "app".to_owned(),
            home: vec![
                ("127.0.0.1".to_owned(), 5433),
                ("127.0.0.1".to_owned(), 5434),
            ],
            pool_size: 7,
            drain_seconds: 3,
            env: Vec::new(),
            own_group: false,
        };
        let expect = "[listen]\nhost = \"127.0.0.1\"\nport = 6432\n\n[http]\nhost = \"127.0.0.1\"\nport = 6480\n\n\
            [router]\nname = \"demo\"\nstate_dir = \"/d/state\"\n\n[auth]\nmethod = \"scram-sha-256\"\n\n\
            [[database]]\nname = \"app\"\n\
            home = [{ host = \"127.0.0.1\", port = 5433 }, { host = \"127.0.0.1\", port = 5434 }]\n\
            admin_user = \"postgres\"\nadmin_password = \"pw\"\n\n[pool]\nsize = 7\n\n[limits]\ndrain_timeout = 3\n";
        assert_eq!(config.to_toml(), expect);
    }
}
