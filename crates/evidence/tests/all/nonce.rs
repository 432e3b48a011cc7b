//! Nonces, from hex.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_evidence::VerifierNonce;

fn refusal(text: &str) -> String {
    text.parse::<VerifierNonce>().unwrap_err().to_string()
}

#[test]
fn a_nonce_is_16_to_64_bytes_of_hex() {
    let shortest: VerifierNonce = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
    assert_eq!(shortest.as_bytes().len(), 16);
    assert_eq!(shortest.to_string(), "000102030405060708090a0b0c0d0e0f");
    assert!("01ab".repeat(32).parse::<VerifierNonce>().is_ok());
}

#[test]
fn what_is_wrong_with_a_nonce_is_named_with_the_fix() {
    for (text, reason) in [
        (String::new(), "is empty"),
        ("0102".to_owned(), "is too short (2 bytes)"),
        ("01ab".repeat(33), "is too long"),
        ("zz".repeat(16), "is not hex"),
        ("0".repeat(31), "is not hex"),
        ("00".repeat(32), "is one byte repeated"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(reason), "{text}: {message}");
        assert!(message.contains("16 to 64 random bytes"), "{message}");
    }
}
