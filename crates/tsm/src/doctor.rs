//! What this machine offers for attestation, and what to do about what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::fs::SystemFs;
use crate::provider::Provider;
use crate::registers;
use crate::tsm::{Paths, Retry, Tsm};
use hypervisor_evidence::Backend;

/// Most bytes of /proc/cpuinfo and /proc/mounts that are read.
const MAX_TEXT: usize = 256 * 1024;
/// CPU flags that say something about a TEE, in a guest or on its host.
const CPU_FLAGS: [&str; 6] = [
    "tdx_guest",
    "tdx_host_platform",
    "sev",
    "sev_es",
    "sev_snp",
    "hypervisor",
];

/// One thing that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it is there and usable.
    pub present: bool,
    /// What exactly was found, or why it is not usable.
    pub detail: String,
    /// One sentence: what it is good for, or what to do.
    pub advice: String,
}

/// Everything that was looked for. `doctor` prints it; it is also part of a bug report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The platform whose quotes can be had here now.
    pub backend: Option<Backend>,
    /// Running kernel: TDX quotes need 6.7, the runtime register 6.16.
    pub kernel: Finding,
    /// configfs is mounted.
    pub configfs: Finding,
    /// The directory of requests.
    pub report_directory: Finding,
    /// The driver behind it.
    pub provider: Finding,
    /// TDX registers in sysfs.
    pub measurements: Finding,
    /// ACPI table with the boot's event log.
    pub event_log: Finding,
    /// Device of the TDX guest driver.
    pub tdx_device: Finding,
    /// Device of the SEV-SNP guest driver.
    pub sev_device: Finding,
    /// Flags of the first processor.
    pub cpu: Finding,
}

/// Looks at this machine. Makes and removes one entry in configfs and asks for no quote.
pub fn examine() -> Examination {
    examine_at(Path::new("/"))
}

/// Looks at the machine whose root is `root`.
pub fn examine_at(root: &Path) -> Examination {
    let paths = Paths {
        reports: root.join("sys/kernel/config/tsm/report"),
        measurements: root.join("sys/devices/virtual/misc/tdx_guest/measurements"),
        boot_log: root.join("sys/firmware/acpi/tables/data/CCEL"),
    };
    let opened = Tsm::with(Arc::new(SystemFs), paths.clone(), Retry::default());
    Examination {
        backend: opened.as_ref().ok().map(|tsm| tsm.provider().backend()),
        kernel: kernel(root),
        configfs: configfs(root),
        report_directory: report_directory(&paths.reports),
        provider: provider(&opened),
        measurements: measurements(&paths.measurements),
        event_log: event_log(root),
        tdx_device: device(
            root.join("dev/tdx_guest"),
            "The TDX guest driver is loaded; quotes are read through configfs and not through it.",
            "In a TDX guest, load the tdx_guest module.",
        ),
        sev_device: device(
            root.join("dev/sev-guest"),
            "The SEV-SNP guest driver is loaded; sealing keys come from it, and reports are read through configfs.",
            "In an SEV-SNP guest, load the sev-guest module.",
        ),
        cpu: cpu(root),
    }
}

fn kernel(root: &Path) -> Finding {
    let Some(release) = text(&root.join("proc/sys/kernel/osrelease")) else {
        return missing("unknown", "Mount /proc to learn the kernel's version.");
    };
    let release = release.trim().to_owned();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (present, advice) = match version {
        (0..=5, _) | (6, 0..=6) => (
            false,
            "Update the guest's kernel: the report interface came with 6.7.",
        ),
        (6, 7..=15) => (
            true,
            "Quotes work; the runtime register needs 6.16, until then the component log is bound by report data alone.",
        ),
        _ => (true, "Quotes and the runtime register are supported."),
    };
    found(present, release, advice)
}

