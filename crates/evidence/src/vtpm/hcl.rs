//! The report of Azure's paravisor (HCL, OpenHCL): the hardware's report and the runtime data that it is over, in one block, little-endian.

use super::MAX_RUNTIME_DATA;
use crate::Error;
use crate::reader::{CutOff, Reader};
use crate::snp;

/// `HCLA`.
const SIGNATURE: [u8; 4] = *b"HCLA";
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Of the header, with the signature and the version.
const HEADER: usize = 32;
/// Length of a TDREPORT.
const TD_REPORT: usize = 1024;
/// The hash over the runtime data that the hardware's report holds: SHA-256.
const SHA256: u32 = 1;

/// Whose report it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// A SEV-SNP report, 1184 bytes.
    SevSnp,
    /// A TDREPORT, 1024 bytes: of use on the machine alone, where a quote is made of it.
    Tdx,
}

/// The block's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HclReport<'a> {
    /// Whose report.
    pub hardware: Hardware,
    /// The report.
    pub report: &'a [u8],
    /// What it is over.
    pub runtime_data: &'a [u8],
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Quote {
        what: "report of the paravisor",
        reason: reason.into(),
    }
}

impl<'a> HclReport<'a> {
    /// Reads a block. What follows the runtime data is padding.
    ///
    /// # Errors
    /// [`Error::Quote`] for another signature, version, hardware or hash, and for what is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::read(&mut Reader::new(bytes)).map_err(|error| malformed(error.to_string()))?
    }

    fn read(reader: &mut Reader<'a>) -> Result<Result<Self, Error>, CutOff> {
        let (signature, version): ([u8; 4], u32) = (reader.array()?, reader.u32()?);
        if signature != SIGNATURE || !VERSIONS.contains(&version) {
            return Ok(Err(malformed("it does not begin with `HCLA` and 1 or 2")));
        }
        // Size, kind of request, status, and what is reserved: of no use without a signature.
        reader.bytes(HEADER - 8)?;
        let report = reader.bytes(snp::REPORT_LENGTH)?;
        // Size and version of what follows.
        reader.bytes(8)?;
        let (kind, hash) = (reader.u32()?, reader.u32()?);
        let runtime_data = reader.prefixed_u32()?;
        let hardware = match kind {
            2 => Hardware::SevSnp,
            4 => Hardware::Tdx,
            other => {
                return Ok(Err(malformed(format!(
                    "hardware of kind {other} is unknown"
                ))));
            }
        };
        if hash != SHA256 {
            return Ok(Err(malformed(format!(
                "the hash over its runtime data is {hash}, not {SHA256} (SHA-256)"
            ))));
        }
        if runtime_data.len() > MAX_RUNTIME_DATA {
            return Ok(Err(malformed("its runtime data is too long")));
        }
        let length = match hardware {
            Hardware::SevSnp => snp::REPORT_LENGTH,
            Hardware::Tdx => TD_REPORT,
        };
        Ok(Ok(Self {
            hardware,
            report: report.get(..length).unwrap_or(report),
            runtime_data,
        }))
    }
}
