//! What a TPM of a confidential guest adds to a quote of the hardware.
//!
//! In some clouds the hardware's report is not over data of the host's choice. It is over *runtime data*, a JSON document that names the
//! attestation key of a TPM: the hardware vouches for the key, the key signs the TPM's registers (PCRs) and the host's 64 bytes of
//! report data.
//!
//! ```text
//! report data of the hardware = SHA-256(runtime data) ‖ 32 zero bytes
//! extraData of the TPM quote  = report data of the host, all 64 bytes
//! pcrDigest of the TPM quote  = SHA-256(PCR0 ‖ … ‖ PCR23), bank SHA-256
//! ```
//!
//! Nothing is verified here: that is for `hypervisor-verify`.

mod attest;
mod hcl;
mod runtime;

use hypervisor_protocol::{ContentFormat, HexArray, HexBytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::bound;

pub use attest::TpmQuote;
pub use hcl::{Hardware, HclReport};
pub use runtime::{AK_ID, RsaKey, attestation_key};

/// PCRs of a TPM, all of which are quoted.
pub const PCRS: usize = 24;
/// Length of a PCR of the bank SHA-256, bytes.
pub const PCR: usize = 32;
/// The most bytes of runtime data.
pub const MAX_RUNTIME_DATA: usize = 16 << 10;
/// The most bytes of a signature: RSA with 4096 bits.
pub const MAX_SIGNATURE: usize = 512;
/// The most bytes of what a TPM signs; a TPM's own structures are smaller.
pub const MAX_ATTEST: usize = 1 << 10;
/// The most bytes of [`Vtpm::encode`].
pub const MAX_LENGTH: usize = 32 << 10;

const WHAT: &str = "vTPM evidence";

/// The parts that a TPM adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vtpm {
    version: u32,
    /// What the report of the hardware is over, JSON.
    pub runtime_data: HexBytes,
    /// What the attestation key signs: a TPMS_ATTEST.
    pub quote: HexBytes,
    /// RSASSA-PKCS1-v1_5 with SHA-256 over it.
    pub signature: HexBytes,
    /// PCR0 to PCR23, bank SHA-256.
    pub pcrs: Vec<HexArray<PCR>>,
}

impl Vtpm {
    /// The parts, as a TPM and its firmware gave them.
    pub fn new(
        runtime_data: Vec<u8>,
        quote: Vec<u8>,
        signature: Vec<u8>,
        pcrs: [[u8; PCR]; PCRS],
    ) -> Self {
        Self {
            version: crate::document::VERSION,
            runtime_data: runtime_data.into(),
            quote: quote.into(),
            signature: signature.into(),
            pcrs: pcrs.map(HexArray).to_vec(),
        }
    }

    /// The CBOR that travels.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        crate::document::encode(WHAT, ContentFormat::Cbor, self)
    }

    /// Reads the CBOR. The parts are bounded, and not looked into.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Version`], and [`Error::Malformed`] where it has other than 24 PCRs.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bound(WHAT, bytes, MAX_LENGTH)?;
        let this: Self = crate::document::decode(WHAT, ContentFormat::Cbor, bytes)?;
        bound("runtime data", &this.runtime_data.0, MAX_RUNTIME_DATA)?;
        bound("TPM quote", &this.quote.0, MAX_ATTEST)?;
        bound(
            "signature of the TPM quote",
            &this.signature.0,
            MAX_SIGNATURE,
        )?;
        if this.pcrs.len() != PCRS {
            return Err(Error::Malformed {
                what: WHAT,
                reason: format!("it has {} PCRs, not {PCRS}", this.pcrs.len()),
            });
        }
        Ok(this)
    }

    /// SHA-256 over all PCRs in their order: what the quote must hold.
    pub fn pcr_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for pcr in &self.pcrs {
            hash.update(pcr.0);
        }
        hash.finalize().into()
    }
}

/// The report data of hardware that vouches for this runtime data.
pub fn report_data(runtime_data: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    let (hash, _) = data.split_at_mut(32);
    hash.copy_from_slice(&Sha256::digest(runtime_data));
    data
}
