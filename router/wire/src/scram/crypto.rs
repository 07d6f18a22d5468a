//! The primitives: HMAC, hash, PBKDF2 with SHA-256, and the keys that they make (RFC 5802, section 3).

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(super) const KEY_BYTES: usize = 32;
pub(super) type Key = [u8; KEY_BYTES];

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

pub(super) fn xor(a: &Key, b: &Key) -> Key {
    let mut out = *a;
    for (byte, other) in out.iter_mut().zip(b) {
        *byte ^= other;
    }
    out
}

/// Compares in time that does not depend on the content.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Hi() of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block of output. Costs `iterations` times two hashes.
pub(super) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mac = keyed(password);
    let mut first = mac.clone();
    first.update(salt);
    first.update(&1u32.to_be_bytes());
    let mut block: Key = first.finalize().into_bytes().into();
    let mut sum = block;
    for _ in 1..iterations {
        let mut next = mac.clone();
        next.update(&block);
        block = next.finalize().into_bytes().into();
        sum = xor(&sum, &block);
    }
    sum
}

/// The secret that proves a password: SHA-256 of it is the verifier's StoredKey.
///
/// As good as the password for all servers that share the verifier. It is overwritten when dropped, never printed, and
/// compared in constant time.
#[derive(Clone)]
pub struct ClientKey(pub(super) Key);

impl ClientKey {
    /// HMAC(SaltedPassword, "Client Key").
    pub(super) fn of(salted_password: &Key) -> Self {
        ClientKey(hmac(salted_password, &[b"Client Key"]))
    }

    pub(super) fn stored_key(&self) -> Key {
        sha256(&self.0)
    }
}

/// HMAC(SaltedPassword, "Server Key").
pub(super) fn server_key(salted_password: &Key) -> Key {
    hmac(salted_password, &[b"Server Key"])
}

impl Drop for ClientKey {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from seeing that nobody reads the zeros.
        std::hint::black_box(&mut self.0);
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientKey(..)")
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for ClientKey {}
