use super::*;
use crate::key::KeyType;
use std::collections::HashMap;

const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);

fn map(method: Method, pins: &[(i64, ShardId)]) -> ShardMap {
    ShardMap {
        key_type: KeyType::Int8,
        method,
        pins: pins
            .iter()
            .map(|(key, shard)| (Key::Int(*key), *shard))
            .collect(),
    }
}

fn range(bounds: &[i64], owners: &[u16]) -> Method {
    Method::Range {
        bounds: bounds.iter().copied().map(Key::Int).collect(),
        owners: owners.iter().copied().map(ShardId).collect(),
    }
}

fn list(values: &[(i64, ShardId)], default: Option<ShardId>) -> Method {
    Method::List {
        values: values
            .iter()
            .map(|(key, shard)| (Key::Int(*key), *shard))
            .collect(),
        default,
    }
}

fn ranges(list: &[(Option<i64>, Option<i64>)]) -> Parts {
    let ranges = list
        .iter()
        .map(|(low, high)| (low.map(Key::Int), high.map(Key::Int)))
        .collect();
    Parts {
        unpinned: Unpinned::Ranges(ranges),
        pins: BTreeSet::new(),
    }
}

fn values(list: &[i64], default: bool) -> Parts {
    let values = list.iter().copied().map(Key::Int).collect();
    Parts {
        unpinned: Unpinned::Values { values, default },
        pins: BTreeSet::new(),
    }
}

/// The parts hold a key exactly if giving them to a shard that owned nothing moves it there; nothing else changes hands;
/// and the set is the same afterwards.
fn check_assigned(map: &ShardMap, parts: &Parts) {
    let to = ShardId(9);
    let new = parts.assigned(map, to).unwrap();
    assert_eq!(new.validate(), Ok(()), "{parts:?}");
    for value in -30..60 {
        let key = Key::Int(value);
        let expect = if parts.contains(&key, map) {
            Ok(to)
        } else {
            map.route(&key)
        };
        assert_eq!(new.route(&key), expect, "{value} {parts:?}");
        assert_eq!(
            parts.contains(&key, &new),
            parts.contains(&key, map),
            "{value} {parts:?}"
        );
    }
    assert_eq!(parts.owners(&new), Ok(BTreeSet::from([to])), "{parts:?}");
    for count in [1, 2, 3, 100] {
        let pieces = parts.split(count);
        assert!(pieces.len() <= count && pieces.iter().all(|piece| !piece.is_empty()));
        for value in -30..60 {
            let key = Key::Int(value);
            let holding = pieces
                .iter()
                .filter(|piece| piece.contains(&key, map))
                .count();
            assert_eq!(
                holding,
                usize::from(parts.contains(&key, map)),
                "{value} {parts:?}"
            );
        }
    }
}

#[test]
fn what_is_assigned_is_what_they_hold() {
    let hash = |pins: &[(i64, ShardId)]| {
        let owners = (0..16).map(|bucket| ShardId(1 + bucket % 2)).collect();
        map(Method::Hash { owners }, pins)
    };
    let mut both = Parts::of_buckets([1, 3, 15]);
    both.pins = BTreeSet::from([Key::Int(5), Key::Int(7)]);
    for pins in [&[][..], &[(5, ONE), (6, TWO)]] {
        check_assigned(&hash(pins), &Parts::of_buckets(0..16));
        check_assigned(&hash(pins), &Parts::of_buckets([0]));
        check_assigned(&hash(pins), &Parts::of_pins([Key::Int(5)]));
        check_assigned(&hash(pins), &both);
        let ranged = map(range(&[0, 10, 20], &[1, 2, 1, 2]), pins);
        for list in [
            &[(None, None)][..],
            &[(None, Some(0))],
            &[(Some(10), Some(20))],
            &[(Some(12), Some(15))],
            &[(Some(5), Some(25)), (Some(30), None)],
            &[(Some(30), None), (None, Some(-5)), (Some(0), Some(1))],
        ] {
            check_assigned(&ranged, &ranges(list));
        }
        check_assigned(&ranged, &Parts::of_pins([Key::Int(10)]));
        let listed = map(
            list(&[(1, ONE), (2, TWO), (3, ONE), (5, ONE)], Some(TWO)),
            pins,
        );
        check_assigned(&listed, &values(&[1, 3], false));
        check_assigned(&listed, &values(&[], true));
        check_assigned(&listed, &values(&[40, 2], true));
        check_assigned(&listed, &Parts::of_pins([Key::Int(5), Key::Int(41)]));
    }
}

