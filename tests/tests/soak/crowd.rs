//! The clients of a soak: they work together for a while, stop, are looked at, and go on.

use crate::client::Client;
use crate::foreign::{Foreign, ForeignWorking};
use crate::journal::Journal;
use crate::ledger::{Key, Ledger};
use crate::plan::Allowed;
use crate::random::Random;
use crate::world::{ROUTERS, World};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How many keys of each kind a client has.
const NUMBERS: i64 = 60;
const NAMES: i64 = 30;

/// How long the clients may take to stop.
const STOP: Duration = Duration::from_secs(120);

/// The keys of a client. Nobody else has them.
pub fn keys(client: i32) -> Vec<Key> {
    let base = i64::from(client) * 1000;
    let numbers = (1..=NUMBERS).map(|number| Key::Number(base + number));
    let names = (1..=NAMES).map(|number| Key::Name(format!("c{client}-{number}")));
    numbers.chain(names).collect()
}

/// All clients, resting.
#[derive(Debug)]
pub struct Crowd {
    pub clients: Vec<Client>,
    /// In processes of their own.
    pub foreign: Vec<Foreign>,
}

/// All clients, at work.
#[derive(Debug)]
pub struct Working {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Client>>,
    foreign: Vec<ForeignWorking>,
}

impl Crowd {
    /// `count` clients, which make `rate` plans a second together; and one of another driver on each router.
    pub fn new(world: &World, count: i32, rate: u64, seed: u64, allowed: Allowed) -> Crowd {
        let clients = (1..=count)
            .map(|number| {
                let router = usize::try_from(number).unwrap_or(0) % ROUTERS;
                let count = u64::try_from(count).unwrap_or(1);
                Client {
                    ledger: Ledger::new(number, keys(number)),
                    router,
                    url: world.url(router),
                    random: Random::fork(seed, u64::try_from(number).unwrap_or(0)),
                    allowed,
                    pace: Duration::from_micros(1_000_000 * count / rate.max(1)),
                    hand: None,
                }
            })
            .collect();
        let foreign = (0..ROUTERS)
            .map(|router| {
                let client = i32::try_from(router).map_or(count, |router| count + 1 + router);
                let numbers = keys(client)
                    .into_iter()
                    .filter(|key| matches!(key, Key::Number(_)));
                Foreign {
                    ledger: Ledger::new(client, numbers),
                    router,
                    url: world.url(router),
                    pace: Duration::from_millis(20),
                    value: 0,
                }
            })
            .collect();
        Crowd { clients, foreign }
    }

    /// What all clients know.
    pub fn ledgers(&mut self) -> Vec<&mut Ledger> {
        let own = self.clients.iter_mut().map(|client| &mut client.ledger);
        let foreign = self.foreign.iter_mut().map(|client| &mut client.ledger);
        own.chain(foreign).collect()
    }

    pub fn start(self, journal: &Arc<Journal>, seed: u64) -> Result<Working> {
        let stop = Arc::new(AtomicBool::new(false));
        let foreign: Result<Vec<_>> = self
            .foreign
            .into_iter()
            .map(|client| client.start(journal, seed))
            .collect();
        let tasks = self
            .clients
            .into_iter()
            .map(|client| tokio::spawn(client.work(Arc::clone(journal), Arc::clone(&stop))))
            .collect();
        Ok(Working {
            stop,
            tasks,
            foreign: foreign?,
        })
    }
}

impl Working {
    /// Ends what they do, and brings them back.
    pub async fn stop(self) -> Result<Crowd> {
        self.stop.store(true, Ordering::Relaxed);
        let mut clients = Vec::new();
        for task in self.tasks {
            let client = tokio::time::timeout(STOP, task)
                .await
                .context("a client does not stop")?;
            clients.push(client.context("a client panicked")?);
        }
        let foreign: Result<Vec<_>> = tokio::task::block_in_place(|| {
            self.foreign.into_iter().map(ForeignWorking::stop).collect()
        });
        Ok(Crowd {
            clients,
            foreign: foreign?,
        })
    }
}
