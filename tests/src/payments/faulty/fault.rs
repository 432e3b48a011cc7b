//! What can go wrong with one call.

use std::time::Duration;

use serde_json::{Value, json};

use super::Call;
use crate::payments::sign::{Address, random};

/// What happens with one call: whether the work is done, and what is answered.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// The real facilitator is not asked.
    pub(super) idle: bool,
    /// The answer waits for `release`.
    pub(super) held: bool,
    /// And for so long before.
    pub(super) late: Duration,
    pub(super) reply: Reply,
}

impl Fault {
    /// None: the real facilitator's answer.
    pub fn none() -> Self {
        Self::default()
    }

    /// The real facilitator does its work, a payment is really made, and this is the answer.
    pub fn after(reply: Reply) -> Self {
        Self {
            reply,
            ..Self::none()
        }
    }

    /// Nothing is done, and this is the answer.
    pub fn instead(reply: Reply) -> Self {
        Self {
            idle: true,
            ..Self::after(reply)
        }
    }

    /// No fault: the answer takes so long.
    pub fn late(late: Duration) -> Self {
        Self {
            late,
            ..Self::none()
        }
    }

    /// The answer waits until the test releases it.
    pub fn held(self) -> Self {
        Self { held: true, ..self }
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub enum Reply {
    /// The real facilitator's. Where it was not asked, a lie: that all went well.
    #[default]
    AsIs,
    /// The body of `AsIs` under another status.
    Status(u16),
    /// The page of a proxy that got no answer, under this status.
    Html(u16),
    /// The first half of `AsIs`, as if it were all.
    Truncated,
    /// `AsIs` breaks off in the middle: fewer bytes than announced.
    CutOff,
    /// The connection ends without an answer.
    Dropped,
    /// The first half of `AsIs`, and the rest only when the test releases it.
    Trickled,
    /// A body that is no JSON.
    NotJson,
    /// This body.
    Json(u16, Value),
    /// `AsIs`, changed; see [`lies`].
    Edited(fn(&mut Value)),
    /// `AsIs` with so many bytes more, all of it good JSON.
    Huge(usize),
    /// `settlement_pending`: sent, and not known to be mined. Names the transaction of `AsIs`.
    Pending,
}

impl Reply {
    /// Status and body, from what the honest answer would be.
    pub(super) fn body(&self, status: u16, honest: Value) -> (u16, Vec<u8>) {
        match self {
            Self::AsIs | Self::CutOff | Self::Dropped | Self::Trickled => {
                (status, honest.to_string().into())
            }
            Self::Status(other) => (*other, honest.to_string().into()),
            Self::Html(other) => (
                *other,
                b"<html><body><h1>Bad Gateway</h1></body></html>".to_vec(),
            ),
            Self::Truncated => {
                let mut body = honest.to_string().into_bytes();
                body.truncate(body.len() / 2);
                (status, body)
            }
            Self::NotJson => (status, b"all is well".to_vec()),
            Self::Json(other, value) => (*other, value.to_string().into()),
            Self::Edited(edit) => {
                let mut value = honest;
                edit(&mut value);
                (status, value.to_string().into())
            }
            Self::Huge(bytes) => {
                let mut value = honest;
                value["padding"] = "x".repeat(*bytes).into();
                (status, value.to_string().into())
            }
            Self::Pending => {
                let mut value = honest;
                value["success"] = false.into();
                value["errorReason"] = "settlement_pending".into();
                (status, value.to_string().into())
            }
        }
    }

    /// Whether the body is HTML.
    pub(super) fn is_html(&self) -> bool {
        matches!(self, Self::Html(_))
    }
}

/// What a facilitator without a real one behind it says: that all went well.
pub(super) fn yes(call: Call, question: &Value) -> Value {
    let payer = question
        .pointer("/paymentPayload/payload/authorization/from")
        .cloned()
        .unwrap_or_default();
    match call {
        Call::Verify => json!({"isValid": true, "payer": payer}),
        Call::Settle => json!({
            "success": true,
            "transaction": const_hex::encode_prefixed(random::<32>()),
            "network": question["paymentRequirements"]["network"],
            "payer": payer,
        }),
    }
}

/// Changes of an honest answer that make it one about another payment. For [`Reply::Edited`].
pub mod lies {
    use super::{Address, Value};

    /// Somebody else paid.
    pub fn other_payer(answer: &mut Value) {
        answer["payer"] = Address::random().to_string().into();
    }

    /// On another network.
    pub fn other_network(answer: &mut Value) {
        answer["network"] = "eip155:1".into();
    }

    /// Another amount.
    pub fn other_amount(answer: &mut Value) {
        answer["amount"] = "1".into();
    }

    /// A transaction's hash that is none.
    pub fn odd_transaction(answer: &mut Value) {
        answer["transaction"] = "0x1234".into();
    }

    /// Success without a transaction.
    pub fn no_transaction(answer: &mut Value) {
        answer["transaction"] = "".into();
    }

    /// A verdict in words.
    pub fn verdict_in_words(answer: &mut Value) {
        for field in ["isValid", "success"] {
            if let Some(verdict) = answer.get_mut(field) {
                *verdict = "true".into();
            }
        }
    }
}
