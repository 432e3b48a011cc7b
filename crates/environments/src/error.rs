//! Why environments cannot be kept. No message holds anything of an owner's.

use hypervisor_protocol::{Exit, Rejection};

/// Why environments cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, in its own words.
    #[error("the store of environments: {0}")]
    Store(#[from] hypervisor_store::Error),
    /// A row does not hold what it should.
    #[error("the row of an environment is damaged: {0}")]
    Damaged(&'static str),
    /// Part of a state is not there: it was replaced or removed meanwhile.
    #[error("part of the state of an environment is missing")]
    Missing,
    /// Another host moved it on or ended it meanwhile.
    #[error("another host changed the environment meanwhile")]
    Moved,
    /// The disk is so far behind that nothing more is begun.
    #[error("the log of environments waits for the disk")]
    Behind,
    /// The random number generator of the system failed.
    #[error("the system gives no random numbers")]
    Random,
    /// What is to be kept cannot be written down.
    #[error("encoding what is kept of an environment: {0}")]
    Encode(#[from] hypervisor_protocol::Error),
    /// The same, in JSON.
    #[error("encoding what a handler is called with: {0}")]
    Json(String),
}

impl Error {
    /// Whether a row is to blame, and not the store.
    pub(crate) fn is_damage(&self) -> bool {
        use hypervisor_store::Error::RolledBack;
        match self {
            Self::Store(error) => error.does_not_open() || matches!(error, RolledBack(_)),
            other => matches!(other, Self::Encode(_) | Self::Damaged(_)),
        }
    }
}

/// A request that is answered with what is wrong with it.
pub(crate) fn rejected(problem: Rejection, detail: impl Into<String>) -> Exit {
    let detail = detail.into();
    Exit::Rejected { problem, detail }
}

/// For one that another host moved on while this one worked on it.
pub(crate) fn moved() -> Exit {
    let detail = "a turn on another host moved this environment on meanwhile; nothing of this one was kept: send it again";
    rejected(Rejection::EnvironmentBusy, detail)
}

/// For one that cannot be looked up now.
pub(crate) fn out_of_reach() -> Exit {
    let detail = "the database that keeps this environment does not answer; send the request again";
    rejected(Rejection::EnvironmentBusy, detail)
}

/// For one that is not there, is another's or has ended: which of these is nobody's business.
pub(crate) fn unknown() -> Exit {
    let detail = "there is no such environment of this owner, or its time is over";
    rejected(Rejection::UnknownEnvironment, detail)
}
