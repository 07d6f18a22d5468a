//! One run of pgbench against one proxy: throughput, latencies, and what the proxy used meanwhile.
//!
//! The first second warms up. pgbench reports its progress each second; the proxy's processor time is taken at these
//! moments, so it belongs to the transactions counted between them, and connecting is not among them.

use crate::arguments::Mode;
use crate::cases::Case;
use crate::end::End;
use crate::figures::{Figures, quantile};
use crate::servers::USER;
use crate::targets::Target;
use crate::usage::{self, Cpu};
use anyhow::{Context, Result, bail, ensure};
use shard_admin::cluster::PgBinaries;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a run may take beyond its time, connecting and disconnecting among it.
const GRACE: Duration = Duration::from_secs(90);
/// pgbench's own threads.
const THREADS_MAX: u32 = 2;
/// Latencies that one run may write to its log, about.
const LOGGED_MAX: f64 = 200_000.0;
/// More transactions per second than this machine can do, to choose the part that is logged before the run.
const PER_SECOND_MAX: f64 = 100_000.0;

/// Clients that connect within a second, whatever they connect to; pgbench's time runs meanwhile.
const CONNECTS_PER_SECOND: u32 = 150;

#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub case: Case,
    pub mode: Mode,
    pub clients: u32,
    pub seconds: u32,
    /// The case's script.
    pub script: &'a Path,
    /// An empty folder for pgbench's logs, which are removed after the run.
    pub logs: &'a Path,
}

impl Load<'_> {
    /// What pgbench is told: a second to warm up, and time to connect.
    fn seconds_with_connecting(&self) -> u32 {
        self.seconds + 1 + self.clients / CONNECTS_PER_SECOND
    }

    /// Reports at the beginning that do not count: while a crowd connects, the first ones have a head start.
    fn reports_of_a_crowd(&self) -> usize {
        match self.clients < CONNECTS_PER_SECOND {
            true => 0,
            false => 2,
        }
    }
}

/// A report of pgbench with what the proxy had used when it came.
struct Mark {
    /// Seconds since 1970, of pgbench.
    at: f64,
    per_second: f64,
    cpu: Cpu,
}

pub fn run(load: &Load<'_>, target: &Target, end: &End) -> Result<Figures> {
    let processes = target.processes();
    usage::reset_peak(&processes);
    let mut child = command(load, target)?.spawn().context("start pgbench")?;
    let lines = lines_of(child.stderr.take().context("no stderr")?);
    let deadline =
        Instant::now() + Duration::from_secs(load.seconds_with_connecting().into()) + GRACE;
    let watched = watch(&lines, deadline, end, || Cpu::of(&target.processes()));
    if watched.is_err() {
        // The run is given up; pgbench's own words would only say that it was killed.
        let _ended = child.kill();
    }
    let stdout = finish(&mut child)?;
    let (marks, complaints) = watched?;
    ensure!(
        stdout.status && complaints.is_empty(),
        "pgbench failed:\n{}\n{}",
        complaints.join("\n"),
        stdout.text
    );
    ensure!(
        stdout.text.contains("number of failed transactions: 0 "),
        "transactions failed:\n{}",
        stdout.text
    );
    let figures = figures(load, &marks, !processes.is_empty())?;
    let peak_bytes = match target.processes().as_slice() {
        [] => None,
        processes => Some(usage::peak(processes)? as f64),
    };
    Ok(Figures {
        peak_bytes,
        ..figures
    })
}

fn command(load: &Load<'_>, target: &Target) -> Result<Command> {
    let binaries = PgBinaries::find().map_err(crate::servers::full)?;
    let expected = PER_SECOND_MAX * f64::from(load.seconds_with_connecting());
    let rate = match load.case {
        Case::Connect | Case::Pipeline => 1.0,
        _ => (LOGGED_MAX / expected).min(1.0),
    };
    let mut command = Command::new(binaries.path("pgbench"));
    command
        .args(["-n", "-h", "127.0.0.1", "-U", USER, "-P", "1"])
        .arg("--progress-timestamp")
        .args(["-p", &target.port.to_string()])
        .args(["-c", &load.clients.to_string()])
        .args(["-j", &load.clients.min(THREADS_MAX).to_string()])
        .args(["-T", &load.seconds_with_connecting().to_string()])
        .args(["-M", load.mode.word()])
        .arg("-f")
        .arg(load.script)
        .args(["--log", &format!("--sampling-rate={rate}")])
        .arg(format!("--log-prefix={}", load.logs.join("run").display()));
    if load.case == Case::Connect {
        command.arg("-C");
    }
    command
        .arg(target.database)
        .env("PGSSLMODE", "disable")
        .env("PGGSSENCMODE", "disable")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// The lines as they come; a thread of its own, because a pipe cannot be read with a deadline.
fn lines_of(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            // Unreadable, or nobody listens any more.
            if line.map_or(true, |line| sender.send(line).is_err()) {
                break;
            }
        }
    });
    receiver
}

