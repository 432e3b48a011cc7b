//! Recordings of real hardware, for tests on machines that have none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::entry::io_error;
use crate::error::Error;
use crate::fs::SystemFs;
use crate::fs::TsmFs;
use crate::tsm::Tsm;
use hypervisor_evidence::{Attester, Backend, QuoteFormat, REPORT_DATA};

/// Longest event log that is recorded, bytes.
const MAX_EVENT_LOG: usize = 4 * 1024 * 1024;

/// `recording.json`: what the other files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recording {
    /// The platform.
    pub backend: Backend,
    /// The kernel's name of the driver.
    pub provider: &'static str,
    /// Layout of `quote.bin`.
    pub format: QuoteFormat,
    /// Bytes that followed the quote; they are not recorded, since they may be guest memory.
    pub dropped: usize,
    /// Report data of the quote, hex.
    pub report_data: String,
    /// Running kernel.
    pub kernel: Option<String>,
    /// Seconds since 1970, by this machine's clock.
    pub recorded_at: u64,
    /// Registers by the name of their file, hex.
    pub registers: Vec<Register>,
    /// The other files, in this directory.
    pub files: Vec<&'static str>,
}

/// One register of a [`Recording`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Register {
    /// Name of its file.
    pub name: &'static str,
    /// Value, hex.
    pub value: String,
}

/// Takes a quote over `report_data` and writes it to the new directory `directory`, with all that a test needs to replay it:
/// `quote.bin`, `certificates.bin` (SEV-SNP), `ccel.bin` (event log, where there is one) and `recording.json`.
///
/// A recording names the machine (its certificates do): its owner decides whether it is published.
///
/// # Errors
///
/// The attester's, and [`Error::Io`] where the directory exists or can not be written.
pub fn record(
    tsm: &Tsm,
    directory: &Path,
    report_data: &[u8; REPORT_DATA],
) -> Result<Recording, Error> {
    record_from(tsm, directory, report_data, Path::new("/"))
}

/// As [`record`], with the kernel's version and event log of the machine whose root is `root`.
///
/// # Errors
///
/// As [`record`].
pub fn record_from(
    tsm: &Tsm,
    directory: &Path,
    report_data: &[u8; REPORT_DATA],
    root: &Path,
) -> Result<Recording, Error> {
    let quote = tsm.quote(report_data)?;
    let registers = tsm.registers()?;
    fs::create_dir(directory).map_err(|error| io_error("make", directory, &error))?;

    let mut files = vec!["quote.bin"];
    save(directory.join("quote.bin"), &quote.bytes)?;
    if let Some(certificates) = &quote.certificates {
        save(directory.join("certificates.bin"), certificates)?;
        files.push("certificates.bin");
    }
    if let Ok(log) = SystemFs.read(
        &root.join("sys/firmware/acpi/tables/data/CCEL"),
        MAX_EVENT_LOG,
    ) {
        save(directory.join("ccel.bin"), &log)?;
        files.push("ccel.bin");
    }
    let recording = Recording {
        backend: tsm.backend(),
        provider: tsm.provider().as_str(),
        format: quote.format,
        dropped: quote.dropped,
        report_data: const_hex::encode(report_data),
        kernel: SystemFs
            .read(&root.join("proc/sys/kernel/osrelease"), 256)
            .ok()
            .map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned()),
        recorded_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        registers: registers
            .into_iter()
            .map(|(name, value)| Register {
                name,
                value: const_hex::encode(value),
            })
            .collect(),
        files,
    };
    let json = serde_json::to_vec_pretty(&recording).map_err(|error| Error::Io {
        action: "encode",
        path: directory.join("recording.json"),
        reason: error.to_string(),
    })?;
    save(directory.join("recording.json"), &json)?;
    Ok(recording)
}

/// Writes a file that must not exist.
fn save(path: PathBuf, bytes: &[u8]) -> Result<(), Error> {
    fs::File::create_new(&path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| io_error("write", &path, &error))
}
