//! Whatever comes from outside, there is an answer and no panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::kit::{NOW, Purse, Shop, SoftCrypto, encode, evm_terms, header, payer, read_evm, usdc};
use crate::api::Verification;
use crate::facilitator::{self, Expected, Settled, Verified};
use crate::header::Version;
use crate::ports::Answer;
use crate::{evm, verify};

/// JSON of any shape, with the protocol's own words in it.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("exact".to_owned()),
        Just("eip155:84532".to_owned()),
        Just("base-sepolia".to_owned()),
        Just(usdc().asset),
        Just(format!("0x{}", "09".repeat(32))),
        "[0-9]{0,80}",
        "0x[0-9a-f]{0,140}",
        ".{0,20}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "x402Version",
        "scheme",
        "network",
        "accepted",
        "payload",
        "signature",
        "authorization",
        "from",
        "to",
        "value",
        "validAfter",
        "validBefore",
        "nonce",
        "asset",
        "extra",
        "isValid",
        "success",
        "transaction",
        "payer",
        "errorReason",
        "z",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<Map<_, _>>()
                    .into()
            }),
        ]
    })
}

/// Any value in the place of any member of a good payment.
fn mutated_payment() -> impl Strategy<Value = Value> {
    let paths = vec![
        "/x402Version",
        "/accepted",
        "/accepted/scheme",
        "/accepted/network",
        "/accepted/asset",
        "/accepted/amount",
        "/accepted/extra",
        "/payload",
        "/payload/signature",
        "/payload/authorization",
        "/payload/authorization/from",
        "/payload/authorization/to",
        "/payload/authorization/value",
        "/payload/authorization/validAfter",
        "/payload/authorization/validBefore",
        "/payload/authorization/nonce",
    ];
    (prop::sample::select(paths), any_json()).prop_map(|(path, value)| {
        let mut payment = Purse::new(&usdc()).json();
        *payment.pointer_mut(path).unwrap() = value;
        payment
    })
}

proptest! {
    #[test]
    fn any_header_is_refused_without_a_request(name in "(PAYMENT-SIGNATURE|payment-signature|X-Payment)", value in ".{0,400}") {
        let refusal = Shop::new().refused_offline(&[header(&name, &value)]);
        prop_assert_eq!(refusal.reason, "invalid_payload");
    }

    #[test]
    fn any_json_in_a_header_is_refused_without_a_request(value in any_json(), v1: bool) {
        let name = if v1 { "X-PAYMENT" } else { "PAYMENT-SIGNATURE" };
        Shop::new().refused_offline(&[header(name, &encode(&value))]);
    }

    #[test]
    fn a_payment_changed_anywhere_is_read_or_refused(payment in mutated_payment()) {
        let headers = [header("PAYMENT-SIGNATURE", &encode(&payment))];
        let terms = evm_terms(&[usdc()]);
        if let Some(payment) = read_evm(&headers) {
            verify::identify(&headers, &[usdc()], &SoftCrypto);
            verify::choose(&payment, &terms, NOW, &SoftCrypto).unwrap().ok();
        }
    }

    #[test]
    fn any_signature_gets_a_verdict(signature in prop::collection::vec(any::<u8>(), 60..70)) {
        let mut payment = read_evm(&Purse::new(&usdc()).v2()).unwrap();
        payment.signature = signature;
        let terms = evm_terms(&[usdc()]);
        prop_assert!(verify::choose(&payment, &terms, NOW, &SoftCrypto).unwrap().is_ok());
    }

    #[test]
    fn any_answer_of_a_facilitator_is_read(status in 100u16..600, body in prop_oneof![
        any_json().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..200),
    ]) {
        let shop = Shop::new();
        let payment = shop.authorized(&Purse::new(&usdc()).v2());
        let expected = Expected::new(Version::V2, &payment).unwrap();
        let answer = Answer { status, body };
        let verified = facilitator::read_verified(&answer, &expected);
        let settled = facilitator::read_settled(&answer, &expected);
        if !(200..300).contains(&status) {
            prop_assert_ne!(verified, Verified::Valid);
            prop_assert!(!matches!(settled, Settled::Made(_)));
        }
    }

    #[test]
    fn amounts_are_read_as_they_are_written(words: [u64; 4]) {
        let amount = alloy_primitives::U256::from_limbs(words);
        prop_assert_eq!(evm::amount(&amount.to_string()), Some(amount));
    }
}

#[test]
fn a_payment_in_json_with_space_around_it_is_the_same_payment() {
    let payment = Purse::new(&usdc()).json();
    let spaced = serde_json::to_string_pretty(&payment).unwrap();
    use base64::Engine;
    let value = base64::engine::general_purpose::STANDARD.encode(format!("\n{spaced}\n"));
    let (answer, asked) = Shop::new().verify(
        &[header("PAYMENT-SIGNATURE", &value)],
        vec![super::kit::reply(
            200,
            &json!({"isValid": true, "payer": evm::text(payer())}),
        )],
    );
    assert!(matches!(answer, Ok(Verification::Authorized(_))));
    assert_eq!(asked[0].1["paymentPayload"], payment);
}
