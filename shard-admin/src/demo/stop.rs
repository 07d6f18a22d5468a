//! Ends a demo that another command has started: by its state file, and by the programs that work in its directory.

use crate::cluster::{ProcessId, Signal};
use crate::demo::place::Place;
use crate::demo::state::{State, living};
use crate::failure::Failure;
use std::time::{Duration, Instant};

/// How long the command in the foreground may take to end everything by itself.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(60);
/// How long the router may drain.
const ROUTER_DEADLINE: Duration = Duration::from_secs(10);
/// How long servers may take for a fast shutdown, then for an immediate one.
const SERVER_DEADLINE: Duration = Duration::from_secs(30);

/// What a demo runs in its directory.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_basebackup", "shardgate"];

/// Ends all processes of the demo; the data stays. Returns how many there were. Blocking.
pub fn stop(place: &Place) -> Result<usize, Failure> {
    let state = State::require(place)?;
    let before = state.living_processes().len();
    if let Some(supervisor) = living(state.supervisor.as_ref()) {
        supervisor.signal(Signal::Term);
        supervisor.wait_end(SUPERVISOR_DEADLINE);
    }
    let _lock = place.lock()?;
    // The supervisor may have removed a demo that was never completed.
    let Some(mut state) = State::load(place)? else {
        return Ok(before);
    };
    end_router(&state);
    end_servers(place, &state);
    if let Some(process) = servers(place, &state).first() {
        return Err(Failure::new(format!("process {} did not end", process.pid))
            .hint("See its log in the directory."));
    }
    state.forget_processes();
    state.save(place)?;
    Ok(before)
}

/// Ends the processes and removes the data. True if the directory is gone. Blocking.
pub fn destroy(place: &Place) -> Result<bool, Failure> {
    stop(place)?;
    match State::load(place)? {
        Some(state) => place.remove(&state.shard_names()),
        None => Ok(!place.dir.exists()),
    }
}

fn end_router(state: &State) {
    if let Some(router) = living(state.router.process.as_ref()) {
        router.signal(Signal::Term);
        if !router.wait_end(ROUTER_DEADLINE) {
            router.signal(Signal::Kill);
            router.wait_end(ROUTER_DEADLINE);
        }
    }
}

/// All at the same time; each means is stronger than the one before.
fn end_servers(place: &Place, state: &State) {
    for signal in [Signal::Int, Signal::Quit, Signal::Kill] {
        let servers = servers(place, state);
        servers.iter().for_each(|server| server.signal(signal));
        let until = Instant::now() + SERVER_DEADLINE;
        let ended = servers
            .iter()
            .all(|server| server.wait_end(until.saturating_duration_since(Instant::now())));
        if ended {
            return;
        }
    }
}

/// The servers that were written down, and what else works in the directory: the command may have been killed between
/// starting something and writing it down.
fn servers(place: &Place, state: &State) -> Vec<ProcessId> {
    let recorded = state.shards.iter().flat_map(|shard| &shard.servers);
    let mut all: Vec<ProcessId> = recorded
        .filter_map(|server| living(server.process.as_ref()))
        .collect();
    for stray in ProcessId::working_in(&place.dir, &PROGRAMS) {
        if !all.contains(&stray) {
            all.push(stray);
        }
    }
    all
}
