//! What is remembered of a primary's positions: samples by tick, and positions by time.
//!
//! Both lists are bounded. Forgetting is safe: a mark whose sample is gone needs the next one, which is only stricter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Entries of one list.
const ENTRIES_MAX: usize = 256;

/// The primary's insert position, asked for after the tick was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub tick: u64,
    pub timeline: u32,
    pub lsn: u64,
}

/// Samples, ascending by tick.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<Sample>);

impl Samples {
    pub fn push(&mut self, sample: Sample) {
        if let Some(last) = self.0.back() {
            // The same ticks are covered by the older, lower position as well.
            let known = last.tick == sample.tick && last.timeline == sample.timeline;
            if known || last.tick > sample.tick {
                return;
            }
        }
        make_room(&mut self.0, |s| {
            u128::from(sample.tick.saturating_sub(s.tick))
        });
        self.0.push_back(sample);
    }

    /// The highest tick of a sample that a replica at this position has replayed; 0 if there is none.
    pub fn covered(&self, timeline: u32, replayed: u64) -> u64 {
        let has = |s: &&Sample| s.timeline == timeline && s.lsn <= replayed;
        self.0.iter().rev().find(has).map_or(0, |s| s.tick)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// When the primary was first seen at a position, ascending; of one timeline.
#[derive(Debug, Default)]
pub(super) struct Positions {
    timeline: u32,
    list: VecDeque<(Instant, u64)>,
}

impl Positions {
    pub fn push(&mut self, timeline: u32, lsn: u64, now: Instant) {
        if self.timeline != timeline {
            self.timeline = timeline;
            self.list.clear();
        }
        if self.list.back().is_some_and(|(_, last)| *last >= lsn) {
            return;
        }
        make_room(&mut self.list, |(seen, _)| {
            now.saturating_duration_since(*seen).as_micros()
        });
        self.list.push_back((now, lsn));
    }

    /// How far a replica is behind: bytes, and the age of the oldest position that it has not reached. None: nothing is
    /// known of the primary.
    pub fn lag(&self, replayed: u64, now: Instant) -> Option<(u64, Duration)> {
        let (_, newest) = self.list.back()?;
        let missing = self.list.partition_point(|(_, lsn)| *lsn <= replayed);
        let since = self.list.get(missing).map(|(seen, _)| *seen);
        let age = since.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        Some((newest.saturating_sub(replayed), age))
    }
}

/// Forgets entries of a full list so that the gaps between those that stay are at most an eighth of their age: a long
/// history in few entries, with the detail where it matters. `age` is counted from the newest.
fn make_room<T>(list: &mut VecDeque<T>, age: impl Fn(&T) -> u128) {
    if list.len() < ENTRIES_MAX {
        return;
    }
    let old = std::mem::take(list);
    let ages: Vec<u128> = old.iter().map(age).collect();
    let mut kept_age = u128::MAX;
    for (at, entry) in old.into_iter().enumerate() {
        let here = ages.get(at).copied().unwrap_or(0);
        let next = ages.get(at + 1).copied();
        let gap = next.map_or(u128::MAX, |next| kept_age.saturating_sub(next));
        if gap > here / 8 {
            kept_age = here;
            list.push_back(entry);
        }
    }
    if list.len() >= ENTRIES_MAX {
        list.pop_front();
    }
}
