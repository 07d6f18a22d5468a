//! One Postgres server as a child of this process: started, signalled, stopped, started again.

use crate::cluster::account::Account;
use crate::cluster::address::{Login, connection_url};
use crate::cluster::binaries::PgBinaries;
use crate::cluster::error::ClusterError;
use crate::cluster::files::{length, log_since, log_tail, open_log};
use crate::cluster::process::{ProcessId, Signal};
use crate::cluster::query::{Rows, query};
use crate::cluster::settings::{self, Settings};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to accept connections. Recovery after a crash is part of it.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a killed server's port and shared memory may stay taken.
const RETRY_DEADLINE: Duration = Duration::from_secs(15);
/// How long each means of stopping is given before the next, harder one.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// What all servers of a cluster share.
#[derive(Debug)]
pub(crate) struct Runner {
    pub binaries: PgBinaries,
    pub account: Account,
    pub settings: Settings,
    /// True: a process group for each server, so that the terminal's Ctrl-C reaches only us, and we stop them in order.
    /// False: ours, so that whoever ends our group (a test runner) ends the servers too.
    pub own_group: bool,
}

impl Runner {
    /// A command that runs as the servers' account, with none of the caller's Postgres variables.
    pub(crate) fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.binaries.path(tool));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").stdin(Stdio::null());
        self.account.apply(&mut command);
        if self.own_group {
            command.process_group(0);
        }
        command
    }

    /// Runs a tool to its end; its output is the detail of the error if it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<(), ClusterError> {
        let tool = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let output = command
            .output()
            .map_err(ClusterError::io(format!("run {tool}")))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        Err(ClusterError::Tool {
            tool,
            output: String::from_utf8_lossy(&text).trim().to_owned(),
        })
    }
}

/// A server with its data directory. Dropping it stops the server, unless it was released.
#[derive(Debug)]
pub struct Node {
    /// `s1/primary`, `s1/replica1`, ..
    pub name: String,
    pub host: String,
    pub port: u16,
    pub data: PathBuf,
    pub log: PathBuf,
    pub(crate) superuser: Login,
    pub(crate) runner: Arc<Runner>,
    pub(crate) running: Mutex<Option<Running>>,
}

#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    id: ProcessId,
}

