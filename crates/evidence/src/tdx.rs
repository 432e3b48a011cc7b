//! The fields of a TDX quote (Intel TDX DCAP quote, versions 4 and 5), by offset, with nothing verified.
//!
//! This reader is independent of the library that verifies quotes: the two are held against one another in tests, and the
//! verifier compares fields that the library does not look at.

use crate::Error;
use crate::attester::QuoteFormat;
use crate::reader::{CutOff, Reader};

/// `tee_type` of a TD.
const TEE_TYPE_TDX: u32 = 0x81;
/// `tee_type` of an SGX enclave.
const TEE_TYPE_SGX: u32 = 0;
/// `att_key_type`: ECDSA over P-256.
const KEY_TYPE_P256: u16 = 2;
/// Intel's quoting enclave.
const QE_VENDOR_INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// Certification data that holds a QE report.
const CERT_TYPE_QE_REPORT: u16 = 6;
/// Certification data that is a chain of certificates, PEM.
pub const CERT_TYPE_PCK_CHAIN: u16 = 5;

/// The form of a TD report inside a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// TDX 1.0, 584 bytes.
    Td10,
    /// TDX 1.5, 648 bytes.
    Td15,
    /// TDX 1.5 with the extension, 885 bytes.
    Td15Ex,
}

/// What TDX 1.5 adds to a TD report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Td15 {
    /// The TCB now, where `tee_tcb_svn` is that of the launch.
    pub tee_tcb_svn2: [u8; 16],
    /// The measurement of bound service TDs; zero for none.
    pub mr_service_td: [u8; 48],
}

/// A TD report. Fields are raw bytes; integers in them are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Intel's specification")]
pub struct TdReport {
    pub kind: BodyKind,
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: [u8; 8],
    pub td_attributes: [u8; 8],
    pub xfam: [u8; 8],
    pub mrtd: [u8; 48],
    pub mrconfigid: [u8; 48],
    pub mrowner: [u8; 48],
    pub mrownerconfig: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    pub report_data: [u8; 64],
    pub td15: Option<Td15>,
    /// What the extension of TDX 1.5 adds says of service TDs bound now: their hash and attributes.
    pub current_service_td: Option<([u8; 48], [u8; 8])>,
}

/// A quote's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdxQuote<'a> {
    /// 4 or 5.
    pub version: u16,
    /// The header's `user_data`.
    pub user_data: [u8; 20],
    /// The report.
    pub report: TdReport,
    /// What the attestation key signs: header and report.
    pub signed: &'a [u8],
    /// r ‖ s by the attestation key.
    pub signature: [u8; 64],
    /// x ‖ y, P-256.
    pub attestation_key: [u8; 64],
    /// The quoting enclave's report.
    pub qe_report: [u8; 384],
    /// r ‖ s by the platform's key (PCK).
    pub qe_report_signature: [u8; 64],
    /// Hashed into the QE report beside the attestation key.
    pub qe_auth_data: &'a [u8],
    /// The type of `certification`; 5 is a chain of PEM certificates.
    pub certification_type: u16,
    /// What certifies the platform's key.
    pub certification: &'a [u8],
    /// The bytes of the whole quote; more may follow it in the buffer that it came in.
    pub length: usize,
}

fn cut_off(error: CutOff) -> Error {
    malformed(error.to_string())
}

fn malformed(reason: String) -> Error {
    Error::Quote {
        what: "TDX quote",
        reason,
    }
}

/// Where a quote's parts lie: enough to find its end and what it is over, with no look into what certifies its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    version: u16,
    user_data: [u8; 20],
    pub(crate) report: TdReport,
    signed: &'a [u8],
    signature: [u8; 64],
    attestation_key: [u8; 64],
    /// QE report, its signature, auth data and certificates: fills the quote to its end.
    qe: &'a [u8],
    pub(crate) length: usize,
}

impl<'a> Frame<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let (version, user_data) = header(&mut reader)?;
        let kind = match version {
            4 => BodyKind::Td10,
            _ => body_kind(&mut reader)?,
        };
        let report = TdReport::read(kind, &mut reader).map_err(cut_off)?;
        let signed = bytes.get(..reader.offset()).unwrap_or_default();

        let mut auth = Reader::new(reader.prefixed_u32().map_err(cut_off)?);
        let length = reader.offset();
        let within = |error: CutOff| malformed(format!("signature data {error}"));
        let signature = auth.array().map_err(within)?;
        let attestation_key = auth.array().map_err(within)?;
        // No signature covers the type, so no other is let through.
        let outer_type = auth.u16().map_err(within)?;
        if outer_type != CERT_TYPE_QE_REPORT {
            return Err(malformed(format!(
                "certification data of type {outer_type}, not {CERT_TYPE_QE_REPORT} (QE report)"
            )));
        }
        let qe = auth.prefixed_u32().map_err(within)?;
        filled("signature data", &auth)?;
        Ok(Self {
            version,
            user_data,
            report,
            signed,
            signature,
            attestation_key,
            qe,
            length,
        })
    }

    pub(crate) fn format(&self) -> QuoteFormat {
        match self.version {
            4 => QuoteFormat::TdxV4,
            _ => QuoteFormat::TdxV5,
        }
    }
}

