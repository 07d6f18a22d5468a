//! What the figures were measured on.

use crate::arguments::Arguments;
use crate::targets::{self, Target, version};
use anyhow::Result;
use serde::Serialize;
use shard_admin::cluster::PgBinaries;
use std::fs;
use std::path::Path;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_bytes: u64,
    pub kernel: String,
    pub postgres: String,
    /// Name and version of each that was compared.
    pub proxies: Vec<(String, String)>,
    /// Server connections of each pooler for a server.
    pub pool: u32,
    /// Worker threads of the router and of HAProxy.
    pub threads: usize,
    pub seconds: u32,
    pub rounds: u32,
    pub idle_clients: u32,
    pub slow_megabytes: u32,
    /// The arguments of this run.
    pub arguments: String,
    pub date: String,
}

pub fn look(arguments: &Arguments, targets: &[Target]) -> Result<Machine> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let memory = field("/proc/meminfo", "MemTotal");
    let kib = memory.split(' ').next().and_then(|kib| kib.parse().ok());
    let binaries = PgBinaries::find().map_err(crate::servers::full)?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: field("/proc/cpuinfo", "model name"),
        memory_bytes: kib.unwrap_or(0u64) * 1024,
        kernel: kernel.trim().to_owned(),
        postgres: version(&binaries.path("postgres"), &["--version"]),
        proxies: targets
            .iter()
            .map(|target| (target.name.clone(), target.description.clone()))
            .collect(),
        pool: arguments.pool,
        threads: targets::threads(arguments),
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        idle_clients: crate::run::idle_clients(arguments),
        slow_megabytes: crate::run::slow_megabytes(arguments),
        arguments: Arguments::command_line(),
        date: version(Path::new("date"), &["-u", "+%Y-%m-%d"]),
    })
}
