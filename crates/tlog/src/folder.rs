//! A log in a folder, as C2SP tlog-tiles: `checkpoint`, `tile/<level>/<n>` with nodes, `tile/entries/<n>` with entries. Any static web
//! server can hand it out, and programs that read such logs can read it.
//!
//! Whatever is written first is not referred to yet, and the checkpoint is replaced last: whoever stops in between, or is
//! stopped, leaves the log as it was.

mod files;

use std::path::{Path, PathBuf};

use crate::checkpoint::SignedCheckpoint;
use crate::entry::MAX_LENGTH as MAX_ENTRY;
use crate::note::Algorithm;
use crate::tree::{self, Hash, Head, Tree};
use crate::{Error, Proof, SigningKey, VerifierKey, note};

pub use files::{read, replace};

/// The most entries of a log.
pub const MAX_ENTRIES: u64 = 1 << 20;
/// The most bytes of a log's entries.
pub const MAX_BYTES: usize = 256 << 20;

/// Hashes of a whole tile, and entries of a whole bundle.
const WIDTH: usize = 256;
/// Levels of the tree that a tile spans.
const HEIGHT: usize = 8;
const CHECKPOINT: &str = "checkpoint";

/// Where a log is.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// A log as it was read: its entries lead to its checkpoint, which the log's key signed.
#[derive(Debug, Clone)]
pub struct Log {
    entries: Vec<Vec<u8>>,
    tree: Tree,
    checkpoint: Option<SignedCheckpoint>,
}

/// A file to write, or a folder that is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Write(PathBuf, Vec<u8>),
    Remove(PathBuf),
}

/// `<N>` of a tile's path: three digits an element, all but the last with an `x`.
fn number(n: usize) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn tile(level: &str, n: usize, width: usize) -> PathBuf {
    let whole = format!("tile/{level}/{}", number(n));
    PathBuf::from(match width {
        WIDTH => whole,
        width => format!("{whole}.p/{width}"),
    })
}

/// A bundle's entries; none where it is not one.
fn unbundled(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(entries)
}