impl Node {
    /// The postmaster's process id, or None if it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(|process| process.pid)
    }

    /// The postmaster, or None if it does not run.
    pub fn process(&self) -> Option<ProcessId> {
        self.lock()
            .as_ref()
            .map(|running| running.id.clone())
            .filter(ProcessId::is_alive)
    }

    /// A libpq URL for a role that needs no password, or for the superuser with the password that it has.
    pub fn url(&self, database: &str, user: &str) -> String {
        let login = match user == self.superuser.user {
            true => self.superuser.clone(),
            false => Login {
                user: user.to_owned(),
                password: None,
            },
        };
        connection_url(&login, &self.host, self.port, database)
    }

    /// Runs SQL as the superuser on a connection of its own; blocking.
    pub fn query(&self, database: &str, sql: &str) -> Result<Rows, ClusterError> {
        query(&self.url(database, &self.superuser.user), sql)
    }

    /// Starts the server and returns once it accepts connections. Does nothing if it runs.
    ///
    /// What a killed predecessor has left (its port, its shared memory) may take a moment to go, so a start that fails
    /// for that is repeated for a while.
    pub fn start(&self) -> Result<(), ClusterError> {
        let begin = Instant::now();
        loop {
            match self.start_once() {
                Err(ClusterError::Ended { tail, .. })
                    if is_passing(&tail) && begin.elapsed() < RETRY_DEADLINE =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                result => return result,
            }
        }
    }

    /// As [`Node::start`], with one try.
    pub(crate) fn start_once(&self) -> Result<(), ClusterError> {
        if self.process().is_some() {
            return Ok(());
        }
        self.write_settings()?;
        let log_begin = length(&self.log);
        let (stdout, stderr) = open_log(&self.log)?;
        let mut command = self.runner.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .current_dir(&self.data)
            .stdout(stdout)
            .stderr(stderr);
        let mut child = command
            .spawn()
            .map_err(ClusterError::io(format!("start {}", self.name)))?;
        let Some(id) = ProcessId::of(child.id()) else {
            return Err(self.ended(&mut child, log_begin));
        };
        *self.lock() = Some(Running { child, id });
        self.await_ready(log_begin)
    }

    /// Stops the server: a fast shutdown, then an immediate one, then SIGKILL.
    pub fn stop(&self) {
        self.signal(Signal::Int);
        self.await_end(STOP_DEADLINE);
    }

    /// Stops and starts it, on the same port.
    pub fn restart(&self) -> Result<(), ClusterError> {
        self.stop();
        self.start()
    }

    /// SIGKILL to the postmaster; returns when it and its backends are gone. The data is as after a crash.
    pub fn kill9(&self) {
        let backends = self
            .process()
            .map(|process| process.children())
            .unwrap_or_default();
        self.signal(Signal::Kill);
        self.await_end(STOP_DEADLINE);
        // Backends end by themselves when they notice that the postmaster is gone; one in a long computation is slow to.
        for backend in backends {
            if !backend.wait_end(Duration::from_secs(5)) {
                backend.signal(Signal::Kill);
            }
        }
    }

    /// Signals the postmaster, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process() {
            process.signal(signal);
        }
    }

    /// Waits for the end of a server that was told to stop, and forces it when the time is over.
    pub(crate) fn await_end(&self, deadline: Duration) {
        let Some(mut running) = self.lock().take() else {
            return;
        };
        for (harder, time) in [
            (None, deadline),
            (Some(Signal::Quit), STOP_DEADLINE),
            (Some(Signal::Kill), STOP_DEADLINE),
        ] {
            if let Some(signal) = harder {
                running.id.signal(signal);
            }
            if running.id.wait_end(time) {
                break;
            }
        }
        // It has ended, so this only takes its status away from the kernel.
        if !running.id.is_alive() {
            let _status = running.child.wait();
        }
    }

    /// Forgets the process without ending it.
    pub(crate) fn release(&self) {
        *self.lock() = None;
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    fn write_settings(&self) -> Result<(), ClusterError> {
        let path = self.data.join(settings::FILE);
        let text = self.runner.settings.render(&self.data, self.port);
        std::fs::write(&path, text)
            .map_err(ClusterError::io(format!("write {}", path.display())))?;
        self.runner.account.own(&path)
    }

    /// The postmaster writes its state into `postmaster.pid`: `ready` once clients may connect, on a standby too.
    fn await_ready(&self, log_begin: u64) -> Result<(), ClusterError> {
        let start = Instant::now();
        loop {
            if let Some(running) = self.lock().as_mut() {
                let pid = running.child.id();
                if running
                    .child
                    .try_wait()
                    .is_ok_and(|status| status.is_some())
                {
                    return Err(self.ended(&mut running.child, log_begin));
                }
                if postmaster_state(&self.data, pid).as_deref() == Some("ready") {
                    return Ok(());
                }
            }
            if start.elapsed() > START_DEADLINE {
                self.signal(Signal::Quit);
                self.await_end(STOP_DEADLINE);
                return Err(ClusterError::Timeout {
                    what: format!("{} to accept connections", self.name),
                    seconds: START_DEADLINE.as_secs(),
                    last: Some(log_since(&self.log, log_begin)),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ended(&self, child: &mut Child, log_begin: u64) -> ClusterError {
        ClusterError::Ended {
            name: self.name.clone(),
            status: child
                .wait()
                .map_or_else(|e| e.to_string(), |s| s.to_string()),
            log: self.log.clone(),
            tail: log_since(&self.log, log_begin).trim_end().to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Line 8 of `postmaster.pid` (`LOCK_FILE_LINE_PM_STATUS` in Postgres's `utils/pidfile.h`), if line 1 names our child.
fn postmaster_state(data: &Path, pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.first()?.trim().parse::<u32>().ok()? != pid {
        return None;
    }
    lines.get(7).map(|state| state.trim().to_owned())
}

/// Problems that end by themselves when the processes of a killed server have gone.
fn is_passing(log: &str) -> bool {
    port_was_taken(log) || log.contains("pre-existing shared memory block")
}

/// The server found somebody else on its port.
pub(crate) fn port_was_taken(log: &str) -> bool {
    log.contains("Address already in use")
}
