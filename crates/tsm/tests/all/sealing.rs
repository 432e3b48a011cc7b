//! Sealing keys, as far as they can be tested without a firmware that derives them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_evidence::{Attester, SealingKey};
use hypervisor_tsm::{Error, SystemFs, Tsm, TsmFs};
use rustix::io::Errno;

use crate::support::{open, snp, tdx};

fn key(tsm: &impl Attester, label: &[u8]) -> Option<[u8; 32]> {
    let key = tsm.sealing_key(label).unwrap();
    key.map(|key| *key.as_bytes())
}

/// The attester of an SEV-SNP guest whose firmware derives `secret`.
fn deriving(secret: [u8; 32]) -> Tsm {
    let kernel = snp();
    kernel.derives(secret);
    open(&kernel).unwrap()
}

fn refusal(errno: Errno) -> Error {
    let kernel = snp();
    kernel.refuse_keys(errno);
    let tsm = open(&kernel).unwrap();
    tsm.sealing_key(b"label").err().unwrap()
}

#[test]
fn a_key_is_the_same_after_a_restart() {
    let before = key(&deriving([7; 32]), b"label");
    assert!(before.is_some());
    assert_eq!(before, key(&deriving([7; 32]), b"label"));
}

#[test]
fn another_secret_of_the_firmware_is_another_key() {
    assert_ne!(
        key(&deriving([7; 32]), b"label"),
        key(&deriving([8; 32]), b"label")
    );
}

#[test]
fn labels_separate_keys() {
    let tsm = deriving([7; 32]);
    assert_ne!(key(&tsm, b"label"), key(&tsm, b"other"));
    assert_ne!(key(&tsm, b"label"), key(&tsm, b""));
}

#[test]
fn the_firmwares_own_key_is_not_given_away() {
    assert_ne!(key(&deriving([7; 32]), b""), Some([7; 32]));
}

#[test]
fn the_derivation_is_hkdf_sha_256() {
    // HMAC-SHA-256(HMAC-SHA-256("hypervisor/v1 sealing key", 32 bytes 07), "label" ‖ 01), computed with Python's hmac.
    assert_eq!(
        const_hex::encode(key(&deriving([7; 32]), b"label").unwrap()),
        "cfd1d9660e53b69ce4209bf92662f8b40b0a172e745c555c82924bf8d0091dd0"
    );
}

#[test]
fn the_bytes_of_a_key_can_be_kept() {
    let key = SealingKey::derive(&[7; 32], b"label");
    let bytes = *key.as_bytes();
    assert_eq!(*key.into_bytes(), bytes);
}

#[test]
fn a_guest_without_the_drivers_device_has_no_key() {
    let kernel = snp();
    assert_eq!(key(&open(&kernel).unwrap(), b"label"), None);
    kernel.refuse_keys(Errno::NOENT);
    assert_eq!(key(&open(&kernel).unwrap(), b"label"), None);
}

#[test]
fn tdx_gives_a_guest_no_key() {
    let kernel = tdx();
    kernel.derives([7; 32]);
    assert_eq!(key(&open(&kernel).unwrap(), b"label"), None);
}

#[test]
fn a_device_that_may_not_be_opened_is_named() {
    assert_eq!(
        refusal(Errno::ACCESS),
        Error::NoPermission {
            path: "/dev/sev-guest".into()
        }
    );
}

#[test]
fn a_firmware_that_refuses_is_an_error_and_not_a_missing_key() {
    assert!(matches!(refusal(Errno::IO), Error::NoSealingKey { .. }));
}

#[test]
fn a_key_of_zeros_is_refused() {
    let error = deriving([0; 32]).sealing_key(b"label").err().unwrap();
    assert!(matches!(error, Error::NoSealingKey { .. }));
}

#[test]
fn a_machine_without_the_drivers_device_is_told_apart() {
    if !std::path::Path::new("/dev/sev-guest").exists() {
        let error = SystemFs.snp_derived_key().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
