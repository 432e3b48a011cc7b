//! HKDF-SHA-256 as the key schedule uses it, against RFC 5869 appendix A.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use const_hex::{decode, encode};
use hkdf::Hkdf;
use sha2::Sha256;

fn check(ikm: &str, salt: &str, info: &str, prk: &str, okm: &str) {
    let hex = |text: &str| decode(text).unwrap();
    let (extracted, hkdf) = Hkdf::<Sha256>::extract(Some(&hex(salt)), &hex(ikm));
    assert_eq!(encode(extracted), prk);
    let mut expanded = vec![0; okm.len() / 2];
    let info = hex(info);
    // In two parts, as the label and the keys are given.
    let (head, tail) = info.split_at(info.len() / 2);
    hkdf.expand_multi_info(&[head, tail], &mut expanded)
        .unwrap();
    assert_eq!(encode(expanded), okm);
}

/// The bytes from `first` to `last`, in hex.
fn run(first: u8, last: u8) -> String {
    encode((first..=last).collect::<Vec<_>>())
}

#[test]
fn a_1_basic() {
    check(
        &"0b".repeat(22),
        &run(0x00, 0x0c),
        &run(0xf0, 0xf9),
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    );
}

#[test]
fn a_2_longer_inputs_and_outputs() {
    check(
        &run(0x00, 0x4f),
        &run(0x60, 0xaf),
        &run(0xb0, 0xff),
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
         59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
         cc30c58179ec3e87c14c01d5c1f3434f1d87",
    );
}

#[test]
fn a_3_no_salt_and_no_info() {
    check(
        &"0b".repeat(22),
        "",
        "",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    );
}
