//! Which of the eligible replicas gets a statement: the better of two, by connections in use times latency.
//!
//! "The power of two choices": of two random ones the better, which spreads load nearly as well as knowing all, and does
//! not herd as taking the best of all does (Mitzenmacher, 2001). The replica that a session read from last has an
//! advantage, since there it needs no sample.

use super::{Endpoint, EndpointId, ShardMarks};
use shardgate_plan::snapshot::Floor;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The load of one endpoint, shared by all who look at it.
#[derive(Debug, Default)]
pub struct Load {
    busy: AtomicI64,
}

impl Load {
    pub fn add(&self, change: i64) {
        self.busy.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn busy(&self) -> i64 {
        self.busy.load(Ordering::Relaxed)
    }
}

/// One replica as it was last seen.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub endpoint: Endpoint,
    /// It streams from the shard's primary and lags less than the limits.
    pub usable: bool,
    /// The highest tick of a sample that it has replayed.
    pub covered: u64,
    /// What it has replayed, by its own word.
    pub timeline: u32,
    pub lsn: u64,
    pub seen: Instant,
    pub latency: Duration,
    pub load: Arc<Load>,
}

/// What the query path reads of a shard; published whole.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub primary: Option<Endpoint>,
    /// Why there is no primary; empty if there is one.
    pub reason: String,
    pub replicas: Vec<Replica>,
    /// Of all servers, those that are down included: what is in use there is given back later.
    pub loads: Vec<(EndpointId, Arc<Load>)>,
}

impl View {
    pub fn has(&self, id: EndpointId) -> bool {
        self.primary.as_ref().is_some_and(|p| p.id == id)
            || self.replicas.iter().any(|r| r.endpoint.id == id)
    }

    pub fn load(&self, id: EndpointId) -> Option<&Arc<Load>> {
        let found = self.loads.iter().find(|(known, _)| *known == id);
        found.map(|(_, load)| load)
    }
}

/// The rule that everything else exists for.
pub(super) fn eligible(replica: &Replica, marks: &ShardMarks) -> bool {
    let written = marks.write <= replica.covered;
    let read = marks.read <= replica.covered || marks.read_on == Some(replica.endpoint.id);
    replica.usable && written && read
}

/// It has all rows that have come to the shard by a move. On a newer timeline it has passed the position as well, as far as
/// that was not lost with the older one.
pub(super) fn reaches(replica: &Replica, floor: Option<Floor>) -> bool {
    floor.is_none_or(|floor| {
        replica.timeline > floor.timeline
            || (replica.timeline == floor.timeline && replica.lsn >= floor.lsn)
    })
}

/// Chooses among the eligible replicas that were seen within `fresh`.
pub(super) fn choose(
    view: &View,
    marks: &ShardMarks,
    floor: Option<Floor>,
    now: Instant,
    fresh: Duration,
    random: &Random,
) -> Option<Endpoint> {
    let fits = |r: &&Replica| {
        eligible(r, marks) && reaches(r, floor) && now.saturating_duration_since(r.seen) <= fresh
    };
    let count = view.replicas.iter().filter(fits).count();
    let nth = |n: usize| view.replicas.iter().filter(fits).nth(n);
    let sticky = marks.read_on.and_then(|id| {
        let found = view.replicas.iter().filter(fits);
        found.enumerate().find(|(_, r)| r.endpoint.id == id)
    });
    let (first_at, first) = match sticky {
        Some(found) => found,
        None if count == 0 => return None,
        None => {
            let at = random.below(count);
            (at, nth(at)?)
        }
    };
    if count == 1 {
        return Some(first.endpoint.clone());
    }
    // Any other than the first, each alike.
    let at = random.below(count - 1);
    let second = nth(if at < first_at { at } else { at + 1 })?;
    let advantage = if sticky.is_some() { 2 } else { 1 };
    let first_wins = cost(first) <= cost(second).saturating_mul(advantage);
    let chosen = if first_wins { first } else { second };
    Some(chosen.endpoint.clone())
}

fn cost(replica: &Replica) -> u128 {
    let busy = u128::try_from(replica.load.busy()).unwrap_or(0);
    (busy + 1).saturating_mul(replica.latency.as_micros().max(1))
}

/// A small generator (Vigna's splitmix64); its quality is no matter of safety here.
#[derive(Debug)]
pub(super) struct Random(AtomicU64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(AtomicU64::new(seed))
    }

    /// A number from 0 to `bound - 1`; 0 if `bound` is 0.
    fn below(&self, bound: usize) -> usize {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(z % bound).unwrap_or(0)
    }
}
