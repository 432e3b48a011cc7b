//! The fields of a SEV-SNP attestation report (AMD 56860, table "ATTESTATION_REPORT"), by offset, with nothing verified.

mod table;

use crate::Error;
use crate::reader::{CutOff, Reader};

pub(crate) use table::cut_table;
pub use table::{TableCertificates, certificates_of_table, table_of_vcek};

/// Bytes of a report.
pub const REPORT_LENGTH: usize = 1184;
/// Bytes of it that are signed.
pub const SIGNED_LENGTH: usize = 0x2a0;
/// `signature_algo`: ECDSA P-384 with SHA-384.
const ALGORITHM_P384_SHA384: u32 = 1;

/// Security versions of the firmware's parts, as in a TCB_VERSION. Turin and later have an FMC and lay the bytes out anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb(pub [u8; 8]);

/// A report's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of AMD's specification")]
pub struct SnpReport<'a> {
    pub version: u32,
    pub guest_svn: u32,
    pub policy: u64,
    pub family_id: [u8; 16],
    pub image_id: [u8; 16],
    pub vmpl: u32,
    pub current_tcb: Tcb,
    pub platform_info: u64,
    pub key_info: u32,
    pub report_data: [u8; 64],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub report_id: [u8; 32],
    pub report_id_ma: [u8; 32],
    pub reported_tcb: Tcb,
    /// CPUID family, model and stepping, from version 3 on.
    pub cpuid: Option<[u8; 3]>,
    pub chip_id: [u8; 64],
    pub committed_tcb: Tcb,
    pub launch_tcb: Tcb,
    /// The bytes that are signed.
    pub signed: &'a [u8],
    /// r, 72 bytes little-endian, and s alike.
    pub signature: ([u8; 72], [u8; 72]),
}

fn malformed(reason: String) -> Error {
    Error::Quote {
        what: "SEV-SNP report",
        reason,
    }
}

impl<'a> SnpReport<'a> {
    /// Reads a report.
    ///
    /// # Errors
    /// [`Error::Quote`] when it has not [`REPORT_LENGTH`] bytes, its signature algorithm is not ECDSA P-384, or what is
    /// reserved after the signature is not zero (the signature does not cover that).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() != REPORT_LENGTH {
            return Err(malformed(format!(
                "{} bytes, a report has {REPORT_LENGTH}",
                bytes.len()
            )));
        }
        let (report, algorithm, reserved) =
            Self::read(bytes).map_err(|error| malformed(error.to_string()))?;
        if algorithm != ALGORITHM_P384_SHA384 {
            return Err(malformed(format!(
                "signature algorithm {algorithm} is not {ALGORITHM_P384_SHA384} (ECDSA P-384 with SHA-384)"
            )));
        }
        if reserved.iter().any(|byte| *byte != 0) {
            return Err(malformed(
                "the reserved bytes after the signature are not zero".to_owned(),
            ));
        }
        Ok(report)
    }

    /// Whether the report names a provider's key (VLEK) as its signer, not the chip's (VCEK): SIGNING_KEY, bits 2 to 4 of
    /// KEY_INFO.
    pub fn is_vlek(&self) -> bool {
        self.key_info >> 2 & 7 == 1
    }

    /// The fields in their order; beside the report what stands among them unsigned or is the same in all.
    fn read(bytes: &'a [u8]) -> Result<(Self, u32, &'a [u8]), CutOff> {
        let mut reader = Reader::new(bytes);
        let algorithm;
        let mut report = Self {
            version: reader.u32()?,
            guest_svn: reader.u32()?,
            policy: reader.u64()?,
            family_id: reader.array()?,
            image_id: reader.array()?,
            vmpl: reader.u32()?,
            current_tcb: {
                algorithm = reader.u32()?;
                Tcb(reader.array()?)
            },
            platform_info: reader.u64()?,
            key_info: reader.u32()?,
            report_data: reader.after(4)?.array()?,
            measurement: reader.array()?,
            host_data: reader.array()?,
            id_key_digest: reader.array()?,
            author_key_digest: reader.array()?,
            report_id: reader.array()?,
            report_id_ma: reader.array()?,
            reported_tcb: Tcb(reader.array()?),
            cpuid: Some(reader.array()?),
            chip_id: reader.after(21)?.array()?,
            committed_tcb: Tcb(reader.array()?),
            // Between them firmware versions: current and committed, each build, minor, major and one reserved byte.
            launch_tcb: Tcb(reader.after(8)?.array()?),
            signed: bytes.get(..SIGNED_LENGTH).unwrap_or_default(),
            signature: {
                let reserved = SIGNED_LENGTH.saturating_sub(reader.offset());
                (reader.after(reserved)?.array()?, reader.array()?)
            },
        };
        if report.version < 3 {
            report.cpuid = None;
        }
        Ok((report, algorithm, reader.rest()))
    }
}
