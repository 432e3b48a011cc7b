//! Why there is no answer, and why a payment is not accepted.

use std::borrow::Cow;

use crate::api::ErrorCode;

/// Why there is no answer: not the client's fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's offer, or the description of the resource, cannot be used.
    #[error("{0}")]
    Offer(String),
    /// An environment variable is missing or wrong.
    #[error("{variable}: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// No facilitator gave an answer that can be used; one clause for each.
    #[error("no facilitator answered: {0}")]
    Unavailable(String),
    /// The host's crypto failed, which is not a statement about a signature.
    #[error("crypto: {0}")]
    Crypto(String),
    /// JSON could not be written.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<Error> for ErrorCode {
    fn from(error: Error) -> Self {
        match error {
            Error::Offer(text) => ErrorCode::InvalidOffer(text),
            Error::Unavailable(_) => ErrorCode::Unavailable(error.to_string()),
            other => ErrorCode::InternalError(Some(other.to_string())),
        }
    }
}

/// Reason codes of the x402 specification (version 2, section 9), the two of it that its SDKs add, and theirs for Permit2.
pub mod code {
    pub const PAYMENT_REQUIRED: &str = "payment_required";
    pub const INVALID_PAYLOAD: &str = "invalid_payload";
    pub const INVALID_VERSION: &str = "invalid_x402_version";
    pub const INVALID_NETWORK: &str = "invalid_network";
    pub const INVALID_REQUIREMENTS: &str = "invalid_payment_requirements";
    pub const UNSUPPORTED_SCHEME: &str = "unsupported_scheme";
    pub const VALID_AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
    pub const VALID_BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
    pub const VALUE: &str = "invalid_exact_evm_payload_authorization_value";
    pub const VALUE_MISMATCH: &str = "invalid_exact_evm_payload_authorization_value_mismatch";
    pub const RECIPIENT: &str = "invalid_exact_evm_payload_recipient_mismatch";
    pub const SIGNATURE: &str = "invalid_exact_evm_payload_signature";
    pub const PERMIT2_ALLOWANCE: &str = "permit2_allowance_required";
    pub const PERMIT2_AMOUNT: &str = "permit2_amount_mismatch";
    pub const PERMIT2_DEADLINE: &str = "permit2_deadline_expired";
    pub const PERMIT2_EARLY: &str = "permit2_not_yet_valid";
    pub const PERMIT2_NONCE: &str = "permit2_invalid_nonce";
    pub const PERMIT2_RECIPIENT: &str = "invalid_permit2_recipient_mismatch";
    pub const PERMIT2_SIGNATURE: &str = "invalid_permit2_signature";
    pub const PERMIT2_SPENDER: &str = "invalid_permit2_spender";
    pub const PERMIT2_TOKEN: &str = "permit2_token_mismatch";
    pub const UPTO_EXCEEDED: &str = "invalid_upto_evm_payload_settlement_exceeds_amount";
    pub const UPTO_FACILITATOR: &str = "upto_facilitator_mismatch";
    pub const NONCE_USED: &str = "invalid_exact_evm_nonce_already_used";
    pub const UNEXPECTED_VERIFY: &str = "unexpected_verify_error";
    pub const UNEXPECTED_SETTLE: &str = "unexpected_settle_error";
}

/// Why a payment is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 for what is malformed, 412 where Permit2 lacks an allowance, 402 for the rest (specs/transports-v2/http.md).
    pub status: u16,
    /// The protocol's reason code.
    pub code: Cow<'static, str>,
    /// For people. Never holds a part of the payment.
    pub message: String,
}

impl Refusal {
    /// A well-formed payment that is not acceptable.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            status: match code.as_ref() {
                code::PERMIT2_ALLOWANCE => 412,
                _ => 402,
            },
            code,
            message: message.into(),
        }
    }

    /// Something that is not a payment.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: code::INVALID_PAYLOAD.into(),
            message: message.into(),
        }
    }
}
