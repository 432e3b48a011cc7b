//! Why a trail cannot do what it should.

/// Why a trail cannot do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] hypervisor_store::Error),
    /// What is on the disk is not a trail.
    #[error("the audit trail on the disk is damaged: {0}")]
    Damaged(&'static str),
    /// No proof can be made from such a size.
    #[error("the trail has {size} entries; proofs of consistency are from 1 to that many")]
    Size {
        /// How many entries the signed head has.
        size: u64,
    },
    /// No head of such a size is remembered.
    #[error("no recent head has {size} entries; ask without it, for the newest one")]
    Head {
        /// What was asked for.
        size: u64,
    },
    /// The key that heads are signed with is none.
    #[error("heads cannot be signed: {0}")]
    Key(#[from] hypervisor_tlog::Error),
    /// The operating system gives no random numbers, or no thread.
    #[error("cannot start the audit trail: {0}")]
    Start(String),
}