fn filled(name: &str, reader: &Reader<'_>) -> Result<(), Error> {
    match reader.rest() {
        [] => Ok(()),
        rest => Err(malformed(format!(
            "{} bytes follow the {name} within its length",
            rest.len()
        ))),
    }
}

impl<'a> TdxQuote<'a> {
    /// Reads a quote. Bytes after it are left alone: see [`Self::length`].
    ///
    /// # Errors
    /// [`Error::Quote`] when it is not a version 4 or 5 quote of a TD by Intel's quoting enclave with a P-256 key, is cut
    /// off, or its parts do not fill the lengths that it states.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let frame = Frame::parse(bytes)?;
        let within = |error: CutOff| malformed(format!("QE data {error}"));
        let mut qe = Reader::new(frame.qe);
        let qe_report = qe.array().map_err(within)?;
        let qe_report_signature = qe.array().map_err(within)?;
        let qe_auth_data = qe.prefixed_u16().map_err(within)?;
        let certification_type = qe.u16().map_err(within)?;
        let certification = qe.prefixed_u32().map_err(within)?;
        filled("QE data", &qe)?;
        // No signature covers these either. Types 1 to 3 name the platform's key, by a PPID in plain or under RSA and 20 bytes of versions.
        let is_known = matches!(
            (certification_type, certification.len()),
            (CERT_TYPE_PCK_CHAIN, _) | (1, 36) | (2, 276) | (3, 404)
        );
        if !is_known {
            return Err(malformed(format!(
                "the QE's certification data of type {certification_type} and {} bytes is none that Intel defines",
                certification.len()
            )));
        }
        Ok(Self {
            version: frame.version,
            user_data: frame.user_data,
            report: frame.report,
            signed: frame.signed,
            signature: frame.signature,
            attestation_key: frame.attestation_key,
            qe_report,
            qe_report_signature,
            qe_auth_data,
            certification_type,
            certification,
            length: frame.length,
        })
    }
}

fn header(reader: &mut Reader<'_>) -> Result<(u16, [u8; 20]), Error> {
    let version = reader.u16().map_err(cut_off)?;
    let key_type = reader.u16().map_err(cut_off)?;
    let tee_type = reader.u32().map_err(cut_off)?;
    let _svns: [u8; 4] = reader.array().map_err(cut_off)?;
    let vendor: [u8; 16] = reader.array().map_err(cut_off)?;
    let user_data = reader.array().map_err(cut_off)?;
    if tee_type == TEE_TYPE_SGX {
        return Err(malformed("it is of an SGX enclave, not of a TD".to_owned()));
    }
    if tee_type != TEE_TYPE_TDX {
        return Err(malformed(format!("TEE type {tee_type:#x} is not a TD's")));
    }
    if !matches!(version, 4 | 5) {
        return Err(malformed(format!("version {version} is not 4 or 5")));
    }
    if key_type != KEY_TYPE_P256 {
        return Err(malformed(format!(
            "attestation key type {key_type} is not {KEY_TYPE_P256} (ECDSA P-256)"
        )));
    }
    if vendor != QE_VENDOR_INTEL {
        return Err(malformed(
            "the quoting enclave's vendor is not Intel".to_owned(),
        ));
    }
    Ok((version, user_data))
}

fn body_kind(reader: &mut Reader<'_>) -> Result<BodyKind, Error> {
    let body_type = reader.u16().map_err(cut_off)?;
    let size = reader.u32().map_err(cut_off)?;
    let (kind, expected) = match body_type {
        2 => (BodyKind::Td10, 584),
        3 => (BodyKind::Td15, 648),
        4 => (BodyKind::Td15Ex, 885),
        1 => {
            return Err(malformed("it is of an SGX enclave, not of a TD".to_owned()));
        }
        other => return Err(malformed(format!("body type {other} is unknown"))),
    };
    if size != expected {
        return Err(malformed(format!(
            "body type {body_type} has {size} bytes, not {expected}"
        )));
    }
    Ok(kind)
}

impl TdReport {
    fn read(kind: BodyKind, reader: &mut Reader<'_>) -> Result<Self, CutOff> {
        let mut report = Self {
            kind,
            tee_tcb_svn: reader.array()?,
            mr_seam: reader.array()?,
            mr_signer_seam: reader.array()?,
            seam_attributes: reader.array()?,
            td_attributes: reader.array()?,
            xfam: reader.array()?,
            mrtd: reader.array()?,
            mrconfigid: reader.array()?,
            mrowner: reader.array()?,
            mrownerconfig: reader.array()?,
            rtmr: [
                reader.array()?,
                reader.array()?,
                reader.array()?,
                reader.array()?,
            ],
            report_data: reader.array()?,
            td15: None,
            current_service_td: None,
        };
        if kind != BodyKind::Td10 {
            report.td15 = Some(Td15 {
                tee_tcb_svn2: reader.array()?,
                mr_service_td: reader.array()?,
            });
        }
        if kind == BodyKind::Td15Ex {
            // vmid 1, td_id 32, dev_info 48, then of the TD's creation: service TD hash 48 and attributes 8, CPUSVN 16,
            // TEE_TCB_SVN 16, FMSPC 12.
            reader.bytes(1 + 32 + 48 + 48 + 8 + 16 + 16 + 12)?;
            report.current_service_td = Some((reader.array()?, reader.array()?));
        }
        Ok(report)
    }
}
