//! `shard-admin shard add|list|set-hosts|set-weight|drain|remove`.

use crate::cli::Shared;
use crate::cli::connect::{host_text, hosts_text, parse_host};
use crate::cli::rebalance::{How, carry_out};
use crate::failure::Failure;
use crate::output::{Report, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shardgate_catalog::moves::PlanRequest;
use shardgate_catalog::{NewShard, add_shard, remove_shard, set_hosts, set_weight};
use shardgate_plan::snapshot::{Host, Snapshot};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a Postgres server, with its replicas, as a shard; it owns nothing yet
    Add(Add),
    /// List the shards
    List,
    /// Replace the servers of a shard, when a replica was added or an address has changed
    SetHosts(SetHosts),
    /// Give a shard another share; "rebalance" then moves data accordingly
    SetWeight(SetWeight),
    /// Move everything away from a shard; it gets nothing new
    Drain(Drain),
    /// Take a shard out of the cluster that owns nothing
    Remove(Remove),
}

#[derive(Debug, Args)]
pub struct SetWeight {
    /// The shard's name
    name: String,
    /// Its share, compared with other shards; 0: it gets nothing
    weight: u32,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// The shard's name
    name: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// The shard's name
    name: String,
}

#[derive(Debug, Args)]
pub struct Add {
    /// The shard's name
    name: String,
    /// Its servers as routers reach them, primary and replicas
    #[arg(long = "host", required = true, value_name = "HOST:PORT", value_parser = parse_host, value_delimiter = ',')]
    hosts: Vec<Host>,
    /// The share of buckets that it gets, compared with other shards
    #[arg(long, default_value_t = 100)]
    weight: u32,
    /// Its database [default: of the same name as on the home shard]
    #[arg(long)]
    dbname: Option<String>,
}

#[derive(Debug, Args)]
pub struct SetHosts {
    /// The shard's name
    name: String,
    /// All its servers as routers reach them, primary and replicas
    #[arg(long = "host", required = true, value_name = "HOST:PORT", value_parser = parse_host, value_delimiter = ',')]
    hosts: Vec<Host>,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Add(args) => add(shared, args).await,
        Verb::SetWeight(args) => weigh(shared, args).await,
        Verb::Drain(args) => drain(shared, args.name, &args.how).await,
        Verb::Remove(args) => remove(shared, &args.name).await,
        Verb::List => {
            let (_, _, snapshot) = shared.snapshot().await?;
            list(&snapshot).print(shared.output);
            Ok(())
        }
        Verb::SetHosts(args) => {
            let mut home = shared.home().await?;
            set_hosts(&mut home, &args.name, &args.hosts).await?;
            let text = format!(
                "Shard \"{}\" has the servers {}.",
                args.name,
                hosts_text(&args.hosts)
            );
            let hosts: Vec<String> = args.hosts.iter().map(host_text).collect();
            Report::new(text, json!({ "name": args.name, "hosts": hosts })).print(shared.output);
            Ok(())
        }
    }
}

async fn weigh(shared: &Shared, args: SetWeight) -> Result<(), Failure> {
    let SetWeight { name, weight } = args;
    set_weight(&mut shared.home().await?, &name, weight).await?;
    let text = format!(
        "Shard \"{name}\" has the weight {weight}. See what that means with \"shard-admin rebalance plan\"."
    );
    Report::new(text, json!({ "name": name, "weight": weight })).print(shared.output);
    Ok(())
}

async fn remove(shared: &Shared, name: &str) -> Result<(), Failure> {
    remove_shard(&mut shared.home().await?, name).await?;
    let text = format!(
        "Shard \"{name}\" is no shard of the cluster any more. Its database stays as it is; its guards let nothing in."
    );
    Report::new(text, json!({ "name": name })).print(shared.output);
    Ok(())
}

/// The weight goes first, so that nothing new comes while the rest leaves.
async fn drain(shared: &Shared, name: String, how: &How) -> Result<(), Failure> {
    if !how.dry_run {
        set_weight(&mut shared.home().await?, &name, 0).await?;
    }
    let request = PlanRequest {
        drain: vec![name],
        only_drain: true,
        ..PlanRequest::default()
    };
    carry_out(shared, &request, how).await
}

async fn add(shared: &Shared, args: Add) -> Result<(), Failure> {
    let mut home = shared.home().await?;
    let new = NewShard {
        name: args.name,
        hosts: args.hosts,
        weight: args.weight,
        dbname: args.dbname,
    };
    let added = add_shard(&mut home, &new).await?;
    let mut text = format!(
        "Added shard \"{}\" ({}). It owns nothing yet: \"shard-admin rebalance plan\" shows what it would get.",
        new.name,
        hosts_text(&new.hosts)
    );
    for warning in &added.warnings {
        text.push_str(&format!("\nWARNING:  {warning}"));
    }
    let document = json!({ "id": added.id.0, "name": new.name, "warnings": added.warnings });
    Report::new(text, document).print(shared.output);
    Ok(())
}

fn list(snapshot: &Snapshot) -> Report {
    let rows = snapshot.shards.iter().map(|shard| {
        let home = if shard.id == snapshot.home { "yes" } else { "" };
        [
            shard.id.0.to_string(),
            shard.name.clone(),
            home.to_owned(),
            shard.weight.to_string(),
            hosts_text(&shard.hosts),
        ]
    });
    let documents: Vec<Value> = snapshot
        .shards
        .iter()
        .map(|shard| {
            json!({
                "id": shard.id.0,
                "name": shard.name,
                "home": shard.id == snapshot.home,
                "weight": shard.weight,
                "hosts": shard.hosts.iter().map(host_text).collect::<Vec<_>>(),
            })
        })
        .collect();
    Report::new(
        table(&["id", "name", "home", "weight", "hosts"], rows),
        Value::Array(documents),
    )
}
