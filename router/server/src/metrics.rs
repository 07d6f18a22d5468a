//! The router's counters: plain atomics in one struct that is built once and handed down.
//!
//! It must not know who counts what.

mod scrape;

pub use scrape::{Scrape, registry, render};

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things that are there now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// One more, unless there are that many. False: there are.
    pub fn add_below(&self, max: usize) -> bool {
        let more = |now: usize| (now < max).then(|| now.saturating_add(1));
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// One less.
    pub fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets, in microseconds; a last one without a bound is implied.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// Durations, counted in buckets.
#[derive(Debug, Default)]
pub struct Times {
    /// One more than there are bounds.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        let values = self.buckets.iter().map(|b| b.load(Ordering::Relaxed));
        values.sum()
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    /// Upper bound in seconds and the count of each bucket; the last bound is infinite.
    #[allow(clippy::cast_precision_loss)]
    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
        let bounds = bounds.chain(std::iter::once(f64::MAX));
        let counts = self.buckets.iter().map(|b| b.load(Ordering::Relaxed));
        bounds.zip(counts).collect()
    }
}

/// Everything that is counted on the way of a statement.
#[derive(Debug, Default)]
pub struct Metrics {
    pub clients_accepted: Counter,
    /// From one thread to another, between two transactions.
    pub clients_moved: Counter,
    /// Turned away: too many clients, in all or before login.
    pub clients_refused: Counter,
    pub logins_failed: Counter,
    pub queries: Counter,
    pub transactions: Counter,
    /// Errors that clients were sent: by servers, and by the router itself.
    pub errors_relayed: Counter,
    pub errors_own: Counter,
    /// Statements that the router does not answer (0A000).
    pub refused: Counter,
    /// Statements for which rows of all shards were gathered, the rows, and their bytes.
    pub gathered: Counter,
    pub gathered_rows: Counter,
    pub gathered_bytes: Counter,
    /// Statements that a limit of gathering has stopped.
    pub gather_limited: Counter,
    pub client_bytes_received: Counter,
    pub client_bytes_sent: Counter,
    /// Statements by where they went.
    pub reads_on_replica: Counter,
    /// A replica was wanted, and none was eligible.
    pub reads_on_primary_instead: Counter,
    pub on_primary: Counter,
    pub cancels: Counter,
    pub cancels_unknown: Counter,
    pub backends_opened: Counter,
    pub backends_failed: Counter,
    pub backends_closed: Counter,
    pub protocol_violations: Counter,
    /// Statements that waited because their keys changed hands, clients that do now, and for how long they did.
    pub held: Counter,
    pub held_clients: Gauge,
    pub hold_time: Times,
    /// Connections to servers that were not used because the server has fenced off older maps of the shards.
    pub backends_fenced: Counter,
    /// Waits for a backend.
    pub wait_time: Times,
}

impl Metrics {
    /// Name, help text and value of every counter. The names have no prefix and no `_total`.
    fn counters(&self) -> [(&'static str, &'static str, &Counter); 26] {
        [
            (
                "clients_accepted",
                "Client connections accepted",
                &self.clients_accepted,
            ),
            (
                "clients_moved",
                "Clients that went on on another thread",
                &self.clients_moved,
            ),
            (
                "clients_refused",
                "Client connections turned away",
                &self.clients_refused,
            ),
            ("logins_failed", "Logins that failed", &self.logins_failed),
            ("queries", "Statements answered", &self.queries),
            ("transactions", "Transactions ended", &self.transactions),
            (
                "errors_relayed",
                "Errors of servers sent to clients",
                &self.errors_relayed,
            ),
            (
                "errors_own",
                "Errors of the router sent to clients",
                &self.errors_own,
            ),
            (
                "statements_refused",
                "Statements of a kind that is not supported",
                &self.refused,
            ),
            (
                "statements_gathered",
                "Statements answered over rows that were gathered from all shards",
                &self.gathered,
            ),
            ("gathered_rows", "Rows gathered", &self.gathered_rows),
            (
                "gathered_bytes",
                "Bytes of gathered rows",
                &self.gathered_bytes,
            ),
            (
                "gather_limit_refusals",
                "Statements stopped by a limit of gathering",
                &self.gather_limited,
            ),
            (
                "client_received_bytes",
                "Bytes received from clients",
                &self.client_bytes_received,
            ),
            (
                "client_sent_bytes",
                "Bytes sent to clients",
                &self.client_bytes_sent,
            ),
            (
                "reads_on_replica",
                "Reads sent to a replica",
                &self.reads_on_replica,
            ),
            (
                "reads_on_primary_instead",
                "Reads sent to a primary because no replica was eligible",
                &self.reads_on_primary_instead,
            ),
            ("on_primary", "Checkouts of a primary", &self.on_primary),
            ("cancels", "Cancel requests of clients", &self.cancels),
            (
                "cancels_unknown",
                "Cancel requests with an unknown key",
                &self.cancels_unknown,
            ),
            (
                "backends_opened",
                "Connections opened to servers",
                &self.backends_opened,
            ),
            (
                "backends_failed",
                "Connections to servers that could not be opened",
                &self.backends_failed,
            ),
            (
                "backends_closed",
                "Connections to servers closed",
                &self.backends_closed,
            ),
            (
                "statements_held",
                "Statements that waited because their rows changed hands between two shards",
                &self.held,
            ),
            (
                "backends_fenced",
                "Connections not used because the server wants a newer map of the shards",
                &self.backends_fenced,
            ),
            (
                "protocol_violations",
                "Connections closed for bytes that are no messages",
                &self.protocol_violations,
            ),
        ]
    }

    fn times(&self) -> [(&'static str, &'static str, &Times); 2] {
        [
            (
                "wait_seconds",
                "Time that clients waited for a server connection",
                &self.wait_time,
            ),
            (
                "hold_seconds",
                "Time that statements waited because their rows changed hands",
                &self.hold_time,
            ),
        ]
    }
}
