//! Why the ledger cannot do what it should.

/// Why the ledger cannot do what it should. It names no payment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rows cannot be read or written.
    #[error("the payment store: {0}")]
    Rows(#[from] hypervisor_store::Error),
    /// A row is not in the form of this version of the host, or has none.
    #[error("the payment store: a row cannot be read or written: {0}")]
    Form(String),
    /// The file of an earlier version cannot be moved.
    #[error("the payments of an earlier version, in payments.redb, cannot be moved: {0}")]
    Earlier(String),
    /// Nobody works on a payment that is set aside.
    #[error("the payment store: a payment is set aside, and nobody works on it")]
    Unclaimed,
    /// Another node has the payment by now: it was settled by nobody here, and may be brought again.
    #[error("another host of the fleet took the payment over")]
    TurnLost,
    /// Another node works on the payment, for longer than is waited for.
    #[error("another host of the fleet works on the payment")]
    Elsewhere,
}

impl Error {
    pub(crate) fn form(error: impl std::fmt::Display) -> Self {
        Self::Form(error.to_string())
    }

    pub(crate) fn earlier(error: impl std::fmt::Display) -> Self {
        Self::Earlier(error.to_string())
    }
}
