//! Where a quote ends, by its own headers.
//!
//! Kernels up to 6.18 let the host choose the length of the buffer that is handed to user space as "the quote": guest memory
//! may follow it. So nothing after the parsed end leaves this crate, and nothing whose end can not be found.
//!
//! Layouts: Intel TDX DCAP Quoting Library API, "Quote Format" (versions 4 and 5); AMD SEV-SNP firmware ABI (56860),
//! "ATTESTATION_REPORT Structure".

use crate::attester::{Quote, QuoteFormat, REPORT_DATA};
use crate::error::Error;

/// Shortest blob that can be a quote: a TDX 1.0 body with its signature data. A quoting service that is too old returns nothing.
pub const MIN_QUOTE: usize = 1020;
/// Longest blob that is read, bytes: the kernel's own bound for quotes to come.
pub const MAX_QUOTE: usize = 4 * 1024 * 1024;
/// Length of an SEV-SNP attestation report, bytes.
pub const SNP_REPORT: usize = 1184;

/// Header of a DCAP quote, bytes.
const HEADER: usize = 48;
/// `tee_type` of TDX.
const TEE_TDX: u32 = 0x81;
/// `attestation_key_type`: ECDSA-256 with curve P-256.
const KEY_P256: u16 = 2;
/// Body type and size in front of the body of a version 5 quote, bytes.
const BODY_HEADER: usize = 6;
/// Offset of the report data in every TDX body: each version appends to the one before.
const BODY_REPORT_DATA: usize = 520;
/// TDX 1.0 body, bytes.
const BODY_10: usize = 584;
/// Type of certification data of a TDX quote: the QE's report, with the PCK certificates inside. No signature covers it.
const CERTIFICATION_QE_REPORT: u16 = 6;
/// Signature (64), attestation key (64), type (2) and size (4) of the certification data.
const AUTH_FIXED: usize = 134;

/// Offset of the report data in an SEV-SNP report.
const SNP_REPORT_DATA: usize = 0x50;
/// Offset of the signature algorithm in an SEV-SNP report; 1 is ECDSA P-384 with SHA-384.
const SNP_SIGNATURE_ALGORITHM: usize = 0x34;
/// Report versions that have this layout.
const SNP_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;

/// Cuts a TDX quote to its own length and checks that it is over `report_data`.
///
/// # Errors
///
/// [`Error::QuoteTooShort`], [`Error::Malformed`] and [`Error::OtherReportData`].
pub fn tdx(mut blob: Vec<u8>, report_data: &[u8; REPORT_DATA]) -> Result<Quote, Error> {
    let (format, body, end) = tdx_layout(&blob)?;
    check_report_data(&blob, body.saturating_add(BODY_REPORT_DATA), report_data)?;
    let dropped = cut(&mut blob, end);
    Ok(Quote {
        format,
        bytes: blob,
        certificates: None,
        dropped,
    })
}

/// Cuts an SEV-SNP report to its length, its certificate table too, and checks that it is over `report_data`.
///
/// # Errors
///
/// As [`tdx`].
pub fn snp(
    mut blob: Vec<u8>,
    certificates: Option<Vec<u8>>,
    report_data: &[u8; REPORT_DATA],
) -> Result<Quote, Error> {
    long_enough(&blob, SNP_REPORT)?;
    let version = u32_at(&blob, 0)?;
    if !SNP_VERSIONS.contains(&version) {
        return Err(malformed(format!(
            "SEV-SNP report version {version}, this program knows 2 to 5"
        )));
    }
    let algorithm = u32_at(&blob, SNP_SIGNATURE_ALGORITHM)?;
    if algorithm != 1 {
        return Err(malformed(format!(
            "SEV-SNP signature algorithm {algorithm}, expected 1 (ECDSA P-384)"
        )));
    }
    check_report_data(&blob, SNP_REPORT_DATA, report_data)?;
    let dropped = cut(&mut blob, SNP_REPORT);
    let certificates = certificates.map(crate::certificates::cut).transpose()?;
    Ok(Quote {
        format: QuoteFormat::SevSnp,
        bytes: blob,
        certificates: certificates.flatten(),
        dropped,
    })
}

