//! What the kernel is asked for: file systems, modules, the registers of the TPM, the end.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, finit_module, reboot};

use crate::{in_words, say};

/// The kernel undoes the compression (`MODULE_INIT_COMPRESSED_FILE` of finit_module(2)).
const COMPRESSED: i32 = 4;
/// What the kernel allows one process at the most (`fs.nr_open`).
const DESCRIPTORS: u64 = 1 << 20;
/// The modules of the image, a path a line, each after those that it needs.
const MODULES: &str = "/etc/modules";
/// The TPM's registers that the image's measurement is about: docs/IMAGE.md
const REGISTERS: [u8; 5] = [4, 9, 11, 12, 13];

/// Mounts what every program expects, and memory for what is written: nothing of it is there after the next start.
pub(crate) fn mount_all() -> io::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let devices = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (kind, target, flags, data) in [
        (c"proc", "/proc", quiet, c""),
        (c"sysfs", "/sys", quiet, c""),
        (c"devtmpfs", "/dev", devices, c"mode=0755"),
        (c"tmpfs", "/run", quiet, c"mode=0755,size=50%"),
    ] {
        mount(kind, target, kind, flags, data).map_err(|error| in_words(target, error.into()))?;
    }
    // The host's state.
    mkdir("/run/hypervisor", Mode::RWXU).map_err(|error| in_words("/run/hypervisor", error.into()))
}

/// Where quotes come from; a guest without a TEE has none, and the host says so.
pub(crate) fn mount_configfs() {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = mount(c"configfs", "/sys/kernel/config", c"configfs", flags, c"") {
        say(&format!("/sys/kernel/config: {error}"));
    }
}

/// Loads the image's modules. One whose device is not there refuses, which is as it should be.
pub(crate) fn load_modules() -> io::Result<()> {
    let list = fs::read_to_string(MODULES).map_err(|error| in_words(MODULES, error))?;
    for path in list.lines() {
        let file = File::open(path).map_err(|error| in_words(path, error))?;
        match finit_module(file, c"", COMPRESSED) {
            Ok(()) | Err(Errno::NODEV | Errno::EXIST) => {}
            Err(error) => say(&format!("{path}: {error}")),
        }
    }
    Ok(())
}

/// What the TPM was told of this image, for whoever reads the console.
pub(crate) fn tell_registers() {
    for bank in ["sha256", "sha384"] {
        for register in REGISTERS {
            let path = format!("/sys/class/tpm/tpm0/pcr-{bank}/{register}");
            if let Ok(value) = fs::read_to_string(path) {
                let value = value.trim().to_ascii_lowercase();
                say(&format!("PCR {register} {bank} {value}"));
            }
        }
    }
}

/// From here on nothing of the image can be changed, by the host either.
pub(crate) fn seal_root() -> io::Result<()> {
    mount_remount("/", MountFlags::RDONLY, c"").map_err(|error| in_words("/", error.into()))
}

/// Descriptors for the host: the kernel's default is for guests with many programs.
pub(crate) fn raise_limits() {
    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS),
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        say(&format!("descriptors: {error}"));
    }
}

/// Switches the guest off.
pub(crate) fn off() {
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        say(&format!("cannot switch off: {error}"));
    }
}

/// A file of one line.
pub(crate) fn line(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}
