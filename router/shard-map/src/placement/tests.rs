use super::*;
use proptest::prelude::*;

fn equal_weights(shards: std::ops::RangeInclusive<u16>) -> Vec<(ShardId, u32)> {
    shards.map(|id| (ShardId(id), 1)).collect()
}

fn counts(owners: &[ShardId]) -> BTreeMap<ShardId, usize> {
    let mut counts = BTreeMap::new();
    for owner in owners {
        *counts.entry(*owner).or_default() += 1;
    }
    counts
}

fn moved(old: &[ShardId], new: &[ShardId]) -> usize {
    old.iter().zip(new).filter(|(a, b)| a != b).count()
}

/// The order of a map's owners in one number.
fn fingerprint(owners: &[ShardId]) -> u64 {
    owners
        .iter()
        .fold(0, |state, owner| mix(state ^ u64::from(owner.0)))
}

#[test]
fn equal_shards_get_equal_parts() {
    for (shards, each) in [(1, 4096), (2, 2048), (4, 1024), (8, 512)] {
        let owners = initial(4096, &equal_weights(1..=shards)).unwrap();
        let counts = counts(&owners);
        assert_eq!(counts.len(), usize::from(shards));
        assert!(counts.values().all(|count| *count == each), "{counts:?}");
    }
}

/// The placement is stored, so another result would not break a running cluster; but routers and tools of different
/// versions, and a plan that was shown and then carried out, should agree.
#[test]
fn placement_is_the_same_everywhere() {
    let two = initial(4096, &equal_weights(1..=2)).unwrap();
    let three = rebalance(&two, &equal_weights(1..=3)).unwrap();
    let weighted = initial(64, &[(ShardId(1), 1), (ShardId(7), 2), (ShardId(9), 4)]).unwrap();
    assert_eq!(
        [
            fingerprint(&two),
            fingerprint(&three),
            fingerprint(&weighted)
        ],
        [
            3607038744260492970,
            6965557351524684796,
            6410141964813193221,
        ]
    );
}

#[test]
fn order_of_the_shards_does_not_matter() {
    let mut shards = vec![(ShardId(1), 3), (ShardId(2), 1), (ShardId(3), 5)];
    let owners = initial(1024, &shards).unwrap();
    shards.reverse();
    assert_eq!(initial(1024, &shards).unwrap(), owners);
}

/// Adding the shard N+1 moves its share and nothing else.
#[test]
fn adding_shards_one_by_one() {
    let mut owners = initial(4096, &equal_weights(1..=3)).unwrap();
    for shards in 4..=32u16 {
        let new = rebalance(&owners, &equal_weights(1..=shards)).unwrap();
        let to_others = owners
            .iter()
            .zip(&new)
            .filter(|(from, to)| from != to && **to != ShardId(shards))
            .count();
        assert_eq!(to_others, 0, "{shards}");
        let share = 4096 / usize::from(shards);
        let moved = moved(&owners, &new);
        assert!(moved == share || moved == share + 1, "{shards}: {moved}");
        for (shard, count) in counts(&new) {
            assert!(count == share || count == share + 1, "{shard:?}: {count}");
        }
        owners = new;
    }
}

#[test]
fn published_numbers_of_moves() {
    let check = |before: u16, after: u16, expect: usize| {
        let owners = initial(4096, &equal_weights(1..=before)).unwrap();
        let new = rebalance(&owners, &equal_weights(1..=after)).unwrap();
        assert_eq!(moved(&owners, &new), expect, "{before} -> {after}");
    };
    for (before, after, expect) in [(3, 4, 1024), (4, 5, 819), (7, 8, 512), (8, 9, 455)] {
        check(before, after, expect);
    }
    for (before, after, expect) in [(15, 16, 256), (31, 32, 128), (4, 3, 1024), (16, 15, 256)] {
        check(before, after, expect);
    }
    let weights = |d| {
        [
            (ShardId(1), 1),
            (ShardId(2), 1),
            (ShardId(3), 2),
            (ShardId(4), d),
        ]
    };
    let owners = initial(4096, &weights(4)).unwrap();
    let new = rebalance(&owners, &weights(2)).unwrap();
    assert_eq!(moved(&owners, &new), 682);
}

/// Most buckets lie where the ring alone would put them, which is what makes moves back and forth rare.
#[test]
fn the_ring_is_mostly_followed() {
    for shards in [2u16, 3, 8, 16] {
        let shards = equal_weights(1..=shards);
        let owners = initial(4096, &shards).unwrap();
        let ring = Ring::new(&shards);
        let same = (0u32..)
            .zip(&owners)
            .filter(|(bucket, owner)| {
                ring.ring
                    .get(&bucket_word(*bucket))
                    .map(|point| point.shard())
                    == Some(**owner)
            })
            .count();
        assert!(
            same * 100 >= 93 * 4096,
            "{} shards: {same} of 4096",
            shards.len()
        );
    }
}

