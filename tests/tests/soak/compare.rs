//! The rows that the shards hold against those that the clients know of. A pure function: it asks nobody.

use crate::ledger::{Change, Family, Key, Ledger, Row};
use std::collections::{BTreeMap, BTreeSet};

/// One row of a shard, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Of `parent` or `named`. Not intact: the long text is not the one that belongs to `b`.
    Row {
        row: Row,
        intact: bool,
    },
    Child {
        id: i32,
        n: i64,
    },
    Entry {
        n: i64,
    },
}

/// One row of a shard.
#[derive(Clone, Debug)]
pub struct Found {
    pub shard: usize,
    /// The shard that the map names.
    pub owner: usize,
    /// A shard that may hold a copy besides, because a move of the key is not completed.
    pub copy: Option<usize>,
    pub key: Key,
    pub item: Item,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged row is nowhere.
    Lost,
    /// More than one of it.
    Doubled,
    /// It is on a shard that does not own it, and not on the one that does.
    Misplaced,
    /// A row that was deleted, or never written.
    Ghost,
    /// An acknowledged update is missing.
    Differs,
    /// The long text is not the one that was written.
    Corrupt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub text: String,
}

fn fault(kind: Kind, text: String) -> Fault {
    Fault { kind, text }
}

/// Compares, and settles what the ledgers did not know.
pub fn compare(ledgers: &mut [&mut Ledger], found: &[Found]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut owned: BTreeMap<Key, Family> = BTreeMap::new();
    for one in found.iter().filter(|one| one.shard == one.owner) {
        collect(owned.entry(one.key.clone()).or_default(), one, &mut faults);
    }
    let mut astray = BTreeSet::new();
    for one in found.iter().filter(|one| one.shard != one.owner) {
        if one.copy == Some(one.shard) {
            continue;
        }
        let family = owned.get(&one.key);
        let kind = if family.is_some_and(|family| holds(family, &one.item)) {
            Kind::Doubled
        } else {
            astray.insert(one.key.clone());
            Kind::Misplaced
        };
        let text = format!(
            "{:?} of {} is on shard {} of the list and belongs to {}",
            one.item, one.key, one.shard, one.owner
        );
        faults.push(fault(kind, text));
    }
    let mut known = BTreeSet::new();
    for ledger in ledgers {
        let happened: Vec<bool> = ledger
            .unknown()
            .iter()
            .map(|changes| happened(changes, &owned))
            .collect();
        ledger.settle(&happened);
        for (key, expected) in ledger.families() {
            known.insert(key.clone());
            let family = owned.get(key).cloned().unwrap_or_default();
            let lost = !astray.contains(key);
            differ(ledger.client, key, (expected, &family), lost, &mut faults);
        }
    }
    for key in owned.keys().filter(|key| !known.contains(*key)) {
        faults.push(fault(Kind::Ghost, format!("nobody wrote {key}")));
    }
    faults
}

fn collect(family: &mut Family, one: &Found, faults: &mut Vec<Fault>) {
    let twice = match &one.item {
        Item::Row { row, intact } => {
            if !intact {
                let text = format!("the long text of {} with {row:?}", one.key);
                faults.push(fault(Kind::Corrupt, text));
            }
            family.row.replace(*row).is_some()
        }
        Item::Child { id, n } => family.children.insert(*id, *n).is_some(),
        Item::Entry { n } => {
            family.add_entry(*n);
            false
        }
    };
    if twice {
        let text = format!("{:?} of {} is there twice", one.item, one.key);
        faults.push(fault(Kind::Doubled, text));
    }
}

/// A row with the same identity.
fn holds(family: &Family, item: &Item) -> bool {
    match item {
        Item::Row { .. } => family.row.is_some(),
        Item::Child { id, .. } => family.children.contains_key(id),
        Item::Entry { n } => family.entries.contains(n),
    }
}

/// All of the families are as after the transaction. If it half happened, the comparison that follows finds that, for the
/// ledger is then taken as if it had not happened.
fn happened(changes: &[Change], owned: &BTreeMap<Key, Family>) -> bool {
    let nothing = Family::default();
    changes
        .iter()
        .all(|change| owned.get(&change.key).unwrap_or(&nothing) == &change.after)
}

