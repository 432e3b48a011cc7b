//! Why a log, a proof or a key is not taken.

use std::io;
use std::path::PathBuf;

/// What is wrong with a log, a proof or a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A document is not of its form.
    #[error("not a {what}: {reason}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A document is longer than this crate reads.
    #[error("the {what} is too long: at most {maximum} are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The bound, with its unit.
        maximum: String,
    },
    /// A key is not one.
    #[error("not a key: {0}")]
    Key(&'static str),
    /// A key cannot be made.
    #[error("no key was made: the operating system gave no random numbers")]
    NoRandomness,
    /// A signature of a known key is not its.
    #[error("the signature of `{0}` does not verify: the checkpoint is forged or was altered")]
    Forged(String),
    /// The log's key did not sign.
    #[error("the checkpoint is not signed by the log's key {0}")]
    Unsigned(String),
    /// A note has no signature of a witness' key.
    #[error("no cosignature of the witness {0} was given")]
    NoCosignature(String),
    /// Another log than the one that was asked for.
    #[error("the checkpoint is of the log `{found}`, the key is of `{wanted}`")]
    Origin {
        /// The log that the checkpoint is of.
        found: String,
        /// The name of the key.
        wanted: String,
    },
    /// Too few witnesses saw this checkpoint.
    #[error(
        "the checkpoint is cosigned by {found} of the {known} known witnesses, {needed} are needed"
    )]
    Witnesses {
        /// How many cosigned.
        found: usize,
        /// How many are known.
        known: usize,
        /// How many have to.
        needed: usize,
    },
    /// A proof does not lead to the checkpoint.
    #[error("the inclusion proof does not hold: {0}")]
    NotIncluded(&'static str),
    /// A tree is not a continuation of another.
    #[error(
        "the log was forked: its {new} entries do not continue the {old} that were seen before"
    )]
    Forked {
        /// Entries of the earlier tree.
        old: u64,
        /// Entries of the later one.
        new: u64,
    },
    /// A log is shorter than it was.
    #[error("the log was rolled back: it has {new} entries, {old} were seen before")]
    RolledBack {
        /// Entries of the earlier tree.
        old: u64,
        /// Entries of the one that was shown.
        new: u64,
    },
    /// A consistency proof does not lead from one tree to the other.
    #[error("the consistency proof does not hold: {0}")]
    Inconsistent(&'static str),
    /// A log's files are not those of its checkpoint.
    #[error("the log is not that of its checkpoint: {0}")]
    Altered(String),
    /// Somebody else is writing.
    #[error("the log {} is being written to by another process", .0.display())]
    Busy(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn malformed(what: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Malformed { what, reason }
    }

    /// Whether what was shown is not to be believed, as opposed to files that cannot be used and keys that are none.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Io { .. } | Self::Busy(_) | Self::Key(_) | Self::NoRandomness
        )
    }
}
