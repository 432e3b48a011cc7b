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

use hypervisor_evidence::SealingKey;

use crate::error::Error;
use crate::fs::TsmFs;

/// The SEV-SNP guest driver's device.
pub(crate) const SEV_GUEST: &str = "/dev/sev-guest";

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
    Ok(Some(SealingKey::derive(derived.as_slice(), label)))
}
