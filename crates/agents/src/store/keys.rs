//! The keys of a store.
//!
//! ```text
//! k_name = HKDF-Expand(HKDF-Extract(no salt, key), "hypervisor/v1 agent-store name", 64)
//! k_seal = HKDF-Expand(HKDF-Extract(no salt, key), "hypervisor/v1 agent-store seal", 32)
//! file id = HMAC-SHA-256(k_name, address)
//! ```

use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::name::Address;

const NAME_LABEL: &[u8] = b"hypervisor/v1 agent-store name";
const SEAL_LABEL: &[u8] = b"hypervisor/v1 agent-store seal";

/// The key under which a store is sealed, erased on drop. It has to be the same after a restart, and no one else's.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// A key of these bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").finish_non_exhaustive()
    }
}

/// What is derived from a [`SealingKey`].
pub(super) struct Keys {
    /// As long as a block of SHA-256, so that HMAC takes it as it is.
    name: Zeroizing<[u8; 64]>,
    seal: Zeroizing<[u8; 32]>,
}

impl Keys {
    pub(super) fn derive(key: &SealingKey) -> Result<Self, StoreError> {
        let hkdf = Hkdf::<Sha256>::new(None, key.0.as_slice());
        let expand = |label: &[u8], into: &mut [u8]| {
            hkdf.expand(label, into).map_err(|_| StoreError::Seal {
                reason: "key derivation failed",
            })
        };
        let mut keys = Self {
            name: Zeroizing::new([0; 64]),
            seal: Zeroizing::new([0; 32]),
        };
        expand(NAME_LABEL, keys.name.as_mut_slice())?;
        expand(SEAL_LABEL, keys.seal.as_mut_slice())?;
        Ok(keys)
    }

    /// What an agent's file is called.
    pub(super) fn file_id(&self, address: &Address) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*self.name).into());
        mac.update(address.to_string().as_bytes());
        mac.finalize().into_bytes().into()
    }

    pub(super) fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new((&*self.seal).into())
    }
}
