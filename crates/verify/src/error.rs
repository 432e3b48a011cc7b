//! Why a policy file cannot be used. What is wrong *with* evidence is not an error but a failed check of its verdict.

/// An error of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is larger than this crate reads.
    #[error("the policy is {size} bytes long, at most {maximum} are accepted")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The bound.
        maximum: usize,
    },
    /// It has a version that this crate does not read.
    #[error("the policy has version {found}, this program reads version 1; update it")]
    Version {
        /// The version found.
        found: u64,
    },
    /// A key or a value can not be used.
    #[error("policy: {reason}")]
    Invalid {
        /// What is wrong and what to write instead.
        reason: String,
    },
}
