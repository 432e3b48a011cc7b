//! The host's identity: a P-256 key of this process, attested, which signs receipts and components' statements.

use hypervisor_protocol::{Error, PublicKey};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;

/// The key. New at each start, and never written anywhere; zeroized on drop.
pub struct Identity {
    key: SigningKey,
    public: PublicKey,
}

impl Identity {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let key = SigningKey::try_generate().map_err(|_| Error::Random)?;
        let point = key.verifying_key().to_sec1_point(true);
        let public = PublicKey::from_sec1(point.as_bytes())?;
        Ok(Self { key, public })
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// ECDSA with SHA-256 over `message`: r ‖ s.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().into()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
