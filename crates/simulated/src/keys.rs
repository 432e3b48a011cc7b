//! Keys, all from one seed.

use hkdf::Hkdf;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use sha2::Sha256;

use zeroize::Zeroizing;

use crate::error::Error;

/// Salt of the derivation: no other use of a seed gives these keys.
const SALT: &[u8] = b"hypervisor/v1 simulated, not a TEE";

/// The P-256 key for `label`. The same seed and label give the same key.
pub(crate) fn derive(seed: &[u8], label: &'static str) -> Result<SigningKey, Error> {
    let hkdf = Hkdf::<Sha256>::new(Some(SALT), seed);
    // One candidate in 2^32 is no scalar of P-256; eight in a row never happen.
    for attempt in 0..8_u8 {
        let mut scalar = [0; 32];
        hkdf.expand_multi_info(&[label.as_bytes(), &[attempt]], &mut scalar)
            .map_err(|error| failed(label, error))?;
        if let Ok(key) = SigningKey::from_slice(&scalar) {
            return Ok(key);
        }
    }
    Err(failed(label, "no scalar of P-256 came of this seed"))
}

/// What the platform's sealing keys are made of: another seed, image or set of attributes gives another secret, as on hardware.
pub(crate) fn sealing_secret(
    seed: &[u8],
    mrtd: &[u8; 48],
    attributes: u64,
) -> Result<Zeroizing<[u8; 32]>, Error> {
    const LABEL: &str = "sealing secret";
    let mut secret = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(SALT), seed)
        .expand_multi_info(
            &[LABEL.as_bytes(), mrtd, &attributes.to_le_bytes()],
            secret.as_mut_slice(),
        )
        .map_err(|error| failed(LABEL, error))?;
    Ok(secret)
}

/// ECDSA over SHA-256 as `r ‖ s`, nonce by RFC 6979.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> Result<[u8; 64], Error> {
    let signature: Signature = key
        .try_sign(message)
        .map_err(|error| failed("signature", error))?;
    Ok(signature.to_bytes().into())
}

/// The public key as `x ‖ y`.
pub(crate) fn public(key: &SigningKey) -> Result<[u8; 64], Error> {
    let point = key.verifying_key().to_sec1_point(false);
    point
        .as_bytes()
        .last_chunk::<64>()
        .copied()
        .ok_or_else(|| failed("public key", "it is not uncompressed"))
}

pub(crate) fn failed(what: &'static str, reason: impl ToString) -> Error {
    Error::Pki {
        what,
        reason: reason.to_string(),
    }
}
