//! Why a store cannot do what it should. No message holds a key or a value of a row.

use std::io;
use std::path::PathBuf;

use crate::seal::KeyId;

/// Why a store cannot do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A row of this table does not open.
    #[error(
        "a row of `{0}` does not authenticate: it was altered, moved, or sealed under another key"
    )]
    Authentication(&'static str),
    /// A row says that it is under a key that is not here.
    #[error(
        "a row of `{0}` says that it is under the key {id}, which this host does not have", id = const_hex::encode(.1)
    )]
    UnknownKey(&'static str, KeyId),
    /// The key that a change was sealed under is not written under any more, and there is no newer one here.
    #[error(
        "the fleet has changed its key, and this host does not have the new one yet: it gets it from another host that lives"
    )]
    Retired,
    /// The change of this index, counted from 0, expected another version of its row; nothing was changed.
    #[error("change {0} expected another version of its row")]
    Conflict(usize),
    /// A row is older than it was: somebody set the database back.
    #[error(
        "a row of `{0}` is older than this host has seen it: the database was set back; a restart of all hosts takes it as it is"
    )]
    RolledBack(&'static str),
    /// The version of a new row is not higher than this one, which another row of its key had, or which was long ago.
    #[error("the version of a new row is not above {0}")]
    Behind(u64),
    /// The folder of state was written by a later version of the host.
    #[error(
        "{folder} was written by a later version of the host, in format {found}, and this one reads up to {known}: install that version again, or restore a copy of the folder from before",
        folder = folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The format that it is in.
        found: u32,
        /// The latest that this version reads.
        known: u32,
    },
    /// The file that names the format of a folder of state does not hold a number.
    #[error("{path} does not hold a format number; restore it", path = .0.display())]
    Format(PathBuf),
    /// The key file does not hold a key.
    #[error("{path} is not a key file, which has 32 bytes; restore it", path = .0.display())]
    KeyFile(PathBuf),
    /// Others than its owner and their group can use the key file.
    #[error("{path} can be read by everybody: take that from them (`chmod o= {path}`)", path = .0.display())]
    OpenKeyFile(PathBuf),
    /// Key derivation, encryption or the random number generator failed; nothing is known that makes it.
    #[error("sealing failed: {0}")]
    Seal(&'static str),
    /// The database failed, for the reason in its own words.
    #[error("the database {path}: {reason}", path = .0.display(), reason = .1)]
    Database(PathBuf, String),
    /// The operating system refuses something on this path.
    #[error("cannot {action} {path}: {reason}", action = .0, path = .1.display(), reason = .2)]
    Io(&'static str, PathBuf, io::Error),
}

impl Error {
    /// Whether a row does not open here: it is nobody's, or under a key that is elsewhere.
    pub fn does_not_open(&self) -> bool {
        matches!(self, Self::Authentication(_) | Self::UnknownKey(..))
    }
}
