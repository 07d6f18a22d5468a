//! What the verbs of a move print: sentences for people, one document for programs.

use crate::cli::moves::Goal;
use crate::cli::moves::progress::{line, size};
use crate::output::{Report, table};
use serde_json::{Value, json};
use shardgate_catalog::moves::verify;
use shardgate_catalog::moves::{MoveSpec, MoveStatus, Preview, Step, text};

/// The document of a move. `rows`, `bytes` and `lag` are what is copied, and how many bytes the follower is behind.
pub fn document(now: &MoveStatus) -> Value {
    let mut document = json!(now);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("rows".to_owned(), json!(now.rows_copied));
        fields.insert("bytes".to_owned(), json!(now.bytes_copied));
        fields.insert("lag".to_owned(), json!(now.lag_bytes));
        fields.insert("bytes_per_s".to_owned(), json!(now.bytes_per_s()));
        fields.insert("seconds_left".to_owned(), json!(now.seconds_left()));
    }
    document
}

fn title(now: &MoveStatus) -> String {
    format!(
        "Move {}: {} of {} from {} to {}",
        now.id, now.parts, now.distribution, now.source, now.target
    )
}

pub fn started(now: &MoveStatus) -> Report {
    Report::new(title(now), document(now))
}

pub fn detached(now: &MoveStatus, goal: Goal) -> Report {
    let text = format!(
        "{}\nIt goes on in the background until it is {}: see \"shard-admin move status {}\".",
        title(now),
        goal.0,
        now.id
    );
    Report::new(text, document(now))
}

/// What a move has come to, and what can be done next.
pub fn reached(now: &MoveStatus) -> Report {
    let id = now.id;
    let waited = now.pause_ms.map_or(String::new(), |ms| {
        format!(" Statements for them waited for {ms} ms at most.")
    });
    let text = match now.step {
        Step::Verified => format!(
            "Move {id} is verified: {} rows ({}) are on {} as well, and changes follow.\n\
             Hand them over with \"shard-admin move switch {id}\".",
            now.rows_copied,
            size(now.bytes_copied),
            now.target
        ),
        Step::Switched => format!(
            "Move {id} is switched: {} has the keys now.{waited} Changes go back to {} as well.\n\
             End it with \"shard-admin move complete {id}\", or take it back with \"shard-admin move reverse {id}\".",
            now.target, now.source
        ),
        Step::Reversed => format!(
            "Move {id} is reversed: {} has the keys again.{waited}\n\
             Switch it again, or end it with \"shard-admin move cancel {id}\".",
            now.source
        ),
        Step::Completed => format!(
            "Move {id} is completed: {} has nothing of it any more.",
            now.source
        ),
        Step::Cancelled => format!(
            "Move {id} is cancelled: {} has nothing of it any more.",
            now.target
        ),
        Step::Prepare
        | Step::Copy
        | Step::CatchUp
        | Step::Hold
        | Step::Moved
        | Step::Completing
        | Step::Cancelling => format!("Move {id} is in step {}.", now.step),
    };
    Report::new(text, document(now))
}

pub fn paused(now: &MoveStatus) -> Report {
    let text = format!(
        "Move {} stops in step {}. Go on with \"shard-admin move resume {}\".",
        now.id, now.step, now.id
    );
    Report::new(text, document(now))
}

pub fn status(now: &MoveStatus) -> Report {
    let mut lines = vec![title(now), line(now)];
    let driven = match (now.step.is_ended(), now.driven) {
        (true, _) => "It has ended.".to_owned(),
        (false, true) => "A program drives it.".to_owned(),
        (false, false) => format!(
            "Nobody drives it: \"shard-admin move resume {}\" goes on.",
            now.id
        ),
    };
    lines.push(driven);
    if let Some(ms) = now.pause_ms {
        lines.push(format!("The last switch held statements back for {ms} ms."));
    }
    if let Some(error) = &now.error {
        lines.push(format!("It has failed: {error}"));
    }
    Report::new(lines.join("\n"), document(now))
}

