//! AES-256-GCM-SIV (RFC 8452).

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};

use super::{ErrorCode, length};

/// The tag behind the ciphertext, in bytes.
pub(super) const TAG_LENGTH: usize = 16;

/// The ciphertext of `plaintext` with its tag behind it.
pub(super) fn seal(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    mut plaintext: Vec<u8>,
) -> Result<Vec<u8>, ErrorCode> {
    let (cipher, nonce) = cipher(key, nonce)?;
    // The only failure is a text beyond 2^36 bytes, which no guest has.
    cipher
        .encrypt_in_place(&nonce, aad, &mut plaintext)
        .map_err(|_| ErrorCode::InternalError(None))?;
    Ok(plaintext)
}

/// The plaintext of `ciphertext`, which is at least as long as a tag.
pub(super) fn open(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    mut ciphertext: Vec<u8>,
) -> Result<Vec<u8>, ErrorCode> {
    let (cipher, nonce) = cipher(key, nonce)?;
    cipher
        .decrypt_in_place(&nonce, aad, &mut ciphertext)
        .map_err(|_| ErrorCode::AuthenticationFailed)?;
    Ok(ciphertext)
}

fn cipher(key: &[u8], nonce: &[u8]) -> Result<(Aes256GcmSiv, Nonce), ErrorCode> {
    let key = length::exactly::<32>("key", key)?;
    let nonce = length::exactly::<12>("nonce", nonce)?;
    Ok((Aes256GcmSiv::new(key.into()), Nonce::from(*nonce)))
}
