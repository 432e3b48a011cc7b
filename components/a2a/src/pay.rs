//! x402 over A2A: payments in the metadata of messages. The host sells and keeps the books; this says the same in other words.

use front::fields::Fields;
use front::ports::Answer;
use front::words::words;
use front::x402::{self, HEADERS, Payment};
use front::{json, problem};
use serde_json::{Map, Value, json};

use crate::caller::digest;
use crate::error::A2aError;
use crate::message::{Message, PAYLOAD};

/// The two names of the extension.
pub const URIS: [&str; 2] = [
    "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2",
    "https://github.com/google-a2a/a2a-x402/v0.1",
];

const STATUS: &str = "x402.payment.status";
const REQUIRED: &str = "x402.payment.required";
const RECEIPTS: &str = "x402.payment.receipts";
const ERROR: &str = "x402.payment.error";

/// A payment that came with a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Submitted {
    /// As the host takes it.
    pub payment: Payment,
    /// Whether it came in the message, and not in a header.
    pub is_in_band: bool,
}

impl Submitted {
    /// The one of a message or of the request that brought it.
    pub fn read(message: &Message, fields: &Fields) -> Result<Option<Self>, A2aError> {
        if let Some(payload) = message.metadata(PAYLOAD) {
            let payment = Payment::read(payload);
            let payment =
                payment.map_err(|what| A2aError::Params(format!("`{PAYLOAD}` {what}")))?;
            return Ok(Some(Self {
                payment,
                is_in_band: true,
            }));
        }
        for header in HEADERS {
            let value = fields.one(header);
            let value = value.map_err(|_| A2aError::Http(400, "there are several payments"))?;
            if let Some(value) = value {
                return Ok(Some(Self {
                    payment: Payment::in_header(header, value),
                    is_in_band: false,
                }));
            }
        }
        Ok(None)
    }

    /// What names it where it is not to be kept.
    pub fn digest(&self) -> String {
        const_hex::encode(digest(&[self.payment.bytes()]))
    }
}

/// Whether the client will not pay.
pub fn is_declined(message: &Message) -> bool {
    message.metadata(STATUS).and_then(Value::as_str) == Some("payment-rejected")
}

/// What a message says that asks for a payment.
pub fn demand(challenge: &Value) -> Value {
    json!({STATUS: "payment-required", REQUIRED: challenge})
}

/// What a message says of a payment that failed.
pub fn failure(challenge: Option<&Value>, code: &str, receipts: &[Value]) -> Value {
    let mut metadata = json!({STATUS: "payment-failed", ERROR: code, RECEIPTS: receipts});
    if let Some(challenge) = challenge {
        metadata[REQUIRED] = challenge.clone();
    }
    metadata
}

/// What a message says of a payment that was made.
pub fn completion(receipts: &[Value]) -> Value {
    json!({STATUS: "payment-completed", RECEIPTS: receipts})
}

/// What a message says of a payment of which nobody knows yet.
pub fn pending() -> Value {
    json!({STATUS: "payment-submitted"})
}

/// A receipt of a payment that failed.
pub fn failed_receipt(answer: &Answer, code: &str) -> Value {
    let mut receipt = x402::response(answer).unwrap_or_default();
    let defaults = [
        ("success", Value::Bool(false)),
        ("errorReason", code.into()),
        ("transaction", "".into()),
        ("network", "".into()),
    ];
    for (name, value) in defaults {
        receipt.entry(name).or_insert(value);
    }
    Value::Object(receipt)
}

