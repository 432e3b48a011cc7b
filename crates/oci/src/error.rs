//! Why a component was not pushed or fetched.

use std::path::PathBuf;

use crate::reference::Digest;

/// Why a component was not pushed or fetched. Words of a registry's are cut, and for the caller to make harmless.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not name an artifact.
    #[error(
        "{text}: {reason}; a component in a registry is named oci://REGISTRY/NAME@sha256:DIGEST"
    )]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something that may mean another thing tomorrow was to be fetched.
    #[error(
        "{0} is no digest: a tag can be moved to something else. Name {1}, which it is now, or with --signed-by the key that has to have signed it"
    )]
    Movable(String, String),
    /// A key that signatures are checked with.
    #[error("{}: {reason}; a key is what `cosign generate-key-pair` writes to cosign.pub: PEM, on P-256", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be pushed.
    #[error("it is nothing that a host runs: {0}")]
    NotWebAssembly(String),
    /// No answer.
    #[error("the registry {registry} cannot be reached: {reason}")]
    Unreached {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// It has nothing of this name.
    #[error("the registry has no {0}")]
    Unknown(String),
    /// It wants to know who asks.
    #[error("the registry {registry} does not allow it: {reason}")]
    Denied {
        /// The registry.
        registry: String,
        /// Why, or what to do.
        reason: String,
    },
    /// An answer that the specification does not have.
    #[error("the registry {registry} answered {what}: {words}")]
    Answered {
        /// The registry.
        registry: String,
        /// A status, or a part of the protocol.
        what: String,
        /// Its own words, or what is wrong with them.
        words: String,
    },
    /// More than is taken.
    #[error("{what} has more than {most} bytes, and is not taken")]
    TooLarge {
        /// What.
        what: &'static str,
        /// What is taken.
        most: u64,
    },
    /// An artifact of another kind.
    #[error("{0} is no component: {1}")]
    NotAComponent(String, String),
    /// What came is not what was named.
    #[error(
        "the registry sent something else: {what} is {found}, and {wanted} was named; nothing of it was used"
    )]
    Altered {
        /// Manifest or component.
        what: &'static str,
        /// What came.
        found: Digest,
        /// What should have.
        wanted: Digest,
    },
    /// None of the keys signed it.
    #[error("{0} is not signed with a key of --signed-by: {1}; nothing of it was used")]
    Unsigned(String, String),
}

impl Error {
    /// Whether the command line has to be another.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Reference { .. } | Self::Movable(..) | Self::Key { .. }
        )
    }

    /// Whether what came is not authentic.
    pub fn is_verification_failure(&self) -> bool {
        matches!(self, Self::Altered { .. } | Self::Unsigned(..))
    }
}
