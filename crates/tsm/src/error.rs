//! Everything that can go wrong on the attesting side.

use std::path::PathBuf;

use hypervisor_evidence::AttesterError;

/// An error of the attesting side. Messages hold no report data and no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel offers no attestation reports here.
    #[error(
        "{} does not exist: no TEE, a kernel before 6.7, or configfs is not mounted",
        path.display()
    )]
    NotOffered {
        /// The directory that would be there.
        path: PathBuf,
    },
    /// The interface is there, and no driver behind it.
    #[error(
        "the kernel has the report interface but no provider: load the tdx_guest or sev-guest module, or run inside a confidential guest"
    )]
    NoProvider,
    /// The process may not use the interface.
    #[error(
        "no permission to use {}: run the host as the user that owns it, root as a rule",
        path.display()
    )]
    NoPermission {
        /// The path that was refused.
        path: PathBuf,
    },
    /// The provider is none that this program knows.
    #[error("the report provider is `{found}`; known are `tdx_guest` and `sev_guest`")]
    UnsupportedProvider {
        /// The name that the kernel gives, cut and with odd characters replaced.
        found: String,
    },
    /// The provider is not the one that was there at the start.
    #[error("the report provider changed while running; restart the host")]
    ProviderChanged,
    /// SEV-SNP: the guest runs under a service module and not at the highest privilege.
    #[error(
        "this guest runs at VMPL {floor}, under a service module; quotes of VMPL 0 only are supported"
    )]
    Privilege {
        /// The lowest VMPL that the guest may ask for.
        floor: u32,
    },
    /// The platform did not make the quote.
    #[error("no quote after {attempts} attempts: {cause}")]
    Refused {
        /// Why, the last time.
        cause: Refusal,
        /// How often it was tried.
        attempts: u32,
    },
    /// Someone else wrote to the private entry of a request.
    #[error(
        "the entry of this request was written {found} times and not once; something else writes to the attestation interface: let only this process reach it"
    )]
    Generation {
        /// The count that the kernel gives, cut and with odd characters replaced.
        found: String,
    },
    /// Entries of earlier requests can not be removed.
    #[error(
        "{count} entries under {} can not be removed; end what holds them open",
        path.display()
    )]
    LeftBehind {
        /// How many there are.
        count: usize,
        /// Where.
        path: PathBuf,
    },
    /// The platform returned too much.
    #[error("{} holds more than {maximum} bytes", path.display())]
    TooLarge {
        /// What was read.
        path: PathBuf,
        /// Most bytes that are read.
        maximum: usize,
    },
    /// The platform returned too little.
    #[error(
        "the platform returned {length} bytes, a quote has at least {minimum}; on TDX an empty quote means that the host's quoting service (QGS) is missing or too old"
    )]
    QuoteTooShort {
        /// Bytes returned.
        length: usize,
        /// Bytes that the shortest quote has.
        minimum: usize,
    },
    /// The bytes are no quote that this program can find the end of, or one over other report data.
    #[error(transparent)]
    Quote(#[from] hypervisor_evidence::Error),
    /// The platform has no register that can be extended at run time.
    #[error(
        "this platform has no runtime register to extend: SEV-SNP has none, TDX needs Linux 6.16 or later"
    )]
    NoRuntimeRegister,
    /// A register has another length than SHA-384.
    #[error("{} holds {length} bytes, a register has 48", path.display())]
    RegisterLength {
        /// The register's file.
        path: PathBuf,
        /// Bytes found.
        length: usize,
    },
    /// The platform has sealing keys and gave none.
    #[error(
        "the platform gave no sealing key: {reason}; its firmware may be set to keep the chip's key to itself"
    )]
    NoSealingKey {
        /// What it answered.
        reason: String,
    },
    /// The operating system's random number generator failed.
    #[error("the operating system's random number generator failed")]
    Random,
    /// An operating system call failed.
    #[error("can not {action} {}: {reason}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl From<Error> for AttesterError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoRuntimeRegister => Self::NoRuntimeRegister,
            other => Self::platform(other),
        }
    }
}

/// Why a platform made no quote, by what its driver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// EBUSY: an earlier request is still in flight.
    #[error(
        "the driver still has an earlier request in flight (EBUSY); the machine's quoting service may hang"
    )]
    Busy,
    /// EINTR.
    #[error("the wait for the driver was interrupted by a signal (EINTR)")]
    Interrupted,
    /// ETIMEDOUT: the driver waits 30 seconds for the machine.
    #[error(
        "the machine did not answer within the driver's 30 seconds (ETIMEDOUT); its quoting service may be missing"
    )]
    TimedOut,
    /// EIO.
    #[error(
        "the call to the machine failed (EIO); its quoting service may be missing or misconfigured"
    )]
    Failed,
    /// EINVAL: the request as such.
    #[error("the driver refused the request as invalid (EINVAL)")]
    Invalid,
    /// EFBIG: the kernel's bound.
    #[error("the quote is larger than this kernel passes on (EFBIG); update the guest's kernel")]
    TooBig,
}

impl Refusal {
    /// Whether the same request may go better a moment later.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Interrupted | Self::TimedOut | Self::Failed
        )
    }
}
