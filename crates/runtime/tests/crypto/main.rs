//! The `crypto` import as a component sees it: known answers from the standards, and refusals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails should fail loudly"
)]

mod aead;
mod ecdsa;
mod ed25519;
mod hash;
mod signing_key;

use DigestAlgorithm::{Keccak256, Sha256, Sha384, Sha512};
use hypervisor_runtime::imports::crypto::{
    CryptoCtx, CryptoLimits, CryptoView, DigestAlgorithm, ErrorCode, Host, HostSigningKey, KeyRoot,
    LengthMismatch, NamedKeys, SigningKey, add_to_linker,
};
use proptest::collection::vec;
use proptest::prelude::*;
use wasmtime::Engine;
use wasmtime::component::{Linker, Resource, ResourceTable};

/// What a store would hold.
#[derive(Default)]
struct Instance {
    table: ResourceTable,
    ctx: CryptoCtx,
    named: Option<NamedKeys>,
}

impl Instance {
    fn with(limits: CryptoLimits) -> Self {
        Self {
            ctx: CryptoCtx::new(limits),
            ..Self::default()
        }
    }

    /// An instance of the program with this digest.
    fn of(root: &KeyRoot, program: [u8; 48]) -> Self {
        Self {
            named: Some(root.of(program)),
            ..Self::default()
        }
    }

    fn crypto(&mut self) -> CryptoView<'_> {
        CryptoView {
            table: &mut self.table,
            ctx: &mut self.ctx,
            named: self.named.clone(),
        }
    }

    fn key(&mut self) -> Result<Resource<SigningKey>, ErrorCode> {
        self.crypto().generate().expect("no trap")
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|it| !it.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}

fn length(parameter: &str, actual: u64, minimum: u64, maximum: u64) -> ErrorCode {
    ErrorCode::InvalidLength(LengthMismatch {
        parameter: parameter.to_owned(),
        actual,
        minimum,
        maximum,
    })
}

/// A resource handle names an entry of the table; a second one to the same entry is what a borrow is.
fn borrow(key: &Resource<SigningKey>) -> Resource<SigningKey> {
    Resource::new_borrow(key.rep())
}

#[test]
fn the_import_links_once() {
    let mut linker = Linker::<Instance>::new(&Engine::default());
    add_to_linker(&mut linker, Instance::crypto).expect("a first time");
    assert!(add_to_linker(&mut linker, Instance::crypto).is_err());
}

/// Bytes of any length, and often of one that passes the checks of lengths.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        vec(any::<u8>(), 32..=33),
        vec(any::<u8>(), 64..=65),
        (0..8u8, vec(any::<u8>(), 32)).prop_map(|(tag, rest)| [vec![tag], rest].concat()),
        vec(any::<u8>(), 12),
    ]
}

fn algorithm() -> impl Strategy<Value = DigestAlgorithm> {
    prop_oneof![Just(Sha256), Just(Sha384), Just(Sha512), Just(Keccak256)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_a_function_panic(
        algorithm in algorithm(), a in bytes(), b in bytes(), c in bytes(), d in bytes(), length: u32, id: u8,
    ) {
        let mut instance = Instance::default();
        let mut crypto = instance.crypto();
        prop_assert!(crypto.digest(algorithm, a.clone()).is_ok());
        prop_assert!(crypto.hmac(algorithm, a.clone(), b.clone()).is_ok());
        let _ = crypto.hmac_verify(algorithm, a.clone(), b.clone(), c.clone());
        let _ = crypto.hkdf(algorithm, a.clone(), b.clone(), c.clone(), length % 20_000);
        // Nobody finds a signature by chance.
        prop_assert!(crypto.p256_verify(a.clone(), b.clone(), c.clone()).is_err());
        prop_assert!(crypto.ed25519_verify(a.clone(), b.clone(), c.clone()).is_err());
        prop_assert!(crypto.secp256k1_verify(a.clone(), b.clone(), c.clone()).is_err());
        let _ = crypto.secp256k1_recover(a.clone(), b.clone(), id);
        let _ = crypto.aes_gcm_siv_seal(a.clone(), b.clone(), c.clone(), d.clone());
        prop_assert!(crypto.aes_gcm_siv_open(a, b, c, d).is_err());
    }

    #[test]
    fn a_recovered_key_verifies_the_signature(prehash: [u8; 32], r: [u8; 32], s: [u8; 32], id in 0..2u8) {
        let mut instance = Instance::default();
        let mut crypto = instance.crypto();
        let signature = [r, s].concat();
        if let Ok(key) = crypto.secp256k1_recover(prehash.into(), signature.clone(), id) {
            prop_assert_eq!(crypto.secp256k1_verify(key, prehash.into(), signature), Ok(()));
        }
    }

    #[test]
    fn sealing_is_undone_by_opening(key: [u8; 32], nonce: [u8; 12], aad in bytes(), plaintext in bytes()) {
        let mut instance = Instance::default();
        let mut crypto = instance.crypto();
        let sealed = crypto.aes_gcm_siv_seal(key.into(), nonce.into(), aad.clone(), plaintext.clone()).unwrap();
        prop_assert_eq!(sealed.len(), plaintext.len() + 16);
        prop_assert_eq!(crypto.aes_gcm_siv_open(key.into(), nonce.into(), aad, sealed), Ok(plaintext));
    }
}