#[test]
fn a_shard_of_weight_zero_is_drained() {
    let owners = initial(256, &equal_weights(1..=4)).unwrap();
    let drained = rebalance(
        &owners,
        &[
            (ShardId(1), 1),
            (ShardId(2), 1),
            (ShardId(3), 1),
            (ShardId(4), 0),
        ],
    );
    let removed = rebalance(&owners, &equal_weights(1..=3));
    assert!(!counts(drained.as_ref().unwrap()).contains_key(&ShardId(4)));
    assert_eq!(drained, removed);
    assert_eq!(moved(&owners, &removed.unwrap()), 64);
}

#[test]
fn what_cannot_be_placed() {
    assert_eq!(
        initial(0, &equal_weights(1..=1)),
        Err(PlacementError::Buckets(0))
    );
    assert_eq!(
        initial(3, &equal_weights(1..=1)),
        Err(PlacementError::Buckets(3))
    );
    assert_eq!(
        initial(131_072, &equal_weights(1..=1)),
        Err(PlacementError::Buckets(131_072))
    );
    assert_eq!(
        initial(u32::MAX, &[]).map(|_| ()).unwrap_err(),
        PlacementError::Buckets(4_294_967_295)
    );
    assert_eq!(initial(4, &[]), Err(PlacementError::NoShard));
    assert_eq!(initial(4, &[(ShardId(1), 0)]), Err(PlacementError::NoShard));
    let twice = [(ShardId(1), 1), (ShardId(1), 2)];
    assert_eq!(initial(4, &twice), Err(PlacementError::Twice(ShardId(1))));
}

/// The smallest number of moves that lets every shard have the lower or upper whole number next to its share: what is
/// above the upper one must go, and of what is above the lower one as much as the shares leave no room for.
fn fewest_moves(owners: &[ShardId], shards: &[(ShardId, u32)]) -> usize {
    let total: u64 = shards.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let buckets = owners.len() as u64;
    let have = counts(owners);
    let mut excess = 0;
    let mut rounding = buckets;
    let mut can_keep_one_more = 0;
    for (shard, weight) in shards {
        let share = buckets * u64::from(*weight);
        let low = share / total;
        rounding -= low;
        let have = have.get(shard).copied().unwrap_or(0) as u64;
        excess += have.saturating_sub(low);
        if have > low && !share.is_multiple_of(total) {
            can_keep_one_more += 1;
        }
    }
    let unnamed: usize = have
        .iter()
        .filter(|(shard, _)| shards.iter().all(|(named, _)| named != *shard))
        .map(|(_, count)| count)
        .sum();
    usize::try_from(excess - rounding.min(can_keep_one_more)).unwrap() + unnamed
}

fn any_shards() -> impl Strategy<Value = Vec<(ShardId, u32)>> {
    proptest::collection::btree_map(
        1u16..20,
        prop_oneof![Just(1u32), 0u32..8, any::<u32>()],
        1..9,
    )
    .prop_filter("somebody must take the buckets", |shards| {
        shards.values().any(|weight| *weight > 0)
    })
    .prop_map(|shards| {
        shards
            .into_iter()
            .map(|(id, weight)| (ShardId(id), weight))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_rebalance_moves_the_minimum(
        exponent in 0u32..9,
        old in proptest::collection::vec(1u16..20, 256),
        shards in any_shards(),
    ) {
        let owners: Vec<_> = old.iter().take(1 << exponent).copied().map(ShardId).collect();
        let new = rebalance(&owners, &shards).unwrap();
        let total: f64 = shards.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let (had, has) = (counts(&owners), counts(&new));
        for (shard, weight) in &shards {
            let share = owners.len() as f64 * f64::from(*weight) / total;
            let count = has.get(shard).copied().unwrap_or(0) as f64;
            prop_assert!((count - share).abs() < 1.0, "{shard:?}: {count} of {share}");
        }
        prop_assert_eq!(has.keys().filter(|shard| !shards.iter().any(|(s, _)| s == *shard)).count(), 0);
        prop_assert_eq!(moved(&owners, &new), fewest_moves(&owners, &shards));
        // Only from a shard that shrinks to one that grows.
        for (from, to) in owners.iter().zip(&new).filter(|(from, to)| from != to) {
            prop_assert!(had.get(from) > has.get(from));
            prop_assert!(had.get(to) < has.get(to));
        }
        // A second time nothing moves.
        prop_assert_eq!(&rebalance(&new, &shards).unwrap(), &new);
    }
}
