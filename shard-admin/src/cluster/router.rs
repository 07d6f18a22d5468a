//! The router as a child of this process: its start, its end, its probes.

use crate::cluster::error::ClusterError;
use crate::cluster::files::{length, log_since, log_tail, open_log};
use crate::cluster::process::{ProcessId, Signal};
use crate::cluster::router_config::RouterConfig;
use std::io::{Read, Write};
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
