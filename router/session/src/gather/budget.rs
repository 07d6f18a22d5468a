//! How much memory gathered rows may take: for one statement, and for all statements of the router at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limits of gathering. They are the router's settings of the same names.
#[derive(Clone, Debug)]
pub struct GatherLimits {
    /// Rows of one statement, all tables and shards together.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shared by all sessions.
    pub budget: Arc<GatherBudget>,
}

/// Bytes that all statements together may hold at once.
#[derive(Debug)]
pub struct GatherBudget {
    max: u64,
    used: AtomicU64,
}

/// What one statement holds of it; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<GatherBudget>,
    bytes: u64,
}

impl GatherBudget {
    pub fn new(bytes_max: u64) -> GatherBudget {
        GatherBudget {
            max: bytes_max,
            used: AtomicU64::new(0),
        }
    }

    pub fn bytes_max(&self) -> u64 {
        self.max
    }

    /// Bytes that are held now.
    pub fn bytes_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// False: there is not so much left.
    #[must_use]
    pub fn take(&mut self, bytes: u64) -> bool {
        let used = &self.budget.used;
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes)
                .filter(|sum| *sum <= self.budget.max)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn give_back(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Arc::new(GatherBudget::new(100));
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.take(60));
        assert!(!b.take(41));
        assert!(b.take(40));
        assert_eq!(budget.bytes_used(), 100);
        drop(a);
        assert!(b.take(60));
        b.give_back();
        assert_eq!(budget.bytes_used(), 0);
        drop(b);
        assert_eq!(budget.bytes_used(), 0);
    }
}