#[test]
fn owners_of_ranges_are_those_that_they_touch() {
    let map = map(range(&[0, 10, 20], &[1, 2, 3, 4]), &[(15, ShardId(5))]);
    let check = |low, high, expect: &[u16]| {
        let expect = expect.iter().copied().map(ShardId).collect();
        assert_eq!(
            ranges(&[(low, high)]).owners(&map),
            Ok(expect),
            "{low:?} {high:?}"
        );
    };
    check(None, Some(0), &[1]);
    check(None, Some(1), &[1, 2]);
    check(Some(0), Some(10), &[2]);
    check(Some(9), Some(11), &[2, 3]);
    check(Some(20), None, &[4]);
    check(Some(-1), Some(21), &[1, 2, 3, 4]);
    let pin = Parts::of_pins([Key::Int(15)]);
    assert_eq!(pin.owners(&map), Ok(BTreeSet::from([ShardId(5)])));
}

#[test]
fn intervals_meet_what_they_share_a_key_with() {
    let mut parts = ranges(&[(Some(10), Some(20)), (Some(30), None)]);
    parts.pins = BTreeSet::from([Key::Int(-5)]);
    let check = |low: Option<i64>, high: Option<i64>, expect| {
        let (low, high) = (low.map(Key::Int), high.map(Key::Int));
        assert_eq!(
            parts.meets(low.as_ref(), high.as_ref()),
            expect,
            "{low:?} {high:?}"
        );
    };
    check(None, Some(-5), false);
    check(None, Some(-4), true);
    check(Some(-4), Some(10), false);
    check(Some(-4), Some(11), true);
    check(Some(19), Some(20), true);
    check(Some(20), Some(30), false);
    check(Some(20), None, true);
    check(None, None, true);
    assert!(!values(&[3], false).meets(Some(&Key::Int(4)), None));
    assert!(values(&[3], true).meets(Some(&Key::Int(4)), None));
    assert!(Parts::of_buckets([3]).meets(Some(&Key::Int(4)), Some(&Key::Int(5))));
}

#[test]
fn what_does_not_fit_is_refused() {
    let hash = map(
        Method::Hash {
            owners: vec![ONE; 4],
        },
        &[],
    );
    let ranged = map(range(&[0], &[1, 2]), &[]);
    let listed = map(list(&[(1, ONE)], None), &[]);
    let check = |parts: &Parts, map: &ShardMap, expect: &str| {
        let error = parts.assigned(map, TWO).unwrap_err();
        assert_eq!(error.to_string(), expect, "{parts:?}");
        assert_eq!(parts.owners(map), Err(error));
    };
    check(&Parts::of_buckets([4]), &hash, "bucket 4 is not in the map");
    check(&Parts::of_buckets([]), &hash, "nothing is to be moved");
    check(
        &Parts::of_buckets([1]),
        &ranged,
        "a range distribution is not moved by buckets",
    );
    let bad = "a range ends before it begins, or two of them overlap";
    check(&ranges(&[(Some(2), Some(2))]), &ranged, bad);
    check(
        &ranges(&[(Some(2), Some(5)), (Some(4), None)]),
        &ranged,
        bad,
    );
    check(
        &ranges(&[(Some(2), None), (Some(4), Some(5))]),
        &ranged,
        bad,
    );
    check(&values(&[1], true), &listed, "the map has no default shard");
    check(
        &Parts::of_pins([Key::Text("a".into())]),
        &hash,
        "the value a is not of the key type of the map",
    );
}

#[test]
fn predicates_exclude_the_pins_of_others() {
    let check = |parts: &Parts, map: &ShardMap, expect: &str| {
        let text = parts.predicate_sql("k", map);
        assert_eq!(
            text.replace("pg_catalog.", "").replace("OPERATOR", ""),
            expect
        );
    };
    let pins = [(5, ONE), (6, TWO)];
    let ranged = map(range(&[0], &[1, 2]), &pins);
    let mut parts = ranges(&[(Some(3), None)]);
    check(
        &parts,
        &ranged,
        "(((k (>=) '3'::int8)) AND NOT (k (=) ANY (ARRAY['5'::int8, '6'::int8])))",
    );
    parts.pins = BTreeSet::from([Key::Int(6)]);
    check(
        &parts,
        &ranged,
        "((((k (>=) '3'::int8)) AND NOT (k (=) ANY (ARRAY['5'::int8]))) OR (k (=) ANY (ARRAY['6'::int8])))",
    );
    let listed = map(list(&[(1, ONE), (2, TWO)], Some(ONE)), &[]);
    check(
        &values(&[2], true),
        &listed,
        "(NOT (k (=) ANY (ARRAY['1'::int8])))",
    );
    let owners = vec![ONE; 16];
    let hash = ShardMap {
        key_type: KeyType::Int8,
        method: Method::Hash { owners },
        pins: HashMap::new(),
    };
    let text = Parts::of_buckets([0, 9]).predicate_sql("k", &hash);
    assert!(text.contains("E'\\\\x0102'::pg_catalog.bytea"), "{text}");
}
