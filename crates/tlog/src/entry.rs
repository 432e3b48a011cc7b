//! What this project publishes: reference values, one entry each.
//!
//! An entry is one JSON document without spaces, its keys in the order of [`Entry`], digests in lower-case hex: there is one form of
//! each, and what is not in it is not an entry.

use std::collections::BTreeMap;
use std::fmt;

use hypervisor_protocol::HexArray;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// The most bytes of an entry; tiles could hold 65,535.
pub const MAX_LENGTH: usize = 32 << 10;
/// The most bytes of a name, and of a release.
pub const MAX_NAME: usize = 128;

const WHAT: &str = "log entry";
const VERSION: u32 = 1;

/// What an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A guest image: its file, or what a guest that boots it measures.
    Image,
    /// The host's program.
    Host,
    /// A manifest: host, components and limits together.
    Manifest,
    /// A component that a host loads.
    Component,
    /// Machine code that a plugin's component was compiled to.
    Compiled,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One word, and the same as in an entry.
        self.serialize(f)
    }
}

/// A table of a verification policy.
pub type Values = BTreeMap<String, Value>;

/// A reference value, published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    version: u32,
    /// What it is of.
    pub kind: Kind,
    /// The name: of a component, the one that it is loaded under.
    pub name: String,
    /// What it was published with: a version, a date.
    pub release: String,
    /// SHA-384: of a file, of a component, of a manifest's document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha384: Option<HexArray<48>>,
    /// Of an image: `[[tdx.reference]]` of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tdx: Option<Values>,
    /// Of an image: `[[snp.reference]]` of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snp: Option<Values>,
}

impl Entry {
    /// An entry without values yet.
    pub fn new(kind: Kind, name: &str, release: &str) -> Self {
        Self {
            version: VERSION,
            kind,
            name: name.to_owned(),
            release: release.to_owned(),
            sha384: None,
            tdx: None,
            snp: None,
        }
    }

    /// The bytes that go into the log.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::TooLarge`] for one that could not be read again.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let bytes =
            serde_json::to_vec(self).map_err(|error| Error::malformed(WHAT, error.to_string()))?;
        bound(&bytes)?;
        self.check()?;
        Ok(bytes)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`Error::TooLarge`], and [`Error::Malformed`] for what is not the one form of an entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bound(bytes)?;
        // What serde says may repeat what a stranger wrote.
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::malformed(WHAT, error.to_string().escape_debug().to_string())
        })?;
        entry.check()?;
        match entry.encode()? == bytes {
            true => Ok(entry),
            false => Err(Error::malformed(
                WHAT,
                "it is not written in the one form that entries have",
            )),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::malformed(WHAT, reason));
        if self.version != VERSION {
            return wrong(format!(
                "it has version {}, this program reads {VERSION}",
                self.version
            ));
        }
        for (what, text) in [("name", &self.name), ("release", &self.release)] {
            if text.is_empty() || text.len() > MAX_NAME || text.contains(char::is_control) {
                return wrong(format!(
                    "a {what} has 1 to {MAX_NAME} bytes and no control characters"
                ));
            }
        }
        let values = self.tdx.is_some() || self.snp.is_some();
        match (self.kind, self.sha384.is_some(), values) {
            (Kind::Image, false, false) => wrong("an image has a digest or values".to_owned()),
            (Kind::Image, ..) | (_, true, false) => Ok(()),
            (kind, ..) => wrong(format!("a {kind} has `sha384` and nothing else")),
        }
    }

    /// Whether a digest is one of this entry: its own, or the measurement of its image.
    pub fn has(&self, digest: &HexArray<48>) -> bool {
        let within = |values: &Option<Values>, key: &str| {
            let value = values.as_ref().and_then(|values| values.get(key));
            value.and_then(Value::as_str) == Some(&digest.to_string())
        };
        self.sha384.as_ref() == Some(digest)
            || within(&self.tdx, "mrtd")
            || within(&self.snp, "measurement")
    }
}

fn bound(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > MAX_LENGTH {
        return Err(Error::TooLarge {
            what: WHAT,
            maximum: format!("{MAX_LENGTH} bytes"),
        });
    }
    Ok(())
}
