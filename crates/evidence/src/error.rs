//! Everything that can go wrong while evidence is made or read. What a verifier finds wrong *with* well-formed evidence is
//! not an error but a failed check of its verdict.

/// An error of this crate. Messages never hold key material or plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A verifier's nonce can not be used.
    #[error("the nonce {reason}; send 16 to 64 random bytes, as hex in JSON")]
    Nonce {
        /// What is wrong with it.
        reason: String,
    },
    /// The 64 bytes of report data are not of this protocol.
    #[error(
        "the report data {reason}; the quote was not made by a host of this protocol and version"
    )]
    ReportData {
        /// What is wrong with them.
        reason: String,
    },
    /// The binding is not well formed, or lacks what its purpose needs.
    #[error("malformed binding: {reason}")]
    Binding {
        /// What is wrong and where.
        reason: String,
    },
    /// The component log is not well formed.
    #[error("malformed component log: {reason}")]
    Log {
        /// What is wrong and where.
        reason: String,
    },
    /// A batch of results or a proof of inclusion is not well formed.
    #[error("malformed result tree: {reason}")]
    Merkle {
        /// What is wrong.
        reason: String,
    },
    /// A quote or report of the hardware is not well formed.
    #[error("malformed {what}: {reason}")]
    Quote {
        /// `TDX quote`, `SEV-SNP report`, `certificates`, `TPM quote` or `report of the paravisor`.
        what: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// Evidence, a receipt or a statement is not well formed.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The kind of document.
        what: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// Something is larger than this crate reads.
    #[error("the {what} is {size} bytes long, at most {maximum} are accepted")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The bound.
        maximum: usize,
    },
    /// A document has a version that this crate does not read.
    #[error("the {what} has version {found}, this program reads version 1; update it")]
    Version {
        /// What it is.
        what: &'static str,
        /// The version found.
        found: u64,
    },
    /// A signature does not verify under the key that should have made it.
    #[error(
        "the signature of the {what} does not verify under the host's identity key; do not rely on it"
    )]
    Signature {
        /// What was signed.
        what: &'static str,
    },
    /// The signer failed.
    #[error("the {what} could not be signed: {reason}")]
    Signer {
        /// What was to be signed.
        what: &'static str,
        /// What the signer says.
        reason: String,
    },
    /// A document could not be encoded.
    #[error("can not encode the {what}: {reason}")]
    Encode {
        /// What it is.
        what: &'static str,
        /// What the encoder says.
        reason: String,
    },
    /// A quote is over other report data than was asked for.
    #[error(
        "the quote is over other report data than was asked for; something else writes to the attestation interface: let only this process reach it"
    )]
    OtherReportData,
}

/// Refuses what is larger than `maximum` bytes.
pub(crate) fn bound(what: &'static str, bytes: &[u8], maximum: usize) -> Result<(), Error> {
    if bytes.len() > maximum {
        return Err(Error::TooLarge {
            what,
            size: bytes.len(),
            maximum,
        });
    }
    Ok(())
}
