//! Evidence: a quote and everything that a verifier needs to judge it, in one document.
//!
//! It is a [`crate::cmw`] collection of the kind [`KIND`]:
//!
//! | label | media type | value |
//! |---|---|---|
//! | `tdx-quote` | `application/vnd.hypervisor.tdx-quote` | the DCAP quote as the hardware made it, trimmed |
//! | `snp-report` | `application/vnd.hypervisor.snp-report` | the attestation report as the hardware made it |
//! | `certs` | `application/vnd.hypervisor.snp-certs` | VCEK or VLEK first, then what signs it: DER, one after the other |
//! | `binding` | `application/vnd.hypervisor.binding` | [`crate::Binding::encode`] |
//! | `log` | `application/vnd.hypervisor.component-log+cbor` | [`crate::ComponentLog::encode`] |
//! | `manifest` | `application/vnd.hypervisor.manifest+cbor` | the manifest |
//! | `collateral` | `application/vnd.hypervisor.tdx-collateral+json` | TCB info, QE identity, CRLs and their chains, as dcap-qvl's `QuoteCollateralV3` |
//! | `crl` | `application/pkix-crl` | AMD's revocation list for the certificates, DER |
//! | `inclusion` | `application/vnd.hypervisor.inclusion-proof+cbor` | [`crate::InclusionProof::encode`]; of a session, [`crate::SessionEntry::prove`] |
//! | `statement` | `application/cose; cose-type="cose-sign1"` | [`crate::Statement::sign`] |
//! | `boot-log` | `application/vnd.hypervisor.boot-log` | the firmware's log of what it booted (CCEL, or a TPM's), TCG2; the padding after it may be cut |
//! | `vtpm` | `application/vnd.hypervisor.vtpm+cbor` | [`crate::Vtpm::encode`]: the quote's report data is of its runtime data |
//! | `ima-log` | `application/vnd.hypervisor.ima-log` | Linux's list of files that it measured into PCR 10, binary |
//!
//! There is a quote or a report with certificates, and a binding; the rest may be left out of evidence for a result and be
//! filled in from what came with the session ([`Evidence::fill_from`]). Unknown labels are ignored: nothing is believed
//! because it is in the collection, only because the quote commits to it.

use hypervisor_protocol::ContentFormat;

use crate::cmw::{Collection, Record, indicator};
use crate::error::bound;
use crate::{Error, binding, log, manifest, merkle};

/// The kind of the collection.
pub const KIND: &str = "urn:hypervisor:evidence:v1";
/// The most bytes of evidence, as CBOR or JSON.
pub const MAX_LENGTH: usize = 12 << 20;
/// The most bytes of a quote or report.
pub const MAX_QUOTE: usize = 128 << 10;
/// The most bytes of certificates, and of a revocation list.
pub const MAX_CERTIFICATES: usize = 256 << 10;
/// The most bytes of collateral.
pub const MAX_COLLATERAL: usize = 2 << 20;
/// The most bytes of a boot log.
pub const MAX_BOOT_LOG: usize = 256 << 10;
/// The most bytes of a list of measured files.
pub const MAX_IMA_LOG: usize = 4 << 20;

const WHAT: &str = "evidence";

/// What the hardware made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawQuote {
    /// A TDX quote (version 4 or 5).
    Tdx(Vec<u8>),
    /// A SEV-SNP report and the certificates under which it verifies.
    SevSnp {
        /// The report, 1184 bytes.
        report: Vec<u8>,
        /// VCEK or VLEK first, then what signs it: DER, one after the other.
        certs: Vec<u8>,
    },
}

/// A quote and what a verifier needs to judge it. Decoding bounds the parts, and looks no further into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The quote.
    pub quote: RawQuote,
    /// [`crate::Binding::encode`].
    pub binding: Vec<u8>,
    /// [`crate::ComponentLog::encode`] in CBOR.
    pub log: Option<Vec<u8>>,
    /// The manifest, CBOR.
    pub manifest: Option<Vec<u8>>,
    /// Intel's collateral, JSON.
    pub collateral: Option<Vec<u8>>,
    /// AMD's revocation list, DER.
    pub crl: Option<Vec<u8>>,
    /// [`crate::InclusionProof::encode`] in CBOR.
    pub inclusion: Option<Vec<u8>>,
    /// [`crate::Statement::sign`].
    pub statement: Option<Vec<u8>>,
    /// The platform's log of what it booted ([`crate::Attester::boot_log`]).
    pub boot_log: Option<Vec<u8>>,
    /// [`crate::Vtpm::encode`].
    pub vtpm: Option<Vec<u8>>,
    /// Linux's list of measured files (IMA, `binary_runtime_measurements`), read after the TPM's quote.
    pub ima: Option<Vec<u8>>,
}

