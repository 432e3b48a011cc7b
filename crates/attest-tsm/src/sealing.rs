//! A key that this guest image on this machine gets again after a restart, and nobody else gets.
//!
//! SEV-SNP: the firmware derives it (MSG_KEY_REQ, firmware ABI 56860 §7.2) from the chip's versioned endorsement key, or from
//! the provider's where one is loaded (VLEK). Asked to mix in are the guest's policy and its launch measurement; the firmware
//! mixes in HOST_DATA, the VMPL and the digest of the key that signed the ID block by itself. So another image, a guest that may
//! be debugged, another configuration in HOST_DATA and another chip get other keys; so does the same guest after a firmware
//! update that changes the TCB.
//!
//! TDX 1.5 gives a guest no such key: every key of a trust domain is made when it starts, and nothing that the module answers to
//! a guest is both secret and the same the next time.

use std::io;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::fs::TsmFs;

/// Length of a sealing key, bytes.
pub const SEALING_KEY: usize = 32;

/// The SEV-SNP guest driver's device.
pub(crate) const SEV_GUEST: &str = "/dev/sev-guest";

/// Salt of the derivation: no other use of a secret gives these keys.
const SALT: &[u8] = b"hypervisor/v1 sealing key";

/// A sealing key, erased on drop.
pub struct SealingKey(Zeroizing<[u8; SEALING_KEY]>);

impl SealingKey {
    /// The key for `label` out of a secret of the platform: HKDF-SHA-256 (RFC 5869). Different labels give independent keys.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn derive(secret: &[u8], label: &[u8]) -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; SEALING_KEY]);
        Hkdf::<Sha256>::new(Some(SALT), secret)
            .expand(label, key.as_mut_slice())
            .map_err(|_| Error::NoSealingKey {
                reason: "key derivation failed".to_owned(),
            })?;
        Ok(Self(key))
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

/// The sealing key of an SEV-SNP guest; none where the driver's device is missing.
pub(crate) fn snp(fs: &dyn TsmFs, label: &[u8]) -> Result<Option<SealingKey>, Error> {
    let derived = match fs.snp_derived_key() {
        Ok(derived) => derived,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::NoPermission {
                path: SEV_GUEST.into(),
            });
        }
        Err(error) => {
            return Err(Error::NoSealingKey {
                reason: error.to_string(),
            });
        }
    };
    // What a driver leaves of a request that failed in the firmware.
    if derived.iter().all(|byte| *byte == 0) {
        return Err(Error::NoSealingKey {
            reason: "the firmware's answer is empty".to_owned(),
        });
    }
    SealingKey::derive(derived.as_slice(), label).map(Some)
}
