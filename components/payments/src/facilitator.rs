//! What a facilitator is asked, and what its answer means.
//!
//! Facilitators answer refusals with status 200, with 4xx or with 5xx, and their reason codes are not one set. So the
//! body decides, and is believed only where it helps nobody: a success counts when every field that it names is the
//! payment's, and never with a status of 5xx; all that is unclear about a settlement is unknown.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::api::AuthorizedPayment;
use crate::error::{Error, code};
use crate::evm;
use crate::header::Version;
use crate::json::{self, optional_text};
use crate::networks;
use crate::ports::Answer;
use crate::respond;
use crate::svm;

/// The most that is read of an answer, in bytes.
pub const LONGEST_ANSWER: usize = 64 * 1024;
/// The longest reason code that is passed on.
const LONGEST_CODE: usize = 96;

/// Reasons with which a facilitator refuses a payment before it sends anything: the official ones', less those that are also
/// said of a payment that was made a moment ago (a used nonce, a simulation that fails), and those of x402-rs.
///
/// Any other word, `timeout` or one of tomorrow, does not say that nothing was sent.
const DEFINITE: [&str; 50] = [
    "insufficient_funds",
    "invalid_exact_evm_insufficient_balance",
    "invalid_exact_evm_payload_authorization_valid_after",
    "invalid_exact_evm_payload_authorization_valid_before",
    "invalid_exact_evm_payload_authorization_value",
    "invalid_exact_evm_payload_authorization_value_mismatch",
    "invalid_exact_evm_payload_recipient_mismatch",
    "invalid_exact_evm_payload_signature",
    "invalid_exact_evm_recipient_mismatch",
    "invalid_exact_evm_signature",
    "invalid_exact_evm_failed_to_parse_signature",
    "invalid_exact_evm_scheme",
    "invalid_exact_evm_network_mismatch",
    "invalid_exact_evm_missing_eip712_domain",
    "invalid_exact_evm_token_name_mismatch",
    "invalid_exact_evm_token_version_mismatch",
    "invalid_exact_evm_eip3009_not_supported",
    "asset_not_deployed_contract",
    "eip6492_factory_not_allowed",
    "invalid_network",
    "invalid_payload",
    "invalid_payment_requirements",
    "invalid_scheme",
    "unsupported_scheme",
    "invalid_x402_version",
    "invalid_format",
    "invalid_payment_amount",
    "invalid_payment_early",
    "invalid_payment_expired",
    "invalid_signature",
    "chain_id_mismatch",
    "recipient_mismatch",
    "asset_mismatch",
    "accepted_requirements_mismatch",
    "permit2_allowance_required",
    "permit2_amount_mismatch",
    "permit2_deadline_expired",
    "permit2_insufficient_balance",
    "permit2_not_yet_valid",
    "permit2_proxy_not_deployed",
    "permit2_token_mismatch",
    "invalid_permit2_recipient_mismatch",
    "invalid_permit2_signature",
    "invalid_permit2_spender",
    "invalid_upto_evm_payload_settlement_exceeds_amount",
    "unsupported_payload_type",
    "upto_facilitator_mismatch",
    "unsupported_chain",
    "unsupported_network",
    "unsupported_asset",
];

/// Whether a reason says that nothing was sent.
pub fn is_definite(reason: &str) -> bool {
    DEFINITE.contains(&reason) || svm::code::is_definite(reason)
}

/// The body of `/verify` and `/settle`.
pub fn request(version: Version, payload: &Value, requirements: &Value) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(&json!({
        "x402Version": version.number(),
        "paymentPayload": payload,
        "paymentRequirements": requirements,
    }))?)
}

/// What every field of an answer that names the payment must say.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The payer, in the form that its payments are named by.
    pub payer: String,
    /// The chain, as CAIP-2.
    pub network: String,
    /// Its name in version 1, for an answer in version 1.
    pub v1_network: Option<&'static str>,
    /// The amount.
    pub amount: String,
}

impl Expected {
    /// From what was authorized.
    pub fn new(version: Version, payment: &AuthorizedPayment) -> Option<Self> {
        let v1_network = networks::v1_name_of(&payment.id.chain);
        Some(Self {
            payer: account(&payment.id.chain, &payment.id.payer)?,
            network: payment.id.chain.clone(),
            v1_network: v1_network.filter(|_| version == Version::V1),
            amount: payment.amount.clone(),
        })
    }

    /// Names the first field that is there and says something else.
    fn contradicted(&self, answer: &Map<String, Value>) -> Result<(), &'static str> {
        match optional_text(answer, "payer")? {
            // Some leave the payer empty where they did not get as far as finding it.
            None | Some("") => {}
            Some(payer) if account(&self.network, payer).as_ref() == Some(&self.payer) => {}
            Some(_) => return Err("payer"),
        }
        match optional_text(answer, "network")? {
            None => {}
            Some(network) if network == self.network || Some(network) == self.v1_network => {}
            Some(_) => return Err("network"),
        }
        match optional_text(answer, "amount")? {
            None => Ok(()),
            Some(amount) if amount == self.amount => Ok(()),
            Some(_) => Err("amount"),
        }
    }
}