/// Reads to the end of the lines: the reports, and whatever else was said.
fn watch(
    lines: &Receiver<String>,
    deadline: Instant,
    end: &End,
    cpu: impl Fn() -> Cpu,
) -> Result<(Vec<Mark>, Vec<String>)> {
    let (mut marks, mut complaints) = (Vec::new(), Vec::new());
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => match progress(&line) {
                Some((at, per_second)) => marks.push(Mark {
                    at,
                    per_second,
                    cpu: cpu(),
                }),
                None if line.trim().is_empty() || line.starts_with("pgbench (") => {}
                None => complaints.push(line),
            },
            Err(RecvTimeoutError::Disconnected) => return Ok((marks, complaints)),
            Err(RecvTimeoutError::Timeout) => {
                end.check()?;
                if Instant::now() > deadline {
                    bail!("pgbench did not end in time: {}", complaints.join("\n"));
                }
            }
        }
    }
}

struct Finished {
    status: bool,
    text: String,
}

fn finish(child: &mut Child) -> Result<Finished> {
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    Ok(Finished {
        status: status.success(),
        text,
    })
}

/// `progress: 1795510000.123 s, 15234.5 tps, lat 1.044 ms stddev 0.300, 0 failed`
fn progress(line: &str) -> Option<(f64, f64)> {
    let rest = line.strip_prefix("progress: ")?;
    let mut parts = rest.split(", ");
    let at = parts.next()?.strip_suffix(" s")?.parse().ok()?;
    let per_second = parts.next()?.strip_suffix(" tps")?.parse().ok()?;
    Some((at, per_second))
}

fn figures(load: &Load<'_>, marks: &[Mark], has_process: bool) -> Result<Figures> {
    let marks = marks.get(load.reports_of_a_crowd()..).unwrap_or_default();
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        bail!("pgbench has reported no progress");
    };
    let count: f64 = marks
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] => Some(after.per_second * (after.at - before.at)),
            _ => None,
        })
        .sum();
    let seconds = last.at - first.at;
    ensure!(
        count > 0.0 && seconds > 0.0,
        "no transaction after the first second"
    );
    let cpu_us = has_process.then(|| last.cpu.since(&first.cpu) as f64 / 1000.0 / count);
    let latencies = latencies(load.logs, first.at)?;
    Ok(Figures {
        per_second: Some(count / seconds),
        p50_us: quantile(&latencies, 0.5),
        p99_us: quantile(&latencies, 0.99),
        cpu_us,
        ..Figures::default()
    })
}

/// Microseconds of the logged transactions that ended after `from`, sorted; the logs are removed.
///
/// A line is: client, transaction, microseconds, script, second and microsecond of the end (pgbench, "Per-Transaction
/// Logging").
fn latencies(logs: &Path, from: f64) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        for line in BufReader::new(std::fs::File::open(&path)?).lines() {
            let line = line?;
            let fields: Vec<&str> = line.split(' ').collect();
            if let [_, _, latency, _, second, ..] = fields.as_slice()
                && second
                    .parse::<f64>()
                    .is_ok_and(|second| second >= from.floor())
                && let Ok(latency) = latency.parse()
            {
                all.push(latency);
            }
        }
        std::fs::remove_file(&path)?;
    }
    all.sort_unstable();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let check =
            |line: &str, expect: Option<(f64, f64)>| assert_eq!(progress(line), expect, "{line}");
        check(
            "progress: 1795510000.123 s, 15234.5 tps, lat 1.044 ms stddev 0.300, 0 failed",
            Some((1_795_510_000.123, 15_234.5)),
        );
        check(
            "progress: 1.0 s, 0.0 tps, lat 0.000 ms stddev 0.000, 0 failed",
            Some((1.0, 0.0)),
        );
        check("pgbench: error: client 3 aborted", None);
    }

    #[test]
    fn the_first_second_does_not_count() {
        let logs = tempfile::tempdir().unwrap();
        let mark = |at: f64, per_second: f64| Mark {
            at,
            per_second,
            cpu: Cpu::default(),
        };
        std::fs::write(
            logs.path().join("run.1"),
            "0 1 900 0 100 5\n0 2 10 0 101 7\n1 1 30 0 102 9\n1 2 20 0 102 9\n",
        )
        .unwrap();
        let load = Load {
            case: Case::Home,
            mode: Mode::Simple,
            clients: 2,
            seconds: 2,
            script: Path::new("script"),
            logs: logs.path(),
        };
        let marks = [mark(101.0, 5.0), mark(102.0, 10.0), mark(103.5, 20.0)];
        let figures = figures(&load, &marks, false).unwrap();
        assert_eq!(figures.per_second, Some(40.0 / 2.5));
        assert_eq!((figures.p50_us, figures.p99_us), (Some(20.0), Some(30.0)));
        assert_eq!(std::fs::read_dir(logs.path()).unwrap().count(), 0);
    }
}
