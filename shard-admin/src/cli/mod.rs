//! The command line: one file for each verb. Here are the options that all verbs share, and the exit code.

mod check;
mod connect;
mod demo;
mod distribution;
mod init;
mod map;
mod moves;
mod range;
mod rebalance;
mod shard;
mod status;
mod table;

pub use connect::host_text;

use crate::failure::{Exit, Failure};
use crate::output::Format;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Sets up and watches a sharded PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "shard-admin", version, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong arguments, 3 \"check\" has found errors, or \"move verify\" rows that differ."
)]
struct Cli {
    /// The home shard's database: a libpq URL or keywords, several hosts allowed; its primary is used
    #[arg(
        long,
        global = true,
        env = "SHARDGATE_CATALOG",
        hide_env_values = true,
        value_name = "URL"
    )]
    catalog: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the catalog in the home shard's database
    Init(init::Init),
    /// Add, list, empty and remove shards
    #[command(subcommand)]
    Shard(shard::Verb),
    /// Show how keys are distributed
    #[command(subcommand)]
    Distribution(distribution::Verb),
    /// Distribute tables, and list them
    #[command(subcommand)]
    Table(table::Verb),
    /// Show where keys live
    #[command(subcommand)]
    Map(map::Verb),
    /// Move data to another shard while applications go on
    #[command(subcommand)]
    Move(moves::Verb),
    /// Even out what the shards have
    #[command(subcommand)]
    Rebalance(rebalance::Verb),
    /// Change the bounds of range distributions
    #[command(subcommand)]
    Range(range::Verb),
    /// Show the epoch, the servers with their roles, and the routers
    Status,
    /// Find what could go wrong: versions, settings, roles, missing tables, drift
    Check(check::Check),
    /// Run a throw-away cluster on this machine
    #[command(subcommand)]
    Demo(demo::Verb),
}

/// What every verb gets.
#[derive(Clone, Debug)]
struct Shared {
    catalog: Option<String>,
    output: Format,
}

/// Reads the arguments, does what they say, prints the outcome. Errors go to the standard error.
pub fn main() -> ExitCode {
    let Cli {
        catalog,
        output,
        verb,
    } = Cli::parse();
    let shared = Shared { catalog, output };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::io("start a runtime")(error)),
    };
    match runtime.block_on(run(shared, verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

async fn run(shared: Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Init(args) => init::run(&shared, args).await,
        Verb::Shard(verb) => shard::run(&shared, verb).await,
        Verb::Distribution(verb) => distribution::run(&shared, verb).await,
        Verb::Table(verb) => table::run(&shared, verb).await,
        Verb::Map(verb) => map::run(&shared, verb).await,
        Verb::Move(verb) => moves::run(&shared, verb).await,
        Verb::Rebalance(verb) => rebalance::run(&shared, verb).await,
        Verb::Range(verb) => range::run(&shared, verb).await,
        Verb::Status => status::run(&shared).await,
        Verb::Check(args) => check::run(&shared, args).await,
        Verb::Demo(verb) => demo::run(&shared, verb).await,
    }
}

fn fail(failure: &Failure) -> ExitCode {
    // `check` has already printed what it found.
    if failure.exit != Exit::Findings {
        eprintln!("{failure}");
    }
    failure.exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
