//! The component log: what a host loaded with authority, in order.
//!
//! A component is measured before it is instantiated, and nothing is ever taken out. Each entry has a digest, and the head
//! chains them the way the hardware extends a register (TDX RTMR, TPM PCR):
//!
//! ```text
//! entry digest = SHA-384("hypervisor/v1 component-log" ‖ 0x00 ‖ lp(name) ‖ component digest
//!                        ‖ u32 BE n ‖ lp(import)…)                          lp(x) = u32 BE length ‖ x
//! head of none = 48 zero bytes
//! head         = SHA-384(head before ‖ entry digest)
//! ```
//!
//! So where the entry digests are also extended into RTMR3, that register is the same chain from the value that it had when
//! the host started. A verifier recomputes every digest from what the entry says; none is taken from the log.

use hypervisor_protocol::{ContentFormat, HexArray};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};

use crate::Error;
use crate::document::{self, VERSION};
use crate::error::bound;

/// The most entries of a log. A host refuses to load more components.
pub const MAX_ENTRIES: usize = 4096;
/// The most bytes of a name or of an import.
pub const MAX_NAME: usize = 256;
/// The most imports of an entry.
pub const MAX_IMPORTS: usize = 256;
/// The most bytes of a log as CBOR or JSON.
pub const MAX_LENGTH: usize = 4 << 20;

const WHAT: &str = "component log";
const LABEL: &[u8] = b"hypervisor/v1 component-log";
const LABEL_IMPORTS: &[u8] = b"hypervisor/v1 imports";
/// Bytes that a document spends beside its entries, in either format.
const FRAME: usize = 256;

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// The name that it was loaded under: `payments`, `policy`, `agent/hello`.
    pub name: String,
    /// SHA-384 of the component's bytes, as they were before the host compiled them.
    pub digest: HexArray<48>,
    /// The interfaces granted to it, each with its version, in ascending order; or [`digest_of_imports`] alone, where the list
    /// is its author's and would make the log as long as they like.
    pub imports: Vec<String>,
}

/// One string in the place of a list of imports: `sha384:` and SHA-384("hypervisor/v1 imports" ‖ 0x00 ‖ u32 BE n ‖ lp(import)…)
/// in hex, over the list in ascending order with each import once.
pub fn digest_of_imports<I: AsRef<str>>(imports: &[I]) -> String {
    let imports: std::collections::BTreeSet<&str> = imports.iter().map(AsRef::as_ref).collect();
    let mut hash = Sha384::new_with_prefix(LABEL_IMPORTS).chain_update([0]);
    hash.update(length(imports.len()));
    for import in imports {
        prefixed(&mut hash, import.as_bytes());
    }
    format!("sha384:{}", const_hex::encode(hash.finalize()))
}

impl LogEntry {
    /// The entry of a component.
    pub fn new(name: impl Into<String>, component: &[u8], imports: Vec<String>) -> Self {
        Self {
            name: name.into(),
            digest: HexArray(Sha384::digest(component).into()),
            imports,
        }
    }

    /// The entry's digest: what the head chains and what is extended into the register.
    pub fn entry_digest(&self) -> [u8; 48] {
        let mut hash = Sha384::new_with_prefix(LABEL).chain_update([0]);
        prefixed(&mut hash, self.name.as_bytes());
        hash.update(self.digest.0);
        hash.update(length(self.imports.len()));
        for import in &self.imports {
            prefixed(&mut hash, import.as_bytes());
        }
        hash.finalize().into()
    }

    /// Bytes that the entry takes in a document: those of the longer of the two formats.
    ///
    /// # Errors
    /// [`Error::Encode`] should the encoder fail; writing to memory gives it no cause to.
    pub fn size(&self) -> Result<usize, Error> {
        let mut most = 0;
        for format in [ContentFormat::Cbor, ContentFormat::Json] {
            most = most.max(document::encode(WHAT, format, self)?.len());
        }
        Ok(most.saturating_add(1))
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Log { reason });
        if self.name.is_empty() || self.name.len() > MAX_NAME {
            return refuse(format!(
                "a name has {} bytes, 1 to {MAX_NAME} are accepted",
                self.name.len()
            ));
        }
        if self.imports.len() > MAX_IMPORTS {
            return refuse(format!(
                "`{}` has {} imports, at most {MAX_IMPORTS} are accepted",
                self.name,
                self.imports.len()
            ));
        }
        match self.imports.iter().find(|import| import.len() > MAX_NAME) {
            Some(import) => refuse(format!(
                "an import of `{}` has {} bytes, at most {MAX_NAME} are accepted",
                self.name,
                import.len()
            )),
            None => Ok(()),
        }
    }
}

