//! What a follower does on the home shard beyond asking it: the first load of a connection, and recovery.

use crate::connect::{Backend, config_for, hosts_of};
use crate::epoch;
use crate::error::CatalogError;
use crate::follow::FollowerOptions;
use crate::load::{load, load_again};
use crate::moves;
use crate::raw::RawSnapshot;
use crate::recover::recover;
use crate::view_copies;
use shardgate_plan::snapshot::{Host, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::Config;
use tracing::{debug, warn};

/// How often every shard is asked for changes that were left half-way.
const RECOVERY_MS: u64 = 60_000;
/// How often a switch under way is looked at: whoever makes it says that it lives more often than that.
const SWITCH_MS: u64 = 500;
/// The same for moves of which nobody waits.
const SETTLE_MS: u64 = 5_000;

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

/// Ends switches of moves that their maker has left half-way: statements wait for them. It looks often while there is one,
/// and not at all while nothing is moved.
pub(crate) async fn end_switches(
    config: Config,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) -> std::convert::Infallible {
    let mut home: Option<Backend> = None;
    loop {
        let wait_ms = {
            let moves = &snapshots.borrow_and_update().moves;
            match moves.iter().any(|one| one.holding) {
                true => Some(SWITCH_MS),
                false if moves.is_empty() => None,
                false => Some(SETTLE_MS),
            }
        };
        let Some(wait_ms) = wait_ms else {
            home = None;
            if snapshots.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let ended = match &mut home {
            Some(home) => moves::recover(home).await.map(|_| ()),
            None => match Backend::primary(&config, "the home shard").await {
                Ok(connected) => {
                    home = Some(connected);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            debug!(%error, "a switch that was left half-way is tried again");
            home = None;
        }
        let pause = tokio::time::sleep(Duration::from_millis(wait_ms));
        tokio::select! {
            () = pause => {}
            changed = snapshots.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
        }
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
