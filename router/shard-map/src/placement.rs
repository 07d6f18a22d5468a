//! Which buckets a shard gets: quotas say how many, a hash ring says which.
//!
//! A ring alone moves more buckets than it must and leaves some shards too full; quotas alone would move arbitrary ones.
//! Together they move the minimum, leave every shard within one bucket of its share, and a bucket mostly goes where it
//! would go again. Everything is a pure function of the arguments, the same on every machine.

use crate::map::{BUCKETS_MAX, ShardId};
use hashring::HashRing;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

/// Why no placement exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("a hash map needs a power of two of buckets from 1 to {BUCKETS_MAX}, and not {0}")]
    Buckets(usize),
    #[error("no shard has a weight above zero")]
    NoShard,
    #[error("shard {} is named twice", .0.0)]
    Twice(ShardId),
}

/// The owners of a new map: each shard gets its share of the buckets by weight, within one bucket.
pub fn initial(buckets: u32, shards: &[(ShardId, u32)]) -> Result<Vec<ShardId>, PlacementError> {
    let count = usize::try_from(buckets).unwrap_or(usize::MAX);
    check_buckets(count)?;
    place(vec![None; count], shards)
}

/// The owners after shards were added or removed or got other weights. A shard that is not named, or has weight 0, keeps
/// nothing. As few buckets as possible change their owner, and only from a shard that has too many to one that has too
/// few.
pub fn rebalance(
    owners: &[ShardId],
    shards: &[(ShardId, u32)],
) -> Result<Vec<ShardId>, PlacementError> {
    check_buckets(owners.len())?;
    place(owners.iter().copied().map(Some).collect(), shards)
}

fn check_buckets(count: usize) -> Result<(), PlacementError> {
    let fits = u32::try_from(count).is_ok_and(|count| count <= BUCKETS_MAX);
    if count.is_power_of_two() && fits {
        Ok(())
    } else {
        Err(PlacementError::Buckets(count))
    }
}

/// What one shard has and should have, in buckets.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    have: usize,
    quota: usize,
}

impl Account {
    fn needs(&self) -> bool {
        self.have < self.quota
    }

    fn has_too_many(&self) -> bool {
        self.have > self.quota
    }
}

fn place(
    mut owners: Vec<Option<ShardId>>,
    shards: &[(ShardId, u32)],
) -> Result<Vec<ShardId>, PlacementError> {
    let mut accounts = accounts(&owners, shards)?;
    let ring = Ring::new(shards);
    let order = pseudo_random_order(owners.len());
    // First the buckets that the ring gives to a shard in need, then whatever is left over.
    for choose in [Ring::owner, Ring::best] {
        for &(bucket, number) in &order {
            let Some(owner) = owners.get_mut(bucket) else {
                continue;
            };
            if let Some(from) = *owner
                && !accounts.get(&from).is_some_and(Account::has_too_many)
            {
                continue;
            }
            let Some(to) = choose(&ring, number, &accounts) else {
                continue;
            };
            if let Some(account) = owner.and_then(|from| accounts.get_mut(&from)) {
                account.have -= 1;
            }
            if let Some(account) = accounts.get_mut(&to) {
                account.have += 1;
            }
            *owner = Some(to);
        }
    }
    // The quotas sum up to the number of buckets, so nothing can be left without an owner.
    owners
        .into_iter()
        .map(|owner| owner.ok_or(PlacementError::NoShard))
        .collect()
}

