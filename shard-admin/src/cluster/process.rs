//! Processes by id and birth, so that a number which the kernel has given to somebody else is never signalled.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The signals that servers understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Hup,
    /// Postgres: fast shutdown.
    Int,
    /// Postgres: immediate shutdown.
    Quit,
    /// Postgres: smart shutdown, which waits for the clients. The router: drain.
    Term,
    Kill,
    Stop,
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Hup => "HUP",
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }
}

/// One process of this machine since it was installed: the kernel re-uses ids, but not with the same birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: u32,
    /// The boot and the tick of the start where `/proc` tells them; elsewhere the start as `ps` prints it.
    pub birth: String,
}

impl ProcessId {
    /// None if no such process lives.
    pub fn of(pid: u32) -> Option<ProcessId> {
        birth(pid).map(|birth| ProcessId { pid, birth })
    }

    pub fn current() -> Option<ProcessId> {
        ProcessId::of(std::process::id())
    }

    /// False also for a zombie: it has ended, only its parent has not asked yet.
    pub fn is_alive(&self) -> bool {
        birth(self.pid).is_some_and(|birth| birth == self.birth)
    }

    /// Sends the signal if the process still lives.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }

    /// True once the process has ended; false when the time is over.
    pub fn wait_end(&self, deadline: Duration) -> bool {
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// The living processes of these programs which have an argument that is a path inside of `dir`.
    ///
    /// Only the programs' own command lines are seen: one that has rewritten its title does not match.
    pub fn working_in(dir: &Path, programs: &[&str]) -> Vec<ProcessId> {
        // A server is started with the real path, which differs where `dir` leads through a symbolic link.
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let inside = |arg: &String| {
            let path = Path::new(arg);
            path != dir && (path.starts_with(dir) || path.starts_with(&real))
        };
        let matches = |arguments: &[String]| {
            let program = arguments
                .first()
                .map(Path::new)
                .and_then(Path::file_name)
                .and_then(|name| name.to_str());
            program.is_some_and(|name| programs.contains(&name)) && arguments.iter().any(inside)
        };
        let all = command_lines()
            .into_iter()
            .filter(|(_, arguments)| matches(arguments));
        all.filter_map(|(pid, _)| ProcessId::of(pid)).collect()
    }

    /// Those children of the process that live now.
    pub fn children(&self) -> Vec<ProcessId> {
        all_parents()
            .into_iter()
            .filter(|(_, parent)| *parent == self.pid)
            .filter_map(|(pid, _)| ProcessId::of(pid))
            .collect()
    }
}

/// The shell's built-in `kill` is there on every system and needs no unsafe call.
fn send(pid: u32, signal: Signal) {
    // A process that has just ended makes `kill` fail, which is what was wanted.
    let _ended_already = Command::new("/bin/sh")
        .args([
            "-c",
            "kill -s \"$0\" \"$1\"",
            signal.name(),
            &pid.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn birth(pid: u32) -> Option<String> {
    if !has_proc() {
        let pid = pid.to_string();
        let output = Command::new("ps")
            .args(["-o", "stat=", "-o", "lstart=", "-p", &pid])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (state, start) = text.split_once(' ')?;
        return (!state.starts_with('Z')).then(|| start.trim().to_owned());
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat_fields(&stat)?;
    let (state, start) = (fields.first()?, fields.get(19)?);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    (!matches!(*state, "Z" | "X")).then(|| format!("{}/{start}", boot.trim()))
}

/// Process and parent, for every process that we may see.
fn all_parents() -> Vec<(u32, u32)> {
    if !has_proc() {
        let output = Command::new("ps")
            .args(["-A", "-o", "pid=", "-o", "ppid="])
            .output();
        let text = output
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        return text
            .lines()
            .filter_map(|line| {
                let mut numbers = line.split_whitespace().map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            })
            .collect();
    }
    let parent = |pid: u32| -> Option<(u32, u32)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, stat_fields(&stat)?.get(1)?.parse().ok()?))
    };
    proc_pids().into_iter().filter_map(parent).collect()
}

/// Process and arguments, the program first. Where there is no `/proc`, arguments with spaces come in pieces.
fn command_lines() -> Vec<(u32, Vec<String>)> {
    if !has_proc() {
        let output = Command::new("ps")
            .args(["-A", "-o", "pid=", "-o", "args="])
            .output();
        let text = output
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        return text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                Some((words.next()?.parse().ok()?, words.collect()))
            })
            .collect();
    }
    let arguments = |pid: u32| -> Option<(u32, Vec<String>)> {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = bytes
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        Some((pid, words.collect()))
    };
    proc_pids().into_iter().filter_map(arguments).collect()
}

fn proc_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn has_proc() -> bool {
    std::path::Path::new("/proc/self/stat").exists()
}

/// The fields of `/proc/PID/stat` from the third on (state, parent, ..): proc(5). The second is the name in brackets,
/// which may hold spaces and brackets itself, so the last bracket is the one that counts.
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let fields = stat_fields("12 (a) b (c)) S 7 1 2 3").unwrap();
        assert_eq!(fields, ["S", "7", "1", "2", "3"]);
    }

    #[test]
    fn a_child_is_seen_signalled_and_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_alive());
        assert!(ProcessId::current().unwrap().children().contains(&id));
        let stranger = ProcessId {
            pid: id.pid,
            birth: "another birth".to_owned(),
        };
        stranger.signal(Signal::Kill);
        assert!(id.is_alive(), "a re-used id must not be signalled");
        id.signal(Signal::Term);
        assert!(
            id.wait_end(Duration::from_secs(5)),
            "a zombie counts as ended"
        );
        child.wait().unwrap();
        assert_eq!(ProcessId::of(id.pid), None);
    }

    #[test]
    fn a_process_is_found_by_the_directory_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut child = Command::new("tail")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        let start = Instant::now();
        // Until it has become `tail`, the child is a copy of this process.
        while ProcessId::working_in(dir.path(), &["tail"]).is_empty()
            && start.elapsed() < Duration::from_secs(5)
        {
            std::thread::yield_now();
        }
        assert_eq!(
            ProcessId::working_in(dir.path(), &["postgres", "tail"]),
            [id]
        );
        assert_eq!(ProcessId::working_in(dir.path(), &["postgres"]), []);
        assert_eq!(ProcessId::working_in(&dir.path().join("fi"), &["tail"]), []);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
