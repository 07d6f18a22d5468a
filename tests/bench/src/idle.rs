//! Clients that are connected and do nothing: what each costs the proxy in memory.
//!
//! The proxy is started anew before, and a few clients come and go, so that pools and caches do not count.

use crate::client::Client;
use crate::end::End;
use crate::figures::Figures;
use crate::targets::Target;
use crate::usage::{self, Cpu};
use anyhow::{Result, ensure};
use shardgate_wire::Limits;
use std::time::{Duration, Instant};

const STATEMENT: &str = "SELECT abalance FROM accounts WHERE aid = 7";
const FIRST_CLIENTS: u32 = 20;
/// An allocator gives memory back a little later.
const SETTLE: Duration = Duration::from_millis(500);

/// What idle clients cost, after their login, and after each has run a statement.
pub struct Idle {
    pub after_login: Figures,
    pub after_statement: Figures,
}
pub fn run(target: &mut Target, clients: u32, end: &End) -> Result<Idle> {
    let limits = Limits::backend();
    target.restart()?;
    open(target, FIRST_CLIENTS, &limits, end)?
        .iter_mut()
        .try_for_each(|client| client.query(STATEMENT, &limits))?;
    std::thread::sleep(SETTLE);
    let processes = target.processes();
    ensure!(!processes.is_empty(), "no process to look at");
    usage::reset_peak(&processes);
    let (before, cpu, start) = (
        usage::resident(&processes)?,
        Cpu::of(&processes),
        Instant::now(),
    );
    let mut open = open(target, clients, &limits, end)?;
    let seconds = start.elapsed().as_secs_f64();
    let count = f64::from(clients);
    let cpu_us = Cpu::of(&processes).since(&cpu) as f64 / 1000.0 / count;
    std::thread::sleep(SETTLE);
    let each = |now: u64| (now as f64 - before as f64) / count;
    let after_login = Figures {
        per_second: Some(count / seconds),
        cpu_us: Some(cpu_us),
        idle_client_bytes: Some(each(usage::resident(&processes)?)),
        peak_bytes: Some(usage::peak(&processes)? as f64),
        ..Figures::default()
    };
    for client in &mut open {
        end.check()?;
        client.query(STATEMENT, &limits)?;
    }
    std::thread::sleep(SETTLE);
    let after_statement = Figures {
        idle_client_bytes: Some(each(usage::resident(&processes)?)),
        peak_bytes: Some(usage::peak(&processes)? as f64),
        ..Figures::default()
    };
    Ok(Idle {
        after_login,
        after_statement,
    })
}

fn open(target: &Target, count: u32, limits: &Limits, end: &End) -> Result<Vec<Client>> {
    (0..count)
        .map(|_| {
            end.check()?;
            Client::connect(target.port, target.database, limits)
        })
        .collect()
}
