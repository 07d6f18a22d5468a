//! A proxy as a child process that ends with this program.

use anyhow::{Context, Result, bail};
use shard_admin::cluster::{Account, ProcessId, Signal};
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_DEADLINE: Duration = Duration::from_secs(20);
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Dropping it ends it: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    pub id: ProcessId,
    name: String,
    log: PathBuf,
}

impl ChildProcess {
    /// Starts the command as the servers' account (poolers refuse to run as root), in a process group of its own, and
    /// returns when something listens on the port.
    pub fn start(
        name: &str,
        mut command: Command,
        log: &Path,
        port: u16,
        account: &Account,
    ) -> Result<ChildProcess> {
        let file = File::options().create(true).append(true).open(log)?;
        account.apply(&mut command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| {
                format!("cannot start {name} ({command:?}); \"bash tests/setup.sh bench\" installs the usual ones, --without {name} leaves it out")
            })?;
        let Some(id) = ProcessId::of(child.id()) else {
            child.wait()?;
            bail!("{name} ended at once; see {}", log.display());
        };
        let process = ChildProcess {
            child,
            id,
            name: name.to_owned(),
            log: log.to_owned(),
        };
        process.await_port(port)?;
        Ok(process)
    }

    fn await_port(&self, port: u16) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !self.id.is_alive() || start.elapsed() > READY_DEADLINE {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} does not listen on port {port}:\n{said}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // A shell's children first, for they would outlive it.
        let family: Vec<ProcessId> = self
            .id
            .children()
            .into_iter()
            .chain([self.id.clone()])
            .collect();
        for signal in [Signal::Term, Signal::Kill] {
            for process in &family {
                process.signal(signal);
            }
            if family.iter().all(|process| process.wait_end(END_DEADLINE)) {
                break;
            }
        }
        if !self.id.is_alive() {
            let _status = self.child.wait();
        }
    }
}
