//! `make bench`: drives Postgres, poolers and the router with the same load, in turns, in one run on one machine.
//!
//! It measures and reports, and judges nothing: no timing is a test. Every server that it starts ends with it.

mod arguments;
mod cases;
mod child;
mod client;
mod copy;
mod end;
mod figures;
mod fill;
mod idle;
mod machine;
mod pgbench;
mod picture;
mod report;
mod run;
mod servers;
mod slow;
mod targets;
mod usage;

use anyhow::Result;
use arguments::{Arguments, Format};
use std::process::ExitCode;

fn main() -> ExitCode {
    match bench(&Arguments::settled()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some runs failed, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False if a run had errors.
fn bench(arguments: &Arguments) -> Result<bool> {
    let end = end::End::listen()?;
    let report = run::run(arguments, &end)?;
    match arguments.output {
        Format::Table => println!("{}", report::text(&report)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if let Some(docs) = &arguments.fill {
        fill::fill(docs, &report)?;
    }
    Ok(report.problems.is_empty())
}