/// Quotas by largest remainder. The buckets that rounding has left over go first to shards that hold one more already,
/// for then it need not move; among these and among the others by remainder, then by id.
fn accounts(
    owners: &[Option<ShardId>],
    shards: &[(ShardId, u32)],
) -> Result<BTreeMap<ShardId, Account>, PlacementError> {
    let mut accounts: BTreeMap<ShardId, Account> = BTreeMap::new();
    for (shard, _) in shards {
        if accounts.insert(*shard, Account::default()).is_some() {
            return Err(PlacementError::Twice(*shard));
        }
    }
    for owner in owners.iter().flatten() {
        accounts.entry(*owner).or_default().have += 1;
    }
    let total: u128 = shards.iter().map(|(_, weight)| u128::from(*weight)).sum();
    if total == 0 {
        return Err(PlacementError::NoShard);
    }
    let buckets = owners.len() as u128;
    let mut left = owners.len();
    let mut rounded = Vec::new();
    for (shard, weight) in shards {
        let share = buckets * u128::from(*weight);
        let quota =
            usize::try_from(share / total).expect("a share is at most the number of buckets");
        left -= quota;
        let remainder = share % total;
        if let Some(account) = accounts.get_mut(shard) {
            account.quota = quota;
            if remainder > 0 {
                rounded.push((
                    !account.has_too_many(),
                    std::cmp::Reverse(remainder),
                    *shard,
                ));
            }
        }
    }
    rounded.sort_unstable();
    for (_, _, shard) in rounded.into_iter().take(left) {
        if let Some(account) = accounts.get_mut(&shard) {
            account.quota += 1;
        }
    }
    Ok(accounts)
}

/// Points on the ring for a shard of average weight.
const POINTS: u128 = 1024;

/// The preferences: a hash ring of points that the shards have in proportion to their weights.
struct Ring {
    ring: HashRing<Point, Mixer>,
    shards: Vec<ShardId>,
}

impl Ring {
    fn new(shards: &[(ShardId, u32)]) -> Self {
        let total: u128 = shards.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let weighted = shards.iter().filter(|(_, weight)| *weight > 0);
        let count = weighted.clone().count() as u128;
        let mut points = Vec::new();
        for (shard, weight) in weighted {
            let own = (POINTS * count * u128::from(*weight) / total.max(1)).max(1);
            let own = u32::try_from(own).unwrap_or(u32::MAX);
            points.extend((0..own).map(|point| Point::new(*shard, point)));
        }
        let mut ring = HashRing::with_hasher(Mixer(0));
        ring.batch_add(points);
        Ring {
            ring,
            shards: shards.iter().map(|(shard, _)| *shard).collect(),
        }
    }

    /// The ring's owner of the bucket, if it needs one.
    fn owner(&self, bucket: u32, accounts: &BTreeMap<ShardId, Account>) -> Option<ShardId> {
        let shard = self.ring.get(&bucket_word(bucket))?.shard();
        accounts.get(&shard).filter(|account| account.needs())?;
        Some(shard)
    }

    /// Of all shards that need a bucket the one with the highest score for this one (rendezvous hashing).
    fn best(&self, bucket: u32, accounts: &BTreeMap<ShardId, Account>) -> Option<ShardId> {
        self.shards
            .iter()
            .filter(|shard| accounts.get(shard).is_some_and(Account::needs))
            .max_by_key(|shard| (mix(mix(bucket_word(bucket)) ^ u64::from(shard.0)), **shard))
            .copied()
    }
}

/// A shard's point on the ring, as one number that we build ourselves: what `std` feeds to a hasher for anything richer
/// is not promised to stay. The top bit keeps points and buckets apart, which the crate would hash alike.
#[derive(Clone, Copy, Hash)]
struct Point(u64);

impl Point {
    fn new(shard: ShardId, point: u32) -> Self {
        Point((1 << 63) | (u64::from(shard.0) << 32) | u64::from(point))
    }

    fn shard(self) -> ShardId {
        let [_, _, a, b, ..] = self.0.to_be_bytes();
        ShardId(u16::from_be_bytes([a, b]))
    }
}

fn bucket_word(bucket: u32) -> u64 {
    u64::from(bucket)
}

/// The buckets in an order that looks random and is always the same: index and number.
fn pseudo_random_order(count: usize) -> Vec<(usize, u32)> {
    let mut order: Vec<(usize, u32)> = (0..count).zip(0u32..).collect();
    order.sort_unstable_by_key(|(_, number)| mix(bucket_word(*number) ^ 0x0bde_11fa_c0ff_ee00));
    order
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). It is a
/// bijection, so different points never meet.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A hasher of single 64-bit numbers, pinned by us: the placement must not change with a version of `std` or of a crate.
#[derive(Clone, Copy)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word);
    }
}

impl BuildHasher for Mixer {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        *self
    }
}

#[cfg(test)]
mod tests;
