//! The fields of a SEV-SNP attestation report (AMD 56860, table "ATTESTATION_REPORT"), by offset, with nothing verified.

mod table;

use crate::Error;
use crate::reader::{CutOff, Reader};

pub(crate) use table::cut_table;
pub use table::{TableCertificates, certificates_of_table};

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

    fn read(bytes: &'a [u8]) -> Result<(Self, u32, &'a [u8]), CutOff> {
        let mut reader = Reader::new(bytes);
        let version = reader.u32()?;
        let guest_svn = reader.u32()?;
        let policy = reader.u64()?;
        let family_id = reader.array()?;
        let image_id = reader.array()?;
        let vmpl = reader.u32()?;
        let algorithm = reader.u32()?;
        let current_tcb = Tcb(reader.array()?);
        let platform_info = reader.u64()?;
        let key_info = reader.u32()?;
        reader.bytes(4)?;
        let report_data = reader.array()?;
        let measurement = reader.array()?;
        let host_data = reader.array()?;
        let id_key_digest = reader.array()?;
        let author_key_digest = reader.array()?;
        let report_id = reader.array()?;
        let report_id_ma = reader.array()?;
        let reported_tcb = Tcb(reader.array()?);
        let cpuid = reader.array()?;
        reader.bytes(21)?;
        let chip_id = reader.array()?;
        let committed_tcb = Tcb(reader.array()?);
        // Firmware versions: current and committed, each build, minor, major and one reserved byte.
        reader.bytes(8)?;
        let launch_tcb = Tcb(reader.array()?);
        reader.bytes(SIGNED_LENGTH.saturating_sub(reader.offset()))?;
        let signed = bytes.get(..reader.offset()).unwrap_or_default();
        let signature = (reader.array()?, reader.array()?);
        let report = Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform_info,
            key_info,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpuid: (version >= 3).then_some(cpuid),
            chip_id,
            committed_tcb,
            launch_tcb,
            signed,
            signature,
        };
        Ok((report, algorithm, reader.rest()))
    }
}
