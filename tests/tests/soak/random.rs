//! Pseudo-random numbers whose seed is printed: the seed alone decides what is made of them.

use anyhow::{Context, Result};

/// A generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own, for the client or the round of that number.
    pub fn fork(seed: u64, number: u64) -> Random {
        Random(Random(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(list.len() as u64)).ok()?;
        list.get(index)
    }
}

/// The variable `SEED`, or one of the clock.
pub fn seed() -> Result<u64> {
    if let Ok(text) = std::env::var("SEED") {
        return text.parse().context("SEED");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos()))
}

/// A number from the environment, or the usual one.
pub fn number(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| name.to_owned()),
        Err(_) => Ok(usual),
    }
}
