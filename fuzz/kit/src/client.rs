//! What the client reads.

mod arriving;
mod card;
mod message;
mod payment;
mod reference;

use http::{HeaderMap, Response};

pub use card::Card;
pub use reference::Reference;

/// A whole answer of a service, in Binary HTTP.
pub fn response(bytes: &[u8]) -> Option<(Response<Vec<u8>>, HeaderMap)> {
    message::response(bytes).ok()
}

/// The content of an answer that arrives in pieces of this size, and its head where that was understood.
pub fn arriving(bytes: &[u8], size: usize) -> (Option<Response<()>>, Vec<u8>) {
    let mut reader = arriving::Arriving::default();
    let (mut head, mut content) = (None, Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        let arrived = reader.push(piece);
        head = head.or(arrived.head);
        content.extend(arrived.content);
    }
    (head, content)
}

/// Whether a signature of a card holds under one of these keys.
pub fn is_signed(card: &Card, keys: &[u8]) -> bool {
    card::is_signed(card, keys)
}

/// How many offers a header PAYMENT-REQUIRED has.
pub fn offers(header: &[u8]) -> Option<usize> {
    payment::offers(header)
}