/// An account on a chain, in its one form.
fn account(network: &str, text: &str) -> Option<String> {
    if svm::is_network(network) {
        return Some(svm::key::Key::parse(text)?.to_string());
    }
    evm::address(text).map(evm::text)
}

/// The answer of `/verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The payment can be settled.
    Valid,
    /// It cannot, for this reason.
    Invalid(String),
    /// Not an answer; another facilitator may give one.
    Unusable(Cow<'static, str>),
}

/// Reads the answer of `/verify`.
pub fn read_verified(answer: &Answer, expected: &Expected) -> Verified {
    let body = match json::parse_object(&answer.body) {
        Ok(body) => body,
        Err(_) => return Verified::Unusable(no_json(answer.status).into()),
    };
    let reason = reason(&body, "invalidReason");
    let is_ours = |reason: &String| svm::code::FEE_PAYER_NOT_MANAGED.contains(&reason.as_str());
    match (body.get("isValid"), answer.status) {
        // The payer cannot help it: another facilitator may have the key.
        (Some(Value::Bool(false)), _) if reason.as_ref().is_some_and(is_ours) => {
            Verified::Unusable("it does not have the key of the fee payer in FEE_PAYERS".into())
        }
        (Some(Value::Bool(true)), 200..=299) => match expected.contradicted(&body) {
            Ok(()) => Verified::Valid,
            Err(field) => Verified::Unusable(format!("its answer is about another {field}").into()),
        },
        (Some(Value::Bool(false)), 200..=499) => {
            Verified::Invalid(reason.unwrap_or_else(|| code::UNEXPECTED_VERIFY.to_owned()))
        }
        // A refusal in an error's clothes; but "unexpected" is an error.
        (Some(Value::Bool(false)), _) => match reason {
            Some(reason) if !reason.starts_with("unexpected") => Verified::Invalid(reason),
            _ => Verified::Unusable(format!("status {}", answer.status).into()),
        },
        (_, status) => Verified::Unusable(format!("status {status} without an answer").into()),
    }
}

/// The answer of `/settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It says that the payment was made, in this transaction.
    Made(String),
    /// It says that the payment was not made, and why; [`is_definite`] says what that is worth.
    NotMade(String),
    /// It does not know, or cannot be believed.
    Unknown {
        /// Why.
        reason: String,
        /// The transaction that it names.
        transaction: Option<String>,
    },
}

/// Reads the answer of `/settle`.
pub fn read_settled(answer: &Answer, expected: &Expected) -> Settled {
    let unknown = |reason: String, transaction: Option<String>| Settled::Unknown {
        reason,
        transaction,
    };
    let Ok(body) = json::parse_object(&answer.body) else {
        return unknown(no_json(answer.status), None);
    };
    let transaction = optional_text(&body, "transaction")
        .ok()
        .flatten()
        .and_then(|text| respond::transaction(&expected.network, text));
    let reason = reason(&body, "errorReason");
    match body.get("success") {
        _ if answer.status >= 500 => unknown(
            format!(
                "the facilitator answered with status {}{}",
                answer.status,
                reason.map(|code| format!(": {code}")).unwrap_or_default()
            ),
            transaction,
        ),
        Some(Value::Bool(true)) => {
            let named = matches!(optional_text(&body, "network"), Ok(Some(_)));
            let doubt = match (expected.contradicted(&body), &transaction, reason) {
                _ if !(200..=299).contains(&answer.status) => {
                    format!("success with status {}", answer.status)
                }
                (Err(field), _, _) => format!("success for another {field}"),
                (Ok(()), None, _) => "success without a transaction".to_owned(),
                (Ok(()), _, Some(reason)) => format!("success with the error {reason}"),
                (Ok(()), _, _) if !named => "success without a network".to_owned(),
                (Ok(()), Some(transaction), None) => {
                    return Settled::Made(transaction.clone());
                }
            };
            unknown(format!("the facilitator answered {doubt}"), transaction)
        }
        Some(Value::Bool(false)) => match reason {
            Some(reason) if transaction.is_some() || matches!(answer.status, 408 | 429) => {
                unknown(reason, transaction)
            }
            Some(reason) => Settled::NotMade(reason),
            None => unknown(
                "the facilitator refused without a reason".to_owned(),
                transaction,
            ),
        },
        _ => unknown(
            format!(
                "the facilitator answered with status {} and no result",
                answer.status
            ),
            transaction,
        ),
    }
}

fn no_json(status: u16) -> String {
    format!("status {status} without JSON")
}

/// A reason code, in a form that can stand in a header and a log: visible ASCII, bounded. `None` if there is none.
fn reason(body: &Map<String, Value>, key: &'static str) -> Option<String> {
    let text: String = optional_text(body, key)
        .ok()??
        .chars()
        .filter(char::is_ascii_graphic)
        .take(LONGEST_CODE)
        .collect();
    (!text.is_empty()).then_some(text)
}
