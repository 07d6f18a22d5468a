//! What a follower does on the home shard beyond asking it: the first load of a connection, and recovery.

use crate::connect::{Backend, config_for, hosts_of};
use crate::epoch;
use crate::error::CatalogError;
use crate::follow::FollowerOptions;
use crate::load::{load, load_again};
use crate::raw::RawSnapshot;
use crate::recover::recover;
use crate::view_copies;
use shardgate_plan::snapshot::Host;
use std::time::Duration;
use tokio_postgres::Config;
use tracing::{debug, warn};

/// How often every shard is asked for changes that were left half-way.
const RECOVERY_MS: u64 = 60_000;

/// Ends changes that somebody left half-way, on every shard, and compares views that could not be compared before. It has a connection of its own, so that a shard that is
/// down delays nobody.
pub(crate) async fn recover_now_and_then(config: Config) -> std::convert::Infallible {
    loop {
        let recovered = match Backend::primary(&config, "the home shard").await {
            Ok(mut home) => match recover(&mut home).await {
                Ok(_) => view_copies::level(&mut home).await.map(|_| ()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match recovered {
            Ok(()) => {}
            Err(error) if error.is_unreachable() => debug!(%error, "recovery waits for a shard"),
            Err(error) => warn!(%error, "a change that was left half-way could not be ended"),
        }
        tokio::time::sleep(Duration::from_millis(RECOVERY_MS)).await;
    }
}

/// Listens before it loads, so that no epoch falls between the two.
pub(crate) async fn connect_and_load(
    options: &FollowerOptions,
    known: Option<&RawSnapshot>,
) -> Result<(Backend, RawSnapshot), CatalogError> {
    // A replica that became the primary may be in the catalog and not in the router's own settings.
    let mut hosts = hosts_of(&options.config);
    let listed = known.and_then(|raw| raw.shards.iter().find(|shard| shard.id == raw.home));
    for (host, port) in listed.iter().flat_map(|shard| &shard.hosts) {
        let host = Host {
            host: host.clone(),
            port: *port,
        };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let config = config_for(&options.config, &hosts, None);
    let mut home = Backend::primary(&config, "the home shard").await?;
    home.run(&format!(
        "SET synchronous_commit = off; LISTEN {}",
        epoch::CHANNEL
    ))
    .await?;
    let raw = match known {
        Some(known) => load_again(&mut home, known).await?,
        None => load(&mut home, None).await?,
    };
    Ok((home, raw))
}
