//! EXPLAIN (ROUTE): a plan for people, from the same values that decide.

use crate::decision::{Compiled, Decision, Refusal, Route, Traits};
use crate::gather::Gather;
use crate::snapshot::{Shard, Snapshot};
use crate::spread::Spread;
use shardgate_shard_map::ShardId;

/// One line for each fact: class, shards, role, what each shard gets, and why; or the refusal.
///
/// `decision` is that of `compiled` for the parameters at hand.
pub fn explain(compiled: &Compiled, decision: &Decision, snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    match decision {
        Decision::Refused(refusal) => refused(refusal, &mut lines),
        Decision::Shard(shard) => {
            lines.push(format!("Route: one shard ({})", class(&compiled.route)));
            lines.push(format!("  Shards: {}", name(*shard, snapshot)));
            lines.push(format!("  Role: {}", role(&compiled.traits)));
            lines.push(format!(
                "  Statement on {}: the original text",
                name(*shard, snapshot)
            ));
        }
        Decision::Any => {
            lines.push("Route: any shard".to_owned());
            lines.push(format!("  Shards: one of {}", names(snapshot)));
            lines.push(format!("  Role: {}", role(&compiled.traits)));
            lines.push("  Statement: the original text".to_owned());
        }
        Decision::AllShards => {
            lines.push("Route: all shards".to_owned());
            lines.push(format!("  Shards: {}", names(snapshot)));
            lines.push("  Role: primary".to_owned());
            lines.push("  Statement on each: the original text".to_owned());
        }
        Decision::Gather(gather, refusal) => gathers(gather, refusal, snapshot, &mut lines),
        Decision::Spread(spread) => spreads(spread, snapshot, &mut lines),
        Decision::Call(call) => {
            lines.push("Route: the router itself".to_owned());
            lines.push(format!("  Function: {:?}", call.function));
        }
    }
    lines.extend(
        compiled
            .because
            .iter()
            .map(|why| format!("  Because: {why}")),
    );
    if let Some(taint) = &compiled.traits.taints {
        lines.push(format!("  Keeps its backend: {taint}"));
    }
    lines
}

fn gathers(gather: &Gather, refusal: &Refusal, snapshot: &Snapshot, lines: &mut Vec<String>) {
    lines.push("Route: gather".to_owned());
    lines.push("  Role: primary".to_owned());
    for (index, table) in gather.tables.iter().enumerate() {
        let shards: Vec<String> = table.shards.iter().map(|id| name(*id, snapshot)).collect();
        lines.push(format!("  Shards: {}", shards.join(", ")));
        lines.push(format!(
            "  Statement on each but home: {} (parameter {})",
            table.select,
            usize::from(gather.first_param) + index
        ));
    }
    lines.push(format!(
        "  Statement on {}: {}",
        name(snapshot.home, snapshot),
        gather.text.trim()
    ));
    lines.extend(
        refusal
            .detail
            .iter()
            .map(|detail| format!("  Because: {detail}")),
    );
}

fn spreads(spread: &Spread, snapshot: &Snapshot, lines: &mut Vec<String>) {
    lines.push("Route: several shards, all or nothing".to_owned());
    lines.push("  Role: primary".to_owned());
    for part in &spread.parts {
        let text = spread.part_text(part, "time of the transaction");
        lines.push(format!(
            "  Statement on {}: {}",
            name(part.shard, snapshot),
            text.trim()
        ));
    }
}

fn refused(refusal: &Refusal, lines: &mut Vec<String>) {
    lines.push("Route: refused".to_owned());
    lines.push(format!("  SQLSTATE: {}", refusal.sqlstate));
    lines.push(format!("  Message: {}", refusal.message));
    lines.extend(
        refusal
            .detail
            .iter()
            .map(|detail| format!("  Detail: {detail}")),
    );
    lines.extend(refusal.hint.iter().map(|hint| format!("  Hint: {hint}")));
}

fn class(route: &Route) -> &'static str {
    match route {
        Route::Home => "home",
        Route::Any => "any",
        Route::Keyed(_) => "by key, from parameters",
        Route::One(_) => "by key, from constants",
        Route::AllShards => "all",
        Route::Gather(..) => "gather",
        Route::Spread(..) => "by key, on several shards",
        Route::Call(_) => "router",
        Route::Refused(_) => "refused",
    }
}

fn role(traits: &Traits) -> &'static str {
    match (traits.replica_safe, traits.read_only) {
        (true, _) => "replica outside of a transaction, else primary",
        (false, true) => "primary (it reads only, but a replica may answer otherwise)",
        (false, false) => "primary",
    }
}

fn name(id: ShardId, snapshot: &Snapshot) -> String {
    match snapshot.shard(id) {
        Some(shard) => label(shard, snapshot),
        None => format!("#{}", id.0),
    }
}

fn label(shard: &Shard, snapshot: &Snapshot) -> String {
    let home = if shard.id == snapshot.home {
        " (home)"
    } else {
        ""
    };
    format!("{}{home}", shard.name)
}

fn names(snapshot: &Snapshot) -> String {
    let names: Vec<String> = snapshot
        .shards
        .iter()
        .map(|shard| label(shard, snapshot))
        .collect();
    names.join(", ")
}
