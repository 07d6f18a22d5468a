//! What is done to the processes meanwhile: killed, stopped and woken, restarted. Kills that clients may notice are noted
//! in the journal before they happen.

use crate::journal::{Journal, Victim};
use crate::random::Random;
use crate::world::{ROUTERS, World};
use anyhow::{Context, Result, anyhow};
use shard_admin::cluster::Signal;
use std::collections::BTreeMap;
use std::time::Duration;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// SIGKILL, and a new one after a moment.
    RouterKilled,
    /// SIGSTOP, and woken after a moment.
    RouterStopped,
    PrimaryRestarted,
    /// SIGKILL, and recovery.
    PrimaryKilled,
    /// Every logical walsender of one shard is ended.
    WalsendersEnded,
    /// Every apply worker of one shard is ended.
    WorkersEnded,
}

pub const ALL: [Event; 6] = [
    Event::RouterKilled,
    Event::RouterStopped,
    Event::PrimaryRestarted,
    Event::PrimaryKilled,
    Event::WalsendersEnded,
    Event::WorkersEnded,
];

/// How often each has happened.
#[derive(Debug, Default)]
pub struct Chaos {
    pub happened: BTreeMap<Event, u32>,
    /// The longest that a router is stopped for.
    pub stop_ms_max: u64,
}

impl Chaos {
    /// Lets it happen, and returns when everything runs again.
    pub async fn happen(
        &mut self,
        event: Event,
        world: &mut World,
        journal: &Journal,
        random: &mut Random,
    ) -> Result<()> {
        *self.happened.entry(event).or_default() += 1;
        let router = below(random, ROUTERS);
        let shard = below(random, world.running.cluster.shards.len());
        println!(
            "{:?}: {event:?}, router {router} or shard {shard}",
            journal.now()
        );
        match event {
            Event::RouterKilled => {
                let number = journal.kill(Victim::Router(router));
                tokio::task::block_in_place(|| world.router(router).kill9());
                tokio::time::sleep(Duration::from_millis(random.below(500))).await;
                tokio::task::block_in_place(|| world.restart_router(router))?;
                journal.runs_again(number);
            }
            Event::RouterStopped => {
                let number = journal.kill(Victim::Router(router));
                world.signal_router(router, Signal::Stop);
                let ms = 200 + random.below(self.stop_ms_max);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                world.signal_router(router, Signal::Continue);
                journal.runs_again(number);
            }
            Event::PrimaryRestarted | Event::PrimaryKilled => {
                let number = journal.kill(Victim::Primary(shard));
                let primary = &world.running.cluster.shards[shard].primary;
                tokio::task::block_in_place(|| {
                    if event == Event::PrimaryKilled {
                        primary.kill9();
                    } else {
                        primary.stop();
                    }
                    primary.start()
                })
                .map_err(|error| anyhow!(error.full_text()))?;
                journal.runs_again(number);
            }
            Event::WalsendersEnded => {
                let sql = "SELECT pg_terminate_backend(s.pid) FROM pg_replication_slots r \
                    JOIN pg_stat_activity s ON s.pid = r.active_pid WHERE r.slot_type = 'logical'";
                end(world, shard, sql).await?;
            }
            Event::WorkersEnded => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE backend_type = 'logical replication worker'";
                end(world, shard, sql).await?;
            }
        }
        Ok(())
    }
}

async fn end(world: &World, shard: usize, sql: &str) -> Result<()> {
    let session = world.running.connect_shard(shard).await?;
    session.query(sql, &[]).await.context(sql.to_owned())?;
    Ok(())
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or(0)
}
