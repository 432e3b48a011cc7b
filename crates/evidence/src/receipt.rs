//! Receipts: what a client keeps of a run.
//!
//! A receipt is a COSE_Sign1 (ES256) by the host's identity key over the two commitments of an exchange. Together with
//! evidence of that key, once verified, it can be checked years later without any quote service. The payload is a CBOR map
//! with text keys, in the order of [`Receipt`]'s fields; the content type is [`CONTENT_TYPE`].

use hypervisor_protocol::{Commitment, HexArray, HexBytes, PublicKey, SessionId};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cose::Signed;
use crate::document::VERSION;

/// The content type in the protected header.
pub const CONTENT_TYPE: &str = "application/vnd.hypervisor.receipt+cbor";
/// The most bytes of a payment's receipt.
pub const MAX_PAYMENT: usize = 8 << 10;

/// What a host states about one exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    version: u32,
    /// The session.
    pub session_id: SessionId,
    /// Which request of the session.
    pub sequence: u64,
    /// The commitment to the request.
    pub request_commitment: Commitment,
    /// The commitment to the response.
    pub result_commitment: Commitment,
    /// SHA-384 of the host's manifest when the request ran.
    pub manifest_digest: HexArray<48>,
    /// When it was signed, by the host's clock: Unix time, seconds. The operator sets that clock.
    pub issued_at: u64,
    /// The payment's receipt, as the payments component gave it; at most [`MAX_PAYMENT`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<HexBytes>,
}

impl Receipt {
    /// A receipt of an exchange that was not paid for.
    pub fn new(
        session_id: SessionId,
        sequence: u64,
        request_commitment: Commitment,
        result_commitment: Commitment,
        manifest_digest: [u8; 48],
        issued_at: u64,
    ) -> Self {
        Self {
            version: VERSION,
            session_id,
            sequence,
            request_commitment,
            result_commitment,
            manifest_digest: HexArray(manifest_digest),
            issued_at,
            payment: None,
        }
    }

    /// Adds the payment's receipt.
    #[must_use]
    pub fn with_payment(mut self, receipt: impl Into<Vec<u8>>) -> Self {
        self.payment = Some(HexBytes(receipt.into()));
        self
    }

    /// Signs the receipt. `sign` gets the bytes to be signed and returns r ‖ s (64 bytes) of ECDSA P-256 over their
    /// SHA-256, by the identity key.
    ///
    /// # Errors
    /// [`Error::Signer`] when `sign` fails, [`Error::TooLarge`] for the payment's receipt, [`Error::Encode`].
    pub fn sign<E: std::fmt::Display>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    ) -> Result<Vec<u8>, Error> {
        self.sign_with(sign)
    }

    /// Reads a receipt and verifies its signature under `identity`, which must come from verified evidence.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Malformed`], [`Error::Signature`], [`Error::Version`].
    pub fn verify(bytes: &[u8], identity: &PublicKey) -> Result<Self, Error> {
        Self::verified(bytes, identity)
    }
}

impl Signed for Receipt {
    const WHAT: &'static str = "receipt";
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn check(&self) -> Result<(), Error> {
        match &self.payment {
            Some(payment) => {
                crate::error::bound("payment's receipt", payment.as_ref(), MAX_PAYMENT)
            }
            None => Ok(()),
        }
    }
}
