//! How long statements took while keys were switched, for the keys that moved and for the others.

use crate::journal::Sample;
use crate::ledger::Key;
use shardgate_shard_map as map;
use std::collections::BTreeSet;
use std::time::Duration;

/// A switch: from when to when, and of which buckets of which kind of key.
#[derive(Clone, Debug)]
pub struct Window {
    pub from: Duration,
    pub to: Duration,
    /// True: of the distribution of numbers.
    pub numbers: bool,
    pub bucket_count: u32,
    pub buckets: BTreeSet<u32>,
    /// A single key instead.
    pub key: Option<Key>,
    /// Something was killed at that time: the figures say nothing of switches.
    pub disturbed: bool,
}

impl Window {
    fn moves(&self, key: &Key) -> bool {
        if self.key.as_ref() == Some(key) {
            return true;
        }
        let key = match (key, self.numbers) {
            (Key::Number(number), true) => map::Key::Int(*number),
            (Key::Name(name), false) => map::Key::Text(name.as_str().into()),
            (Key::Number(_), false) | (Key::Name(_), true) => return false,
        };
        let map::Bucket(bucket) = map::bucket(&key, self.bucket_count);
        self.buckets.contains(&bucket)
    }
}

/// Times of many things, sorted.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that a share of `hundredths` % of the things did not exceed.
    pub fn percentile(&self, hundredths: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted
            .get((last * hundredths).div_ceil(100))
            .copied()
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |hundredths| self.percentile(hundredths).as_secs_f64() * 1000.0;
        let (p50, p99, max) = (ms(50), ms(99), ms(100));
        let count = self.0.len();
        write!(
            f,
            "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms of {count}"
        )
    }
}

/// What all switches together looked like to the clients.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Statements that were under way during a switch, for moving keys and for others.
    pub moving: Times,
    pub staying: Times,
    /// At other times.
    pub calm: Times,
    /// The longest statement for a moving key in each switch.
    pub longest: Times,
}

impl Pauses {
    pub fn add(&mut self, windows: &[Window], samples: &[Sample]) {
        let mut longest = vec![None; windows.len()];
        for sample in samples {
            let to = sample.from + sample.took;
            let mut during = windows
                .iter()
                .zip(&mut longest)
                .filter(|(window, _)| sample.from <= window.to && to >= window.from);
            match during.next() {
                None => self.calm.add(sample.took),
                Some((window, _)) if window.disturbed => {}
                Some((window, longest)) if window.moves(&sample.key) => {
                    self.moving.add(sample.took);
                    *longest = (*longest).max(Some(sample.took));
                }
                Some(_) => self.staying.add(sample.took),
            }
        }
        for time in longest.into_iter().flatten() {
            self.longest.add(time);
        }
    }

    pub fn print(&self) {
        println!("statements while nothing was switched: {}", self.calm);
        println!(
            "statements for keys that stayed, during a switch: {}",
            self.staying
        );
        println!(
            "statements for keys that moved, during a switch: {}",
            self.moving
        );
        println!("the longest statement of each switch: {}", self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let ms = Duration::from_millis;
        let window = Window {
            from: ms(100),
            to: ms(200),
            numbers: true,
            bucket_count: 1,
            buckets: BTreeSet::from([0]),
            key: None,
            disturbed: false,
        };
        let sample = |from, took, key| Sample {
            from: ms(from),
            took: ms(took),
            key,
        };
        let mut pauses = Pauses::default();
        pauses.add(
            &[window],
            &[
                sample(10, 20, Key::Number(1)),
                sample(90, 60, Key::Number(1)),
                sample(150, 90, Key::Number(1)),
                sample(150, 5, Key::Name("a".to_owned())),
            ],
        );
        assert_eq!(pauses.calm.percentile(100), ms(20));
        assert_eq!(pauses.moving.percentile(50), ms(90));
        assert_eq!(pauses.moving.percentile(0), ms(60));
        assert_eq!(pauses.longest.percentile(100), ms(90));
        assert_eq!(pauses.staying.percentile(100), ms(5));
    }
}
