//! Ed25519.

use super::*;

// RFC 8032, section 7.1, test 2.
const KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

fn verify(key: Vec<u8>, message: &[u8], signature: Vec<u8>) -> Result<(), ErrorCode> {
    Instance::default()
        .crypto()
        .ed25519_verify(key, message.into(), signature)
}

#[test]
fn verifies_rfc_8032_test_2() {
    assert_eq!(verify(hex(KEY), &[0x72], hex(SIGNATURE)), Ok(()));
}

#[test]
fn refuses_another_message() {
    assert_eq!(
        verify(hex(KEY), &[0x73], hex(SIGNATURE)),
        Err(ErrorCode::VerificationFailed)
    );
}

#[test]
fn refuses_the_same_signature_with_the_group_order_added_to_s() {
    // L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032, section 5.1), little-endian.
    let order = hex("edd3f55c1a631258d69cf7a2def9de14 00000000000000000000000000000010");
    let mut signature = hex(SIGNATURE);
    let mut carry = 0;
    for (byte, addend) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(addend) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(
        verify(hex(KEY), &[0x72], signature),
        Err(ErrorCode::VerificationFailed)
    );
}

#[test]
fn refuses_keys_of_small_order() {
    let mut identity = vec![0; 32];
    identity[0] = 1;
    // Under the identity, R = identity and S = 0 would be a signature of every message.
    let signature = [identity.clone(), vec![0; 32]].concat();
    assert_eq!(
        verify(identity, b"anything", signature),
        Err(ErrorCode::InvalidPublicKey)
    );
}

#[test]
fn refuses_keys_in_another_than_their_one_encoding() {
    // y = p + 3 decodes like y = 3, which is on the curve and not of small order.
    let canonical = [vec![3], vec![0; 31]].concat();
    let other = [vec![0xf0], vec![0xff; 30], vec![0x7f]].concat();
    assert_eq!(
        verify(canonical, b"", vec![0; 64]),
        Err(ErrorCode::VerificationFailed)
    );
    assert_eq!(
        verify(other, b"", vec![0; 64]),
        Err(ErrorCode::InvalidPublicKey)
    );
}

#[test]
fn refuses_what_is_not_a_point_and_wrong_lengths() {
    let not_a_point = [vec![2], vec![0; 31]].concat();
    assert_eq!(
        verify(not_a_point, b"", vec![0; 64]),
        Err(ErrorCode::InvalidPublicKey)
    );
    assert_eq!(
        verify(vec![0; 33], b"", vec![0; 64]),
        Err(length("public-key", 33, 32, 32))
    );
    assert_eq!(
        verify(hex(KEY), b"", vec![0; 63]),
        Err(length("signature", 63, 64, 64))
    );
}
