//! The offline verdict, row by row: what USDC's own code and @x402/evm 2.27 accept and refuse.
//!
//! What only the chain can refuse must not be *good* by mistake and must not be refused either, where a contract wallet
//! could have signed it.

use alloy_primitives::{U256, b256};

use super::kit::{NOW, Purse, Shop, SoftCrypto, evm_terms, header, payer, read_evm, usdc};
use crate::contract::signing_hash;
use crate::evm;
use crate::offer::Terms;
use crate::offline::{self, Verdict};

fn terms() -> Terms {
    evm_terms(&[usdc()]).remove(0)
}

/// The verdict in one word, or the reason code.
fn verdict_at(purse: &Purse, now: u64) -> String {
    let payment = read_evm(&purse.v2()).unwrap();
    match offline::check(&payment, &terms(), now, &SoftCrypto).unwrap() {
        Verdict::Good => "good".to_owned(),
        Verdict::Undecided => "undecided".to_owned(),
        Verdict::Refused(refusal) => refusal.code.into_owned(),
    }
}

/// The same signature with the other `s`.
fn high_s(mut signature: Vec<u8>) -> Vec<u8> {
    let order = U256::from_be_bytes(
        b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0,
    );
    let s = order - U256::from_be_slice(&signature[32..64]);
    signature[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    signature[64] = 27 + 28 - signature[64];
    signature
}

#[test]
fn the_verdict_is_that_of_the_token_and_the_reference_facilitator() {
    const SIGNATURE: &str = "invalid_exact_evm_payload_signature";
    const VALUE: &str = "invalid_exact_evm_payload_authorization_value_mismatch";
    const BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
    const AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
    const RECIPIENT: &str = "invalid_exact_evm_payload_recipient_mismatch";
    type Change = fn(&mut Purse);
    let rows: [(&str, Change, &str); 21] = [
        ("valid", |_| (), "good"),
        (
            "flipped bit",
            |p| {
                p.mend = |mut s| {
                    s[5] ^= 1;
                    s
                }
            },
            "undecided",
        ),
        (
            "64 bytes",
            |p| {
                p.mend = |mut s| {
                    s.pop();
                    s
                }
            },
            "undecided",
        ),
        (
            "66 bytes",
            |p| {
                p.mend = |mut s| {
                    s.push(0);
                    s
                }
            },
            "undecided",
        ),
        (
            "wrapped by ERC-6492",
            |p| p.mend = |_| [0x64, 0x92].repeat(160),
            "undecided",
        ),
        ("all zeros", |p| p.mend = |_| vec![0; 65], "undecided"),
        ("all ones", |p| p.mend = |_| vec![0xff; 65], "undecided"),
        ("no signature", |p| p.mend = |_| vec![], SIGNATURE),
        ("high s", |p| p.mend = high_s, SIGNATURE),
        (
            "v 0 or 1",
            |p| {
                p.mend = |mut s| {
                    s[64] -= 27;
                    s
                }
            },
            SIGNATURE,
        ),
        (
            "high s and v 0 or 1",
            |p| {
                p.mend = |s| {
                    let mut s = high_s(s);
                    s[64] -= 27;
                    s
                }
            },
            SIGNATURE,
        ),
        (
            "the other v",
            |p| {
                p.mend = |mut s| {
                    s[64] = 55 - s[64];
                    s
                }
            },
            "undecided",
        ),
        (
            "chain id of another domain",
            |p| p.signed_for.network = "eip155:8453".into(),
            "undecided",
        ),
        (
            "token of another domain",
            |p| p.signed_for.asset = p.offer.pay_to.clone(),
            "undecided",
        ),
        (
            "name of another domain",
            |p| p.signed_for.extra = Some(r#"{"name":"USD Coin","version":"2"}"#.into()),
            "undecided",
        ),
        (
            "someone else paid",
            |p| p.authorization.to = payer(),
            RECIPIENT,
        ),
        (
            "999 for 1000",
            |p| p.authorization.value = U256::from(9_999),
            VALUE,
        ),
        (
            "1001 for 1000",
            |p| p.authorization.value = U256::from(10_001),
            VALUE,
        ),
        (
            "expired",
            |p| p.authorization.valid_before = U256::from(NOW),
            BEFORE,
        ),
        (
            "expires in 3 s",
            |p| p.authorization.valid_before = U256::from(NOW + 3),
            BEFORE,
        ),
        (
            "not valid yet",
            |p| p.authorization.valid_after = U256::from(NOW + 1),
            AFTER,
        ),
    ];
    for (name, change, expected) in rows {
        let mut purse = Purse::new(&usdc());
        change(&mut purse);
        assert_eq!(verdict_at(&purse, NOW), expected, "{name}");
    }
}

#[test]
fn the_window_holds_to_the_second() {
    let before = "invalid_exact_evm_payload_authorization_valid_before";
    let mut purse = Purse::new(&usdc());
    purse.authorization.valid_after = U256::from(NOW);
    for (valid_before, expected) in [
        (U256::from(NOW + 5), before),
        (U256::from(NOW + 6), "good"),
        (U256::from(NOW + 60 + offline::SLACK), "good"),
        (U256::from(NOW + 61 + offline::SLACK), before),
        (U256::from(u64::MAX) + U256::from(NOW + 6), before),
        (U256::MAX, before),
    ] {
        purse.authorization.valid_before = valid_before;
        assert_eq!(verdict_at(&purse, NOW), expected, "{valid_before}");
    }
}

/// The header of an example in the specification.
fn example(name: &str, value: &str) -> Vec<crate::api::Header> {
    vec![header(name, value.trim())]
}

const V2: &str = include_str!("../../../../tests/vectors/x402/v2-payment-signature.txt");
const V1: &str = include_str!("../../../../tests/vectors/x402/v1-x-payment.txt");

#[test]
fn the_example_of_the_specification_is_good_while_it_is_valid() {
    for headers in [example("PAYMENT-SIGNATURE", V2), example("X-PAYMENT", V1)] {
        let payment = read_evm(&headers).unwrap();
        let terms = terms();
        let verdict = |now| offline::check(&payment, &terms, now, &SoftCrypto).unwrap();
        assert_eq!(verdict(1_740_672_089), Verdict::Good);
        assert_eq!(verdict(1_740_672_148), Verdict::Good);
        assert!(matches!(verdict(1_740_672_088), Verdict::Refused(_)));
        assert!(matches!(verdict(1_740_672_149), Verdict::Refused(_)));
    }
}

#[test]
fn the_example_is_refused_today() {
    let refusal = Shop::new().refused_offline(&example("PAYMENT-SIGNATURE", V2));
    assert_eq!(
        refusal.reason,
        "invalid_exact_evm_payload_authorization_valid_before"
    );
}

#[test]
fn the_examples_signature_is_not_good_where_other_examples_reuse_it() {
    // Other documents put these 65 bytes under authorizations that they do not sign. This is one of a draft of a scheme
    // with delayed settlement, as if it were `exact`.
    let original = read_evm(&example("PAYMENT-SIGNATURE", V2)).unwrap();
    let mut offer = usdc();
    offer.network = "eip155:43114".to_owned();
    offer.asset = "0xb2F85b7AB3c2b6f62DF06dE6aE7D09c010a5096E".to_owned();
    offer.amount = "4500000".to_owned();
    offer.pay_to = "0x7a8fDE09C400325C8B1fCe870C89d3f68A26D30d".to_owned();
    offer.max_timeout_seconds = 3600;
    offer.extra = Some(r#"{"name":"XSGD","version":"2"}"#.to_owned());
    let mut purse = Purse::new(&offer);
    let authorization = &mut purse.authorization;
    authorization.from = evm::address("0x855A4b2085B16065204c379439773a4F9Ef7F424").unwrap();
    authorization.valid_after = U256::from(1_786_822_425);
    authorization.valid_before = U256::from(1_786_826_025);
    let mut payment = read_evm(&purse.v2()).unwrap();
    payment.signature = original.signature;
    let terms = evm_terms(&[offer]).remove(0);
    let verdict = offline::check(&payment, &terms, 1_786_822_425, &SoftCrypto).unwrap();
    assert_eq!(verdict, Verdict::Undecided);
}

#[test]
fn the_hash_binds_every_field() {
    let authorization = Purse::new(&usdc()).authorization;
    let hash = signing_hash(&authorization, &terms());
    let mut others = vec![authorization.clone(); 6];
    others[0].from = authorization.to;
    others[1].to = authorization.from;
    others[2].value += U256::from(1);
    others[3].valid_after += U256::from(1);
    others[4].valid_before += U256::from(1);
    others[5].nonce = [8; 32].into();
    for other in others {
        assert_ne!(signing_hash(&other, &terms()), hash, "{other:?}");
    }
}
