//! The few file operations that the kernel's interface needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

/// File operations on configfs and sysfs. A trait, so that tests can obey the kernel's semantics without a kernel.
pub trait TsmFs: Send + Sync {
    /// Makes a directory, which must not exist.
    ///
    /// # Errors
    ///
    /// As mkdir(2).
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes one directory and nothing in it: on configfs its files are the kernel's.
    ///
    /// # Errors
    ///
    /// As rmdir(2).
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes `bytes` at the start of an existing file, in one call, and closes it.
    ///
    /// # Errors
    ///
    /// As open(2) and write(2); `WriteZero` when the kernel took fewer bytes.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Reads a file of at most `limit` bytes, with a buffer for all of it.
    ///
    /// # Errors
    ///
    /// As open(2) and read(2); `FileTooLarge` when there is more.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// A key that the SEV-SNP firmware derives for this guest at VMPL 0, with its policy and its launch measurement mixed in.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no device to ask, which is what this does unless it is implemented; as open(2); any other kind
    /// when the firmware refuses.
    fn snp_derived_key(&self) -> io::Result<Zeroizing<[u8; 32]>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFs;

impl TsmFs for SystemFs {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        if file.write(bytes)? == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        // One byte more than allowed tells a full file from one that is too long.
        let mut buffer = vec![0; limit.saturating_add(1)];
        let mut filled = 0;
        // The kernel gives all of it to the first read; the second sees the end.
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        if filled > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        buffer.truncate(filled);
        buffer.shrink_to_fit();
        Ok(buffer)
    }

    #[cfg(target_os = "linux")]
    fn snp_derived_key(&self) -> io::Result<Zeroizing<[u8; 32]>> {
        use sev::firmware::guest::Firmware;

        let mut firmware = Firmware::open()?;
        firmware
            .get_derived_key(Some(KEY_REQUEST_VERSION), key_request())
            .map(Zeroizing::new)
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Version of the request that every firmware knows; version 2 adds the mitigation vector, which is not mixed in.
#[cfg(target_os = "linux")]
const KEY_REQUEST_VERSION: u32 = 1;

/// What is asked of the firmware. No TCB version: the root key is the running firmware's own, which an older firmware can not
/// derive.
#[cfg(target_os = "linux")]
fn key_request() -> sev::firmware::guest::DerivedKey {
    use sev::firmware::guest::{DerivedKey, GuestFieldSelect};

    let mut mixed = GuestFieldSelect::default();
    mixed.set_guest_policy(true);
    mixed.set_measurement(true);
    DerivedKey::new(false, mixed, 0, 0, 0, None)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn policy_and_measurement_are_mixed_into_a_key_of_vmpl_0_and_the_endorsement_key() {
        let request = key_request();
        // Firmware ABI 56860, GUEST_FIELD_SELECT: bit 0 is the policy, bit 3 the measurement.
        assert_eq!(request.guest_field_select.0, 0b1001);
        assert_eq!(request.get_root_key_select(), 0);
        assert_eq!((request.vmpl, request.guest_svn), (0, 0));
        assert_eq!((request.tcb_version, request.launch_mit_vector), (0, None));
    }
}
