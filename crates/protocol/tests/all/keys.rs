//! Which bytes are keys.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_protocol::{Error, PrivateKey, PublicKey};

/// The generator (SEC 2 §2.4.2).
const X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
/// The order of the group.
const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn hex(text: &str) -> Vec<u8> {
    const_hex::decode(text).unwrap()
}

fn private(text: &str) -> Result<PrivateKey, Error> {
    PrivateKey::from_bytes(&hex(text).try_into().unwrap())
}

#[test]
fn compressed_and_uncompressed_points_are_the_same_key() {
    let short = PublicKey::from_sec1(&hex(&format!("03{X}"))).unwrap();
    let long = PublicKey::from_sec1(&hex(&format!("04{X}{Y}"))).unwrap();
    assert_eq!(short, long);
    assert_eq!(short.to_string(), format!("03{X}"));
}

#[test]
fn a_known_key_is_recognised_in_both_forms_and_in_no_other() {
    let key = PublicKey::from_sec1(&hex(&format!("03{X}"))).unwrap();
    assert!(key.is_sec1(&hex(&format!("03{X}"))));
    assert!(key.is_sec1(&hex(&format!("04{X}{Y}"))));
    // The other root, a y that is not on the curve, and other lengths.
    assert!(!key.is_sec1(&hex(&format!("02{X}"))));
    assert!(!key.is_sec1(&hex(&format!("04{X}{X}"))));
    assert!(!key.is_sec1(&hex(X)));
    assert!(!key.is_sec1(&[]));
}

#[test]
fn one_is_the_private_key_of_the_generator() {
    let key = private(&format!("{:064x}", 1)).unwrap();
    assert_eq!(key.public_key().to_string(), format!("03{X}"));
}

#[test]
fn other_encodings_of_points_are_refused() {
    for text in [
        String::new(),
        // The identity, in one byte and padded.
        "00".to_owned(),
        "00".repeat(33),
        "00".repeat(65),
        // Compact (x alone) and hybrid forms.
        format!("05{X}"),
        X.to_owned(),
        format!("06{X}{Y}"),
        format!("07{X}{Y}"),
        // A first byte that belongs to the other length.
        format!("04{X}"),
        format!("03{X}{Y}"),
        // One byte more or less.
        format!("03{X}00"),
        format!("04{X}{}", &Y[2..]),
        // Not on the curve; a coordinate that is not reduced.
        format!("04{X}{X}"),
        format!("04{}", "00".repeat(64)),
        format!("02{}", "ff".repeat(32)),
    ] {
        let refused = PublicKey::from_sec1(&hex(&text));
        assert!(
            matches!(refused, Err(Error::InvalidPublicKey { .. })),
            "{text}"
        );
    }
}

#[test]
fn zero_and_the_group_order_are_no_private_keys() {
    for text in ["00".repeat(32), N.to_owned(), "ff".repeat(32)] {
        assert_eq!(private(&text).unwrap_err(), Error::InvalidPrivateKey);
    }
    // The largest, order - 1, is a key.
    assert!(private(&format!("{}50", &N[..62])).is_ok());
}

#[test]
fn generated_keys_differ() {
    let (a, b) = (PrivateKey::generate(), PrivateKey::generate());
    assert_ne!(a.public_key(), b.public_key());
}
