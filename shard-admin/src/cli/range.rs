//! `shard-admin range split|merge`: the bounds of a range distribution. No row moves.

use crate::cli::Shared;
use crate::cli::map::find;
use crate::failure::Failure;
use crate::output::Report;
use clap::{Args, Subcommand};
use serde_json::json;
use shardgate_catalog::moves::{merge_ranges, split_range};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Split the range that holds a value: it becomes the first of a range of its own
    Split(Where),
    /// Join the two ranges that meet at a value; they must be on one shard
    Merge(Where),
}

#[derive(Debug, Args)]
pub struct Where {
    /// A distribution, or a table of it
    name: String,
    /// The bound
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    at: String,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    let (mut home, _, snapshot) = shared.snapshot().await?;
    let text = match verb {
        Verb::Split(args) => {
            let name = &find(&snapshot, &args.name)?.name;
            split_range(&mut home, name, &args.at).await?;
            (
                format!("Distribution \"{name}\" has a bound at {} now.", args.at),
                args.at,
                name.clone(),
            )
        }
        Verb::Merge(args) => {
            let name = &find(&snapshot, &args.name)?.name;
            merge_ranges(&mut home, name, &args.at).await?;
            (
                format!(
                    "Distribution \"{name}\" has no bound at {} any more.",
                    args.at
                ),
                args.at,
                name.clone(),
            )
        }
    };
    let (text, at, distribution) = text;
    Report::new(text, json!({ "distribution": distribution, "at": at })).print(shared.output);
    Ok(())
}
