//! `shard-admin rebalance plan|start`, and the same for a shard that is emptied: which moves are needed, and one after
//! the other.

use crate::cli::Shared;
use crate::cli::map::find;
use crate::cli::moves::{Goal, Throttle, drive, size, spawn};
use crate::failure::Failure;
use crate::output::{Format, Report, table};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use shardgate_catalog::moves::{
    self, Load, Measure, MoveSpec, MoveStatus, Plan, PlanRequest, PlannedMove, Step,
};
use std::ffi::OsString;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what would be moved so that each shard has its share by weight
    Plan(What),
    /// Move it, one move after the other, each to its end
    Start(Start),
}

#[derive(Debug, Args)]
pub struct What {
    /// A distribution, or a table of it [default: all distributions]
    #[arg(long = "of", value_name = "NAME")]
    name: Option<String>,
    /// What the shares are measured by; rows and bytes are counted, which reads the tables
    #[arg(long, value_enum, default_value_t)]
    by: By,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The number of buckets, ranges or values
    #[default]
    Buckets,
    Rows,
    Bytes,
}

#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub struct How {
    #[command(flatten)]
    throttle: Throttle,
    /// Return at once; it goes on in the background
    #[arg(long)]
    pub detach: bool,
    /// Only show the plan
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Plan(what) => {
            let request = request(shared, &what).await?;
            let plans = moves::plan(&mut shared.home().await?, &request).await?;
            report(&plans).print(shared.output);
            Ok(())
        }
        Verb::Start(args) => {
            let request = request(shared, &args.what).await?;
            carry_out(shared, &request, &args.how).await
        }
    }
}

async fn request(shared: &Shared, what: &What) -> Result<PlanRequest, Failure> {
    let distribution = match &what.name {
        None => None,
        Some(name) => {
            let (_, _, snapshot) = shared.snapshot().await?;
            Some(find(&snapshot, name)?.name.clone())
        }
    };
    let measure = match what.by {
        By::Buckets => Measure::Buckets,
        By::Rows => Measure::Rows,
        By::Bytes => Measure::Bytes,
    };
    Ok(PlanRequest {
        distribution,
        measure,
        ..PlanRequest::default()
    })
}

/// Shows the plan, and makes its moves. One that fails ends it; what was moved by then stays moved.
pub async fn carry_out(shared: &Shared, request: &PlanRequest, how: &How) -> Result<(), Failure> {
    let mut home = shared.home().await?;
    let plans = moves::plan(&mut home, request).await?;
    if how.dry_run {
        report(&plans).print(shared.output);
        return Ok(());
    }
    if how.detach {
        // The same arguments again: what has been moved by then is not planned any more.
        let arguments = std::env::args_os()
            .skip(1)
            .filter(|argument| argument != "--detach");
        spawn(shared, arguments.collect::<Vec<OsString>>().into_iter())?;
        let text = format!(
            "{}\n\nIt goes on in the background: see \"shard-admin move list\".",
            plan_text(&plans)
        );
        Report::new(text, document(&plans)).print(shared.output);
        return Ok(());
    }
    if shared.output == Format::Table {
        report(&plans).print(Format::Table);
    }
    let mut done = Vec::new();
    for plan in &plans {
        for one in &plan.moves {
            done.push(move_one(shared, plan, one, how).await?);
        }
    }
    let text = match done.len() {
        0 => "Nothing was moved.".to_owned(),
        1 => "1 move is completed.".to_owned(),
        n => format!("{n} moves are completed."),
    };
    let documents: Vec<Value> = done.iter().map(super::moves::document).collect();
    Report::new(
        text,
        json!({ "plans": document(&plans), "moves": documents }),
    )
    .print(shared.output);
    Ok(())
}

async fn move_one(
    shared: &Shared,
    plan: &Plan,
    one: &PlannedMove,
    how: &How,
) -> Result<MoveStatus, Failure> {
    let spec = MoveSpec {
        distribution: plan.distribution.clone(),
        parts: one.parts.clone(),
        to: one.to.clone(),
        options: how.throttle.options(),
    };
    let id = moves::start(&mut shared.home().await?, &spec).await?;
    drive(shared, id, Goal(Step::Completed)).await.map_err(|failure| {
        let hint = format!("Go on with \"shard-admin move resume {id} --until completed\", then plan again; or end it with \"shard-admin move cancel {id}\".");
        Failure { hint: Some(failure.hint.map_or(hint.clone(), |own| format!("{own}\n{hint}"))), ..failure }
    })
}

fn report(plans: &[Plan]) -> Report {
    Report::new(plan_text(plans), document(plans))
}

fn document(plans: &[Plan]) -> Value {
    json!(plans)
}

fn plan_text(plans: &[Plan]) -> String {
    if plans.is_empty() {
        return "There is no distribution: no table is distributed.".to_owned();
    }
    plans.iter().map(one_text).collect::<Vec<_>>().join("\n\n")
}

fn one_text(plan: &Plan) -> String {
    let rows = plan.shards.iter().map(|share| {
        [
            share.shard.clone(),
            share.weight.to_string(),
            change(share.before.units, share.after.units, |n| n.to_string()),
            change(share.before.rows, share.after.rows, |n| n.to_string()),
            change(share.before.bytes, share.after.bytes, bytes),
        ]
    });
    let shares = table(&["shard", "weight", "parts", "rows", "bytes"], rows);
    if plan.moves.is_empty() {
        return format!("{}\n{shares}\n\nNothing is to be moved.", plan.distribution);
    }
    let rows = plan.moves.iter().map(|one| {
        let Load {
            units,
            rows,
            bytes: size,
        } = one.load;
        [
            one.from.clone(),
            one.to.clone(),
            units.to_string(),
            rows.to_string(),
            bytes(size),
            shortened(&one.text),
        ]
    });
    let moves = table(&["from", "to", "parts", "rows", "bytes", "which"], rows);
    format!("{}\n{shares}\n\n{moves}", plan.distribution)
}

fn change(before: u64, after: u64, text: impl Fn(u64) -> String) -> String {
    if before == after {
        text(before)
    } else {
        format!("{} -> {}", text(before), text(after))
    }
}

fn bytes(bytes: u64) -> String {
    size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Programs get the whole.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(CHARACTERS_MAX).collect();
    format!("{start} ..")
}
