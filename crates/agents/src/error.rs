//! Everything that can go wrong with agents. No message holds a value of a manifest's environment.

use std::io;
use std::path::PathBuf;

use hypervisor_protocol::{Exit, Rejection};

use crate::manifest::MAX_TEXT;
use crate::name::{MAX_LENGTH, Name};

/// Why a text is not an agent's name, an owner or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is none.
    #[error("a name is empty; it has 1 to {MAX_LENGTH} of a-z, 0-9 and -")]
    Empty,
    /// It has so many bytes.
    #[error("a name has {0} bytes; it may have {MAX_LENGTH}")]
    TooLong(usize),
    /// It holds something that a name may not.
    #[error("a name holds {0:?}; it may hold a-z, 0-9 and -")]
    Character(char),
    /// It begins with a digit or a hyphen.
    #[error("a name begins with {0:?}; it must begin with a letter, a-z")]
    Start(char),
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
    /// It has so many bytes, too many to be read.
    #[error("the manifest has {0} bytes, at most {MAX_TEXT} are read")]
    TooLarge(usize),
    /// It is not UTF-8, from this byte on.
    #[error("the manifest is not UTF-8: byte {0} is wrong")]
    NotUtf8(usize),
    /// In this line, counted from 1, it is not TOML, or a value has the wrong type.
    #[error("the manifest, line {0}: {1}")]
    Invalid(usize, String),
    /// It has a key that means nothing; the known one nearest to it, unless nothing is near.
    #[error(
        "the manifest: unknown key `{0}`{nearest}",
        nearest = .1.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
    )]
    UnknownKey(String, Option<&'static str>),
    /// It lacks a key.
    #[error("the manifest has no `{0}`; every agent has one")]
    Missing(&'static str),
    /// A value, of the key with the number of the entry in a list, is outside what it may be.
    #[error("the manifest: {0}: {1}")]
    Value(String, String),
}

/// Why the registry's folder, or one agent in it, can not be used: of most, the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The folder is something else.
    #[error("{} is not a folder; `app_path` names the folder of agents", .0.display())]
    NotAFolder(PathBuf),
    /// No agent has this name.
    #[error("the registry has no agent `{0}`")]
    NotFound(Name),
    /// A folder is not named as an agent may be.
    #[error("{path}: {1}", path = .0.display())]
    FolderName(PathBuf, NameError),
    /// The manifest belongs to another folder: that of the name in it.
    #[error("{path} names the agent `{1}`; the name and the folder's must be the same", path = .0.display())]
    OtherName(PathBuf, Name),
    /// The manifest is refused.
    #[error("{path}: {1}", path = .0.display())]
    Manifest(PathBuf, ManifestError),
    /// A symbolic link leads out of the registry's folder.
    #[error("{} leads out of the folder of agents; put the file itself there", .0.display())]
    Outside(PathBuf),
    /// Something else stands where a file should be.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// A file has more bytes than these.
    #[error("{path} has more than the {1} bytes that are read", path = .0.display())]
    TooLarge(PathBuf, u64),
    /// The operating system refuses.
    #[error("can not read {path}: {1}", path = .0.display())]
    Unreadable(PathBuf, io::Error),
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
    /// Something, an agent's id or a file, cannot be read as an agent of this store. It is left as it is.
    #[error("{0}: {1}")]
    Damaged(String, Damage),
    /// A part of a record to be kept has more bytes than may be.
    #[error("the record's {0} has {1} bytes, at most {2} are kept")]
    TooLarge(&'static str, usize, usize),
    /// The manifest of a record to be kept is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A record has no CBOR; nothing is known that makes it.
    #[error("the record cannot be encoded")]
    Encoding,
    /// The operating system's random number generator failed.
    #[error("the operating system's random number generator failed")]
    Random,
    /// The thread that asked the store ended before it had an answer.
    #[error("the store of agents gave no answer")]
    Unfinished,
    /// The rows' store failed.
    #[error(transparent)]
    Rows(#[from] hypervisor_store::Error),
    /// The operating system refuses to do something with a path.
    #[error("cannot {0} {path}: {2}", path = .1.display())]
    Io(&'static str, PathBuf, io::Error),
}

/// What is wrong with an agent of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is something else.
    #[error("not an agent of this store")]
    Foreign,
    /// A section (`head`, `component` or `code`) is not authentic, or not whole.
    #[error("its {0} does not authenticate: it was altered, moved, or sealed by another key")]
    Authentication(&'static str),
    /// An authentic head does not hold what it should.
    #[error("its head does not hold what it should: {0}")]
    Content(String),
}

/// The refusal of an agent.
pub(crate) fn rejected(problem: Rejection, detail: impl Into<String>) -> Exit {
    let detail = detail.into();
    Exit::Rejected { problem, detail }
}

/// How a call ended, where it did not end well.
pub(crate) fn end(exit: &Exit) -> Option<String> {
    match exit {
        Exit::Ok => None,
        Exit::Code { code } => Some(format!("exit code {code}")),
        Exit::Trap { reason } => Some(format!("trap: {reason}")),
        Exit::Limit {
            which,
            used,
            allowed,
        } => Some(format!(
            "stopped at the limit of {which}: {used} of {allowed}"
        )),
        Exit::Denied { reason } => Some(format!("denied: {reason}")),
        Exit::Rejected { detail, .. } => Some(format!("refused: {detail}")),
    }
}

/// Why an agent is not deployed, for whoever asked for it.
pub fn words(exit: &Exit) -> String {
    match exit {
        Exit::Rejected { detail, .. } => detail.clone(),
        exit => end(exit).unwrap_or_default(),
    }
}
