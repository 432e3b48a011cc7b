//! Why a host has no place in a fleet, and why a request did not reach the host of its session.

use std::time::Duration;

/// Why a host has no place in its fleet, or cannot keep it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rows of the fleet cannot be read or written.
    #[error("the rows of the fleet: {0}")]
    Rows(#[from] hypervisor_store::Error),
    /// A row is not in the form of this version of the host.
    #[error("the rows of the fleet: a node's row cannot be read or written: {0}")]
    Form(String),
    /// The database does not answer.
    #[error("the rows of the fleet: the database did not answer within {0:?}")]
    Slow(Duration),
    /// Calls that were given up still wait for the database.
    #[error("the rows of the fleet: earlier calls still wait for the database")]
    Busy,
    /// Another node has the tag of this one, which was gone for too long.
    #[error("the rows of the fleet: another host has this one's tag; restart this host")]
    Taken,
    /// No tag was free.
    #[error("the rows of the fleet: no tag is free")]
    Crowded,
    /// The operating system gives no random numbers.
    #[error("no random numbers")]
    Random,
    /// An address that no node has.
    #[error("`{0}` is neither `ip:port` nor `unix:/path`")]
    Address(String),
}

/// Why a request did not reach the node of its session, or no answer came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotForwarded {
    /// No live node has the tag: the session ended with its node.
    #[error("no live node has opened the session")]
    Unknown,
    /// The node lives, and cannot be reached from here. Nothing was sent.
    #[error("the node of the session cannot be reached")]
    Unreachable,
    /// It was sent, and the answer broke off before it began.
    #[error("the node of the session gave no answer")]
    Broken,
    /// As many requests are forwarded as may be at once, for all or for this client.
    #[error("too many requests are being forwarded")]
    Full,
}

impl NotForwarded {
    /// In one word, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Full => "full",
        }
    }
}
