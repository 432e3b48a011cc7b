//! Everything that can go wrong with agents. No message holds a value of a manifest's environment.

use std::io;
use std::path::PathBuf;

use crate::name::{MAX_LENGTH, Name};

/// Why a text is not an agent's name, an owner or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is none.
    #[error("a name is empty; it has 1 to {MAX_LENGTH} of a-z, 0-9 and -")]
    Empty,
    /// It is too long.
    #[error("a name has {length} bytes; it may have {MAX_LENGTH}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It holds something that a name may not.
    #[error("a name holds {found:?}; it may hold a-z, 0-9 and -")]
    Character {
        /// The first such character.
        found: char,
    },
    /// It begins with a digit or a hyphen.
    #[error("a name begins with {found:?}; it must begin with a letter, a-z")]
    Start {
        /// The first character.
        found: char,
    },
    /// It ends with a hyphen.
    #[error("a name ends with a hyphen; it must end with a letter or a digit")]
    End,
    /// The owner is neither.
    #[error("an owner is `operator` or an id of 32 hex digits in lower case, and this is neither")]
    Owner,
    /// There is a name and no owner.
    #[error("an address is a name, a dot and an owner; the dot is missing")]
    NoOwner,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is too large to be read.
    #[error("the manifest has {length} bytes, at most {maximum} are read")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
        /// Most bytes that are read.
        maximum: usize,
    },
    /// It is not UTF-8.
    #[error("the manifest is not UTF-8: byte {at} is wrong")]
    NotUtf8 {
        /// The first wrong byte, counted from 0.
        at: usize,
    },
    /// It is not TOML, or a value has the wrong type.
    #[error("the manifest, line {line}: {message}")]
    Invalid {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and the key where it is a value.
        message: String,
    },
    /// It has a key that means nothing.
    #[error(
        "the manifest: unknown key `{key}`{}",
        nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
    )]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key nearest to it, unless nothing is near.
        nearest: Option<&'static str>,
    },
    /// It lacks a key.
    #[error("the manifest has no `{key}`; every agent has one")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value is outside what it may be.
    #[error("the manifest: {key}: {message}")]
    Value {
        /// The key, with the number of the entry in a list.
        key: String,
        /// What is wrong and what it may be.
        message: String,
    },
}

/// Why the registry's folder, or one agent in it, can not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The folder is something else.
    #[error("{} is not a folder; `app_path` names the folder of agents", path.display())]
    NotAFolder {
        /// What `app_path` says.
        path: PathBuf,
    },
    /// No agent has this name.
    #[error("the registry has no agent `{name}`")]
    NotFound {
        /// The name.
        name: Name,
    },
    /// A folder is not named as an agent may be.
    #[error("{}: {reason}", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
        /// What is wrong with its name.
        reason: NameError,
    },
    /// The manifest belongs to another folder.
    #[error(
        "{} names the agent `{found}`; the name and the folder's must be the same",
        path.display()
    )]
    OtherName {
        /// The manifest.
        path: PathBuf,
        /// The name in it.
        found: Name,
    },
    /// The manifest is refused.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: ManifestError,
    },
    /// A symbolic link leads out of the registry's folder.
    #[error("{} leads out of the folder of agents; put the file itself there", path.display())]
    Outside {
        /// The link.
        path: PathBuf,
    },
    /// Something else stands where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was looked at.
        path: PathBuf,
    },
    /// A file is too large.
    #[error("{} has more than the {maximum} bytes that are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        maximum: u64,
    },
    /// The operating system refuses.
    #[error("can not read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why the store cannot do what it should. Agents are named by their keyed ids, which tell nothing of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store holds no agent of this address.
    #[error("the store holds no such agent")]
    NotFound,
    /// The store holds another component at this address than the one asked for.
    #[error("the agent was replaced meanwhile; ask for what it is now")]
    Replaced,
    /// Something cannot be read as an agent of this store. It is left as it is.
    #[error("{what}: {damage}")]
    Damaged {
        /// The agent's id, or a file.
        what: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A record to be kept is outside the store's bounds.
    #[error("the record's {what} has {length} bytes, at most {maximum} are kept")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// Most bytes that are kept.
        maximum: usize,
    },
    /// The manifest of a record to be kept is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A record has no CBOR; nothing is known that makes it.
    #[error("the record cannot be encoded")]
    Encoding,
    /// The operating system's random number generator failed.
    #[error("the operating system's random number generator failed")]
    Random,
    /// The rows' store failed.
    #[error(transparent)]
    Rows(#[from] hypervisor_store::Error),
    /// The operating system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What is wrong with an agent of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is something else.
    #[error("not an agent of this store")]
    Foreign,
    /// A section is not authentic, or not whole.
    #[error("its {section} does not authenticate: it was altered, moved, or sealed by another key")]
    Authentication {
        /// `head`, `component` or `code`.
        section: &'static str,
    },
    /// An authentic head does not hold what it should.
    #[error("its head does not hold what it should: {reason}")]
    Content {
        /// What is wrong.
        reason: String,
    },
}