/// Parts that stand in the place of the evidence's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct With<'a> {
    /// [`crate::InclusionProof::encode`] in CBOR.
    pub inclusion: Option<&'a [u8]>,
    /// [`crate::Statement::sign`].
    pub statement: Option<&'a [u8]>,
    /// [`Evidence::boot_log`].
    pub boot_log: Option<&'a [u8]>,
}

/// A label: its media type without `application/`, what kind of message it is, and the most bytes of it.
struct Label(&'static str, &'static str, u8, usize);

use indicator::{ENDORSEMENTS, EVIDENCE};

const TDX_QUOTE: Label = Label("tdx-quote", "vnd.hypervisor.tdx-quote", EVIDENCE, MAX_QUOTE);
const SNP_REPORT: Label = Label(
    "snp-report",
    "vnd.hypervisor.snp-report",
    EVIDENCE,
    MAX_QUOTE,
);
const CERTS: Label = Label(
    "certs",
    "vnd.hypervisor.snp-certs",
    ENDORSEMENTS,
    MAX_CERTIFICATES,
);
const BINDING: Label = Label(
    "binding",
    "vnd.hypervisor.binding",
    EVIDENCE,
    binding::MAX_LENGTH,
);
const LOG: Label = Label(
    "log",
    "vnd.hypervisor.component-log+cbor",
    EVIDENCE,
    log::MAX_LENGTH,
);
const MANIFEST: Label = Label(
    "manifest",
    "vnd.hypervisor.manifest+cbor",
    EVIDENCE,
    manifest::MAX_LENGTH,
);
const COLLATERAL: Label = Label(
    "collateral",
    "vnd.hypervisor.tdx-collateral+json",
    ENDORSEMENTS,
    MAX_COLLATERAL,
);
const CRL: Label = Label("crl", "pkix-crl", ENDORSEMENTS, MAX_CERTIFICATES);
const INCLUSION: Label = Label(
    "inclusion",
    "vnd.hypervisor.inclusion-proof+cbor",
    EVIDENCE,
    merkle::MAX_LENGTH,
);
const STATEMENT: Label = Label(
    "statement",
    "cose; cose-type=\"cose-sign1\"",
    EVIDENCE,
    crate::cose::MAX_LENGTH,
);
const BOOT_LOG: Label = Label(
    "boot-log",
    "vnd.hypervisor.boot-log",
    EVIDENCE,
    MAX_BOOT_LOG,
);
const VTPM: Label = Label(
    "vtpm",
    "vnd.hypervisor.vtpm+cbor",
    EVIDENCE,
    crate::vtpm::MAX_LENGTH,
);
const IMA_LOG: Label = Label("ima-log", "vnd.hypervisor.ima-log", EVIDENCE, MAX_IMA_LOG);

impl Label {
    fn media_type(&self) -> String {
        format!("application/{}", self.1)
    }
}

impl Evidence {
    /// A quote and its binding, with nothing else yet.
    pub fn new(quote: RawQuote, binding: &crate::Binding) -> Self {
        Self {
            quote,
            binding: binding.encode(),
            log: None,
            manifest: None,
            collateral: None,
            crl: None,
            inclusion: None,
            statement: None,
            boot_log: None,
            vtpm: None,
            ima: None,
        }
    }

