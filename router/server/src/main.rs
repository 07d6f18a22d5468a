//! The router binary: reads the configuration, then runs or checks.

use clap::{Parser, Subcommand};
use shardgate_server::check;
use shardgate_server::config::{self, Config};
use shardgate_server::lanes;
use shardgate_server::run::{StartError, run};
use shardgate_server::stops::Stops;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tasks may take to end after everything was said.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes many PostgreSQL servers look like one.
#[derive(Parser)]
#[command(name = "shardgate", version)]
struct Arguments {
    /// The configuration file (TOML). Environment variables SHARDGATE__SECTION__KEY override it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Say everything that is wrong with the configuration, and end.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(path) = arguments.config else {
        eprintln!("shardgate: --config FILE is missing");
        return ExitCode::from(2);
    };
    if let Some(Command::Check) = arguments.command {
        let outcome = check::check(&path, std::env::vars_os());
        print!("{}", outcome.text);
        return ExitCode::from(outcome.exit_code);
    }
    let report = config::load(&path, std::env::vars_os());
    eprint!("{}", report.findings);
    let Some(config) = report.config else {
        return ExitCode::FAILURE;
    };
    let stops = match Stops::read(|name| std::env::var(name).ok()) {
        Ok(stops) => stops,
        Err(error) => {
            eprintln!("shardgate: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serve(config, stops) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, stops: Option<Stops>) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.router.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let threads = match config.router.worker_threads {
        0 => std::thread::available_parallelism()?.get(),
        threads => threads,
    };
    let (lanes, threads) = lanes::start(threads, config.router.worker_full_percent)?;
    // What is no client's: the catalog, the health of servers, the pages for operators.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ran: Result<(), StartError> = runtime.block_on(run(config, lanes, stops));
    threads.end(SHUTDOWN_TIMEOUT);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(ran?)
}