fn configfs(root: &Path) -> Finding {
    let mounts = text(&root.join("proc/mounts")).unwrap_or_default();
    let mount = mounts
        .lines()
        .map(|line| line.split(' '))
        .find_map(|mut fields| {
            let place = fields.nth(1)?;
            (fields.next()? == "configfs").then(|| (place.to_owned(), fields.next().unwrap_or("")))
        });
    match mount {
        Some((place, options)) => found(
            true,
            format!("{place} ({options})"),
            "Let no process but the host reach it: any process that can reach it can have anything quoted.",
        ),
        None => missing(
            "not mounted",
            "Run `mount -t configfs -o nosuid,nodev,noexec none /sys/kernel/config` as root.",
        ),
    }
}

fn report_directory(path: &Path) -> Finding {
    match fs::read_dir(path) {
        Ok(entries) => match entries.take(1000).count() {
            0 => found(true, "empty", "Nothing else asks for reports."),
            count => found(
                true,
                format!("{count} entries"),
                "Other processes use the interface, or one ended early: remove stale entries with rmdir.",
            ),
        },
        Err(error) => missing(
            error.to_string(),
            "It appears with the kernel's tsm_reports module, which the TDX and SEV-SNP guest drivers load.",
        ),
    }
}

fn provider(opened: &Result<Tsm, Error>) -> Finding {
    match opened {
        Ok(tsm) => found(
            true,
            tsm.provider().as_str(),
            match tsm.provider() {
                Provider::TdxGuest => "Intel TDX: quotes can be made, about one a second.",
                Provider::SevGuest => {
                    "AMD SEV-SNP: reports can be made; there is no runtime register."
                }
            },
        ),
        Err(error) => missing(
            error.to_string(),
            "Without a provider the host refuses to attest, unless it is told to simulate.",
        ),
    }
}

fn measurements(directory: &Path) -> Finding {
    let names: Vec<&str> = registers::NAMES
        .into_iter()
        .filter(|name| directory.join(name).exists())
        .collect();
    if names.contains(&registers::RUNTIME) {
        found(
            true,
            names.join(" "),
            "Components are extended into RTMR3 before they are loaded.",
        )
    } else {
        missing(
            "no rtmr3:sha384",
            "On TDX update the guest's kernel to 6.16 or later; SEV-SNP has no such register.",
        )
    }
}

fn event_log(root: &Path) -> Finding {
    let path = root.join("sys/firmware/acpi/tables/data/CCEL");
    match fs::metadata(&path) {
        Ok(metadata) => found(
            true,
            format!("{} bytes", metadata.len()),
            "The boot's events explain RTMR0 to RTMR2.",
        ),
        Err(error) => missing(
            error.to_string(),
            "Use a firmware that gives a CCEL table, where a verifier should replay the boot.",
        ),
    }
}

fn device(path: PathBuf, there: &str, not_there: &str) -> Finding {
    if path.exists() {
        found(true, path.display().to_string(), there)
    } else {
        missing("none", not_there)
    }
}

fn cpu(root: &Path) -> Finding {
    let info = text(&root.join("proc/cpuinfo")).unwrap_or_default();
    let flags: Vec<&str> = info
        .lines()
        .find(|line| line.starts_with("flags"))
        .and_then(|line| line.split_once(':'))
        .map(|(_, flags)| {
            flags
                .split_whitespace()
                .filter(|flag| CPU_FLAGS.contains(flag))
                .collect()
        })
        .unwrap_or_default();
    let guest = flags.contains(&"tdx_guest")
        || (flags.contains(&"sev_snp") && flags.contains(&"hypervisor"));
    let detail = if flags.is_empty() {
        "none".to_owned()
    } else {
        flags.join(" ")
    };
    found(
        guest,
        detail,
        if guest {
            "The processor says that this is a confidential guest; only a quote proves it."
        } else {
            "Start this image as a TDX or SEV-SNP guest."
        },
    )
}

fn found(present: bool, detail: impl Into<String>, advice: &str) -> Finding {
    Finding {
        present,
        detail: detail.into(),
        advice: advice.to_owned(),
    }
}

fn missing(detail: impl Into<String>, advice: &str) -> Finding {
    found(false, detail, advice)
}

/// The start of a text file of the kernel.
fn text(path: &Path) -> Option<String> {
    use std::io::Read;

    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_TEXT as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
