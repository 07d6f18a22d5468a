//! Postgres's extended hash of a key value, and the bucket that hash partitioning makes of it.
//!
//! The algorithm is Bob Jenkins' lookup3 in the variant of Postgres (src/common/hashfn.c): little-endian words, the
//! low byte of the third word left free for the length, a 64-bit seed mixed in first, the last two words as the result.
//! A big-endian server hashes strings differently and is not supported.

use crate::key::Key;
use crate::map::Bucket;

/// HASH_PARTITION_SEED of Postgres (src/include/catalog/partition.h).
pub(crate) const PARTITION_SEED: u64 = 0x7A5B_2236_7996_DCFD;

/// What hash_combine64 adds (src/include/common/hashfn.h).
pub(crate) const COMBINE: u64 = 0x49a0_f4dd_15e5_a8e3;

/// What `PARTITION BY HASH (key)` computes for a single key, before the remainder is taken.
///
/// A partition key of one column is combined with the start value 0: `0 ^ (hash + COMBINE + (0 << 54) + (0 >> 7))`.
pub fn partition_hash(key: &Key) -> u64 {
    hash_extended(key, PARTITION_SEED).wrapping_add(COMBINE)
}

/// The remainder that `PARTITION BY HASH` with MODULUS `buckets` gives the key. Zero buckets count as one.
pub fn bucket(key: &Key, buckets: u32) -> Bucket {
    let remainder = partition_hash(key) % u64::from(buckets.max(1));
    Bucket(u32::try_from(remainder).expect("the remainder is below a 32-bit number"))
}

/// The function that the type's hash operator class names as its support function 2: `hashint8extended` and so on.
/// date hashes as int4, timestamp and timestamptz as int8.
pub(crate) fn hash_extended(key: &Key, seed: u64) -> u64 {
    match key {
        Key::Int(value) | Key::Timestamp(value) => int8(*value, seed),
        Key::Date(days) => int8(i64::from(*days), seed),
        Key::Text(text) => bytes(text.as_bytes(), seed),
        Key::Bytea(value) => bytes(value, seed),
        Key::Uuid(value) => bytes(value, seed),
    }
}

/// Folds the upper half into the lower one such that int2, int4 and int8 of one value hash alike.
fn int8(value: i64, seed: u64) -> u64 {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    let low = u32::from_le_bytes([a, b, c, d]);
    let high = u32::from_le_bytes([e, f, g, h]);
    uint32(low ^ if value >= 0 { high } else { !high }, seed)
}

/// The three words of lookup3.
#[derive(Clone, Copy)]
struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: usize, seed: u64) -> Self {
        // The length of a value is far below 4 GiB; only its low 32 bits count, as in the original.
        let length = u32::try_from(length & 0xffff_ffff).unwrap_or(0);
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut state = State {
            a: start,
            b: start,
            c: start,
        };
        if seed != 0 {
            let [e, f, g, h, a, b, c, d] = seed.to_le_bytes();
            state.a = state.a.wrapping_add(u32::from_le_bytes([a, b, c, d]));
            state.b = state.b.wrapping_add(u32::from_le_bytes([e, f, g, h]));
            state.mix();
        }
        state
    }

    fn add(&mut self, words: [u32; 3]) {
        let [a, b, c] = words;
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let State { a, b, c } = self;
        for (rotate_c, rotate_a, rotate_b) in [(4, 6, 8), (16, 19, 4)] {
            *a = a.wrapping_sub(*c) ^ c.rotate_left(rotate_c);
            *c = c.wrapping_add(*b);
            *b = b.wrapping_sub(*a) ^ a.rotate_left(rotate_a);
            *a = a.wrapping_add(*c);
            *c = c.wrapping_sub(*b) ^ b.rotate_left(rotate_b);
            *b = b.wrapping_add(*a);
        }
    }

    fn finish(self) -> u64 {
        let State {
            mut a,
            mut b,
            mut c,
        } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        (u64::from(b) << 32) | u64::from(c)
    }
}

/// `hash_bytes_uint32_extended`.
fn uint32(value: u32, seed: u64) -> u64 {
    let mut state = State::new(4, seed);
    state.add([value, 0, 0]);
    state.finish()
}

