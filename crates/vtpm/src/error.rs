//! Everything that can go wrong between the host and its TPM.

use std::path::PathBuf;
use std::sync::Arc;

use hypervisor_evidence::AttesterError;

/// An error of the attesting side. Messages hold no report data and no key.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TPM's device can not be used.
    #[error("the TPM {} can not be used: {source}; give the guest a TPM, and the host the right to open it", path.display())]
    Device {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// The connection to the TPM broke.
    #[error("the TPM does not answer: {0}")]
    Transport(Arc<std::io::Error>),
    /// The TPM refuses a command.
    #[error("the TPM refuses {command} with code {code:#x}{advice}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// The response code.
        code: u32,
        /// What it means, where that is known.
        advice: &'static str,
    },
    /// The TPM's answer is not one of its language.
    #[error("the TPM's answer to {command} is malformed")]
    Malformed {
        /// The command's name.
        command: &'static str,
    },
    /// The TPM's key is of no use for quotes that others verify.
    #[error("the TPM's key {reason}")]
    Key {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// PCRs changed with each attempt.
    #[error(
        "the TPM's registers changed while they were quoted, {attempts} times; something in the guest extends them all the time"
    )]
    Restless {
        /// How often it was tried.
        attempts: u32,
    },
    /// What the platform handed out is not evidence.
    #[error(transparent)]
    Evidence(#[from] hypervisor_evidence::Error),
    /// The cloud's metadata service gave no quote or certificate.
    #[error("the metadata service at {address} gave no {what}: {reason}")]
    Imds {
        /// Its address.
        address: std::net::SocketAddr,
        /// What it was asked for.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The attester beside the TPM gave no quote.
    #[error(transparent)]
    Beside(AttesterError),
    /// A log can not be read.
    #[error("{} can not be read: {source}", path.display())]
    Log {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// A log has more bytes than a verifier reads.
    #[error("{} has over {maximum} bytes", path.display())]
    LogTooLarge {
        /// Where it is.
        path: PathBuf,
        /// The bound.
        maximum: usize,
    },
}

impl From<Error> for AttesterError {
    fn from(error: Error) -> Self {
        match error {
            Error::Beside(error) => error,
            other => Self::platform(other),
        }
    }
}
