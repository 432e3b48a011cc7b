//! What is to be published: entries from files, from what `measure` said, and from policies.

use std::path::{Path, PathBuf};

use clap::Args;
use hypervisor_ctl::error::Error;
use hypervisor_protocol::HexArray;
use hypervisor_tlog::{Entry, Kind, entry, folder};
use hypervisor_verify::{Policy, policy};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};

/// The name of entries that are of the host as a whole.
const HOST: &str = "hypervisor";
/// The most bytes of what `measure` prints.
const MAX_MEASURE: usize = 8 << 20;
/// The most bytes of a file that is published by its digest.
const MAX_FILE: usize = 1 << 30;

#[derive(Debug, Args)]
pub(super) struct Values {
    /// What the values are published with: a version, or a date. Clients take the values of one release.
    #[arg(long, value_name = "NAME", required = true)]
    release: Option<String>,
    /// What `hypervisor-ctl measure --output json` printed: manifest, host's program, plugins.
    #[arg(long, value_name = "FILE")]
    measure: Vec<PathBuf>,
    /// A verification policy, as `measure image` prints: its images, manifests and components.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// A guest image's file.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// A host's program.
    #[arg(long, value_name = "FILE")]
    host: Vec<PathBuf>,
    /// A component, with the name that it is loaded under.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    component: Vec<(String, PathBuf)>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("its form is NAME=FILE, as in policy=policy-rust.wasm".to_owned()),
    }
}

/// What `measure` prints, as far as it is published.
#[derive(Deserialize)]
struct Measure {
    version: u32,
    manifest_sha384: HexArray<48>,
    log: Log,
    manifest: Manifest,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    digest: HexArray<48>,
}

#[derive(Deserialize)]
struct Manifest {
    host_sha384: Option<HexArray<48>>,
    components: Vec<Plugin>,
}

#[derive(Deserialize)]
struct Plugin {
    name: String,
    #[serde(default)]
    compiled_sha384: Option<HexArray<48>>,
}

fn bytes(path: &Path, maximum: usize) -> Result<Vec<u8>, Error> {
    folder::read(path, maximum)?.ok_or_else(|| Error::FileUnreadable {
        path: path.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

impl Values {
    /// The entries, in their order; at least one.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Error> {
        // clap asked for it.
        let release = self.release.as_deref().unwrap_or_default();
        let mut entries = Entries {
            release,
            all: Vec::new(),
        };
        for path in &self.measure {
            entries.measure(path)?;
        }
        for path in &self.policy {
            entries.policy(path)?;
        }
        for (kind, paths) in [(Kind::Image, &self.image), (Kind::Host, &self.host)] {
            for path in paths {
                let name = match kind {
                    Kind::Image => path.file_name().unwrap_or_default().to_string_lossy(),
                    _ => HOST.into(),
                };
                entries.file(kind, &name, path)?;
            }
        }
        for (name, path) in &self.component {
            entries.file(Kind::Component, name, path)?;
        }
        match entries.all.is_empty() {
            true => Err(Error::Publish(
                "nothing to publish: name --measure, --policy, --image, --host or --component"
                    .to_owned(),
            )),
            false => Ok(entries.all),
        }
    }
}

struct Entries<'a> {
    release: &'a str,
    all: Vec<Entry>,
}

impl Entries<'_> {
    fn add(&mut self, kind: Kind, name: &str, digest: HexArray<48>) {
        let mut entry = Entry::new(kind, name, self.release);
        entry.sha384 = Some(digest);
        self.all.push(entry);
    }

    fn file(&mut self, kind: Kind, name: &str, path: &Path) -> Result<(), Error> {
        let digest = Sha384::digest(bytes(path, MAX_FILE)?);
        self.add(kind, name, HexArray(digest.into()));
        Ok(())
    }

    fn measure(&mut self, path: &Path) -> Result<(), Error> {
        let wrong = |reason: String| {
            let path = path.display();
            Error::Publish(format!(
                "{path} is not what `hypervisor-ctl measure --output json` prints: {reason}"
            ))
        };
        let measure: Measure = serde_json::from_slice(&bytes(path, MAX_MEASURE)?)
            .map_err(|error| wrong(error.to_string()))?;
        if measure.version != 1 {
            return Err(wrong(format!("it has version {}", measure.version)));
        }
        self.add(Kind::Manifest, HOST, measure.manifest_sha384);
        if let Some(digest) = measure.manifest.host_sha384 {
            self.add(Kind::Host, HOST, digest);
        }
        for component in measure.log.entries {
            self.add(Kind::Component, &component.name, component.digest);
        }
        for plugin in measure.manifest.components {
            if let Some(digest) = plugin.compiled_sha384 {
                self.add(Kind::Compiled, &plugin.name, digest);
            }
        }
        Ok(())
    }

    fn policy(&mut self, path: &Path) -> Result<(), Error> {
        let wrong = |reason: &dyn std::fmt::Display| {
            Error::Publish(format!("{}: {reason}", path.display()))
        };
        let text = bytes(path, policy::MAX_LENGTH)?;
        let text = String::from_utf8(text).map_err(|error| wrong(&error))?;
        let rules = Policy::parse(&text).map_err(|error| wrong(&error))?.rules;
        for reference in &rules.tdx.reference {
            let mut entry = Entry::new(Kind::Image, &reference.name, self.release);
            entry.tdx = Some(table(reference)?);
            self.all.push(entry);
        }
        for reference in &rules.snp.reference {
            let mut entry = Entry::new(Kind::Image, &reference.name, self.release);
            entry.snp = Some(table(reference)?);
            self.all.push(entry);
        }
        for digest in rules.manifest.allowed {
            self.add(Kind::Manifest, HOST, digest);
        }
        for component in rules.components.allowed {
            let name = component.name.ok_or_else(|| {
                wrong(&format_args!(
                    "the component {} has no name; add the one that it is loaded under",
                    component.digest
                ))
            })?;
            self.add(Kind::Component, &name, component.digest);
        }
        Ok(())
    }
}

/// A table of a policy as an entry has it.
fn table(reference: &impl Serialize) -> Result<entry::Values, Error> {
    serde_json::to_value(reference)
        .and_then(serde_json::from_value)
        .map_err(|error| Error::Publish(error.to_string()))
}
