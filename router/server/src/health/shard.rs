//! One shard as its tasks and the query path share it.
//!
//! The board is behind a lock that only the tasks take; the query path reads the published view.

use super::board::Board;
use super::choose::{Random, View, choose};
use super::history::Sample;
use super::server::{Answer, Incarnation};
use super::{Clock, Endpoint, Options, ServerHealth, ShardMarks};
use arc_swap::ArcSwap;
use shardgate_plan::snapshot::{Floor, Host};
use shardgate_shard_map::ShardId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_postgres::Client;

/// So long after a replica was asked for, or a mark was set, the servers are probed often.
const ACTIVE: Duration = Duration::from_secs(5);

pub(super) struct Shard {
    id: ShardId,
    options: Options,
    started: Instant,
    board: Mutex<Board>,
    clients: Mutex<HashMap<Host, Arc<Client>>>,
    view: ArcSwap<View>,
    random: Random,
    /// Counts changes of the primary.
    changes: watch::Sender<u64>,
    /// Counts the reasons to probe at once.
    hurries: watch::Sender<u64>,
    /// In milliseconds since `started`.
    active_until: AtomicU64,
    /// The highest tick that a sample is asked for.
    wanted: AtomicU64,
    sampled: AtomicU64,
    sampler: Notify,
}

impl Shard {
    pub fn new(id: ShardId, hosts: &[Host], options: Options, seed: u64) -> Self {
        let board = Board::new(id, hosts);
        let view = board.view(&options, Instant::now());
        Shard {
            id,
            options,
            started: Instant::now(),
            board: Mutex::new(board),
            clients: Mutex::default(),
            view: ArcSwap::from_pointee(view),
            random: Random::new(seed),
            changes: watch::Sender::new(0),
            hurries: watch::Sender::new(0),
            active_until: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            sampled: AtomicU64::new(0),
            sampler: Notify::new(),
        }
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn servers(&self) -> Vec<ServerHealth> {
        locked(&self.board).servers(&self.options, Instant::now())
    }

    pub fn choose(&self, marks: &ShardMarks, floor: Option<Floor>) -> Option<Endpoint> {
        let fresh = self.options.probe_timeout + self.options.idle_interval;
        choose(
            &self.view(),
            marks,
            floor,
            Instant::now(),
            fresh,
            &self.random,
        )
    }

    /// Replicas are in use: their positions are worth asking for often.
    pub fn touch(&self) {
        let now = self.now_ms();
        let until = now + u64::try_from(ACTIVE.as_millis()).unwrap_or(u64::MAX);
        if self.active_until.fetch_max(until, Ordering::Relaxed) <= now {
            self.hurry();
        }
    }

    /// All servers are to be asked now.
    pub fn hurry(&self) {
        self.hurries.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub fn hurries(&self) -> watch::Receiver<u64> {
        self.hurries.subscribe()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long to wait before a server is asked again.
    pub fn interval(&self) -> Duration {
        let active = self.active_until.load(Ordering::Relaxed) > self.now_ms();
        match active || self.view().primary.is_none() {
            true => self.options.probe_interval,
            false => self.options.idle_interval,
        }
    }

    /// A connection of the health check, kept for samples.
    pub fn connected(&self, host: &Host, client: Arc<Client>) {
        locked(&self.clients).insert(host.clone(), client);
    }

    pub fn observe(
        &self,
        host: &Host,
        incarnation: &Incarnation,
        answer: &Answer,
        latency: Duration,
        clock: &Clock,
    ) {
        let now = Instant::now();
        self.change(|board| board.observe(host, incarnation, answer, latency, now, clock));
    }

    pub fn lost(&self, host: &Host, error: String) {
        locked(&self.clients).remove(host);
        self.change(|board| board.lost(host, error, Instant::now()));
    }

    pub fn set_hosts(&self, hosts: &[Host]) {
        locked(&self.clients).retain(|host, _| hosts.contains(host));
        self.change(|board| board.set_hosts(hosts, Instant::now()));
    }

    fn change(&self, change: impl FnOnce(&mut Board)) {
        let mut board = locked(&self.board);
        change(&mut board);
        let view = board.view(&self.options, Instant::now());
        let id = |view: &View| view.primary.as_ref().map(|p| p.id);
        let before = self.view.swap(Arc::new(view));
        let after = self.view.load();
        if id(&before) != id(&after) {
            report(self.id, &after);
            self.changes.send_modify(|n| *n = n.wrapping_add(1));
            // The others follow the new primary, or look for one.
            self.hurry();
        }
    }

    /// Asks for a sample that covers `tick`.
    pub fn need_sample(&self, tick: u64) {
        self.wanted.fetch_max(tick, Ordering::SeqCst);
        if self.sampled.load(Ordering::SeqCst) < tick {
            self.sampler.notify_one();
        }
    }

    /// Waits until a tick is asked for that no sample covers. Cancel-safe.
    pub async fn sample_wanted(&self) {
        while self.wanted.load(Ordering::SeqCst) <= self.sampled.load(Ordering::SeqCst) {
            self.sampler.notified().await;
        }
    }

    /// The highest tick that a sample covers.
    #[cfg(test)]
    pub fn sampled(&self) -> u64 {
        self.sampled.load(Ordering::SeqCst)
    }

    /// The connection to the server that is the primary now.
    pub fn primary_client(&self) -> Option<Arc<Client>> {
        let view = self.view();
        let primary = view.primary.as_ref()?;
        let clients = locked(&self.clients);
        let is_it = |host: &Host| *host.host == *primary.host && host.port == primary.port;
        let found = clients.iter().find(|(host, _)| is_it(host));
        found.map(|(_, client)| client.clone())
    }

    pub fn add_sample(&self, sample: Sample) {
        self.sampled.fetch_max(sample.tick, Ordering::SeqCst);
        self.change(|board| board.sample(sample));
    }
}

fn report(shard: ShardId, view: &View) {
    match &view.primary {
        Some(p) => tracing::info!(shard = shard.0, host = %p.host, port = p.port, "primary found"),
        None => tracing::warn!(shard = shard.0, reason = %view.reason, "no primary"),
    }
}

/// What is behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
