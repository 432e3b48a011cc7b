//! Public keys of notes: Ed25519, and ECDSA on P-256 as logs that run in hardware sign.

use ed25519_dalek::VerifyingKey as Ed25519;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, Signature, VerifyingKey as P256};
use sha2::{Digest, Sha256};

use super::Algorithm;
use crate::Error;

/// What comes before the uncompressed point in a P-256 key's SubjectPublicKeyInfo.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Public {
    /// Of 32 bytes.
    Ed25519(Box<Ed25519>),
    /// As a SubjectPublicKeyInfo.
    P256(Box<P256>),
}

impl Public {
    /// Reads a key from the bytes that its text has.
    pub(super) fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, Error> {
        if algorithm == Algorithm::EcdsaP256 {
            let point = bytes.strip_prefix(&SPKI);
            return Self::p256(point.ok_or(Error::Key("it is no P-256 key in SPKI"))?);
        }
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::Key("an Ed25519 key has 32 bytes"))?;
        Ed25519::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(|key| Self::Ed25519(Box::new(key)))
            .ok_or(Error::Key("its bytes are no Ed25519 public key"))
    }

    /// A point in SEC1.
    pub(super) fn p256(point: &[u8]) -> Result<Self, Error> {
        let key = P256::from_sec1_bytes(point);
        let key = key.map_err(|_| Error::Key("its bytes are no point on P-256"))?;
        Ok(Self::P256(Box::new(key)))
    }

    /// The bytes that its text has.
    pub(super) fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::P256(key) => [&SPKI, key.to_sec1_point(false).as_bytes()].concat(),
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256(key) => DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

/// The id of a key: for ECDSA, the specification has another than for the rest.
pub(super) fn id(name: &str, algorithm: Algorithm, encoded: &[u8]) -> u32 {
    let digest = match algorithm {
        Algorithm::EcdsaP256 => Sha256::digest(encoded),
        _ => Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', algorithm as u8])
            .chain_update(encoded)
            .finalize(),
    };
    digest
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// r ‖ s in the form that notes have, ASN.1; nothing where it is no signature.
pub(super) fn asn1(signature: &[u8; 64]) -> Vec<u8> {
    let signature = Signature::from_slice(signature);
    signature.map_or(Vec::new(), |signature| {
        signature.to_der().as_bytes().to_vec()
    })
}
