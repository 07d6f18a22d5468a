//! `shard-admin table distribute|reference|undistribute|list`: where the rows of each table are, and changing it.

use crate::cli::Shared;
use crate::cli::distribution::MethodArgs;
use crate::cli::map::method_name;
use crate::failure::Failure;
use crate::output::{Report, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shardgate_catalog::{
    Caller, DistributeRequest, NewMethod, distribute_table, reference_table, undistribute_table,
};
use shardgate_plan::snapshot::{self, Placement, RelationKind, Snapshot};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Spread an empty table over the shards by a column, its sharding key
    Distribute(Distribute),
    /// Copy an empty table to every shard, where all of its rows will be
    Reference(Relation),
    /// Make a distributed or reference table a home table again
    Undistribute(Relation),
    /// List all tables with where their rows are
    List,
}

#[derive(Debug, Args)]
pub struct Relation {
    /// The table as in SQL: users, public.users, "Users"
    table: String,
}

#[derive(Debug, Args)]
pub struct Distribute {
    /// The table as in SQL: users, public.users, "Users"
    table: String,
    /// The sharding key
    column: String,
    /// Join this table's distribution, so that equal keys are on one shard; "none": a distribution of its own
    #[arg(long, value_name = "TABLE")]
    colocate_with: Option<String>,
    /// Join a distribution that was made with "distribution create"
    #[arg(long, value_name = "NAME", conflicts_with_all = METHOD_OPTIONS, conflicts_with = "colocate_with")]
    distribution: Option<String>,
    #[command(flatten)]
    method: MethodArgs,
}

/// A distribution that is joined has its method already.
const METHOD_OPTIONS: [&str; 5] = ["method", "buckets", "bounds", "values", "default_shard"];

async fn distribute(shared: &Shared, args: Distribute) -> Result<(), Failure> {
    let request = request(&args)?;
    let mut home = shared.home().await?;
    distribute_table(&mut home, &request).await?;
    let text = format!(
        "Distributed {} by {}. See \"shard-admin table list\".",
        args.table, args.column
    );
    Report::new(
        text,
        json!({ "table": args.table, "placement": "distributed", "key": args.column }),
    )
    .print(shared.output);
    Ok(())
}

fn request(args: &Distribute) -> Result<DistributeRequest, Failure> {
    let mut request = DistributeRequest {
        relation: args.table.clone(),
        column: args.column.clone(),
        colocate_with: args.colocate_with.clone(),
        distribution: args.distribution.clone(),
        ..DistributeRequest::default()
    };
    // A distribution that is joined has its method already; whether the options fit is the catalog's to say.
    if args.distribution.is_none() && (args.colocate_with.is_none() || args.method.is_given()) {
        match args.method.method()? {
            NewMethod::Hash { .. } => {
                request.method = Some("hash".to_owned());
                request.buckets = args.method.buckets;
            }
            NewMethod::Range { bounds } => {
                request.method = Some("range".to_owned());
                request.bounds = Some(bounds);
            }
            NewMethod::List { values, default } => {
                request.method = Some("list".to_owned());
                request.values = Some(values);
                request.default_shard = default;
            }
        }
    }
    Ok(request)
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Distribute(args) => distribute(shared, args).await,
        Verb::Reference(args) => {
            let mut home = shared.home().await?;
            reference_table(&mut home, &args.table, &Caller::default()).await?;
            let text = format!(
                "{} is a reference table: every shard has all of its rows.",
                args.table
            );
            Report::new(
                text,
                json!({ "table": args.table, "placement": "reference" }),
            )
            .print(shared.output);
            Ok(())
        }
        Verb::Undistribute(args) => {
            let mut home = shared.home().await?;
            undistribute_table(&mut home, &args.table, &Caller::default()).await?;
            let text = format!(
                "{} is a home table: all of its rows are on the home shard.",
                args.table
            );
            Report::new(text, json!({ "table": args.table, "placement": "home" }))
                .print(shared.output);
            Ok(())
        }
        Verb::List => {
            let (_, _, snapshot) = shared.snapshot().await?;
            list(&snapshot).print(shared.output);
            Ok(())
        }
    }
}

/// What is said of one table.
struct Row {
    name: String,
    placement: &'static str,
    key: Option<String>,
    method: Option<&'static str>,
    distribution: Option<String>,
}

fn list(snapshot: &Snapshot) -> Report {
    let all = snapshot
        .relations
        .values()
        .flat_map(|tables| tables.values());
    let tables = all.filter(|relation| {
        matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        )
    });
    let mut rows: Vec<Row> = tables
        .filter(|relation| relation.schema != "shardgate")
        .map(|relation| row(snapshot, relation))
        .collect();
    rows.sort_by(|a, b| (a.placement, &a.name).cmp(&(b.placement, &b.name)));
    let document = rows.iter().map(|row| {
        json!({
            "table": row.name,
            "placement": row.placement,
            "key": row.key,
            "method": row.method,
            "distribution": row.distribution,
        })
    });
    let document = Value::Array(document.collect());
    if rows.is_empty() {
        return Report::new("There is no table.", document);
    }
    let cells = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.placement.to_owned(),
            row.key.clone().unwrap_or_default(),
            row.method.unwrap_or_default().to_owned(),
            row.distribution.clone().unwrap_or_default(),
        ]
    });
    Report::new(
        table(
            &["table", "placement", "key", "method", "distribution"],
            cells,
        ),
        document,
    )
}

fn row(snapshot: &Snapshot, relation: &snapshot::Relation) -> Row {
    let name = format!("{}.{}", relation.schema, relation.name);
    let plain = |placement| Row {
        name: name.clone(),
        placement,
        key: None,
        method: None,
        distribution: None,
    };
    match relation.placement {
        Placement::Home => plain("home"),
        Placement::Reference => plain("reference"),
        Placement::Distributed { distribution, key } => {
            let distribution = snapshot.distributions.get(&distribution);
            Row {
                key: relation.columns.get(key).map(|column| column.name.clone()),
                method: distribution.map(|d| method_name(&d.map.method)),
                distribution: distribution.map(|d| d.name.clone()),
                ..plain("distributed")
            }
        }
    }
}
