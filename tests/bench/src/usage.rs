//! What a process has used, as the kernel counts it: processor time and memory, all its threads and children together.

use anyhow::{Context, Result};
use shard_admin::cluster::ProcessId;
use std::collections::HashMap;
use std::fs;

/// The kernel's unit of `/proc/PID/stat`, the same on all usual machines (USER_HZ, proc(5)).
const TICKS_PER_SECOND: u64 = 100;
const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// Processor time at one moment; the difference of two is what was used between them.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    /// Nanoseconds of each living thread, by thread id: precise, but a thread that ends takes its time along.
    threads: HashMap<u32, u64>,
    /// User and system time in ticks, ended threads and waited-for children among them.
    ticks: u64,
}

impl Cpu {
    pub fn of(processes: &[ProcessId]) -> Cpu {
        let mut cpu = Cpu::default();
        for process in processes {
            let pid = process.pid;
            cpu.ticks += ticks(pid).unwrap_or(0);
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                let thread = task.file_name().to_str().and_then(|n| n.parse().ok());
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
                if let (Some(thread), Some(nanos)) = (thread, nanos) {
                    cpu.threads.insert(thread, nanos);
                }
            }
        }
        cpu
    }

    /// Nanoseconds used since `earlier`.
    pub fn since(&self, earlier: &Cpu) -> u64 {
        let precise: u64 = self
            .threads
            .iter()
            .map(|(thread, now)| {
                now.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0))
            })
            .sum();
        let coarse = self.ticks.saturating_sub(earlier.ticks) * NANOS_PER_TICK;
        // The ticks are right to two of them; more than that is time of threads that have ended.
        if coarse > precise + 2 * NANOS_PER_TICK {
            coarse
        } else {
            precise
        }
    }
}

/// Fields 14 to 17 of `/proc/PID/stat`: user and system time, own and of waited-for children.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields
        .get(11..15)?
        .iter()
        .map(|field| field.parse::<u64>().ok())
        .sum()
}

/// The process with its living descendants.
pub fn family(process: &ProcessId) -> Vec<ProcessId> {
    let mut all = vec![process.clone()];
    let mut next = 0;
    while let Some(parent) = all.get(next).cloned() {
        all.extend(parent.children());
        next += 1;
    }
    all
}

/// Resident bytes now.
pub fn resident(processes: &[ProcessId]) -> Result<u64> {
    sum(processes, "VmRSS:")
}

/// The most resident bytes since [`reset_peak`].
pub fn peak(processes: &[ProcessId]) -> Result<u64> {
    sum(processes, "VmHWM:")
}

/// Forgets the peaks of before, where the kernel lets us: proc(5), `clear_refs`.
pub fn reset_peak(processes: &[ProcessId]) {
    for process in processes {
        // Not permitted for a stranger's process: its peak is then that of its whole life.
        let _not_permitted = fs::write(format!("/proc/{}/clear_refs", process.pid), "5");
    }
}

fn sum(processes: &[ProcessId], field: &str) -> Result<u64> {
    processes
        .iter()
        .map(|process| {
            let path = format!("/proc/{}/status", process.pid);
            let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
            Ok(kib.with_context(|| format!("no {field} in {path}"))? * 1024)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_and_memory_are_seen() {
        let own = [ProcessId::current().unwrap()];
        let before = Cpu::of(&own);
        let mut sum = 0u64;
        while Cpu::of(&own).since(&before) < 5_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident(&own).unwrap() > 100_000);
        assert!(peak(&own).unwrap() >= resident(&own).unwrap() / 2);
    }

    #[test]
    fn the_time_of_ended_threads_is_not_lost() {
        let cpu = |threads: &[(u32, u64)], ticks| Cpu {
            threads: threads.iter().copied().collect(),
            ticks,
        };
        let before = cpu(&[(1, 100), (2, 50_000_000)], 10);
        assert_eq!(cpu(&[(1, 300), (2, 50_000_000)], 10).since(&before), 200);
        assert_eq!(
            cpu(&[(1, 300), (3, 7), (2, 50_000_000)], 11).since(&before),
            207
        );
        assert_eq!(cpu(&[(1, 300)], 50).since(&before), 400_000_000);
    }
}
