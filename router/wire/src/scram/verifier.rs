//! What a server keeps of a password: the text in `pg_authid.rolpassword`.

use super::MECHANISM;
use super::crypto::{self, ClientKey, KEY_BYTES, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Salt, iterations, StoredKey and ServerKey of one role.
#[derive(Clone)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
    /// Made up for an unknown user: no proof is right.
    pub(super) mock: bool,
}

/// Why a text is no verifier. It does not repeat the text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct NotAVerifier;

impl Verifier {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in base64.
    pub fn parse(text: &str) -> Result<Self, NotAVerifier> {
        Self::read(text).ok_or(NotAVerifier)
    }

    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        // `parse` alone would take a plus sign.
        if !iterations.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let iterations = iterations.parse().ok().filter(|count| *count > 0)?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Verifier {
            iterations,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
            mock: false,
        })
    }

    /// A verifier for a user who does not exist (or has no SCRAM password), so that a stranger sees no difference: the same
    /// salt each time, the same work, and no proof that is right.
    ///
    /// `secret` must be the same on all routers and known to nobody; `iterations` and `salt_bytes` should be those that
    /// most real users have, for any other number stands out.
    pub fn mock(secret: &[u8], user: &str, iterations: u32, salt_bytes: usize) -> Self {
        let derive = |label: &[u8], block: u32| {
            crypto::hmac(secret, &[label, &block.to_be_bytes(), user.as_bytes()])
        };
        let salt = (0u32..)
            .flat_map(|block| derive(b"mock salt", block))
            .take(salt_bytes.max(1))
            .collect();
        Verifier {
            iterations: iterations.max(1),
            salt,
            stored_key: derive(b"mock stored key", 0),
            server_key: derive(b"mock server key", 0),
            mock: true,
        }
    }

    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) fn salt_base64(&self) -> String {
        STANDARD.encode(&self.salt)
    }
}

/// The verifier of a password, with a salt that the caller has drawn (Postgres: 16 bytes). Costs the PBKDF2.
///
/// The password's bytes are taken as they are, which is right for ASCII. Postgres applies SASLprep (RFC 4013) to other
/// passwords, so those that it would change (compatibility characters, soft hyphens) do not work here.
pub fn make_verifier(password: &[u8], salt: &[u8], iterations: u32) -> Verifier {
    let iterations = iterations.max(1);
    let salted = crypto::salted_password(password, salt, iterations);
    Verifier {
        iterations,
        salt: salt.to_vec(),
        stored_key: ClientKey::of(&salted).stored_key(),
        server_key: crypto::server_key(&salted),
        mock: false,
    }
}

fn key(text: &str) -> Option<Key> {
    <[u8; KEY_BYTES]>::try_from(STANDARD.decode(text).ok()?).ok()
}

/// The text that Postgres stores; it is a secret.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            self.salt_base64(),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Equal in salt, iterations and both keys: a ClientKey of one works for the other.
impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        self.iterations == other.iterations
            && self.mock == other.mock
            && crypto::equal(&self.salt, &other.salt)
            && crypto::equal(&self.stored_key, &other.stored_key)
            && crypto::equal(&self.server_key, &other.server_key)
    }
}

impl Eq for Verifier {}
