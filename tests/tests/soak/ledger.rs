//! What one client knows of its rows: the outcome of every write that was acknowledged, and of every write that may have
//! happened or not. It knows no connection.
//!
//! Rows are kept in families: all rows of one key, in all tables. No two clients share a key, so a client knows exactly
//! what each of its rows must be.

use std::collections::{BTreeMap, BTreeSet};

/// A key of one of the two distributions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Of the tables `parent`, `child`, `entry` and `ballast`.
    Number(i64),
    /// Of the table `named`.
    Name(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Number(number) => write!(f, "{number}"),
            Key::Name(name) => write!(f, "'{name}'"),
        }
    }
}

/// A row of `parent` or `named`. Its long text is made of `b` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub n: i64,
    pub b: Option<i32>,
}

/// All rows of one key. A name has a row alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    pub row: Option<Row>,
    /// The rows of `child`, by id.
    pub children: BTreeMap<i32, i64>,
    /// The rows of `entry`, which has no primary key: sorted numbers.
    pub entries: Vec<i64>,
}

impl Family {
    pub fn add_entry(&mut self, n: i64) {
        self.entries.push(n);
        self.entries.sort_unstable();
    }
}

/// What a write makes of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    pub after: Family,
}

/// The rows of one client.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub client: i32,
    families: BTreeMap<Key, Family>,
    /// Transactions of which the client does not know whether they happened: all of their changes did, or none.
    unknown: Vec<Vec<Change>>,
    /// No two values that a client writes are the same.
    next: i64,
}

impl Ledger {
    /// `keys` have no rows yet.
    pub fn new(client: i32, keys: impl IntoIterator<Item = Key>) -> Ledger {
        Ledger {
            client,
            families: keys
                .into_iter()
                .map(|key| (key, Family::default()))
                .collect(),
            unknown: Vec::new(),
            next: 0,
        }
    }

    /// A value that was never written before.
    pub fn value(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    pub fn families(&self) -> &BTreeMap<Key, Family> {
        &self.families
    }

    pub fn unknown(&self) -> &[Vec<Change>] {
        &self.unknown
    }

    /// Keys that must not be used until it was found out what became of them.
    pub fn frozen(&self) -> BTreeSet<&Key> {
        self.unknown
            .iter()
            .flatten()
            .map(|change| &change.key)
            .collect()
    }

    /// Keys that may be used.
    pub fn free(&self) -> Vec<&Key> {
        let frozen = self.frozen();
        self.families
            .keys()
            .filter(|key| !frozen.contains(key))
            .collect()
    }

    pub fn family(&self, key: &Key) -> Family {
        self.families.get(key).cloned().unwrap_or_default()
    }

    /// The server said that it is done.
    pub fn acknowledge(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.families.insert(change.key, change.after);
        }
    }

    /// It was sent, and nobody said what became of it.
    pub fn doubt(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.unknown.push(changes);
        }
    }

    /// The shards were asked: of the unknown transactions, those with `true` have happened.
    pub fn settle(&mut self, happened: &[bool]) {
        let unknown = std::mem::take(&mut self.unknown);
        for (changes, happened) in unknown.into_iter().zip(happened) {
            if *happened {
                self.acknowledge(changes);
            }
        }
    }
}