fn prefixed(hash: &mut Sha384, bytes: &[u8]) {
    hash.update(length(bytes.len()));
    hash.update(bytes);
}

/// Lengths are bounded far below 2^32 wherever an entry enters a log.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// One step of the chain, which is also what extending a register does.
pub fn extend(value: &[u8; 48], entry_digest: &[u8; 48]) -> [u8; 48] {
    Sha384::new()
        .chain_update(value)
        .chain_update(entry_digest)
        .finalize()
        .into()
}

/// The head of a log and how many entries it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// The chain's value.
    pub head: [u8; 48],
    /// The number of entries.
    pub count: u64,
}

impl LogHead {
    /// The head of an empty log.
    pub const EMPTY: Self = Self {
        head: [0; 48],
        count: 0,
    };
}

/// The log. It can only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentLog {
    entries: Vec<LogEntry>,
    head: LogHead,
    /// Bytes of the document, at most.
    size: usize,
    /// The register's value at the start, and now; none where the log is not extended into one.
    register: Option<Register>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register {
    start: [u8; 48],
    now: [u8; 48],
}

impl Default for ComponentLog {
    fn default() -> Self {
        Self::new()
    }
}

/// The document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    register_start: Option<HexArray<48>>,
    entries: Vec<LogEntry>,
}

impl ComponentLog {
    /// An empty log that is extended into no register.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            head: LogHead::EMPTY,
            size: FRAME,
            register: None,
        }
    }

    /// An empty log that is also extended into a register, whose value now is `start` (zero after a boot, unless
    /// something before the host extended it).
    pub fn with_register(start: [u8; 48]) -> Self {
        Self {
            register: Some(Register { start, now: start }),
            ..Self::new()
        }
    }

    /// Appends an entry and returns its digest, for the register to be extended with. To be done before the component runs.
    ///
    /// # Errors
    /// [`Error::Log`] when the log is full in entries or bytes, or a name or the number of imports is out of bounds. Nothing is
    /// appended then: what was appended can always be encoded, and be read by a verifier.
    pub fn append(&mut self, entry: LogEntry) -> Result<[u8; 48], Error> {
        self.size = self.admits(&entry)?;
        let digest = entry.entry_digest();
        self.head = LogHead {
            head: extend(&self.head.head, &digest),
            count: self.head.count.saturating_add(1),
        };
        if let Some(register) = &mut self.register {
            register.now = extend(&register.now, &digest);
        }
        self.entries.push(entry);
        Ok(digest)
    }

    /// Whether [`Self::append`] takes an entry. Gives the size of the log with it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn admits(&self, entry: &LogEntry) -> Result<usize, Error> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(Error::Log {
                reason: format!(
                    "it holds {MAX_ENTRIES} entries and takes no more; restart the host"
                ),
            });
        }
        entry.check()?;
        let size = self.size.saturating_add(entry.size()?);
        if size > MAX_LENGTH {
            return Err(Error::Log {
                reason: format!(
                    "`{}` would make it {size} bytes long, it has room for {MAX_LENGTH}; restart the host",
                    entry.name
                ),
            });
        }
        Ok(size)
    }

    /// The entries, the oldest first.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// The head.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// Bytes of the log as a document, at most.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The value that the register had before the first entry, where the log is extended into one.
    pub fn register_start(&self) -> Option<[u8; 48]> {
        self.register.map(|register| register.start)
    }

    /// The value that the register must have now, where the log is extended into one.
    pub fn register(&self) -> Option<[u8; 48]> {
        self.register.map(|register| register.now)
    }

    /// The log as a document: a map of `version`, `register_start` (where there is one) and `entries`, each a map of
    /// `name`, `digest` and `imports`.
    ///
    /// # Errors
    /// [`Error::Encode`] should the encoder fail; writing to memory gives it no cause to.
    pub fn encode(&self, format: ContentFormat) -> Result<Vec<u8>, Error> {
        let wire = Wire {
            version: VERSION,
            register_start: self.register_start().map(HexArray),
            entries: self.entries.clone(),
        };
        document::encode(WHAT, format, &wire)
    }

    /// Reads a log and chains it anew.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Version`], [`Error::Malformed`], and [`Error::Log`] for entries out of bounds.
    pub fn decode(format: ContentFormat, bytes: &[u8]) -> Result<Self, Error> {
        bound(WHAT, bytes, MAX_LENGTH)?;
        let wire: Wire = document::decode(WHAT, format, bytes)?;
        let mut log = wire
            .register_start
            .map_or_else(Self::new, |start| Self::with_register(start.0));
        for entry in wire.entries {
            log.append(entry)?;
        }
        Ok(log)
    }
}
