//! A key that only this guest image on this machine gets, and gets again after a restart.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of a sealing key, bytes.
pub const SEALING_KEY: usize = 32;

/// Salt of the derivation: no other use of a secret gives these keys.
const SALT: &[u8] = b"hypervisor/v1 sealing key";

/// A sealing key, erased on drop.
pub struct SealingKey(Zeroizing<[u8; SEALING_KEY]>);

impl SealingKey {
    /// The key for `label` out of a secret of the platform: HKDF-SHA-256 (RFC 5869). Different labels give independent keys.
    pub fn derive(secret: &[u8], label: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; SEALING_KEY]);
        let expanded = Hkdf::<Sha256>::new(Some(SALT), secret).expand(label, key.as_mut_slice());
        debug_assert!(expanded.is_ok(), "HKDF gives 32 bytes of any label");
        Self(key)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; SEALING_KEY] {
        &self.0
    }

    /// The key's bytes, to keep: erased when they are dropped.
    pub fn into_bytes(self) -> Zeroizing<[u8; SEALING_KEY]> {
        self.0
    }
}
