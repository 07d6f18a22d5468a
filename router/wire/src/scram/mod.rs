//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as pure functions: the server side towards clients, the client side towards
//! backends.
//!
//! Decides whether a proof is right and what is said next. Nonces are arguments, so this module has no randomness; it
//! knows nothing of messages' frames either.
//!
//! Pass-through: a client's proof is its ClientKey, masked with what the verifier's StoredKey and the exchange's own
//! messages give. So the server side, once the proof is right, has recovered the ClientKey, and the client side can log in
//! to every backend that holds the *same* verifier (salt, iterations, StoredKey, ServerKey) without ever seeing the
//! password. Whoever has both the verifier and one overheard proof can do the same, hence ClientKeys stay in memory.
//!
//! Channel binding is not spoken here: `p=` is refused, `n` and `y` are taken.

mod client;
mod crypto;
mod server;
mod verifier;

pub use client::{ClientExchange, ClientFinal, Credentials};
pub use crypto::ClientKey;
pub use server::ServerExchange;
pub use verifier::{NotAVerifier, Verifier, make_verifier};

use crate::error::PgError;

/// The only mechanism that is spoken.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Why an exchange has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The other side's message has not the form that the RFC asks for.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// A right message that asks for something that is not spoken: channel binding, an authorization identity.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The password (or key) is wrong, or there is no such user: deliberately one answer.
    #[error("the proof is wrong")]
    WrongProof,
    /// The backend says that the proof is wrong, in the words of RFC 5802.
    #[error("the server has refused the proof: {0}")]
    Refused(String),
    /// The backend is not what the verifier says, or not honest.
    #[error("{0}")]
    Backend(&'static str),
    /// The number of rounds is outside of what a login may cost.
    #[error("the server asks for {0} iterations, which is outside of 4096 to 1000000")]
    Iterations(u32),
}

impl ScramError {
    /// What a client whose login has failed is told: FATAL, in Postgres's words. `user` is what it has called itself.
    pub fn to_error(&self, user: &str) -> PgError {
        match self {
            ScramError::Malformed(detail) => {
                PgError::error("08P01", "malformed SCRAM message").detail(*detail)
            }
            ScramError::Unsupported(message) => PgError::error("0A000", *message),
            ScramError::WrongProof => PgError::error(
                "28P01",
                format!("password authentication failed for user \"{user}\""),
            ),
            // These tell of a backend, so a client learns nothing of them.
            ScramError::Refused(_) | ScramError::Backend(_) | ScramError::Iterations(_) => {
                PgError::error("08006", "login to a server has failed")
            }
        }
        .fatal()
    }
}

/// One attribute of a message, `k=value`, up to the comma or the end; and what follows the comma.
fn attribute<'a>(
    text: &'a str,
    key: char,
    complaint: &'static str,
) -> Result<(&'a str, &'a str), ScramError> {
    let malformed = ScramError::Malformed(complaint);
    let value = text
        .strip_prefix(key)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or(malformed)?;
    Ok(value.split_once(',').unwrap_or((value, "")))
}

/// Nonces are printable ASCII without commas, and not empty.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b',')
}

fn utf8(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}

#[cfg(test)]
mod tests;
