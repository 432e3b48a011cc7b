//! Verification of signatures: ECDSA on P-256 and secp256k1 (FIPS 186-5, SEC 1), Ed25519 (RFC 8032), and recovery of the
//! public key from an ECDSA signature on secp256k1, as Ethereum uses it.

use k256::ecdsa::RecoveryId;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier;

use super::{ErrorCode, length};

/// `r || s`, or `R || S`.
const SIGNATURE_LENGTH: usize = 64;

/// ES256: SHA-256, either `s`.
pub(super) fn p256_verify(
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), ErrorCode> {
    check_point_encoding(public_key)?;
    let signature = length::exactly::<SIGNATURE_LENGTH>("signature", signature)?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
        .map_err(|_| ErrorCode::InvalidPublicKey)?;
    let signature =
        p256::ecdsa::Signature::from_slice(signature).map_err(|_| ErrorCode::InvalidSignature)?;
    key.verify(message, &signature)
        .map_err(|_| ErrorCode::VerificationFailed)
}

/// PureEdDSA, refusing what RFC 8032 leaves open and a second form of anything.
pub(super) fn ed25519_verify(
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), ErrorCode> {
    let public_key = length::exactly::<32>("public-key", public_key)?;
    let signature = length::exactly::<SIGNATURE_LENGTH>("signature", signature)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(public_key)
        .map_err(|_| ErrorCode::InvalidPublicKey)?;
    // Decoding reduces `y` modulo the field order, where RFC 8032, section 5.1.3, refuses one that is not below it.
    let canonical = ed25519_dalek::VerifyingKey::from(key.to_edwards());
    if key.is_weak() || canonical.as_bytes() != public_key {
        return Err(ErrorCode::InvalidPublicKey);
    }
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(message, &signature)
        .map_err(|_| ErrorCode::VerificationFailed)
}

/// ECDSA over a hash made by the caller, low `s` only.
pub(super) fn secp256k1_verify(
    public_key: &[u8],
    prehash: &[u8],
    signature: &[u8],
) -> Result<(), ErrorCode> {
    check_point_encoding(public_key)?;
    let prehash = length::exactly::<32>("prehash", prehash)?;
    let signature = low_s_signature(signature)?;
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
        .map_err(|_| ErrorCode::InvalidPublicKey)?;
    key.verify_prehash(prehash, &signature)
        .map_err(|_| ErrorCode::VerificationFailed)
}

/// The public key, uncompressed, that made a low-`s` signature of `prehash`.
pub(super) fn secp256k1_recover(
    prehash: &[u8],
    signature: &[u8],
    recovery_id: u8,
) -> Result<Vec<u8>, ErrorCode> {
    let prehash = length::exactly::<32>("prehash", prehash)?;
    let signature = low_s_signature(signature)?;
    let recovery_id = match recovery_id {
        0 | 1 => RecoveryId::new(recovery_id == 1, false),
        _ => return Err(ErrorCode::RecoveryFailed),
    };
    let key = k256::ecdsa::VerifyingKey::recover_from_prehash(prehash, &signature, recovery_id)
        .map_err(|_| ErrorCode::RecoveryFailed)?;
    Ok(key.to_sec1_point(false).as_bytes().to_vec())
}

fn low_s_signature(signature: &[u8]) -> Result<k256::ecdsa::Signature, ErrorCode> {
    let signature = length::exactly::<SIGNATURE_LENGTH>("signature", signature)?;
    let signature =
        k256::ecdsa::Signature::from_slice(signature).map_err(|_| ErrorCode::InvalidSignature)?;
    if signature.normalize_s() != signature {
        return Err(ErrorCode::HighS);
    }
    Ok(signature)
}

/// Refuses all but the compressed and uncompressed forms of SEC 1, section 2.3.3: one point, not infinity, no compact or
/// hybrid form.
fn check_point_encoding(public_key: &[u8]) -> Result<(), ErrorCode> {
    length::within("public-key", public_key.len(), 33, 65)?;
    match (public_key.first(), public_key.len()) {
        (Some(2 | 3), 33) | (Some(4), 65) => Ok(()),
        _ => Err(ErrorCode::InvalidPublicKey),
    }
}
