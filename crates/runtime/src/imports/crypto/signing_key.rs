//! The `signing-key` resource.

use std::fmt;

use p256::ecdsa::Signature;
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::Generate;

use super::ErrorCode;

/// A P-256 private key of one instance.
///
/// It is made here, has no way out, and is zeroized when dropped (as [`p256::ecdsa::SigningKey`] is). It signs with the
/// deterministic nonces of RFC 6979, so that a bad random number cannot give it away.
pub struct SigningKey(p256::ecdsa::SigningKey);

impl SigningKey {
    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InternalError`] if the operating system has none.
    pub fn generate() -> Result<Self, ErrorCode> {
        p256::ecdsa::SigningKey::try_generate()
            .map(Self)
            .map_err(|_| ErrorCode::InternalError(Some("no random numbers".to_owned())))
    }

    /// The ES256 signature of `message`: `r || s`, 64 bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ErrorCode> {
        let signature: Signature = self
            .0
            .try_sign(message)
            .map_err(|_| ErrorCode::InternalError(None))?;
        Ok(signature.to_bytes().to_vec())
    }

    /// The public key: a SEC 1 point, compressed, 33 bytes.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.0
            .verifying_key()
            .to_sec1_point(true)
            .as_bytes()
            .to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
