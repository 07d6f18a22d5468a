//! What all clients saw: errors, wrong answers, and how long things took; and what was done to them meanwhile.
//!
//! An error is explained by a kill that the test did itself, of the client's own router or of the primary that has its
//! key, at that time; never by a move.

use crate::ledger::Key;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a killed server runs again its clients may still meet the loss of it.
const AFTERMATH: Duration = Duration::from_secs(5);

/// SQLSTATEs that the loss of a server or of a router may have: the connection classes, and shutdowns.
const OF_A_LOSS: [&str; 9] = [
    "08000", "08001", "08003", "08006", "08007", "57P01", "57P02", "57P03", "57P05",
];

/// Which process was killed or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Router(usize),
    Primary(usize),
}

/// From the kill to the moment that the process runs again.
#[derive(Clone, Debug)]
pub struct Kill {
    pub victim: Victim,
    pub from: Duration,
    pub to: Option<Duration>,
}

/// An error that a client saw.
#[derive(Clone, Debug)]
pub struct Failure {
    pub from: Duration,
    pub to: Duration,
    pub client: i32,
    pub router: usize,
    /// None: it may have concerned any shard, or the connection.
    pub key: Option<Key>,
    /// In a transaction block: with its server the session is lost.
    pub block: bool,
    /// None: no server said it, the connection ended.
    pub code: Option<String>,
    pub text: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.as_deref().unwrap_or("no SQLSTATE");
        write!(
            f,
            "{:?} to {:?}, client {} of router {}, {code}: {}",
            self.from, self.to, self.client, self.router, self.text
        )
    }
}

/// The time that one statement or transaction took.
#[derive(Clone, Debug)]
pub struct Sample {
    pub from: Duration,
    pub took: Duration,
    pub key: Key,
}

#[derive(Debug, Default)]
struct Inner {
    failures: Vec<Failure>,
    kills: Vec<Kill>,
    wrong: Vec<String>,
    samples: Vec<Sample>,
    counts: Counts,
}

/// What was done and answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub writes: u64,
    pub reads: u64,
    pub gathers: u64,
    /// Serialization failures of REPEATABLE READ transactions, which have to be ready for them.
    pub retries: u64,
    /// Writes of which nobody said what became of them.
    pub doubts: u64,
}

/// Shared by all clients and the test.
#[derive(Debug)]
pub struct Journal {
    start: Instant,
    inner: Mutex<Inner>,
}

impl Journal {
    pub fn new() -> Journal {
        Journal {
            start: Instant::now(),
            inner: Mutex::default(),
        }
    }

    /// The time of this journal.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.inner().counts);
    }

    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    pub fn failed(&self, failure: Failure) {
        self.inner().failures.push(failure);
    }

    /// A wrong answer: never explained by anything.
    pub fn wrong(&self, text: String) {
        println!("WRONG at {:?}: {text}", self.now());
        self.inner().wrong.push(text);
    }

    pub fn sample(&self, from: Duration, key: Key) {
        let took = self.now().saturating_sub(from);
        self.inner().samples.push(Sample { from, took, key });
    }

    pub fn wrong_answers(&self) -> Vec<String> {
        self.inner().wrong.clone()
    }

    /// Takes the samples so far.
    pub fn take_samples(&self) -> Vec<Sample> {
        std::mem::take(&mut self.inner().samples)
    }

    /// Call it before the signal is sent; the number is for [`Journal::runs_again`].
    pub fn kill(&self, victim: Victim) -> usize {
        let from = self.now();
        let mut inner = self.inner();
        inner.kills.push(Kill {
            victim,
            from,
            to: None,
        });
        inner.kills.len() - 1
    }

    pub fn runs_again(&self, number: usize) {
        let now = self.now();
        if let Some(kill) = self.inner().kills.get_mut(number) {
            kill.to = Some(now);
        }
    }

    /// Everything that was killed.
    pub fn kills(&self) -> Vec<Kill> {
        self.inner().kills.clone()
    }

    /// Takes the errors so far: those that no kill explains, and the number of the others. `shards` gives those that may
    /// have had the key.
    pub fn judge(&self, shards: impl Fn(&Key) -> Vec<usize>) -> (Vec<Failure>, usize) {
        let mut inner = self.inner();
        let failures = std::mem::take(&mut inner.failures);
        let (explained, others): (Vec<_>, Vec<_>) = failures.into_iter().partition(|failure| {
            let mut kills = inner.kills.iter();
            kills.any(|kill| explains(kill, failure, &shards))
        });
        (others, explained.len())
    }
}

fn explains(kill: &Kill, failure: &Failure, shards: &impl Fn(&Key) -> Vec<usize>) -> bool {
    let until = kill.to.map_or(Duration::MAX, |to| to + AFTERMATH);
    let then = kill.from <= failure.to && failure.from <= until;
    let code = failure.code.as_deref();
    let loss = code.is_none_or(|code| OF_A_LOSS.contains(&code));
    let there = match kill.victim {
        Victim::Router(router) => failure.router == router,
        // Outside of a block the connection ends with the router alone: a server has to say something.
        Victim::Primary(shard) => {
            let key = failure.key.as_ref();
            (code.is_some() || failure.block) && key.is_none_or(|key| shards(key).contains(&shard))
        }
    };
    then && loss && there
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(victim: Victim, router: usize, key: Option<i64>, code: Option<&str>, expect: bool) {
        let kill = Kill {
            victim,
            from: Duration::from_secs(10),
            to: Some(Duration::from_secs(12)),
        };
        let failure = |from, to| Failure {
            from: Duration::from_secs(from),
            to: Duration::from_secs(to),
            client: 1,
            router,
            key: key.map(Key::Number),
            block: false,
            code: code.map(str::to_owned),
            text: String::new(),
        };
        // The key 7 is on the second shard.
        let shards = |_: &Key| vec![1];
        assert_eq!(explains(&kill, &failure(9, 11), &shards), expect);
        assert_eq!(explains(&kill, &failure(16, 16), &shards), expect);
        assert!(!explains(&kill, &failure(8, 9), &shards));
        assert!(!explains(&kill, &failure(18, 19), &shards));
    }

    #[test]
    fn an_error_needs_a_kill_of_its_own() {
        check(Victim::Router(0), 0, Some(7), None, true);
        check(Victim::Router(0), 1, Some(7), None, false);
        check(Victim::Router(0), 0, Some(7), Some("57P01"), true);
        check(Victim::Router(0), 0, Some(7), Some("23505"), false);
        check(Victim::Primary(1), 0, Some(7), Some("57P01"), true);
        check(Victim::Primary(0), 0, Some(7), Some("57P01"), false);
        check(Victim::Primary(0), 0, None, Some("08006"), true);
        check(Victim::Primary(1), 0, Some(7), None, false);
        check(Victim::Primary(1), 0, Some(7), Some("40001"), false);
    }
}
