//! The payment in the headers of a request, on whatever chain.

use serde_json::{Map, Value};

use crate::api::Header;
use crate::error::Refusal;
use crate::header::{self, Version};
use crate::{payload, svm};

/// A well-formed payment. Nothing in it has been compared with an offer.
#[derive(Clone, Debug)]
pub enum Payment {
    /// On an EVM chain: an authorization.
    Evm(payload::Payment),
    /// On one of Solana's networks: a transaction.
    Svm(svm::payment::Payment),
}

/// The payment in the headers. `None` if there is none.
pub fn read(headers: &[Header]) -> Result<Option<Payment>, Refusal> {
    let Some(((version, raw), other)) = header::find(headers)? else {
        return Ok(None);
    };
    let payment = Payment::read(version, raw)?;
    if let Some((version, raw)) = other {
        let agrees = match (&payment, &Payment::read(version, raw)?) {
            (Payment::Evm(payment), Payment::Evm(other)) => payment.agrees_with(other),
            (Payment::Svm(payment), Payment::Svm(other)) => payment.agrees_with(other),
            _ => false,
        };
        if !agrees {
            return Err(Refusal::malformed(
                "payment-signature and x-payment carry different payments: send one of them",
            ));
        }
    }
    Ok(Some(payment))
}

impl Payment {
    /// All that the client sent.
    pub fn raw(&self) -> &Map<String, Value> {
        match self {
            Self::Evm(payment) => &payment.raw,
            Self::Svm(payment) => &payment.raw,
        }
    }

    fn read(version: Version, raw: Map<String, Value>) -> Result<Self, Refusal> {
        payload::check_version(version, &raw)?;
        if svm::payment::Payment::is_in(payload::object(&raw, "payload")?) {
            svm::payment::Payment::read(version, raw).map(Self::Svm)
        } else {
            payload::payment(version, raw).map(Self::Evm)
        }
    }
}
