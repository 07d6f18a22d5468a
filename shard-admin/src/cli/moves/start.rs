//! `shard-admin move start`: writes the move down, prints its id, and drives it.

use crate::cli::Shared;
use crate::cli::map::find;
use crate::cli::moves::{Goal, Options, Throttle, background, drive, edges, goal, report};
use crate::failure::Failure;
use crate::output::Format;
use clap::Args;
use shardgate_catalog::moves::{self, MoveSpec, PartsSpec};
use shardgate_plan::snapshot::{Distribution, Snapshot};
use shardgate_shard_map::Method;

#[derive(Debug, Args)]
pub struct Start {
    /// The shard that is to have it
    #[arg(long, value_name = "SHARD")]
    to: String,
    /// A distribution, or a table of it [default: the only one that has such parts]
    #[arg(long = "of", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    parts: Options,
    #[command(flatten)]
    throttle: Throttle,
    /// How far to go: verified, switched, completed
    #[arg(long, value_parser = goal, default_value = "verified")]
    until: Goal,
    /// Return as soon as the move has an id; it goes on in the background
    #[arg(long)]
    detach: bool,
    /// Only say what would be done, and how much it is
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,
}

pub async fn run(shared: &Shared, args: Start) -> Result<(), Failure> {
    let (_, _, snapshot) = shared.snapshot().await?;
    let parts = args.parts.spec()?;
    let distribution = match &args.name {
        Some(name) => find(&snapshot, name)?,
        None => the_only_one(&snapshot, &parts)?,
    };
    let spec = MoveSpec {
        distribution: distribution.name.clone(),
        parts,
        to: args.to,
        options: args.throttle.options(),
    };
    let mut home = shared.home().await?.watched(edges::watch()?);
    if args.dry_run {
        let preview = moves::preview(&mut home, &spec).await?;
        report::preview(&spec, &preview, args.until).print(shared.output);
        return Ok(());
    }
    let id = moves::start(&mut home, &spec).await?;
    let now = moves::status(&home, id).await?;
    if args.detach {
        background::drive(shared, id, args.until)?;
        report::detached(&now, args.until).print(shared.output);
        return Ok(());
    }
    // People see the id at once; the document for programs comes at the end, with the id in it.
    match shared.output {
        Format::Table => report::started(&now).print(Format::Table),
        Format::Json => eprintln!("move {id}"),
    }
    let done = drive(shared, id, args.until).await?;
    report::reached(&done).print(shared.output);
    Ok(())
}

/// A cluster often has one distribution of a kind.
fn the_only_one<'a>(
    snapshot: &'a Snapshot,
    parts: &PartsSpec,
) -> Result<&'a Distribution, Failure> {
    let fits = |distribution: &&Distribution| match (parts, &distribution.map.method) {
        (PartsSpec::Keys(_), _)
        | (PartsSpec::Buckets(_), Method::Hash { .. })
        | (PartsSpec::Ranges(_), Method::Range { .. })
        | (PartsSpec::Values { .. }, Method::List { .. }) => true,
        (
            PartsSpec::Buckets(_) | PartsSpec::Ranges(_) | PartsSpec::Values { .. },
            Method::Hash { .. } | Method::Range { .. } | Method::List { .. },
        ) => false,
    };
    let mut found: Vec<&Distribution> = snapshot.distributions.values().filter(fits).collect();
    found.sort_by_key(|distribution| distribution.id);
    match (found.as_slice(), found.len()) {
        ([one], _) => Ok(one),
        (_, 0) => Err(Failure::new("there is no distribution that has such parts")
            .hint("See \"shard-admin distribution list\".")),
        (all, _) => {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            Err(Failure::usage("several distributions have such parts")
                .detail(format!("They are {}.", names.join(", ")))
                .hint("Name one, or a table of it, with --of."))
        }
    }
}