pub fn list(found: &[MoveStatus], all: bool) -> Report {
    let documents = Value::Array(found.iter().map(document).collect());
    if found.is_empty() {
        let text = if all {
            "There was no move yet."
        } else {
            "No move is under way."
        };
        return Report::new(text, documents);
    }
    let rows = found.iter().map(|now| {
        [
            now.id.to_string(),
            now.distribution.clone(),
            now.source.clone(),
            now.target.clone(),
            if now.paused {
                format!("{} (paused)", now.step)
            } else {
                now.step.to_string()
            },
            now.rows_copied.to_string(),
            size(now.bytes_copied),
            size(now.lag_bytes),
            now.parts.clone(),
        ]
    });
    let headings = [
        "id",
        "distribution",
        "from",
        "to",
        "step",
        "rows",
        "bytes",
        "lag",
        "parts",
    ];
    Report::new(table(&headings, rows), documents)
}

pub fn verified(now: &MoveStatus, found: &verify::Report) -> Report {
    let mut lines = vec![format!(
        "Move {}: {} rows were compared.",
        now.id,
        found.rows()
    )];
    for table in &found.tables {
        lines.extend(table.differences.iter().map(ToString::to_string));
        if table.more {
            lines.push(format!("table {}: there are more differences", table.table));
        }
    }
    if found.is_equal() {
        lines.push("They are equal.".to_owned());
    }
    if found.unsettled() > 0 {
        lines.push(format!(
            "{} rows changed too often to be compared; the switch compares them while they rest.",
            found.unsettled()
        ));
    }
    let document = json!({
        "id": now.id,
        "step": now.step,
        "rows": found.rows(),
        "equal": found.is_equal(),
        "tables": found.tables,
    });
    Report::new(lines.join("\n"), document)
}

/// The steps that would be made, and how much there is to copy.
pub fn preview(spec: &MoveSpec, found: &Preview, goal: Goal) -> Report {
    let way = [
        (
            Step::Prepare,
            "check both shards; put gates on the tables, and have the target's guards let the copy in",
        ),
        (
            Step::Copy,
            "copy the rows from snapshots, in parallel streams",
        ),
        (
            Step::CatchUp,
            "apply what was changed meanwhile, and analyse the tables",
        ),
        (Step::Verified, "compare the rows on both shards"),
        (
            Step::Hold,
            "have routers hold statements for the keys back; close the source's gate",
        ),
        (
            Step::Moved,
            "change the map; cut off routers that do not answer; open the target's gate",
        ),
        (
            Step::Switched,
            "let statements go on; changes go back to the source",
        ),
        (
            Step::Completing,
            "remove the rows from the source, and all that the move has made",
        ),
        (Step::Completed, "done"),
    ];
    let mut steps: Vec<_> = way.iter().filter(|(step, _)| *step <= goal.0).collect();
    steps.dedup();
    let mut lines = vec![
        format!(
            "{} of {} would move from {} to {}:",
            text(&spec.parts),
            spec.distribution,
            found.from,
            found.to
        ),
        format!(
            "{} rows, {}, of {}",
            found.load.rows,
            size(i64::try_from(found.load.bytes).unwrap_or(i64::MAX)),
            found.tables.join(", ")
        ),
        String::new(),
    ];
    lines.extend(
        steps
            .iter()
            .map(|(step, what)| format!("{:<10} {what}", step.name())),
    );
    let document = json!({
        "distribution": spec.distribution,
        "parts": text(&spec.parts),
        "from": found.from,
        "to": found.to,
        "tables": found.tables,
        "rows": found.load.rows,
        "bytes": found.load.bytes,
        "steps": steps.iter().map(|(step, _)| step.name()).collect::<Vec<_>>(),
    });
    Report::new(lines.join("\n"), document)
}
