//! `payment-identifier`: the name that a client gives a purchase, so that it buys it once.

use serde_json::{Value, json};

use crate::error::{Error, Refusal};
use crate::payment::Payment;

/// The extension.
pub const NAME: &str = "payment-identifier";
/// The fewest and the most characters of an identifier.
const LENGTH: (usize, usize) = (16, 128);

/// Whether purchases have names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Names are neither asked for nor read.
    Off,
    /// Who gives one is understood.
    #[default]
    Optional,
    /// Nothing is sold without one.
    Required,
}

impl Policy {
    /// What the operator set.
    pub fn parse(value: Option<&str>) -> Result<Self, Error> {
        match value.map(str::trim) {
            None | Some("" | "optional") => Ok(Self::Optional),
            Some("required") => Ok(Self::Required),
            Some("off") => Ok(Self::Off),
            Some(_) => Err(Error::Setting {
                variable: "PAYMENT_IDENTIFIER",
                problem: "not one of off, optional and required".to_owned(),
            }),
        }
    }
}

/// What a challenge declares.
pub fn declared(policy: Policy) -> Option<Value> {
    let (shortest, longest) = LENGTH;
    (policy != Policy::Off).then(|| {
        json!({
            "info": {"required": policy == Policy::Required},
            "schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "required": {"type": "boolean"},
                    "id": {
                        "type": "string",
                        "minLength": shortest,
                        "maxLength": longest,
                        "pattern": "^[a-zA-Z0-9_-]+$",
                    },
                },
                "required": ["required"],
            },
        })
    })
}

/// The identifier that a payment carries; the error is for whoever sent it.
pub fn of(payment: &Payment, policy: Policy) -> Result<Option<&str>, Refusal> {
    if policy == Policy::Off {
        return Ok(None);
    }
    let carried = (payment.raw().get("extensions"))
        .and_then(|extensions| extensions.get(NAME)?.get("info")?.get("id"));
    match carried {
        None | Some(Value::Null) if policy == Policy::Required => Err(Refusal::malformed(
            "a payment-identifier is required: put 16 to 128 of A-Z a-z 0-9 _ - as info.id into the extension",
        )),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_identifier(id) => Ok(Some(id)),
        Some(_) => Err(Refusal::malformed(
            "the payment-identifier is not 16 to 128 of A-Z a-z 0-9 _ -",
        )),
    }
}

fn is_identifier(id: &str) -> bool {
    let (shortest, longest) = LENGTH;
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (shortest..=longest).contains(&id.len()) && id.bytes().all(is_allowed)
}
