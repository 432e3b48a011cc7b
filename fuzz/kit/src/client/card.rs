//! Cards of A2A, and who signed them.

mod document;
mod signature;

use crate::error::Error;

pub use document::Card;

pub(super) fn is_signed(card: &Card, keys: &[u8]) -> bool {
    signature::signatures(card).is_ok_and(|signatures| {
        let mut signatures = signatures.into_iter();
        signatures.any(|signature| signature.verify(card, keys).is_ok())
    })
}

fn refused(_check: &'static str, reason: impl Into<String>) -> Error {
    Error::Answer {
        what: "an A2A card",
        reason: reason.into(),
    }
}
