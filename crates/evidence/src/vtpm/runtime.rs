//! Runtime data: a JSON document with the keys that the hardware's report vouches for (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::MAX_RUNTIME_DATA;
use crate::Error;
use crate::error::bound;

/// The `kid` of the TPM's attestation key, as Azure's paravisor names it.
pub const AK_ID: &str = "HCLAkPub";

const WHAT: &str = "runtime data";

/// An RSA public key, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The modulus.
    pub n: Vec<u8>,
    /// The exponent.
    pub e: Vec<u8>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    kid: Option<String>,
    kty: String,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed {
        what: WHAT,
        reason: reason.into(),
    }
}

/// The one attestation key that runtime data names.
///
/// # Errors
/// [`Error::TooLarge`]; [`Error::Malformed`] for what is no such document, names no key or several under [`AK_ID`], or one that is not
/// RSA.
pub fn attestation_key(runtime_data: &[u8]) -> Result<RsaKey, Error> {
    bound(WHAT, runtime_data, MAX_RUNTIME_DATA)?;
    let document: Document =
        serde_json::from_slice(runtime_data).map_err(|error| malformed(error.to_string()))?;
    let mut keys = document
        .keys
        .iter()
        .filter(|key| key.kid.as_deref() == Some(AK_ID));
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key,
        (None, _) => return Err(malformed(format!("it names no key `{AK_ID}`"))),
        (Some(_), Some(_)) => return Err(malformed(format!("it names several keys `{AK_ID}`"))),
    };
    if key.kty != "RSA" {
        return Err(malformed(format!("`{AK_ID}` is not an RSA key")));
    }
    let number = |text: &Option<String>| {
        let bytes = URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    };
    match (number(&key.n), number(&key.e)) {
        (Some(n), Some(e)) => Ok(RsaKey { n, e }),
        _ => Err(malformed(format!(
            "`{AK_ID}` has no `n` and `e` in base64url"
        ))),
    }
}

impl RsaKey {
    /// Runtime data that names this key and nothing else, for a guest that vouches for its TPM itself.
    pub fn runtime_data(&self) -> Vec<u8> {
        let [n, e] = [&self.n, &self.e].map(|number| URL_SAFE_NO_PAD.encode(number));
        format!(
            "{{\"keys\":[{{\"kid\":\"{AK_ID}\",\"key_ops\":[\"sign\"],\"kty\":\"RSA\",\"e\":\"{e}\",\"n\":\"{n}\"}}]}}"
        )
        .into_bytes()
    }
}
