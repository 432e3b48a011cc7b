//! Signatures of cards: JSON Web Signatures (RFC 7515) with a detached payload, ES256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Card, refused};
use crate::error::Error;

/// Most signatures that are looked at.
const MOST: usize = 8;
/// Most keys that are looked at.
const MOST_KEYS: usize = 64;

/// A key that signed a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    thumbprint: [u8; 32],
}

impl Signer {
    /// SHA-256 of the key as a JSON Web Key (RFC 7638).
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

impl std::fmt::Display for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.thumbprint))
    }
}

#[derive(Deserialize)]
struct Jws {
    protected: String,
    signature: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    jku: String,
    /// What a verifier must understand, and this one understands nothing more.
    crit: Option<Value>,
    /// As above (RFC 7797).
    b64: Option<bool>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Map<String, Value>>,
}

/// A signature whose key is still to be fetched.
pub(super) struct Signed {
    protected: String,
    header: Header,
    signature: Signature,
}

/// The signatures of a card that can be looked at.
///
/// # Errors
/// A refusal where there is none.
pub(super) fn signatures(card: &Card) -> Result<Vec<Signed>, Error> {
    let all = card.signatures();
    let read: Vec<Signed> = all.iter().take(MOST).filter_map(Signed::read).collect();
    match (read.is_empty(), all.is_empty()) {
        (false, _) => Ok(read),
        (true, true) => Err(refused("signature", "nobody signed it")),
        (true, false) => Err(refused(
            "signature",
            "none of its signatures is one by ES256 that names its key (kid) and where that is (jku)",
        )),
    }
}

impl Signed {
    fn read(value: &Value) -> Option<Self> {
        let jws = Jws::deserialize(value).ok()?;
        let header = URL_SAFE_NO_PAD.decode(&jws.protected).ok()?;
        let header: Header = serde_json::from_slice(&header).ok()?;
        let is_known = header.alg == "ES256" && header.crit.is_none() && header.b64 != Some(false);
        let signature = URL_SAFE_NO_PAD.decode(&jws.signature).ok()?;
        Some(Self {
            protected: jws.protected,
            signature: Signature::from_slice(&signature).ok()?,
            header,
        })
        .filter(|_| is_known)
    }

    /// Where the keys are, by the signer's own word.
    pub(super) fn keys(&self) -> &str {
        &self.header.jku
    }

    /// Holds it against a card and a set of keys (RFC 7517).
    pub(super) fn verify(&self, card: &Card, keys: &[u8]) -> Result<Signer, Error> {
        let keys: Keys = serde_json::from_slice(keys)
            .map_err(|_| refused("key", "where its key should be is no set of JSON Web Keys"))?;
        let named = |key: &&Map<String, Value>| {
            key.get("kid").and_then(Value::as_str) == Some(&self.header.kid)
        };
        let key = keys.keys.iter().take(MOST_KEYS).find(named);
        let key =
            key.ok_or_else(|| refused("key", "the key that signed it is not where it says"))?;
        let (key, signer) = p256_key(key)
            .ok_or_else(|| refused("key", "the key that signed it is none on the curve P-256"))?;
        let payload = URL_SAFE_NO_PAD.encode(card.canonical());
        let message = format!("{}.{payload}", self.protected);
        key.verify(message.as_bytes(), &self.signature)
            .map_err(|_| refused("signature", "it does not verify: the card was altered"))?;
        Ok(signer)
    }
}

/// A key of P-256, and its thumbprint.
pub(super) fn p256_key(key: &Map<String, Value>) -> Option<(VerifyingKey, Signer)> {
    let text = |name| key.get(name).and_then(Value::as_str);
    if text("kty") != Some("EC") || text("crv") != Some("P-256") {
        return None;
    }
    let coordinate =
        |name| -> Option<[u8; 32]> { URL_SAFE_NO_PAD.decode(text(name)?).ok()?.try_into().ok() };
    let (x, y) = (coordinate("x")?, coordinate("y")?);
    let point = [&[4], x.as_slice(), &y].concat();
    let verifying = VerifyingKey::from_sec1_bytes(&point).ok()?;
    let members = format!(
        r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(x),
        URL_SAFE_NO_PAD.encode(y)
    );
    let thumbprint = Sha256::digest(members).into();
    Some((verifying, Signer { thumbprint }))
}
