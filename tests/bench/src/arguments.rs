//! What can be asked for on the command line.

use crate::cases::Case;
use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// Drives Postgres, PgBouncer, HAProxy and Shardgate with the same load and compares them.
#[derive(Clone, Debug, Parser)]
pub struct Arguments {
    /// The cases, as letters or names.
    #[arg(long, value_delimiter = ',', default_value = "a,b,c,d,e,f,g,h")]
    pub only: Vec<Case>,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "simple,extended,prepared"
    )]
    pub modes: Vec<Mode>,
    /// Numbers of clients for the cases a, b and c.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128, 1000])]
    pub clients: Vec<u32>,
    /// Length of one run, after a second to warm up.
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// How often each run is repeated; the proxies take turns.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Two rounds of two seconds, 16 clients, fewer idle clients and bytes; a word on the command line still wins.
    #[arg(long)]
    pub quick: bool,
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
    /// Writes the table and the picture to performance.md and performance.svg in this folder.
    #[arg(long, value_name = "DOCS")]
    pub fill: Option<PathBuf>,
    /// Where servers, logs and results go; it must be empty or missing, and stays. Default: a temporary one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The router to measure. Default: the one beside this program.
    #[arg(long, value_name = "PATH")]
    pub shardgate: Option<PathBuf>,
    /// One more router binary on the same shards, to compare two builds.
    #[arg(long, value_name = "NAME=PATH")]
    pub router: Vec<Named>,
    #[arg(long, value_name = "PATH", default_value = "pgbouncer")]
    pub pgbouncer: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "haproxy")]
    pub haproxy: PathBuf,
    /// One more proxy: a shell command that starts it, or the id of its running process; then the port of 127.0.0.1
    /// where it listens. The command finds the servers in BENCH_SERVER1_PORT, BENCH_SERVER2_PORT, BENCH_DATABASE and
    /// BENCH_USER, and a folder for its files in BENCH_DIR.
    #[arg(long, value_name = "NAME=PID_OR_COMMAND,PORT")]
    pub proxy: Vec<Other>,
    /// The ports of the two servers, for a proxy that runs already. Default: free ones.
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "PORT,PORT")]
    pub server_ports: Option<Vec<u16>>,
    /// Leaves some out.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        value_parser = ["direct", "pgbouncer", "haproxy", "shardgate"]
    )]
    pub without: Vec<String>,
    /// Server connections that each pooler may have for a server.
    #[arg(long, default_value_t = 20)]
    pub pool: u32,
    /// Worker threads of the router and of HAProxy; 0 is one for each core. PgBouncer always has one.
    #[arg(long, default_value_t = 0)]
    pub threads: u32,
    /// Clients of the case d. Default 10000, 1000 with --quick.
    #[arg(long)]
    pub idle_clients: Option<u32>,
    /// Bytes of the case f in millions. Default 1000, 100 with --quick.
    #[arg(long)]
    pub slow_megabytes: Option<u32>,
}

impl Arguments {
    /// The arguments with what `--quick` means.
    pub fn settled() -> Arguments {
        use clap::parser::ValueSource::CommandLine;
        use clap::{CommandFactory, FromArgMatches};
        let matches = Arguments::command().get_matches();
        let mut arguments =
            Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let said = |name| matches.value_source(name) == Some(CommandLine);
        if arguments.quick {
            if !said("clients") {
                arguments.clients = vec![16];
            }
            if !said("seconds") {
                arguments.seconds = 2;
            }
            if !said("rounds") {
                arguments.rounds = 2;
            }
            arguments.idle_clients.get_or_insert(1000);
            arguments.slow_megabytes.get_or_insert(100);
        }
        arguments
    }

    pub fn has(&self, name: &str) -> bool {
        !self.without.iter().any(|without| without == name)
    }

    /// How it can be run again; of paths only the last part, for they belong to one machine. What it wrote where is left
    /// out.
    pub fn command_line() -> String {
        let mut all = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--dir" | "--fill" => drop(arguments.next()),
                _ => all.push(short(&argument).to_owned()),
            }
        }
        all.join(" ")
    }
}

/// An argument that is a path, without its folders.
fn short(argument: &str) -> &str {
    match argument.starts_with('/') {
        true => argument.rsplit('/').next().unwrap_or(argument),
        false => argument,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// One JSON document for programs, with every single run.
    Json,
}

/// pgbench's query modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Query messages, with a new literal each time.
    Simple,
    /// Parse, Bind, Describe, Execute and Sync for each statement.
    Extended,
    /// Parse once, then Bind, Describe, Execute and Sync.
    Prepared,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Simple => "simple",
            Mode::Extended => "extended",
            Mode::Prepared => "prepared",
        }
    }
}

/// `NAME=PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Named> {
        let (name, path) = text.split_once('=').context("NAME=PATH is needed")?;
        Ok(Named {
            name: name.to_owned(),
            path: path.into(),
        })
    }
}

/// A proxy that this program knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    pub name: String,
    pub start: Start,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Running(u32),
    Command(String),
}

impl FromStr for Other {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Other> {
        let form = "NAME=PID_OR_COMMAND,PORT is needed";
        let (name, rest) = text.split_once('=').context(form)?;
        let (start, port) = rest.rsplit_once(',').context(form)?;
        Ok(Other {
            name: name.to_owned(),
            start: match start.trim().parse() {
                Ok(pid) => Start::Running(pid),
                Err(_) => Start::Command(start.to_owned()),
            },
            port: port.trim().parse().context(form)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_proxies_are_read() {
        let check = |text: &str, expect: Option<(&str, Start, u16)>| {
            let read = text.parse::<Other>().ok();
            let expect = expect.map(|(name, start, port)| Other {
                name: name.to_owned(),
                start,
                port,
            });
            assert_eq!(read, expect, "{text}");
        };
        check("cat=12,6000", Some(("cat", Start::Running(12), 6000)));
        let command = "exec cat --a=b,c x.toml";
        check(
            &format!("cat={command},6000"),
            Some(("cat", Start::Command(command.to_owned()), 6000)),
        );
        check("cat,6000", None);
        check("cat=12", None);
        check("cat=12,port", None);
    }
}