/// The error of the extension that a refusal is.
pub fn code(answer: &Answer) -> &'static str {
    if problem::is(answer, "payment-reused") {
        return "DUPLICATE_NONCE";
    }
    let challenge = x402::challenge(answer, "");
    let said = challenge.as_ref().and_then(|it| json::text(it, "error"));
    let response = x402::response(answer);
    let reason = response
        .as_ref()
        .and_then(|it| json::text(it, "errorReason"));
    let said = reason.or(said).unwrap_or_default().to_ascii_lowercase();
    let known = [
        ("insufficient", "INSUFFICIENT_FUNDS"),
        ("balance", "INSUFFICIENT_FUNDS"),
        ("signature", "INVALID_SIGNATURE"),
        ("expired", "EXPIRED_PAYMENT"),
        ("valid_before", "EXPIRED_PAYMENT"),
        ("valid_after", "EXPIRED_PAYMENT"),
        ("nonce", "DUPLICATE_NONCE"),
        ("network", "NETWORK_MISMATCH"),
        ("value", "INVALID_AMOUNT"),
        ("amount", "INVALID_AMOUNT"),
    ];
    let known = known.into_iter().find(|(word, _)| said.contains(word));
    known.map_or("SETTLEMENT_FAILED", |(_, code)| code)
}

/// Why the host asks for a payment though one came, in its words.
pub fn reason(challenge: &Map<String, Value>) -> String {
    words(json::text(challenge, "error").unwrap_or_default(), 200)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(metadata: Value) -> Message {
        let value = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}], "metadata": metadata});
        Message::of_client(&value).unwrap()
    }

    #[test]
    fn a_payment_comes_in_the_message_or_in_a_header() {
        let payload = json!({PAYLOAD: {"x402Version": 2}});
        let paid = Submitted::read(&message(payload), &Fields::of(&[]))
            .unwrap()
            .unwrap();
        assert!(paid.is_in_band);
        let fields = Fields::of(&[("payment-signature", "e30=")]);
        let paid = Submitted::read(&message(json!({})), &fields)
            .unwrap()
            .unwrap();
        assert!(!paid.is_in_band);
        assert!(
            Submitted::read(&message(json!({})), &Fields::of(&[]))
                .unwrap()
                .is_none()
        );
        let wrong = message(json!({PAYLOAD: {"x402Version": 7}}));
        assert!(Submitted::read(&wrong, &Fields::of(&[])).is_err());
        let twice = Fields::of(&[("x-payment", "a"), ("x-payment", "b")]);
        assert!(Submitted::read(&message(json!({})), &twice).is_err());
    }

    #[test]
    fn a_refusal_has_the_error_that_the_extension_has_for_it() {
        for (said, expected) in [
            ("insufficient_funds", "INSUFFICIENT_FUNDS"),
            ("invalid_exact_evm_payload_signature", "INVALID_SIGNATURE"),
            (
                "invalid_exact_evm_payload_authorization_valid_before",
                "EXPIRED_PAYMENT",
            ),
            ("invalid_network", "NETWORK_MISMATCH"),
            (
                "invalid_exact_evm_payload_authorization_value",
                "INVALID_AMOUNT",
            ),
            ("who knows", "SETTLEMENT_FAILED"),
        ] {
            let answer = Answer {
                status: 402,
                body: json!({"accepts": [], "error": said})
                    .to_string()
                    .into_bytes(),
                ..Answer::default()
            };
            assert_eq!(code(&answer), expected);
        }
        let reused = Answer {
            status: 409,
            body: json!({"type": "urn:hypervisor:problem:payment-reused"})
                .to_string()
                .into_bytes(),
            ..Answer::default()
        };
        assert_eq!(code(&reused), "DUPLICATE_NONCE");
        let receipt = failed_receipt(&reused, "DUPLICATE_NONCE");
        assert_eq!(
            (&receipt["success"], &receipt["transaction"]),
            (&json!(false), &json!(""))
        );
    }

    proptest! {
        #[test]
        fn any_payload_is_judged(version in any::<i32>(), value in ".{0,20}") {
            let message = message(json!({PAYLOAD: {"x402Version": version, "a": value}, STATUS: value}));
            let _ = (Submitted::read(&message, &Fields::of(&[("x-payment", &value)])), is_declined(&message));
        }
    }
}
