//! The catalog of a local cluster: made on the first shard, which is home; the others are added.

use crate::cluster::{Cluster, Node, Shard};
use crate::failure::Failure;
use shardgate_catalog::{Backend, InitOptions, NewShard, add_shard, init};
use shardgate_plan::snapshot::Host;
use std::future::Future;
use tokio_postgres::Config;

/// All shards of a local cluster weigh the same.
const WEIGHT: u32 = 100;

/// Makes the catalog in `database` of the first shard and adds the other shards, with all their servers as hosts.
///
/// Blocking.
pub fn create(cluster: &Cluster, database: &str) -> Result<(), Failure> {
    let Some((home, others)) = cluster.shards.split_first() else {
        return Ok(());
    };
    let config: Config = home.primary.url(database, "postgres").parse()?;
    block_on(async {
        let mut backend = Backend::primary(&config, "the home shard").await?;
        let options = InitOptions {
            shard_name: home.name.clone(),
            weight: WEIGHT,
            hosts: hosts(home),
        };
        init(&mut backend, &options).await?;
        for shard in others {
            let new = NewShard {
                name: shard.name.clone(),
                hosts: hosts(shard),
                weight: WEIGHT,
                dbname: None,
            };
            add_shard(&mut backend, &new).await?;
        }
        Ok(())
    })
}

fn hosts(shard: &Shard) -> Vec<Host> {
    let host = |node: &Node| Host {
        host: node.host.clone(),
        port: node.port,
    };
    shard.nodes().map(host).collect()
}

/// Runs async work to its end on a thread with a runtime of its own, so that this works inside of another runtime too.
pub fn block_on<T: Send>(
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .map_err(Failure::io("start a runtime"))?
            .block_on(work)
    };
    std::thread::scope(|scope| {
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
