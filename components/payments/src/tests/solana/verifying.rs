//! Verification of payments on Solana, and what a payment is named by.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kit::{
    CURRENT, Draft, FEE_PAYER, FIRST, NETWORK, PAYER, accepted, offer, shop, shop_authorizes, v1,
    v2, valid,
};
use crate::api::{ErrorCode, Verification};
use crate::svm::{self, code, message};
use crate::tests::kit::{NOW, Purse, SoftCrypto, decode, reply, usdc};
use crate::{evm, verify};

#[test]
fn the_transactions_of_the_official_clients_are_good() {
    for (headers, transaction) in [(v2(CURRENT), CURRENT), (v1(FIRST), FIRST)] {
        let payment = shop_authorizes(&headers);
        let bytes = STANDARD.decode(transaction).unwrap();
        let digest = message::digest(message::split(&bytes).unwrap().1);
        assert_eq!(
            [
                &payment.id.chain,
                &payment.id.asset,
                &payment.id.payer,
                &payment.id.nonce
            ],
            [NETWORK, svm::USDC[1].1, PAYER, &evm::text(digest)]
        );
        assert_eq!(payment.amount, "10000");
        assert_eq!(payment.pay_to, offer().pay_to);
        assert_eq!(payment.valid_before, NOW + svm::LIFETIME);
    }
}

#[test]
fn who_signed_a_transaction_how_often_makes_no_second_payment_of_it() {
    let id = |transaction: &str| {
        let id = verify::identify(&v2(transaction), &shop().offers, &SoftCrypto);
        format!("{:?}", id.unwrap())
    };
    let mut signed = Draft::recorded();
    signed.mend = |bytes| bytes[1..129].fill(7);
    assert_eq!(id(CURRENT), id(&signed.transaction()));
    let named = shop_authorizes(&v2(CURRENT)).id;
    assert_eq!(id(CURRENT), format!("{named:?}"));
    let mut other = Draft::recorded();
    other.instructions[3].2[0] ^= 1;
    assert_ne!(id(CURRENT), id(&other.transaction()));
}

#[test]
fn both_headers_may_carry_one_transaction_and_not_two() {
    let same = [v2(CURRENT), v1(CURRENT)].concat();
    shop_authorizes(&same);
    let different = [v2(CURRENT), v1(FIRST)].concat();
    assert_eq!(shop().refused_offline(&different).reason, "invalid_payload");
    let purse = Purse::new(&usdc());
    let mixed = [v2(CURRENT), purse.v1()].concat();
    assert_eq!(shop().refused_offline(&mixed).reason, "invalid_payload");
}

#[test]
fn a_transaction_for_what_was_not_offered_is_refused() {
    let mut shop = shop();
    shop.offers.pop();
    for headers in [v2(CURRENT), v1(FIRST)] {
        assert_eq!(shop.refused_offline(&headers).reason, "invalid_network");
    }
}

#[test]
fn the_challenge_names_the_fee_payer_in_either_version() {
    let refusal = shop().refused_offline(&[]);
    let v2 = decode(&refusal.challenge.headers, "payment-required");
    assert_eq!(v2["accepts"][1], accepted());
    let v1: Value = serde_json::from_slice(&refusal.challenge.body).unwrap();
    assert_eq!(v1["accepts"][1]["network"], "solana-devnet");
    assert_eq!(v1["accepts"][1]["extra"]["feePayer"], FEE_PAYER);
}

#[test]
fn a_facilitator_without_the_fee_payers_key_is_passed_over_and_the_payer_is_not_blamed() {
    let without = || {
        reply(
            200,
            &json!({"isValid": false, "invalidReason": code::FEE_PAYER_NOT_MANAGED[0]}),
        )
    };
    let mut shop = shop();
    shop.variables[0].1.push_str(" http://two.example");
    let (answer, _) = shop.verify(&v2(CURRENT), vec![without(), valid()]);
    assert!(matches!(answer, Ok(Verification::Authorized(_))));
    let (answer, _) = shop.verify(&v2(CURRENT), vec![without(), without()]);
    match ErrorCode::from(answer.unwrap_err()) {
        ErrorCode::Unavailable(text) => assert!(text.contains("FEE_PAYERS"), "{text}"),
        other => panic!("{other:?}"),
    }
}