/// Format, offset of the body, and end.
fn tdx_layout(blob: &[u8]) -> Result<(QuoteFormat, usize, usize), Error> {
    long_enough(blob, MIN_QUOTE)?;
    let version = u16_at(blob, 0)?;
    let (format, body, size) = match version {
        4 => (QuoteFormat::TdxV4, HEADER, BODY_10),
        5 => {
            let size = body_size(blob)?;
            (QuoteFormat::TdxV5, HEADER.saturating_add(BODY_HEADER), size)
        }
        _ => {
            return Err(malformed(format!(
                "TDX quote version {version}, this program knows 4 and 5; the end of other formats (CBOR for DICE among them) is not known to it"
            )));
        }
    };
    let key_type = u16_at(blob, 2)?;
    if key_type != KEY_P256 {
        return Err(malformed(format!(
            "attestation key type {key_type}, expected 2 (ECDSA P-256)"
        )));
    }
    let tee = u32_at(blob, 4)?;
    if tee != TEE_TDX {
        return Err(malformed(format!("TEE type {tee:#x}, expected 0x81 (TDX)")));
    }
    let length_at = body.saturating_add(size);
    let auth = u32_at(blob, length_at)? as usize;
    let auth_at = length_at.saturating_add(4);
    let end = auth_at.saturating_add(auth);
    if end > blob.len() {
        return Err(malformed(format!(
            "its signature data ends at byte {end} of {}",
            blob.len()
        )));
    }
    let kind = u16_at(blob, auth_at.saturating_add(AUTH_FIXED - 6))?;
    if kind != CERTIFICATION_QE_REPORT {
        return Err(malformed(format!(
            "certification data type {kind}, expected 6 (QE report)"
        )));
    }
    let certification = u32_at(blob, auth_at.saturating_add(AUTH_FIXED - 4))? as usize;
    if AUTH_FIXED.saturating_add(certification) != auth {
        return Err(malformed(format!(
            "{certification} bytes of certification data do not fill {auth} bytes of signature data"
        )));
    }
    Ok((format, body, end))
}

/// Size of the body of a version 5 quote: type and size must agree.
fn body_size(blob: &[u8]) -> Result<usize, Error> {
    let kind = u16_at(blob, HEADER)?;
    let expected = match kind {
        2 => BODY_10,
        3 => 648,
        4 => 885,
        _ => {
            return Err(malformed(format!(
                "TDX body type {kind}, this program knows 2, 3 and 4"
            )));
        }
    };
    let size = u32_at(blob, HEADER + 2)? as usize;
    if size == expected {
        Ok(size)
    } else {
        Err(malformed(format!(
            "TDX body type {kind} of {size} bytes, expected {expected}"
        )))
    }
}

fn check_report_data(blob: &[u8], at: usize, expected: &[u8; REPORT_DATA]) -> Result<(), Error> {
    let found = blob.get(at..at.saturating_add(REPORT_DATA));
    if found == Some(expected.as_slice()) {
        Ok(())
    } else {
        Err(Error::OtherReportData)
    }
}

fn long_enough(blob: &[u8], minimum: usize) -> Result<(), Error> {
    if blob.len() < minimum {
        return Err(Error::QuoteTooShort {
            length: blob.len(),
            minimum,
        });
    }
    Ok(())
}

/// Cuts `blob` at `end` and gives how much went.
pub(crate) fn cut(blob: &mut Vec<u8>, end: usize) -> usize {
    let dropped = blob.len().saturating_sub(end);
    blob.truncate(end);
    dropped
}

pub(crate) fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed {
        reason: reason.into(),
    }
}

fn u16_at(blob: &[u8], at: usize) -> Result<u16, Error> {
    array_at(blob, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(blob: &[u8], at: usize) -> Result<u32, Error> {
    array_at(blob, at).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(blob: &[u8], at: usize) -> Result<[u8; N], Error> {
    blob.get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or_else(|| malformed(format!("it ends before byte {}", at.saturating_add(N))))
}
