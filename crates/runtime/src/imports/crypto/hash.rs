//! Digests (FIPS 180-4, Keccak), HMAC (RFC 2104) and HKDF (RFC 5869).

use hkdf::SimpleHkdf;
use hmac::digest::Digest;
use hmac::digest::block_api::BlockSizeUser;
use hmac::{KeyInit, Mac, SimpleHmac};
use sha2::{Sha256, Sha384, Sha512};
use sha3::Keccak256;

use super::{DigestAlgorithm, ErrorCode, length};

/// HKDF-Expand numbers its blocks with one byte (RFC 5869, section 2.3).
const HKDF_MAX_BLOCKS: usize = 255;

/// The length of a digest, in bytes.
fn output_length(algorithm: DigestAlgorithm) -> usize {
    match algorithm {
        DigestAlgorithm::Sha256 | DigestAlgorithm::Keccak256 => 32,
        DigestAlgorithm::Sha384 => 48,
        DigestAlgorithm::Sha512 => 64,
    }
}

/// The digest of `data`.
pub(super) fn digest(algorithm: DigestAlgorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        DigestAlgorithm::Sha256 => Sha256::digest(data).to_vec(),
        DigestAlgorithm::Sha384 => Sha384::digest(data).to_vec(),
        DigestAlgorithm::Sha512 => Sha512::digest(data).to_vec(),
        DigestAlgorithm::Keccak256 => Keccak256::digest(data).to_vec(),
    }
}

/// The HMAC tag of `data`.
pub(super) fn hmac(
    algorithm: DigestAlgorithm,
    key: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, ErrorCode> {
    match algorithm {
        DigestAlgorithm::Sha256 => tag::<Sha256>(key, data),
        DigestAlgorithm::Sha384 => tag::<Sha384>(key, data),
        DigestAlgorithm::Sha512 => tag::<Sha512>(key, data),
        DigestAlgorithm::Keccak256 => tag::<Keccak256>(key, data),
    }
}

/// Compares the HMAC tag of `data` with `tag`, in time that does not depend on where they differ.
pub(super) fn hmac_verify(
    algorithm: DigestAlgorithm,
    key: &[u8],
    data: &[u8],
    tag: &[u8],
) -> Result<(), ErrorCode> {
    let expected = output_length(algorithm);
    length::within("tag", tag.len(), expected, expected)?;
    match algorithm {
        DigestAlgorithm::Sha256 => verify_tag::<Sha256>(key, data, tag),
        DigestAlgorithm::Sha384 => verify_tag::<Sha384>(key, data, tag),
        DigestAlgorithm::Sha512 => verify_tag::<Sha512>(key, data, tag),
        DigestAlgorithm::Keccak256 => verify_tag::<Keccak256>(key, data, tag),
    }
}

/// HKDF-Extract, then HKDF-Expand to `length` bytes. An empty `salt` is the zeros of RFC 5869, section 2.2: HMAC pads its
/// key with zeros, so the two are the same key.
pub(super) fn hkdf(
    algorithm: DigestAlgorithm,
    ikm: &[u8],
    salt: &[u8],
    info: &[u8],
    length: u32,
) -> Result<Vec<u8>, ErrorCode> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    length::within(
        "length",
        length,
        1,
        HKDF_MAX_BLOCKS * output_length(algorithm),
    )?;
    match algorithm {
        DigestAlgorithm::Sha256 => derive::<Sha256>(ikm, salt, info, length),
        DigestAlgorithm::Sha384 => derive::<Sha384>(ikm, salt, info, length),
        DigestAlgorithm::Sha512 => derive::<Sha512>(ikm, salt, info, length),
        DigestAlgorithm::Keccak256 => derive::<Keccak256>(ikm, salt, info, length),
    }
}

fn keyed<D: Digest + BlockSizeUser>(key: &[u8], data: &[u8]) -> Result<SimpleHmac<D>, ErrorCode> {
    // HMAC takes keys of any length, so this does not fail.
    let mut mac =
        SimpleHmac::<D>::new_from_slice(key).map_err(|_| ErrorCode::InternalError(None))?;
    mac.update(data);
    Ok(mac)
}

fn tag<D: Digest + BlockSizeUser>(key: &[u8], data: &[u8]) -> Result<Vec<u8>, ErrorCode> {
    Ok(keyed::<D>(key, data)?.finalize().into_bytes().to_vec())
}

fn verify_tag<D: Digest + BlockSizeUser>(
    key: &[u8],
    data: &[u8],
    tag: &[u8],
) -> Result<(), ErrorCode> {
    keyed::<D>(key, data)?
        .verify_slice(tag)
        .map_err(|_| ErrorCode::VerificationFailed)
}

fn derive<D: Digest + BlockSizeUser + Clone>(
    ikm: &[u8],
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Vec<u8>, ErrorCode> {
    let mut okm = vec![0; length];
    SimpleHkdf::<D>::new(Some(salt), ikm)
        .expand(info, &mut okm)
        .map_err(|_| ErrorCode::InternalError(None))?;
    Ok(okm)
}
