//! The host's crypto and clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bindings::hypervisor::plugin::attestation;
use crate::bindings::hypervisor::plugin::crypto::{self, DigestAlgorithm, ErrorCode, SigningKey};
use crate::ports::{Clock, Crypto, Vouched};

/// `hypervisor:plugin/crypto`.
///
/// Only what is done with keys goes through the host. Keccak stays here: an EIP-712 hash is five hashes of at most 256 bytes, and
/// crossing the boundary with each costs about what it saves.
pub struct HostCrypto;

impl Crypto for HostCrypto {
    fn recover(
        &self,
        prehash: &[u8; 32],
        signature: &[u8; 64],
        recovery_id: u8,
    ) -> Result<Option<[u8; 65]>, String> {
        match crypto::secp256k1_recover(prehash, signature, recovery_id) {
            Ok(key) => key
                .try_into()
                .map(Some)
                .map_err(|_| "a recovered public key is not 65 bytes long".to_owned()),
            Err(ErrorCode::InvalidSignature | ErrorCode::HighS | ErrorCode::RecoveryFailed) => {
                Ok(None)
            }
            Err(other) => Err(other.to_string()),
        }
    }

    fn sign_vouched(&self, message: &dyn Fn(&Vouched) -> String) -> Option<(String, Vec<u8>)> {
        if attestation::identity().backend == "none" {
            return None;
        }
        let signer = SigningKey::generate().ok()?;
        let key = signer.public_key();
        let claim = crypto::digest(DigestAlgorithm::Sha256, &key).ok()?;
        let statement = attestation::statement(&claim).ok()?;
        let message = message(&Vouched { key, statement });
        let signature = signer.sign(message.as_bytes()).ok()?;
        Some((message, signature))
    }

    fn ed25519(
        &self,
        key: &[u8; 32],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<bool, String> {
        match crypto::ed25519_verify(key, message, signature) {
            Ok(()) => Ok(true),
            Err(ErrorCode::InvalidPublicKey | ErrorCode::VerificationFailed) => Ok(false),
            Err(other) => Err(other.to_string()),
        }
    }
}

/// The clocks of WASI.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }

    fn pause(&self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
}
