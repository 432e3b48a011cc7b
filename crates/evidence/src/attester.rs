//! Who makes quotes: the boundary between a host and its platform.

use std::sync::Arc;

use crate::binding::Backend;
use crate::error::Error;
use crate::sealing::SealingKey;
use crate::snp::SnpReport;
use crate::tdx;
use crate::vtpm::{TpmQuote, Vtpm};

/// Length of the report data of a quote, bytes.
pub const REPORT_DATA: usize = crate::report_data::LENGTH;
/// Length of a runtime register and of a digest that extends it (SHA-384), bytes.
pub const REGISTER: usize = 48;

/// Report versions of SEV-SNP that have the layout that this crate reads.
const SNP_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;

/// Why an attester gave no quote, register or key. Messages hold no report data and no key.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AttesterError {
    /// The platform has no register that can be extended at run time.
    #[error(
        "this platform has no runtime register to extend: SEV-SNP has none, TDX needs Linux 6.16 or later"
    )]
    NoRuntimeRegister,
    /// The register does not hold what the extension should have left in it.
    #[error(
        "the runtime register does not hold the value that the extension should have left: something else extended it, and its log is no longer complete; restart the guest"
    )]
    RegisterMismatch,
    /// The platform's own failure.
    #[error(transparent)]
    Platform(Arc<dyn std::error::Error + Send + Sync>),
}

impl AttesterError {
    /// The failure of a backend.
    pub fn platform(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Platform(Arc::new(error))
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
///
/// Kernels up to 6.18 let the hypervisor choose the length of the buffer that is handed to user space as "the quote": guest
/// memory may follow it. So a quote is made only from bytes whose end was found, and is over the report data that was asked for.
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
    /// Where the hardware vouches for a TPM's key and that signs the report data: [`Vtpm::encode`].
    pub vtpm: Option<Vec<u8>>,
    /// The files that Linux measured into that TPM, where they were asked for.
    pub ima: Option<Vec<u8>>,
}

impl Quote {
    /// Cuts a TDX quote to its own length and checks that it is over `report_data`.
    ///
    /// # Errors
    /// [`Error::Quote`] for what has no end that can be found, [`Error::OtherReportData`].
    pub fn tdx(mut blob: Vec<u8>, report_data: &[u8; REPORT_DATA]) -> Result<Self, Error> {
        let frame = tdx::Frame::parse(&blob)?;
        let (format, length) = (frame.format(), frame.length);
        check(&frame.report.report_data, report_data)?;
        let dropped = blob.len().saturating_sub(length);
        blob.truncate(length);
        Ok(Self {
            format,
            bytes: blob,
            certificates: None,
            dropped,
            vtpm: None,
            ima: None,
        })
    }

    /// Cuts a SEV-SNP report to its length and its certificate table to its end, and checks that it is over `report_data`.
    ///
    /// # Errors
    /// As [`Self::tdx`].
    pub fn snp(
        mut blob: Vec<u8>,
        certificates: Option<Vec<u8>>,
        report_data: &[u8; REPORT_DATA],
    ) -> Result<Self, Error> {
        let dropped = blob.len().saturating_sub(crate::snp::REPORT_LENGTH);
        blob.truncate(crate::snp::REPORT_LENGTH);
        let report = SnpReport::parse(&blob)?;
        if !SNP_VERSIONS.contains(&report.version) {
            return Err(Error::Quote {
                what: "SEV-SNP report",
                reason: format!("version {} is not 2 to 5", report.version),
            });
        }
        check(&report.report_data, report_data)?;
        let certificates = certificates.map(crate::snp::cut_table).transpose()?;
        Ok(Self {
            format: QuoteFormat::SevSnp,
            bytes: blob,
            certificates: certificates.flatten(),
            dropped,
            vtpm: None,
            ima: None,
        })
    }

    /// Adds what a TPM quoted, which must be over `report_data`; this is the quote over its runtime data.
    ///
    /// # Errors
    /// [`Error::Quote`] for what is no quote of a TPM, [`Error::OtherReportData`], [`Error::Encode`].
    pub fn with_vtpm(
        mut self,
        vtpm: &Vtpm,
        report_data: &[u8; REPORT_DATA],
    ) -> Result<Self, Error> {
        let quote = TpmQuote::parse(&vtpm.quote.0)?;
        if quote.extra_data != report_data || quote.pcr_digest != vtpm.pcr_digest() {
            return Err(Error::OtherReportData);
        }
        self.vtpm = Some(vtpm.encode()?);
        Ok(self)
    }
}

fn check(found: &[u8; REPORT_DATA], asked: &[u8; REPORT_DATA]) -> Result<(), Error> {
    if found == asked {
        Ok(())
    } else {
        Err(Error::OtherReportData)
    }
}

/// Makes quotes. Calls block, and a real driver makes about one quote a second: put one queue before it.
pub trait Attester: Send + Sync {
    /// The kind of platform.
    fn backend(&self) -> Backend;

    /// What this machine offers.
    fn capabilities(&self) -> Capabilities;

    /// A quote over `report_data`, of which the caller owns every byte.
    ///
    /// # Errors
    /// When the platform refuses, stays busy, or returns something that is not a quote over `report_data`.
    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, AttesterError>;

    /// Extends the runtime register: register′ = SHA-384(register ‖ `digest`).
    ///
    /// # Errors
    /// [`AttesterError::NoRuntimeRegister`] where the platform has none.
    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), AttesterError>;

    /// The runtime register's present value.
    ///
    /// # Errors
    /// [`AttesterError::NoRuntimeRegister`] where the platform has none.
    fn read_register(&self) -> Result<[u8; REGISTER], AttesterError>;

    /// The firmware's log of what it booted, whose events the registers of the boot were extended with (on TDX the ACPI table
    /// CCEL), perhaps without the padding after it; none where the platform has none. It is no secret and nothing is believed because
    /// it is in it: a verifier holds it against the quote.
    ///
    /// # Errors
    /// When the platform has one and does not give it.
    fn boot_log(&self) -> Result<Option<Vec<u8>>, AttesterError> {
        Ok(None)
    }

    /// A key that only this guest image on this machine gets, and gets again after a restart; none where the platform has no
    /// such key. Different labels give independent keys. It protects what is kept outside of the guest from being read and
    /// altered, and not from being put back to an earlier state.
    ///
    /// # Errors
    /// When the platform has one and does not give it.
    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, AttesterError> {
        let _ = label;
        Ok(None)
    }
}

/// Extends the runtime register, reads it back and compares. Gives the new value.
///
/// Callers must let nothing else extend the register meanwhile.
///
/// # Errors
///
/// [`AttesterError::RegisterMismatch`] when the register does not hold what the extension should have left in it.
pub fn extend_and_check(
    attester: &dyn Attester,
    digest: &[u8; REGISTER],
) -> Result<[u8; REGISTER], AttesterError> {
    let expected = crate::log::extend(&attester.read_register()?, digest);
    attester.extend(digest)?;
    let found = attester.read_register()?;
    if found == expected {
        Ok(found)
    } else {
        Err(AttesterError::RegisterMismatch)
    }
}
