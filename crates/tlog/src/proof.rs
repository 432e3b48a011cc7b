//! Proofs that stand alone: entry, path and checkpoint in one file (C2SP tlog-proof). This project's have the entry as extra data.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::checkpoint::{SignedCheckpoint, Trusted, decimal, hash};
use crate::entry::MAX_LENGTH as MAX_ENTRY;
use crate::tree::{self, Hash, Head, MAX_PROOF};
use crate::{Error, note};

/// The most bytes of a proof.
pub const MAX_LENGTH: usize = note::MAX_LENGTH + 2 * MAX_ENTRY + MAX_PROOF * 45 + 256;

const WHAT: &str = "proof (C2SP tlog-proof)";
const FIRST: &str = "c2sp.org/tlog-proof@v1";

/// A proof as it was read. What it says is worth nothing before [`Proof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What was put beside the proof: in this project, the entry.
    pub extra: Option<Vec<u8>>,
    /// Its place, from 0.
    pub index: u64,
    /// The siblings on the way to the root, the leaf's first.
    pub path: Vec<Hash>,
    /// The checkpoint of the tree.
    pub checkpoint: SignedCheckpoint,
}

impl Proof {
    /// The head of the tree, once an entry was found to be in it.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::verify`], and [`Error::NotIncluded`].
    pub fn verify(&self, entry: &[u8], trusted: &Trusted) -> Result<Head, Error> {
        let head = self.checkpoint.verify(trusted)?;
        self.included(entry, &head)?;
        Ok(head)
    }

    /// Whether an entry is in the tree with this head, which was verified before.
    ///
    /// # Errors
    /// [`Error::NotIncluded`].
    pub fn included(&self, entry: &[u8], head: &Head) -> Result<(), Error> {
        tree::verify_inclusion(&tree::leaf(entry), self.index, &self.path, head)
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (head, checkpoint) = divided(WHAT, MAX_LENGTH, bytes)?;
        let wrong = |reason: &str| Error::malformed(WHAT, reason);
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(wrong("its first line is another"));
        }
        let mut line = lines.next();
        let mut extra = None;
        if let Some(text) = line.and_then(|line| line.strip_prefix("extra ")) {
            let bytes = BASE64_STANDARD.decode(text);
            extra = Some(bytes.map_err(|_| wrong("its extra data are not base64"))?);
            line = lines.next();
        }
        let index = line.and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal);
        let index = index.ok_or_else(|| wrong("it has no line with `index` and a number"))?;
        let path = path_of(lines).map_err(wrong)?;
        Ok(Self {
            extra,
            index,
            path,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        })
    }
}

/// What stands before the checkpoint of a proof of at most so many bytes, and the checkpoint.
pub(crate) fn divided<'a>(
    what: &'static str,
    maximum: usize,
    bytes: &'a [u8],
) -> Result<(&'a str, &'a str), Error> {
    if bytes.len() > maximum {
        let maximum = format!("{maximum} bytes");
        return Err(Error::TooLarge { what, maximum });
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| Error::malformed(what, "it is not UTF-8"))?;
    let divided = text.split_once("\n\n");
    divided.ok_or_else(|| Error::malformed(what, "it has no checkpoint"))
}

/// The nodes in these lines; or what is wrong with them.
pub(crate) fn path_of<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, &'static str> {
    let path: Option<Vec<Hash>> = lines.take(MAX_PROOF + 1).map(hash).collect();
    let path = path.ok_or("its path has a line that is not a hash")?;
    let is_short = path.len() <= MAX_PROOF;
    is_short.then_some(path).ok_or("its path is too long")
}

/// Writes nodes, a line each.
pub(crate) fn write_path(f: &mut fmt::Formatter<'_>, path: &[Hash]) -> fmt::Result {
    let mut nodes = path.iter().map(|hash| BASE64_STANDARD.encode(hash));
    nodes.try_for_each(|node| writeln!(f, "{node}"))
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        write_path(f, &self.path)?;
        write!(f, "\n{}", self.checkpoint)
    }
}
