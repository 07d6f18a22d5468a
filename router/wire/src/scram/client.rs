//! The client side, towards a backend: with a password, or with the ClientKey that a client's own login has yielded.

use super::crypto::{self, ClientKey, KEY_BYTES, Key};
use super::verifier::Verifier;
use super::{ScramError, attribute, is_nonce, utf8};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::ops::RangeInclusive;

/// Rounds that a backend may ask for when we have to compute them: fewer make a password cheap to guess for a false
/// server, more burn a core (the pattern of CVE-2026-42198).
const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// What the router knows of a role.
#[derive(Clone)]
pub enum Credentials {
    /// For the router's own roles. See [`super::make_verifier`] on passwords that are not ASCII.
    Password(Vec<u8>),
    /// Pass-through. The backend's salt and iterations must be the verifier's: with another salt the key is worth nothing
    /// there, and a mismatch is a set-up fault to be named, not a wrong password. No rounds are computed, so their number
    /// has no bounds of its own.
    Keys {
        client_key: ClientKey,
        verifier: Verifier,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Password(_) => "Password(..)",
            Credentials::Keys { .. } => "Keys(..)",
        })
    }
}

/// The state between the client-first-message and the server-first-message.
#[derive(Clone, Debug)]
pub struct ClientExchange {
    credentials: Credentials,
    nonce: String,
    client_first_bare: String,
}

impl ClientExchange {
    /// Gives the client-first-message. `nonce` is at least 18 random bytes in base64, drawn for this exchange alone.
    /// Postgres takes the user from the startup packet, so `user` may be empty, as libpq leaves it.
    pub fn start(
        credentials: Credentials,
        user: &str,
        nonce: &str,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        if !is_nonce(nonce) {
            return Err(ScramError::Malformed("the client's nonce is not printable"));
        }
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let client_first_bare = format!("n={user},r={nonce}");
        let client_first = format!("n,,{client_first_bare}");
        let exchange = ClientExchange {
            credentials,
            nonce: nonce.to_owned(),
            client_first_bare,
        };
        Ok((exchange, client_first.into_bytes()))
    }

    /// Reads the server-first-message and gives the client-final-message. With a password it costs the PBKDF2: between
    /// 1 ms and 1 s of a core, so not on an I/O thread.
    pub fn respond(self, server_first: &[u8]) -> Result<(ClientFinal, Vec<u8>), ScramError> {
        let server_first = utf8(server_first)?;
        let challenge = Challenge::read(server_first)?;
        match challenge.nonce.strip_prefix(self.nonce.as_str()) {
            Some(own) if is_nonce(own) => {}
            Some(_) | None => {
                return Err(ScramError::Backend(
                    "the server's nonce does not extend the client's",
                ));
            }
        }
        let (client_key, server_key) = self.keys(&challenge)?;

        let without_proof = format!("c=biws,r={}", challenge.nonce);
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);
        let signature = crypto::hmac(&client_key.stored_key(), &[auth_message.as_bytes()]);
        let proof = crypto::xor(&client_key.0, &signature);
        let client_final = format!("{without_proof},p={}", STANDARD.encode(proof));
        let expect = ClientFinal {
            server_signature: crypto::hmac(&server_key, &[auth_message.as_bytes()]),
        };
        Ok((expect, client_final.into_bytes()))
    }

    fn keys(&self, challenge: &Challenge<'_>) -> Result<(ClientKey, Key), ScramError> {
        match &self.credentials {
            Credentials::Password(password) => {
                if !ITERATIONS.contains(&challenge.iterations) {
                    return Err(ScramError::Iterations(challenge.iterations));
                }
                let salted =
                    crypto::salted_password(password, &challenge.salt, challenge.iterations);
                Ok((ClientKey::of(&salted), crypto::server_key(&salted)))
            }
            Credentials::Keys {
                client_key,
                verifier,
            } => {
                if challenge.iterations != verifier.iterations || challenge.salt != verifier.salt {
                    return Err(ScramError::Backend(
                        "the role has another password verifier on this server",
                    ));
                }
                Ok((client_key.clone(), verifier.server_key))
            }
        }
    }
}

/// The state between the client-final-message and the server-final-message.
#[derive(Clone, Debug)]
pub struct ClientFinal {
    server_signature: Key,
}

impl ClientFinal {
    /// Reads the server-final-message: the server must know the verifier as well. Before this is Ok, an AuthenticationOk
    /// proves nothing.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let message = utf8(server_final)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(ScramError::Refused(reason.to_owned()));
        }
        let (signature, rest) = attribute(message, 'v', "attribute v expected")?;
        let signature: [u8; KEY_BYTES] = STANDARD
            .decode(signature)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed("malformed server signature"))?;
        if !rest.is_empty() {
            return Err(ScramError::Malformed("garbage behind the server signature"));
        }
        if crypto::equal(&signature, &self.server_signature) {
            Ok(())
        } else {
            Err(ScramError::Backend("the server's signature is wrong"))
        }
    }
}

/// A server-first-message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a str) -> Result<Self, ScramError> {
        let (nonce, rest) = attribute(message, 'r', "attribute r expected")?;
        let (salt, rest) = attribute(rest, 's', "attribute s expected")?;
        let (iterations, rest) = attribute(rest, 'i', "attribute i expected")?;
        if !rest.is_empty() {
            return Err(ScramError::Malformed("garbage behind the iteration count"));
        }
        let salt = STANDARD
            .decode(salt)
            .ok()
            .filter(|salt| !salt.is_empty())
            .ok_or(ScramError::Malformed("malformed salt"))?;
        let iterations = Some(iterations)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(ScramError::Malformed("malformed iteration count"))?;
        Ok(Challenge {
            nonce,
            salt,
            iterations,
        })
    }
}
