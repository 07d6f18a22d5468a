//! `shard-admin init`: makes the catalog.

use crate::cli::Shared;
use crate::cli::connect::{hosts_text, parse_host};
use crate::failure::Failure;
use crate::output::Report;
use clap::Args;
use serde_json::json;
use shardgate_catalog::{InitOptions, hosts_of, init};
use shardgate_plan::snapshot::Host;

#[derive(Debug, Args)]
pub struct Init {
    /// The home shard's name
    #[arg(long, default_value = "s1")]
    name: String,
    /// The home shard's servers as routers reach them, primary and replicas [default: those of --catalog]
    #[arg(long = "host", value_name = "HOST:PORT", value_parser = parse_host, value_delimiter = ',')]
    hosts: Vec<Host>,
    /// The share of buckets that it gets, compared with other shards
    #[arg(long, default_value_t = 100)]
    weight: u32,
}

pub async fn run(shared: &Shared, args: Init) -> Result<(), Failure> {
    let config = shared.config()?;
    let hosts = if args.hosts.is_empty() {
        hosts_of(&config)
    } else {
        args.hosts
    };
    let mut home = shared.home().await?;
    let options = InitOptions {
        shard_name: args.name.clone(),
        weight: args.weight,
        hosts: hosts.clone(),
    };
    let made = init(&mut home, &options).await?;
    let text = match made.created {
        true => format!(
            "Made the catalog on {}. Its database is shard \"{}\" (home), with the servers {}.",
            home.host(),
            args.name,
            hosts_text(&hosts)
        ),
        false => format!(
            "The catalog on {} was there already; nothing but missing objects was added.",
            home.host()
        ),
    };
    Report::new(
        text,
        json!({ "cluster": made.cluster, "created": made.created }),
    )
    .print(shared.output);
    Ok(())
}
