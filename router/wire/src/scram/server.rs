//! The server side: a client proves that it knows the password, and in doing so hands over its ClientKey.

use super::crypto::{self, ClientKey, KEY_BYTES};
use super::verifier::Verifier;
use super::{ScramError, attribute, is_nonce, utf8};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The state between the server-first-message and the client-final-message.
#[derive(Clone, Debug)]
pub struct ServerExchange {
    verifier: Verifier,
    /// `n,,` or `y,,`: what the client's `c=` must repeat.
    gs2_header: &'static str,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl ServerExchange {
    /// Reads the client-first-message and gives the server-first-message.
    ///
    /// `server_nonce` is at least 18 random bytes in base64, drawn for this exchange alone. The user name in the message
    /// is ignored, as Postgres does: the startup packet has said it.
    pub fn start(
        verifier: &Verifier,
        client_first: &[u8],
        server_nonce: &str,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let message = utf8(client_first)?;
        let (gs2_header, bare) = gs2(message)?;
        if bare.starts_with('m') {
            return Err(ScramError::Unsupported(
                "client requires an unsupported SCRAM extension",
            ));
        }
        let (_user, rest) = attribute(bare, 'n', "attribute n expected")?;
        let (client_nonce, _extensions) = attribute(rest, 'r', "attribute r expected")?;
        if !is_nonce(client_nonce) {
            return Err(ScramError::Malformed(
                "non-printable characters in SCRAM nonce",
            ));
        }
        if !is_nonce(server_nonce) {
            return Err(ScramError::Malformed("the server's nonce is not printable"));
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!(
            "r={nonce},s={},i={}",
            verifier.salt_base64(),
            verifier.iterations
        );
        let exchange = ServerExchange {
            verifier: verifier.clone(),
            gs2_header,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
            nonce,
        };
        Ok((exchange, server_first.into_bytes()))
    }

    /// Reads the client-final-message. If its proof is right: the server-final-message and the client's key.
    ///
    /// With S the StoredKey and M the AuthMessage, ClientKey = proof XOR HMAC(S, M), and SHA256(ClientKey) must be S.
    pub fn finish(self, client_final: &[u8]) -> Result<(Vec<u8>, ClientKey), ScramError> {
        let message = utf8(client_final)?;
        let (without_proof, proof) = message
            .rsplit_once(",p=")
            .ok_or(ScramError::Malformed("attribute p expected"))?;
        let (binding, rest) = attribute(without_proof, 'c', "attribute c expected")?;
        if binding != STANDARD.encode(self.gs2_header) {
            return Err(ScramError::Malformed(
                "unexpected SCRAM channel-binding attribute",
            ));
        }
        let (nonce, _extensions) = attribute(rest, 'r', "attribute r expected")?;
        if !crypto::equal(nonce.as_bytes(), self.nonce.as_bytes()) {
            return Err(ScramError::Malformed("nonce does not match"));
        }
        let proof: [u8; KEY_BYTES] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed("malformed proof"))?;

        let auth_message = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.server_first
        );
        let signature = crypto::hmac(&self.verifier.stored_key, &[auth_message.as_bytes()]);
        let client_key = ClientKey(crypto::xor(&proof, &signature));
        let right = crypto::equal(&client_key.stored_key(), &self.verifier.stored_key);
        if !right || self.verifier.mock {
            return Err(ScramError::WrongProof);
        }
        let server_signature = crypto::hmac(&self.verifier.server_key, &[auth_message.as_bytes()]);
        let server_final = format!("v={}", STANDARD.encode(server_signature));
        Ok((server_final.into_bytes(), client_key))
    }
}

/// Splits the GS2 header from the client-first-message: flag, comma, no authorization identity, comma.
fn gs2(message: &str) -> Result<(&'static str, &str), ScramError> {
    let header = match message.as_bytes().first() {
        Some(b'n') => "n,,",
        Some(b'y') => "y,,",
        Some(b'p') => {
            return Err(ScramError::Unsupported(
                "channel binding is not supported on this connection",
            ));
        }
        Some(_) | None => {
            return Err(ScramError::Malformed("unexpected channel-binding flag"));
        }
    };
    if let Some(bare) = message.strip_prefix(header) {
        Ok((header, bare))
    } else if message.get(1..).is_some_and(|rest| rest.starts_with(",a=")) {
        Err(ScramError::Unsupported(
            "client uses authorization identity, but it is not supported",
        ))
    } else {
        Err(ScramError::Malformed("comma expected"))
    }
}
