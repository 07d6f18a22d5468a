//! Places at which a router dies or stops, chosen by an environment variable, so that tests can see what it leaves.
//!
//! `SHARDGATE_KILL_AT=ddl-prepared:2` ends the process as SIGKILL does when it comes to that edge for the second time;
//! `SHARDGATE_PAUSE_AT` stops it as SIGSTOP does, until SIGCONT. Without them there is no value of this type, and an edge
//! costs one look at an `Option`. It must not know what happens at an edge.

use shardgate_session::Edge;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The variable that names the edge to die at.
pub const KILL_AT: &str = "SHARDGATE_KILL_AT";
/// The variable that names the edge to stop at.
pub const PAUSE_AT: &str = "SHARDGATE_PAUSE_AT";

/// How long a signal may take to stop all threads.
const STOPPING: Duration = Duration::from_millis(100);

/// What was chosen.
#[derive(Debug, Default)]
pub struct Stops {
    kill: Option<Stop>,
    pause: Option<Stop>,
}

#[derive(Debug)]
struct Stop {
    edge: String,
    /// How often the edge is still to be passed, this time included.
    left: AtomicU32,
}

/// What is to happen at an edge that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Kill,
    Pause,
}

impl Stops {
    /// Reads the variables; None if neither is set.
    ///
    /// # Errors
    /// A text for people: one of them names no edge.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Stops>, String> {
        let read = |name: &str| variable(name).map(|text| stop(name, &text)).transpose();
        let stops = Stops {
            kill: read(KILL_AT)?,
            pause: read(PAUSE_AT)?,
        };
        Ok((stops.kill.is_some() || stops.pause.is_some()).then_some(stops))
    }

    /// The process has come to an edge. Some: it is to die or to stop here.
    pub fn reached(&self, edge: &str) -> Option<How> {
        let is_last = |stop: &Option<Stop>| {
            stop.as_ref().is_some_and(|stop| {
                let count = |left: u32| left.checked_sub(1);
                stop.edge == edge
                    && stop
                        .left
                        .fetch_update(Ordering::AcqRel, Ordering::Acquire, count)
                        == Ok(1)
            })
        };
        let (kill, pause) = (is_last(&self.kill), is_last(&self.pause));
        match (kill, pause) {
            (true, _) => Some(How::Kill),
            (false, true) => Some(How::Pause),
            (false, false) => None,
        }
    }

    /// As `reached`, and carries it out.
    pub fn pass(&self, edge: &str) {
        if let Some(how) = self.reached(edge) {
            how.carry_out(edge);
        }
    }
}

impl How {
    /// Does not return if the process is to die.
    pub fn carry_out(self, edge: &str) {
        let signal = match self {
            How::Kill => "KILL",
            How::Pause => "STOP",
        };
        tracing::warn!(edge, signal, "the chosen edge is reached");
        let own = std::process::id().to_string();
        let sent = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &own])
            .stdin(Stdio::null())
            .status();
        match (self, sent) {
            // The kernel stops one thread after the other; this one must not run on meanwhile.
            (How::Pause, Ok(_)) => std::thread::sleep(STOPPING),
            // The signal ends the process within this call, unless there is no shell.
            (How::Kill, _) | (How::Pause, Err(_)) => std::process::abort(),
        }
    }
}

fn stop(variable: &str, text: &str) -> Result<Stop, String> {
    let (edge, count) = match text.split_once(':') {
        Some((edge, count)) => (edge, count.parse().unwrap_or(0)),
        None => (text, 1),
    };
    let known: Vec<&str> = Edge::ALL
        .iter()
        .map(|edge| edge.name())
        .chain(shardgate_catalog::EDGES.iter().copied())
        .chain(shardgate_catalog::moves::EDGES.iter().copied())
        .collect();
    if !known.contains(&edge) || count == 0 {
        return Err(format!(
            "{variable} is \"{text}\"; it is NAME or NAME:COUNT, with one of the names {}",
            known.join(", ")
        ));
    }
    Ok(Stop {
        edge: edge.to_owned(),
        left: AtomicU32::new(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_time_is_counted() {
        let stops = Stops::read(|name| (name == KILL_AT).then(|| "ddl-prepared:2".to_owned()));
        let stops = stops.unwrap().unwrap();
        let told: Vec<_> = [
            "ddl-prepared",
            "ddl-prepare",
            "ddl-prepared",
            "ddl-prepared",
        ]
        .into_iter()
        .map(|edge| stops.reached(edge))
        .collect();
        assert_eq!(told, [None, None, Some(How::Kill), None]);
    }

    #[test]
    fn nothing_is_chosen_and_mistakes_are_told() {
        assert!(Stops::read(|_| None).unwrap().is_none());
        for text in ["", "nowhere", "ddl-run:0", "ddl-run:x", "ddl-run:"] {
            let error = Stops::read(|_| Some(text.to_owned())).unwrap_err();
            assert!(
                error.contains("ddl-commit") && error.contains("change-commit"),
                "{error}"
            );
        }
    }
}
