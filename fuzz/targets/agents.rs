//! What is spoken with agents.

use hypervisor_fuzz_kit::client::{self, Card, Reference};
use hypervisor_fuzz_kit::host;

use crate::bounded;

/// A field of two bytes is a name, a value and a place in a map; the host looks at how many there are before it reads them.
const TIMES: usize = 200;

/// Requests and responses in Binary HTTP.
pub(crate) fn binary_http(bytes: &[u8]) {
    if let Ok((request, trailers)) = bounded(bytes, TIMES, || host::request(bytes)) {
        assert!(request.body().len() <= bytes.len());
        assert!(request.headers().len() + trailers.len() <= bytes.len());
        assert!(request.uri().path().starts_with('/'));
    }
    if let Some((response, trailers)) = host::response(bytes) {
        // What has a place in the format comes back from it.
        if let Some(written) = host::encode(&response, &trailers) {
            let (again, after) = host::response(&written).unwrap();
            assert_eq!(again.status(), response.status());
            assert_eq!(again.headers(), response.headers());
            assert_eq!((again.body(), after), (response.body(), trailers));
        }
    }
    let whole = client::response(bytes);
    for size in [1, 7, bytes.len()] {
        let (head, content) = client::arriving(bytes, size);
        assert!(content.len() <= bytes.len());
        // An answer that arrives is the one that it is in the end. One that leaves out what is empty (RFC 9292 §3.8) need not arrive before.
        if let (Some((response, _)), Some(head)) = (&whole, head) {
            assert_eq!(&content, response.body());
            assert_eq!(head.status(), response.status());
            assert_eq!(head.headers(), response.headers());
        }
    }
}

/// Cards of agents and who signed them, names, and what a payment is asked for with.
pub(crate) fn cards(bytes: &[u8]) {
    if let Ok(card) = bounded(bytes, TIMES, || Card::parse(bytes)) {
        let again = Card::parse(card.canonical()).unwrap();
        assert_eq!(again.canonical(), card.canonical());
        assert!(!client::is_signed(&card, bytes), "it is signed by nobody");
    }
    if let Some(offers) = client::offers(bytes) {
        assert!((1..=32).contains(&offers));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(reference) = text.parse::<Reference>()
    {
        assert_eq!(reference.as_str(), text);
        let safe = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        assert!(text.bytes().all(safe));
    }
}
