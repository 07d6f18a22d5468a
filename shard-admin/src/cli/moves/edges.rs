//! `SHARDGATE_KILL_AT=move-copied:2`: this program dies, as SIGKILL does, when it comes to that edge for the second time.
//! Tests see so what is left, and who goes on. Without the variable nothing is looked at.

use crate::failure::Failure;
use shardgate_catalog::Watch;
use shardgate_catalog::moves::EDGES;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const KILL_AT: &str = "SHARDGATE_KILL_AT";

/// What a connection is to be watched with; None: the variable is not set.
pub fn watch() -> Result<Option<Watch>, Failure> {
    match std::env::var(KILL_AT) {
        Ok(text) => parse(&text).map(|(edge, count)| Some(dying_at(edge, count))),
        Err(_) => Ok(None),
    }
}

fn parse(text: &str) -> Result<(String, u32), Failure> {
    let (edge, count) = text.split_once(':').unwrap_or((text, "1"));
    let count = count.parse().ok().filter(|count| *count > 0);
    match count {
        Some(count) if EDGES.contains(&edge) => Ok((edge.to_owned(), count)),
        Some(_) | None => Err(Failure::usage(format!(
            "{KILL_AT} does not name an edge of a move: \"{text}\""
        ))
        .hint(format!("The edges are {}.", EDGES.join(", ")))),
    }
}

fn dying_at(edge: String, count: u32) -> Watch {
    let left = AtomicU32::new(count);
    Arc::new(move |reached: &'static str| {
        if reached == edge && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let own = std::process::id().to_string();
            let mut kill = Command::new("kill");
            // The signal comes before the program that sends it has ended.
            let _never_told = kill.args(["-KILL", &own]).stdin(Stdio::null()).status();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_read() {
        let check = |text: &str, expect: Option<(&str, u32)>| {
            let read = parse(text).ok();
            assert_eq!(
                read.as_ref().map(|(edge, count)| (edge.as_str(), *count)),
                expect,
                "{text}"
            );
        };
        check("move-copied", Some(("move-copied", 1)));
        check("move-stream:3", Some(("move-stream", 3)));
        check("move-stream:0", None);
        check("ddl-prepared", None);
        check("", None);
    }
}