/// `hash_bytes_extended`.
fn bytes(value: &[u8], seed: u64) -> u64 {
    let mut state = State::new(value.len(), seed);
    let (blocks, tail) = value.as_chunks::<12>();
    for block in blocks {
        state.add(words(block));
        state.mix();
    }
    // The tail, at most 11 bytes, fills the block from the front, except that the third word begins at its second byte.
    let mut last = [0u8; 12];
    let positions = (0..8).chain(9..12);
    for (byte, position) in tail.iter().zip(positions) {
        if let Some(place) = last.get_mut(position) {
            *place = *byte;
        }
    }
    state.add(words(&last));
    state.finish()
}

fn words(block: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *block;
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
        u32::from_le_bytes([i, j, k, l]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value, hash with seed 0, hash with the partition seed, as Postgres 15.20 gives them.
    fn check(key: Key, plain: i64, partition: i64) {
        let signed = |hash: u64| i64::from_le_bytes(hash.to_le_bytes());
        assert_eq!(signed(hash_extended(&key, 0)), plain, "{key:?}");
        assert_eq!(
            signed(hash_extended(&key, PARTITION_SEED)),
            partition,
            "{key:?}"
        );
        assert_eq!(
            partition_hash(&key),
            hash_extended(&key, PARTITION_SEED).wrapping_add(COMBINE)
        );
    }

    #[test]
    fn integers_hash_as_in_postgres() {
        let int = |value, plain, partition| check(Key::Int(value), plain, partition);
        int(0, 4154612158245552303, -4403592609991167795);
        int(1, -3670598878359251130, 5968994663651403477);
        int(4294967296, -3670598878359251130, 5968994663651403477);
        int(-1, -1888257769727981238, -5017072347659237694);
        int(42, 8010225493015854792, 7363975540656877951);
        int(-4294967297, 495194309054116481, 2147707635919668551);
        int(i64::MAX, 1977219185673256887, 4938542303000433043);
        int(i64::MIN, -9109110466470504941, -6050265599104649060);
        int(2147483647, -9109110466470504941, -6050265599104649060);
    }

    #[test]
    fn strings_hash_as_in_postgres() {
        let text = |value: &str, plain, partition| {
            check(Key::Text(value.into()), plain, partition);
            check(Key::Bytea(value.as_bytes().into()), plain, partition);
        };
        text("", -6939563903564495251, -5700645584453517373);
        text("a", 3591986179850072241, -6705225459120232837);
        text("abc", -6747756470228489321, 3628778498291917250);
        text("hello world", 6947366892317592103, 7664296498819024037);
        text("tenant-000123", 2175851850499434065, 6672532553025518120);
        text("grüße", 3941805924135904332, 3577942437400098891);
        text("abcdefghijkl", -7556637188122330412, -7876791541613377658);
        text("abcdefghijklm", 8871624171452417744, -6785754114725280077);
    }

    #[test]
    fn uuids_hash_as_in_postgres() {
        let uuid = |value: u128, plain, partition| {
            check(Key::Uuid(value.to_be_bytes()), plain, partition);
        };
        uuid(0, -6859010066814654381, -5281082146396728638);
        uuid(
            0x550e8400_e29b_41d4_a716_446655440000,
            -2609285026036278665,
            -3467891652331307802,
        );
        uuid(u128::MAX, 293445543803463785, -148986464341306210);
    }

    #[test]
    fn dates_and_timestamps_hash_as_integers() {
        for value in [0, 1, -1, 42, i32::MAX, i32::MIN] {
            let int = Key::Int(i64::from(value));
            assert_eq!(partition_hash(&Key::Date(value)), partition_hash(&int));
            let timestamp = Key::Timestamp(i64::from(value));
            assert_eq!(partition_hash(&timestamp), partition_hash(&int));
        }
        let far = i64::MIN + 7;
        assert_eq!(
            partition_hash(&Key::Timestamp(far)),
            partition_hash(&Key::Int(far))
        );
    }

    #[test]
    fn buckets_are_remainders() {
        for buckets in [1, 2, 4096, 65536] {
            for value in -500..500 {
                let key = Key::Int(value);
                let Bucket(bucket) = bucket(&key, buckets);
                assert_eq!(
                    u64::from(bucket),
                    partition_hash(&key) & u64::from(buckets - 1)
                );
            }
        }
    }
}