fn bundled(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        // `append` takes none that is longer.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

impl Folder {
    /// The log in a folder, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The checkpoint, unverified; none where the folder has none.
    ///
    /// # Errors
    /// For what is there and is not a checkpoint, or cannot be read.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Error> {
        let bytes = read(&self.0.join(CHECKPOINT), note::MAX_LENGTH)?;
        bytes
            .map(|bytes| SignedCheckpoint::parse(&bytes))
            .transpose()
    }

    /// Reads the log with this key; an empty one where there is no checkpoint.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::verify_log`], and [`Error::Altered`] where the entries do not lead to the checkpoint.
    pub fn read(&self, key: &VerifierKey) -> Result<Log, Error> {
        let mut log = Log {
            entries: Vec::new(),
            tree: Tree::default(),
            checkpoint: self.checkpoint()?,
        };
        let Some(checkpoint) = &log.checkpoint else {
            return Ok(log);
        };
        let head = checkpoint.verify_log(key)?;
        if head.size > MAX_ENTRIES {
            return Err(Error::TooLarge {
                what: "log",
                maximum: format!("{MAX_ENTRIES} entries"),
            });
        }
        let size = usize::try_from(head.size).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        for n in 0..size.div_ceil(WIDTH) {
            for entry in self.bundle(n, WIDTH.min(size - n * WIDTH))? {
                bytes = bytes.saturating_add(entry.len());
                log.tree.push(tree::leaf(&entry));
                log.entries.push(entry);
            }
            if bytes > MAX_BYTES {
                return Err(Error::TooLarge {
                    what: "log",
                    maximum: format!("{MAX_BYTES} bytes"),
                });
            }
        }
        match log.tree.head() == head {
            true => Ok(log),
            false => Err(Error::Altered(
                "its entries lead to another root; they were altered".to_owned(),
            )),
        }
    }

    /// The first `width` entries of a bundle. Part of one may have made way for the whole.
    fn bundle(&self, n: usize, width: usize) -> Result<Vec<Vec<u8>>, Error> {
        let missing = |path: &Path| {
            let path = path.display();
            Error::Altered(format!("{path} is missing; the log was truncated"))
        };
        let part = self.0.join(tile("entries", n, width));
        let bytes = match read(&part, WIDTH * (MAX_ENTRY + 2))? {
            Some(bytes) => bytes,
            None => read(
                &self.0.join(tile("entries", n, WIDTH)),
                WIDTH * (MAX_ENTRY + 2),
            )?
            .ok_or_else(|| missing(&part))?,
        };
        let mut entries = unbundled(&bytes)
            .filter(|entries| entries.len() >= width)
            .ok_or_else(|| {
                let part = part.display();
                Error::Altered(format!("{part} has not the {width} entries that it must"))
            })?;
        entries.truncate(width);
        Ok(entries)
    }

    /// Refuses a folder whose tiles are not those of the log, which others would read.
    ///
    /// # Errors
    /// [`Error::Altered`], or for a tile that cannot be read.
    pub fn check_tiles(&self, log: &Log) -> Result<(), Error> {
        for step in log.steps(0) {
            let Step::Write(path, bytes) = step else {
                continue;
            };
            if !path.starts_with("tile/entries")
                && read(&self.0.join(&path), bytes.len())?.as_ref() != Some(&bytes)
            {
                let path = self.0.join(path);
                return Err(Error::Altered(format!(
                    "{} is missing or was altered",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Keeps others from writing until the answer is dropped; makes the folder where it is not there.
    ///
    /// # Errors
    /// [`Error::Busy`], and where the folder cannot be made or opened.
    pub fn lock(&self) -> Result<Lock, Error> {
        files::folder(&self.0)?;
        files::lock(&self.0).map(Lock)
    }

    /// Adds entries and signs the new tree.
    ///
    /// # Errors
    /// [`Error::Key`] for a witness' key, [`Error::TooLarge`], and where a file cannot be written; the log is as it was then.
    pub fn append(
        &self,
        _lock: &Lock,
        log: &mut Log,
        entries: Vec<Vec<u8>>,
        key: &SigningKey,
    ) -> Result<(), Error> {
        if key.verifier().algorithm() != Algorithm::Ed25519 {
            return Err(Error::Key("this one is a witness', a log needs its own"));
        }
        let old = log.entries.len();
        let mut grown = log.clone();
        for entry in entries {
            grown.tree.push(tree::leaf(&entry));
            grown.entries.push(entry);
        }
        let bytes: usize = grown.entries.iter().map(Vec::len).sum();
        if grown.tree.size() > MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(Error::TooLarge {
                what: "log",
                maximum: format!("{MAX_ENTRIES} entries and {MAX_BYTES} bytes"),
            });
        }
        if grown.entries.iter().any(|entry| entry.len() > MAX_ENTRY) {
            return Err(Error::TooLarge {
                what: "log entry",
                maximum: format!("{MAX_ENTRY} bytes"),
            });
        }
        let checkpoint = SignedCheckpoint::sign(grown.tree.head(), key);
        let step = Step::Write(CHECKPOINT.into(), checkpoint.to_string().into_bytes());
        grown.checkpoint = Some(checkpoint);
        for step in grown.steps(old).into_iter().chain([step]) {
            self.take(step)?;
        }
        for step in grown.needless(old) {
            self.take(step)?;
        }
        *log = grown;
        Ok(())
    }

    /// Puts a checkpoint of the same tree in the place of the log's: one with more cosignatures.
    ///
    /// # Errors
    /// [`Error::Altered`] for another tree, and where it cannot be written.
    pub fn cosigned(
        &self,
        _lock: &Lock,
        log: &Log,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), Error> {
        if checkpoint.unverified() != log.tree.head() {
            return Err(Error::Altered(
                "the checkpoint is of another tree".to_owned(),
            ));
        }
        let bytes = checkpoint.to_string().into_bytes();
        self.take(Step::Write(CHECKPOINT.into(), bytes))
    }

    fn take(&self, step: Step) -> Result<(), Error> {
        match step {
            Step::Write(path, bytes) => {
                let path = self.0.join(path);
                if let Some(parent) = path.parent() {
                    files::folder(parent)?;
                }
                replace(&path, &bytes)
            }
            Step::Remove(path) => files::remove(&self.0.join(path)),
        }
    }
}

/// The right to write to a folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it releases the lock")] std::fs::File);

impl Log {
    /// Its entries.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The checkpoint, signed by the log's key; none before the first entry.
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// The proof of an entry; none where there is no such entry.
    pub fn prove(&self, index: u64) -> Option<Proof> {
        Some(Proof {
            extra: Some(self.entries.get(usize::try_from(index).ok()?)?.clone()),
            index,
            path: self.tree.inclusion(index, self.tree.size())?,
            checkpoint: self.checkpoint.clone()?,
        })
    }

    /// Refuses a log that does not continue a tree that was seen before.
    ///
    /// # Errors
    /// [`Error::RolledBack`] and [`Error::Forked`].
    pub fn continues(&self, seen: &Head) -> Result<(), Error> {
        let (old, new) = (seen.size, self.tree.size());
        match self.tree.head_at(old) {
            None => Err(Error::RolledBack { old, new }),
            Some(head) if head != *seen => Err(Error::Forked { old, new }),
            Some(_) if old == 0 => Ok(()),
            Some(_) => {
                let path = self.tree.consistency(old, new).unwrap_or_default();
                tree::verify_consistency(seen, &self.tree.head(), &path)
            }
        }
    }

    /// Tiles and bundles that a log has beyond its first `old` entries.
    fn steps(&self, old: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let first = old / WIDTH;
        for (n, entries) in self.entries.chunks(WIDTH).enumerate().skip(first) {
            steps.push(Step::Write(
                tile("entries", n, entries.len()),
                bundled(entries),
            ));
        }
        for (level, hashes) in self.tile_levels() {
            let first = (old >> (level * HEIGHT)) / WIDTH;
            for (n, hashes) in hashes.chunks(WIDTH).enumerate().skip(first) {
                let path = tile(&level.to_string(), n, hashes.len());
                steps.push(Step::Write(path, hashes.concat()));
            }
        }
        steps
    }

    /// Parts of tiles that are whole now and were not at `old` entries.
    fn needless(&self, old: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let entries = ("entries".to_owned(), old, self.entries.len());
        let levels = self.tile_levels().map(|(level, hashes)| {
            let before = old >> (level * HEIGHT);
            (level.to_string(), before, hashes.len())
        });
        for (level, before, now) in levels.chain([entries]) {
            let n = before / WIDTH;
            if before % WIDTH > 0 && now / WIDTH > n {
                let path = format!("tile/{level}/{}.p", number(n));
                steps.push(Step::Remove(path.into()));
            }
        }
        steps
    }

    fn tile_levels(&self) -> impl Iterator<Item = (usize, &[Hash])> {
        let levels = (0_usize..8).map(|level| (level, self.tree.level(level * HEIGHT)));
        levels.take_while(|(_, hashes)| !hashes.is_empty())
    }
}