fn differ(
    client: i32,
    key: &Key,
    (expected, found): (&Family, &Family),
    lost: bool,
    faults: &mut Vec<Fault>,
) {
    let mut note = |kind, what: String| {
        if kind != Kind::Lost || lost {
            faults.push(fault(kind, format!("{key} of client {client}: {what}")));
        }
    };
    match (&expected.row, &found.row) {
        (Some(expected), None) => note(Kind::Lost, format!("{expected:?}")),
        (None, Some(found)) => note(Kind::Ghost, format!("{found:?}")),
        (Some(expected), Some(found)) if expected != found => {
            note(Kind::Differs, format!("{found:?}, not {expected:?}"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let ids: BTreeSet<_> = expected
        .children
        .keys()
        .chain(found.children.keys())
        .collect();
    for id in ids {
        match (expected.children.get(id), found.children.get(id)) {
            (Some(n), None) => note(Kind::Lost, format!("child {id} with {n}")),
            (None, Some(n)) => note(Kind::Ghost, format!("child {id} with {n}")),
            (Some(n), Some(other)) if n != other => {
                note(Kind::Differs, format!("child {id} has {other}, not {n}"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let numbers: BTreeSet<_> = expected.entries.iter().chain(&found.entries).collect();
    for n in numbers {
        let count = |entries: &[i64]| entries.iter().filter(|one| *one == n).count();
        match (count(&expected.entries), count(&found.entries)) {
            (wanted, there) if wanted == there => {}
            (_, 0) => note(Kind::Lost, format!("entry {n}")),
            (0, _) => note(Kind::Ghost, format!("entry {n}")),
            (_, _) => note(Kind::Doubled, format!("entry {n}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row { n: 1, b: Some(2) };

    fn family(row: Option<Row>, entries: &[i64]) -> Family {
        Family {
            row,
            children: BTreeMap::from([(1, 5)]),
            entries: entries.to_vec(),
        }
    }

    fn item(shard: usize, item: Item) -> Found {
        Found {
            shard,
            owner: 0,
            copy: Some(2),
            key: Key::Number(7),
            item,
        }
    }

    fn row(shard: usize, n: i64, intact: bool) -> Found {
        let row = Row { n, b: Some(2) };
        item(shard, Item::Row { row, intact })
    }

    fn child(shard: usize) -> Found {
        item(shard, Item::Child { id: 1, n: 5 })
    }

    fn entry(shard: usize, n: i64) -> Found {
        item(shard, Item::Entry { n })
    }

    /// The ledger says: the row, a child, the entry 3.
    fn check(found: &[Found], expect: &[Kind]) {
        let mut ledger = Ledger::new(1, []);
        ledger.acknowledge(vec![Change {
            key: Key::Number(7),
            after: family(Some(ROW), &[3]),
        }]);
        let faults = compare(&mut [&mut ledger], found);
        let kinds: Vec<Kind> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, expect, "{faults:?}");
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let good = [row(0, 1, true), child(0), entry(0, 3)];
        let with = |more: Found| good.iter().cloned().chain([more]).collect::<Vec<_>>();
        check(&good, &[]);
        check(&with(row(2, 0, false)), &[]);
        check(&good[1..], &[Kind::Lost]);
        check(&good[..2], &[Kind::Lost]);
        check(&[], &[Kind::Lost, Kind::Lost, Kind::Lost]);
        check(&with(row(1, 1, true)), &[Kind::Doubled]);
        check(&with(entry(0, 3)), &[Kind::Doubled]);
        check(&with(entry(1, 3)), &[Kind::Doubled]);
        check(&with(entry(0, 4)), &[Kind::Ghost]);
        check(
            &[row(1, 1, true), child(0), entry(0, 3)],
            &[Kind::Misplaced],
        );
        check(&[row(0, 2, true), child(0), entry(0, 3)], &[Kind::Differs]);
        check(&[row(0, 1, false), child(0), entry(0, 3)], &[Kind::Corrupt]);
        let mut other = row(0, 1, true);
        other.key = Key::Number(8);
        check(&with(other), &[Kind::Ghost]);
    }

    #[test]
    fn an_unknown_transaction_is_whole_or_was_not() {
        let after = |key| Change {
            key: Key::Number(key),
            after: Family {
                row: Some(ROW),
                ..Family::default()
            },
        };
        let there = |key: i64| Found {
            key: Key::Number(key),
            ..row(0, 1, true)
        };
        for (found, faults) in [
            (vec![], 0),
            (vec![there(7), there(8)], 0),
            (vec![there(8)], 1),
        ] {
            let mut ledger = Ledger::new(1, [Key::Number(7), Key::Number(8)]);
            ledger.doubt(vec![after(7), after(8)]);
            assert!(ledger.free().is_empty());
            let count = compare(&mut [&mut ledger], &found).len();
            assert_eq!(count, faults);
            assert_eq!(ledger.free().len(), 2);
        }
    }
}
