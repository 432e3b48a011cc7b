//! AES-256-GCM-SIV.

use super::*;

fn key() -> Vec<u8> {
    [vec![1], vec![0; 31]].concat()
}

fn nonce() -> Vec<u8> {
    [vec![3], vec![0; 11]].concat()
}

fn open(ciphertext: Vec<u8>) -> Result<Vec<u8>, ErrorCode> {
    Instance::default()
        .crypto()
        .aes_gcm_siv_open(key(), nonce(), vec![], ciphertext)
}

#[test]
fn matches_rfc_8452_c_2() {
    for (plaintext, aad, expected) in [
        ("", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
        (
            "0100000000000000",
            "",
            "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28",
        ),
        (
            "0200000000000000",
            "01",
            "1de22967237a813291213f267e3b452f02d01ae33e4ec854",
        ),
    ] {
        let mut instance = Instance::default();
        let mut crypto = instance.crypto();
        let sealed = crypto.aes_gcm_siv_seal(key(), nonce(), hex(aad), hex(plaintext));
        assert_eq!(sealed, Ok(hex(expected)));
        let opened = crypto.aes_gcm_siv_open(key(), nonce(), hex(aad), hex(expected));
        assert_eq!(opened, Ok(hex(plaintext)));
    }
}

#[test]
fn refuses_a_changed_ciphertext_tag_nonce_key_and_associated_data() {
    let sealed = hex("c2ef328e5c71c83b843122130f7364b761e0b97427e3df28");
    for byte in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[byte] ^= 1;
        assert_eq!(open(changed), Err(ErrorCode::AuthenticationFailed));
    }
    let mut instance = Instance::default();
    let mut crypto = instance.crypto();
    for (key, nonce, aad) in [
        (vec![0; 32], nonce(), vec![]),
        (key(), vec![0; 12], vec![]),
        (key(), nonce(), vec![0]),
    ] {
        let opened = crypto.aes_gcm_siv_open(key, nonce, aad, sealed.clone());
        assert_eq!(opened, Err(ErrorCode::AuthenticationFailed));
    }
}

#[test]
fn refuses_wrong_lengths() {
    let mut instance = Instance::default();
    let mut crypto = instance.crypto();
    let sealed = crypto.aes_gcm_siv_seal(vec![0; 16], nonce(), vec![], vec![]);
    assert_eq!(sealed, Err(length("key", 16, 32, 32)));
    let sealed = crypto.aes_gcm_siv_seal(key(), vec![0; 13], vec![], vec![]);
    assert_eq!(sealed, Err(length("nonce", 13, 12, 12)));
    let most = CryptoLimits::default().max_input as u64 + 16;
    assert_eq!(open(vec![0; 15]), Err(length("ciphertext", 15, 16, most)));
}

#[test]
fn what_can_be_sealed_can_be_opened() {
    let limits = CryptoLimits {
        max_input: 32,
        ..CryptoLimits::default()
    };
    let mut instance = Instance::with(limits);
    let mut crypto = instance.crypto();
    let sealed = crypto
        .aes_gcm_siv_seal(key(), nonce(), vec![], vec![7; 32])
        .unwrap();
    assert_eq!(
        crypto.aes_gcm_siv_open(key(), nonce(), vec![], sealed),
        Ok(vec![7; 32])
    );
    let sealed = crypto.aes_gcm_siv_seal(key(), nonce(), vec![], vec![7; 33]);
    assert_eq!(sealed, Err(length("plaintext", 33, 0, 32)));
}
