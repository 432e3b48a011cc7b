//! What a TPM signs (TPM 2.0 Library, Part 2, 10.12.8 TPMS_ATTEST), big-endian.

use super::{MAX_ATTEST, PCR};
use crate::Error;
use crate::error::bound;
use crate::reader::{CutOff, Reader};

/// `TPM_GENERATED_VALUE`: a TPM puts it in front of what it says itself, and signs nothing of others that begins so.
const GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const ATTEST_QUOTE: u16 = 0x8018;
/// `TPM_ALG_SHA256`.
const SHA256: u16 = 0x000b;
/// The bank and the registers of a selection: three bytes for 24 of them.
const ALL: [u8; 3] = [0xff; 3];

/// A quote over all PCRs of the bank SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TpmQuote<'a> {
    /// What the quote was asked for with (`extraData`, the qualifying data).
    pub extra_data: &'a [u8],
    /// How often the TPM was reset, so the guest booted.
    pub reset_count: u32,
    /// How often it was suspended since.
    pub restart_count: u32,
    /// The version of the TPM's firmware.
    pub firmware_version: u64,
    /// SHA-256 over the registers.
    pub pcr_digest: [u8; PCR],
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Quote {
        what: "TPM quote",
        reason: reason.into(),
    }
}

fn u16_be(reader: &mut Reader<'_>) -> Result<u16, CutOff> {
    reader.array().map(u16::from_be_bytes)
}

fn u32_be(reader: &mut Reader<'_>) -> Result<u32, CutOff> {
    reader.array().map(u32::from_be_bytes)
}

/// A TPM2B: bytes after their length.
fn sized<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], CutOff> {
    let length = u16_be(reader)?;
    reader.bytes(length.into())
}

impl<'a> TpmQuote<'a> {
    /// Reads a quote.
    ///
    /// # Errors
    /// [`Error::Quote`] for what a TPM did not make, is no quote, is cut off or followed by anything, and for a selection that is not
    /// all 24 PCRs of the bank SHA-256 and nothing else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        bound("TPM quote", bytes, MAX_ATTEST)?;
        let mut reader = Reader::new(bytes);
        let quote = Self::read(&mut reader).map_err(|error| malformed(error.to_string()))??;
        match reader.rest() {
            [] => Ok(quote),
            rest => Err(malformed(format!("{} bytes follow it", rest.len()))),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Result<Self, Error>, CutOff> {
        let (magic, kind) = (u32_be(reader)?, u16_be(reader)?);
        if magic != GENERATED {
            return Ok(Err(malformed(
                "no TPM made it (its magic number is missing)",
            )));
        }
        if kind != ATTEST_QUOTE {
            return Ok(Err(malformed(format!(
                "it attests something else than PCRs (type {kind:#06x})"
            ))));
        }
        // The signer's qualified name: its ancestors are known to nobody outside.
        sized(reader)?;
        let extra_data = sized(reader)?;
        reader.bytes(8)?;
        let (reset_count, restart_count) = (u32_be(reader)?, u32_be(reader)?);
        reader.bytes(1)?;
        let firmware_version = reader.array().map(u64::from_be_bytes)?;
        let banks = u32_be(reader)?;
        if banks != 1 {
            return Ok(Err(malformed(format!(
                "it is over {banks} banks of PCRs; ask for SHA-256 alone"
            ))));
        }
        let bank = u16_be(reader)?;
        let [length] = reader.array()?;
        let selected = reader.bytes(length.into())?;
        if bank != SHA256 {
            return Ok(Err(malformed(format!(
                "its PCRs are of hash {bank:#06x}, not of SHA-256"
            ))));
        }
        if selected != ALL {
            return Ok(Err(malformed("it is not over all 24 PCRs")));
        }
        let digest = sized(reader)?;
        Ok(digest
            .try_into()
            .map_err(|_| malformed("its digest is not one of SHA-256"))
            .map(|pcr_digest| Self {
                extra_data,
                reset_count,
                restart_count,
                firmware_version,
                pcr_digest,
            }))
    }
}
