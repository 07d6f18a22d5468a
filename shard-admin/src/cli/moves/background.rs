//! `--detach`: the same program goes on by itself. What it fails at is found in the move's status.

use crate::cli::Shared;
use crate::cli::moves::Goal;
use crate::failure::Failure;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Has a process of its own drive a move to its goal.
pub fn drive(shared: &Shared, id: i64, goal: Goal) -> Result<(), Failure> {
    let verb = match goal.verb() {
        Some(verb) => vec!["move".to_owned(), verb.to_owned(), id.to_string()],
        None => ["move", "resume", &id.to_string(), "--until", goal.0.name()]
            .map(str::to_owned)
            .to_vec(),
    };
    spawn(shared, verb.into_iter().map(OsString::from))
}

/// Starts this program with other arguments, out of reach of the terminal's signals.
pub fn spawn(shared: &Shared, arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    if let Some(catalog) = &shared.catalog {
        // Not among the arguments, which everybody on the machine can read.
        command.env("SHARDGATE_CATALOG", catalog);
    }
    command
        .spawn()
        .map_err(Failure::io("start a process in the background"))?;
    Ok(())
}