    /// Takes the log, manifest, collateral, revocation list and boot log that this evidence lacks from `other`. Nothing is trusted by
    /// that: verification holds each of them against the quote.
    pub fn fill_from(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.log, &other.log),
            (&mut self.manifest, &other.manifest),
            (&mut self.collateral, &other.collateral),
            (&mut self.crl, &other.crl),
            (&mut self.boot_log, &other.boot_log),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    fn parts<'a>(&'a self, with: With<'a>) -> Vec<(&'static Label, &'a [u8])> {
        let mut parts = match &self.quote {
            RawQuote::Tdx(quote) => vec![(&TDX_QUOTE, quote.as_slice())],
            RawQuote::SevSnp { report, certs } => {
                vec![(&SNP_REPORT, report.as_slice()), (&CERTS, certs.as_slice())]
            }
        };
        parts.push((&BINDING, &self.binding));
        for (label, part) in [
            (&LOG, self.log.as_deref()),
            (&MANIFEST, self.manifest.as_deref()),
            (&COLLATERAL, self.collateral.as_deref()),
            (&CRL, self.crl.as_deref()),
            (&INCLUSION, with.inclusion.or(self.inclusion.as_deref())),
            (&STATEMENT, with.statement.or(self.statement.as_deref())),
            (&BOOT_LOG, with.boot_log.or(self.boot_log.as_deref())),
            (&VTPM, self.vtpm.as_deref()),
            (&IMA_LOG, self.ima.as_deref()),
        ] {
            if let Some(part) = part {
                parts.push((label, part));
            }
        }
        parts
    }

    /// The evidence as a document, `application/cmw+cbor` or `application/cmw+json`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a part that no verifier would read, [`Error::Encode`].
    pub fn encode(&self, format: ContentFormat) -> Result<Vec<u8>, Error> {
        self.encode_with(format, With::default())
    }

    /// As [`Self::encode`], with what is of one result or one claim, so that many share the rest.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with(&self, format: ContentFormat, with: With<'_>) -> Result<Vec<u8>, Error> {
        let mut collection = Collection::new(KIND);
        for (label, value) in self.parts(with) {
            let Label(name, _, indicator, maximum) = *label;
            bound(name, value, maximum)?;
            let record = Record {
                media_type: label.media_type(),
                value: value.to_vec(),
                indicator: Some(indicator),
            };
            collection.insert(name, record);
        }
        crate::document::encode(WHAT, format, &collection)
    }

    /// Reads evidence.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for the whole or a part; [`Error::Malformed`] for anything else than a collection of this kind, a
    /// label that stands twice, a part of another media type, and parts that are missing or exclude one another.
    pub fn decode(format: ContentFormat, bytes: &[u8]) -> Result<Self, Error> {
        bound(WHAT, bytes, MAX_LENGTH)?;
        let malformed = |reason: String| Error::Malformed { what: WHAT, reason };
        let collection: Collection = format
            .decode(bytes)
            .map_err(|error| malformed(error.to_string()))?;
        if collection.kind.as_deref() != Some(KIND) {
            return Err(malformed(format!(
                "the collection is not of the kind {KIND}"
            )));
        }
        let take = |label: &Label| -> Result<Option<Vec<u8>>, Error> {
            let Label(name, _, _, maximum) = *label;
            let Some(record) = collection.get(name) else {
                return Ok(None);
            };
            let media_type = label.media_type();
            if record.media_type != media_type {
                return Err(malformed(format!("`{name}` is not {media_type}")));
            }
            bound(name, &record.value, maximum)?;
            Ok(Some(record.value.clone()))
        };
        let missing = |label: &Label| malformed(format!("`{}` is missing", label.0));
        let quote = match (take(&TDX_QUOTE)?, take(&SNP_REPORT)?, take(&CERTS)?) {
            (Some(quote), None, None) => RawQuote::Tdx(quote),
            (None, Some(report), Some(certs)) => RawQuote::SevSnp { report, certs },
            (None, Some(_), None) => return Err(missing(&CERTS)),
            (None, None, _) => {
                return Err(malformed(
                    "neither `tdx-quote` nor `snp-report` is there".to_owned(),
                ));
            }
            (Some(_), _, _) => {
                return Err(malformed(
                    "`tdx-quote` beside `snp-report` or `certs`".to_owned(),
                ));
            }
        };
        Ok(Self {
            quote,
            binding: take(&BINDING)?.ok_or_else(|| missing(&BINDING))?,
            log: take(&LOG)?,
            manifest: take(&MANIFEST)?,
            collateral: take(&COLLATERAL)?,
            crl: take(&CRL)?,
            inclusion: take(&INCLUSION)?,
            statement: take(&STATEMENT)?,
            boot_log: take(&BOOT_LOG)?,
            vtpm: take(&VTPM)?,
            ima: take(&IMA_LOG)?,
        })
    }
}
