//! What a client does next, decided from its ledger alone: the statement or transaction, and what the client's rows are
//! after it. It knows no connection.

use crate::ledger::{Change, Family, Key, Ledger, Row};
use crate::random::Random;

/// The most rows of `child` and of `entry` for one key.
const MANY: usize = 4;

/// What may be asked of this router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// `UPDATE named SET name = ..`.
    pub key_changes: bool,
    /// Transactions that write keys of several shards.
    pub two_shards: bool,
    /// Single statements that write rows of several shards.
    pub spread: bool,
}

/// The tables that are counted over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Parent,
    Child,
    Entry,
    Named,
}

impl Counted {
    pub fn table(self) -> &'static str {
        match self {
            Counted::Parent => "parent",
            Counted::Child => "child",
            Counted::Entry => "entry",
            Counted::Named => "named",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Counted::Parent | Counted::Child | Counted::Entry => "k",
            Counted::Named => "name",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Insert(Row),
    /// A new number; the long text stays untouched. True: as a simple query.
    SetNumber(i64, bool),
    SetLong(Row),
    Delete,
    Upsert(Row),
    AddEntry(i64),
    ClearEntries,
    /// A block: a locking read, a new number, a child and an entry; and its end.
    Block {
        n: i64,
        child: (i32, i64),
        entry: i64,
        commit: bool,
    },
    /// A REPEATABLE READ block: two reads with a wait between them, then a new number.
    Repeatable {
        n: i64,
        wait_ms: u64,
    },
    Read,
    Gather(Counted),
    /// The row gets another key, which has none.
    ChangeKey(Key),
    /// New numbers for two keys, in one block.
    Both(i64, Key),
    /// A new number for all rows of `parent`, by a statement that names no key.
    All(i64),
    /// New rows of `parent`, in one statement.
    Many(Vec<(Key, Row)>),
}

impl Step {
    /// Rows of several shards may take part in it.
    pub fn is_wide(&self) -> bool {
        match self {
            Step::Gather(_)
            | Step::ChangeKey(_)
            | Step::Both(_, _)
            | Step::All(_)
            | Step::Many(_) => true,
            Step::Insert(_)
            | Step::SetNumber(_, _)
            | Step::SetLong(_)
            | Step::Delete
            | Step::Upsert(_)
            | Step::AddEntry(_)
            | Step::ClearEntries
            | Step::Block { .. }
            | Step::Repeatable { .. }
            | Step::Read => false,
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub key: Key,
    pub before: Family,
    pub step: Step,
    /// Nothing for a read, and for a block that is rolled back.
    pub changes: Vec<Change>,
}

impl Plan {
    /// The next thing; None if every key is frozen.
    pub fn next(random: &mut Random, ledger: &mut Ledger, allowed: Allowed) -> Option<Plan> {
        let key = (*random.pick(&ledger.free())?).clone();
        let before = ledger.family(&key);
        let step = choose(random, ledger, &key, &before, allowed);
        let changes = changes(ledger, &key, &before, &step);
        Some(Plan {
            key,
            before,
            step,
            changes,
        })
    }

    /// A read of the same key.
    pub fn read_back(&self, ledger: &Ledger) -> Plan {
        Plan {
            key: self.key.clone(),
            before: ledger.family(&self.key),
            step: Step::Read,
            changes: Vec::new(),
        }
    }
}

fn choose(
    random: &mut Random,
    ledger: &mut Ledger,
    key: &Key,
    before: &Family,
    allowed: Allowed,
) -> Step {
    let numbered = matches!(key, Key::Number(_));
    let row = Row {
        n: ledger.value(),
        b: (!random.chance(10)).then(|| i32::try_from(random.below(1000)).unwrap_or(0)),
    };
    let n = row.n;
    if random.chance(1) {
        return Step::Gather(match (numbered, random.below(20)) {
            (false, _) => Counted::Named,
            (true, 0) => Counted::Parent,
            (true, odd) if odd % 2 == 1 => Counted::Child,
            (true, _) => Counted::Entry,
        });
    }
    if allowed.spread && numbered && random.chance(2) {
        // It would also write rows of which nobody knows.
        if ledger.unknown().is_empty() && random.chance(30) {
            return Step::All(n);
        }
        return many(random, ledger);
    }
    if before.row.is_none() {
        return match random.below(3) {
            0 => Step::Upsert(row),
            1 => Step::Insert(row),
            _ => Step::Read,
        };
    }
    let kinds = if numbered { 100 } else { 60 };
    match random.below(kinds) {
        0..20 => Step::SetNumber(n, random.chance(30)),
        20..28 => Step::SetLong(row),
        28..32 => Step::Delete,
        32..40 => Step::Upsert(row),
        40..50 => Step::Read,
        50..60 if !numbered => other_key(random, ledger, key, allowed).unwrap_or(Step::Read),
        50..60 => other_row(random, ledger, key, allowed, n).unwrap_or(Step::Read),
        60..72 if before.entries.len() >= MANY => Step::ClearEntries,
        60..72 => Step::AddEntry(n),
        72..80 => Step::Repeatable {
            n,
            wait_ms: random.below(30),
        },
        _ => Step::Block {
            n,
            child: (
                i32::try_from(random.below(MANY as u64)).unwrap_or(0),
                ledger.value(),
            ),
            entry: ledger.value(),
            commit: random.chance(80),
        },
    }
}

/// A name that has no row, for the row of this one.
fn other_key(random: &mut Random, ledger: &Ledger, key: &Key, allowed: Allowed) -> Option<Step> {
    if !allowed.key_changes {
        return None;
    }
    let free = ledger.free();
    let empty: Vec<&&Key> = free
        .iter()
        .filter(|other| matches!(other, Key::Name(_)) && **other != key)
        .filter(|other| ledger.family(other).row.is_none())
        .collect();
    Some(Step::ChangeKey((**random.pick(&empty)?).clone()))
}

/// Another number that has a row.
fn other_row(
    random: &mut Random,
    ledger: &Ledger,
    key: &Key,
    allowed: Allowed,
    n: i64,
) -> Option<Step> {
    if !allowed.two_shards {
        return None;
    }
    let free = ledger.free();
    let full: Vec<&&Key> = free
        .iter()
        .filter(|other| matches!(other, Key::Number(_)) && **other != key)
        .filter(|other| ledger.family(other).row.is_some())
        .collect();
    Some(Step::Both(n, (**random.pick(&full)?).clone()))
}

/// Rows for up to five numbers that have none.
fn many(random: &mut Random, ledger: &mut Ledger) -> Step {
    let empty: Vec<Key> = ledger
        .free()
        .into_iter()
        .filter(|key| matches!(key, Key::Number(_)) && ledger.family(key).row.is_none())
        .take(5)
        .cloned()
        .collect();
    if empty.len() < 2 {
        return Step::Read;
    }
    let rows = empty.into_iter().map(|key| {
        let b = i32::try_from(random.below(1000)).ok();
        let n = ledger.value();
        (key, Row { n, b })
    });
    Step::Many(rows.collect())
}

fn changes(ledger: &Ledger, key: &Key, before: &Family, step: &Step) -> Vec<Change> {
    let mut after = before.clone();
    let mut others = Vec::new();
    let number = |family: &mut Family, n: i64| {
        if let Some(row) = &mut family.row {
            row.n = n;
        }
    };
    match step {
        Step::Insert(row) | Step::SetLong(row) => after.row = Some(*row),
        Step::SetNumber(n, _) | Step::Repeatable { n, .. } => number(&mut after, *n),
        Step::Upsert(row) => match before.row {
            // The statement's conflict action sets the number alone.
            Some(_) => number(&mut after, row.n),
            None => after.row = Some(*row),
        },
        Step::Delete => {
            after.row = None;
            after.children.clear();
        }
        Step::AddEntry(n) => after.add_entry(*n),
        Step::ClearEntries => after.entries.clear(),
        Step::Block {
            n,
            child: (id, child),
            entry,
            commit,
        } => {
            if !commit {
                return Vec::new();
            }
            number(&mut after, *n);
            after.children.insert(*id, *child);
            after.add_entry(*entry);
        }
        Step::Read | Step::Gather(_) => return Vec::new(),
        Step::All(n) => return all(ledger, *n),
        Step::Many(rows) => {
            let change = |(key, row): &(Key, Row)| {
                let mut after = ledger.family(key);
                after.row = Some(*row);
                Change {
                    key: key.clone(),
                    after,
                }
            };
            return rows.iter().map(change).collect();
        }
        Step::ChangeKey(other) => {
            let mut there = ledger.family(other);
            there.row = after.row.take();
            others.push(Change {
                key: other.clone(),
                after: there,
            });
        }
        Step::Both(n, other) => {
            number(&mut after, *n);
            let mut there = ledger.family(other);
            number(&mut there, *n);
            others.push(Change {
                key: other.clone(),
                after: there,
            });
        }
    }
    others.push(Change {
        key: key.clone(),
        after,
    });
    others
}

fn all(ledger: &Ledger, n: i64) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, family) in ledger.families() {
        if let (Key::Number(_), Some(row)) = (key, family.row) {
            let mut after = family.clone();
            after.row = Some(Row { n, b: row.b });
            changes.push(Change {
                key: key.clone(),
                after,
            });
        }
    }
    changes
}
