//! Headers of x402.

mod challenge;

use challenge::{Challenge, Requirements};

pub(super) fn offers(header: &[u8]) -> Option<usize> {
    let challenge = Challenge::from_header(header).ok()?;
    for offer in &challenge.accepts {
        let _ = challenge::object::<Requirements>(offer.get());
    }
    Some(challenge.accepts.len())
}

fn printable(text: &str) -> String {
    text.to_owned()
}
