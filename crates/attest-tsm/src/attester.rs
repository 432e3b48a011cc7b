//! The boundary between the host and whatever makes its quotes.

use sha2::{Digest, Sha384};

use crate::error::Error;
use crate::sealing::SealingKey;

/// Length of the report data of a quote, bytes.
pub const REPORT_DATA: usize = 64;
/// Length of a runtime register and of a digest that extends it (SHA-384), bytes.
pub const REGISTER: usize = 48;

/// Which kind of platform stands behind an attester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Backend {
    /// Intel TDX, through configfs-tsm.
    Tdx,
    /// AMD SEV-SNP, through configfs-tsm.
    SevSnp,
    /// No TEE at all: quotes of a root that anybody can make. Proves nothing about a machine.
    Simulated,
}

impl Backend {
    /// The name that goes into bindings, logs and evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tdx => "tdx",
            Self::SevSnp => "sev-snp",
            Self::Simulated => "simulated",
        }
    }

    /// Whether a quote of this backend can say anything about a real machine.
    pub fn is_hardware(self) -> bool {
        !matches!(self, Self::Simulated)
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an attester can do on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// [`Attester::extend`] and [`Attester::read_register`] work.
    pub runtime_register: bool,
    /// Quotes come with the certificates that sign them ([`Quote::certificates`]).
    pub certificates: bool,
}

/// The layout of [`Quote::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum QuoteFormat {
    /// Intel DCAP quote, version 4, TDX 1.0 body.
    TdxV4,
    /// Intel DCAP quote, version 5, body by its own type and size.
    TdxV5,
    /// AMD attestation report (SEV-SNP firmware ABI, 1184 bytes).
    SevSnp,
}

/// A quote, cut to the length that its own headers give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Layout of `bytes`.
    pub format: QuoteFormat,
    /// The vendor's bytes, unaltered, with nothing after their parsed end.
    pub bytes: Vec<u8>,
    /// SEV-SNP: the certificate table of the GHCB specification, cut to its parsed end, where the platform gave one.
    pub certificates: Option<Vec<u8>>,
    /// Bytes that the platform returned after the parsed end, and that were dropped.
    pub dropped: usize,
}

/// Makes quotes. Calls block: a real driver makes about one quote a second
/// (see [`QuoteService`](crate::QuoteService)).
pub trait Attester: Send + Sync {
    /// The kind of platform.
    fn backend(&self) -> Backend;

    /// What this machine offers.
    fn capabilities(&self) -> Capabilities;

    /// A quote over `report_data`, of which the caller owns every byte.
    ///
    /// # Errors
    ///
    /// When the platform refuses, stays busy, or returns something that is not a quote over `report_data`.
    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, Error>;

    /// Extends the runtime register: register′ = SHA-384(register ‖ `digest`).
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntimeRegister`] where the platform has none.
    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), Error>;

    /// The runtime register's present value.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntimeRegister`] where the platform has none.
    fn read_register(&self) -> Result<[u8; REGISTER], Error>;

    /// A key that only this guest image on this machine gets, and gets again after a restart; none where the platform has no
    /// such key. Different labels give independent keys. It protects what is kept outside of the guest from being read and
    /// altered, and not from being put back to an earlier state.
    ///
    /// # Errors
    ///
    /// [`Error::NoSealingKey`] and [`Error::NoPermission`] when the platform has one and does not give it.
    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, Error> {
        let _ = label;
        Ok(None)
    }
}

impl<A: Attester + ?Sized> Attester for std::sync::Arc<A> {
    fn backend(&self) -> Backend {
        (**self).backend()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, Error> {
        (**self).quote(report_data)
    }

    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), Error> {
        (**self).extend(digest)
    }

    fn read_register(&self) -> Result<[u8; REGISTER], Error> {
        (**self).read_register()
    }

    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, Error> {
        (**self).sealing_key(label)
    }
}

/// The value of a register that held `register` after it was extended by `digest`: SHA-384(register ‖ digest).
pub fn extended(register: &[u8; REGISTER], digest: &[u8; REGISTER]) -> [u8; REGISTER] {
    let mut hash = Sha384::new();
    hash.update(register);
    hash.update(digest);
    hash.finalize().into()
}

/// Extends the runtime register, reads it back and compares. Gives the new value.
///
/// Callers must let nothing else extend the register meanwhile.
///
/// # Errors
///
/// [`Error::RegisterMismatch`] when the register does not hold what the extension should have left in it.
pub fn extend_and_check(
    attester: &dyn Attester,
    digest: &[u8; REGISTER],
) -> Result<[u8; REGISTER], Error> {
    let expected = extended(&attester.read_register()?, digest);
    attester.extend(digest)?;
    let found = attester.read_register()?;
    if found == expected {
        Ok(found)
    } else {
        Err(Error::RegisterMismatch)
    }
}
