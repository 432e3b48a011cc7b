//! What a machine offers for attestation, and what a configuration will be measured as: `doctor`, `record`, `measure`.

use std::io::{self, Write};
use std::path::Path;

use hypervisor_tsm::doctor::{Examination, examine};
use hypervisor_tsm::{Tsm, record};
use serde::Serialize;

use hypervisor::executor::Measurements;
use hypervisor::manifest::{Manifest, digest_alone, hex};

use crate::error::Error;
use crate::output;

/// What a machine offers for attestation.
#[derive(Debug)]
pub struct Machine(Examination);

impl Machine {
    /// Looks at this one.
    pub fn examine() -> Self {
        Self(examine())
    }

    /// Whether it can attest.
    pub fn attests(&self) -> bool {
        self.0.backend.is_some()
    }

    /// Prints for machines.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn json(&self, out: &mut impl Write) -> io::Result<()> {
        output::json(out, &self.0)
    }

    /// Prints for people.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        print(&self.0, out)
    }
}

fn print(found: &Examination, out: &mut impl Write) -> io::Result<()> {
    let mut fields = serde_json::to_value(found)?;
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("backend");
        for (name, finding) in fields.iter() {
            let text = |key: &str| {
                finding
                    .get(key)
                    .and_then(|v| v.as_str())
                    .unwrap_or_default()
            };
            let mark = match finding.get("present").and_then(serde_json::Value::as_bool) {
                Some(true) => "yes",
                _ => "no",
            };
            let name = name.replace('_', " ");
            writeln!(out, "{mark:<4}{name}: {}", text("detail"))?;
            writeln!(out, "    {}", text("advice"))?;
        }
    }
    match found.backend {
        Some(backend) => writeln!(out, "This machine attests by {backend}."),
        None => writeln!(
            out,
            "This machine cannot attest. `[attestation] backend = \"simulated\"` is for tests and for learning."
        ),
    }
}

/// Takes a quote of this machine and writes it to the new folder `folder`, for a test suite to replay.
///
/// # Errors
/// Where the machine has no TEE, or the folder exists or cannot be written.
pub fn record_to(folder: &Path) -> Result<(), Error> {
    let failed = |e: &dyn std::fmt::Display| Error::NotRecorded(e.to_string());
    let tsm = Tsm::open().map_err(|e| failed(&e))?;
    let mut report_data = [0; 64];
    getrandom::fill(&mut report_data).map_err(|e| failed(&e))?;
    record::record(&tsm, folder, &report_data).map_err(|e| failed(&e))?;
    Ok(())
}

/// What a configuration and its components will be measured as.
#[derive(Debug, Serialize)]
pub struct Measured<'a> {
    version: u32,
    manifest_sha384: String,
    /// Without what it says of the fleet, where the host is in one: what the fleet's own policy names.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest_alone_sha384: Option<String>,
    manifest: &'a Manifest<'a>,
    log: Log,
    backend: &'static str,
}

#[derive(Debug, Serialize)]
struct Log {
    head: String,
    count: usize,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    digest: String,
    imports: Vec<String>,
}

impl<'a> Measured<'a> {
    /// Of a host whose plugins are loaded.
    pub fn new(manifest: &'a Manifest<'a>, log: Measurements, backend: &'static str) -> Self {
        let alone = digest_alone(&manifest.encode()).ok().map(|it| hex(&it));
        let entries: Vec<Entry> = log
            .entries
            .into_iter()
            .map(|entry| Entry {
                name: entry.name,
                digest: hex(&entry.sha384),
                imports: entry.imports,
            })
            .collect();
        Self {
            version: 1,
            manifest_sha384: manifest.digest(),
            manifest_alone_sha384: alone.filter(|alone| *alone != manifest.digest()),
            manifest,
            log: Log {
                head: hex(&log.head),
                count: entries.len(),
                entries,
            },
            backend,
        }
    }

    /// Prints for people.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "manifest  {}", self.manifest_sha384)?;
        if let Some(alone) = &self.manifest_alone_sha384 {
            writeln!(out, "  without its fleet, for [fleet] `policy`: {alone}")?;
        }
        writeln!(
            out,
            "log head  {}  ({} entries)",
            self.log.head, self.log.count
        )?;
        for entry in &self.log.entries {
            writeln!(out, "  {:<10} {}", entry.name, entry.digest)?;
        }
        Ok(())
    }
}
