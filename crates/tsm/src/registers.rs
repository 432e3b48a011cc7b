//! TDX measurement registers in sysfs.
//!
//! Documentation/ABI/testing/sysfs-devices-virtual-misc-tdx_guest, Linux 6.16: each register is a file of 48 bytes, named
//! with its hash. Reading gives the live value; writing 48 bytes at offset 0 extends. The kernel keeps no log.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::entry::{errno, io_error};
use crate::error::Error;
use crate::fs::TsmFs;
use hypervisor_evidence::REGISTER;

/// The register that is left to applications.
pub(crate) const RUNTIME: &str = "rtmr3:sha384";

/// Files that Linux shows for a TD.
pub(crate) const NAMES: [&str; 8] = [
    "mrtd:sha384",
    "rtmr0:sha384",
    "rtmr1:sha384",
    "rtmr2:sha384",
    RUNTIME,
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
];

/// Reads one register.
pub(crate) fn read(fs: &dyn TsmFs, path: &Path) -> Result<[u8; REGISTER], Error> {
    let bytes = fs
        .read(path, REGISTER)
        .map_err(|error| io_error("read", path, &error))?;
    exact(path, &bytes)
}

fn exact(path: &Path, bytes: &[u8]) -> Result<[u8; REGISTER], Error> {
    bytes.try_into().map_err(|_| Error::RegisterLength {
        path: path.to_owned(),
        length: bytes.len(),
    })
}

/// Extends one register. Never tried twice: after an error nobody knows whether it took effect, only a read tells.
pub(crate) fn extend(fs: &dyn TsmFs, path: &Path, digest: &[u8; REGISTER]) -> Result<(), Error> {
    fs.write(path, digest).map_err(|error| match errno(&error) {
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Error::NoPermission {
            path: path.to_owned(),
        },
        _ => io_error("extend", path, &error),
    })
}

/// Every register that this machine shows, by name.
pub(crate) fn all(
    fs: &dyn TsmFs,
    directory: &Path,
) -> Result<Vec<(&'static str, [u8; REGISTER])>, Error> {
    let mut found = Vec::new();
    for name in NAMES {
        let path = directory.join(name);
        match fs.read(&path, REGISTER) {
            Ok(bytes) => found.push((name, exact(&path, &bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", &path, &error)),
        }
    }
    Ok(found)
}
