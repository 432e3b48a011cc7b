//! Why something is not attested.

use hypervisor_evidence::AttesterError;

/// Why attestation cannot start, or a receipt cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of every evidence is longer than verifiers read.
    #[error("the {part} has {length} bytes, verifiers read {most}")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its bytes.
        length: usize,
        /// The bound.
        most: usize,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(getrandom::Error),
    /// A receipt could not be signed.
    #[error(transparent)]
    Receipt(#[from] hypervisor_evidence::Error),
    /// A payment's receipt could not be encoded.
    #[error(transparent)]
    Payment(#[from] hypervisor_protocol::Error),
}

/// Why there is no evidence now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvidenceError {
    /// The host cannot stand for its own log any more.
    #[error(
        "this host's component log and its register disagree; it gives no evidence until it is restarted"
    )]
    Poisoned,
    /// The driver is busy with others' quotes.
    #[error("more quotes are asked for than the platform makes; try again")]
    Busy,
    /// The platform failed.
    #[error("the platform gives no quote: {0}")]
    Platform(String),
}

impl From<AttesterError> for EvidenceError {
    fn from(error: AttesterError) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<hypervisor_evidence::Error> for EvidenceError {
    fn from(error: hypervisor_evidence::Error) -> Self {
        Self::Platform(error.to_string())
    }
}

/// Why a component could not be measured, and so is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The log cannot take it.
    #[error("the component log: {0}")]
    Log(#[from] hypervisor_evidence::Error),
    /// Agents have used their part of the log.
    #[error("{0}")]
    Quota(String),
    /// The log cannot be written.
    #[error("writing the component log: {0}")]
    Write(#[from] std::io::Error),
    /// The register was not extended as it should.
    #[error("extending the runtime register: {0}")]
    Register(#[from] AttesterError),
}
