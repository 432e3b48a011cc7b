//! Verification by facilitators.

use serde_json::{Value, json};

use super::kit::{
    NOW, Purse, Shop, TRANSACTION, answer, decode, faults, payer, refused_connection, reply,
    timeout, urls, usdc, valid,
};
use crate::api::{ErrorCode, Offer, Verification};
use crate::evm;

fn refusal_reason(verification: Verification) -> String {
    match verification {
        Verification::Refused(refusal) => refusal.reason,
        Verification::Authorized(_) => panic!("authorized"),
    }
}

#[test]
fn a_good_payment_is_authorized_in_either_version() {
    let purse = Purse::new(&usdc());
    for headers in [purse.v2(), purse.v1()] {
        let payment = Shop::new().authorized(&headers);
        assert_eq!(payment.amount, "10000");
        assert_eq!(payment.pay_to, usdc().pay_to);
        assert_eq!(payment.valid_before, NOW + 60);
        assert_eq!(payment.id.chain, "eip155:84532");
        assert_eq!(payment.id.asset, usdc().asset.to_lowercase());
        assert_eq!(payment.id.payer, evm::text(payer()));
        assert_eq!(payment.id.nonce, format!("0x{}", "09".repeat(32)));
    }
}

#[test]
fn the_facilitator_gets_the_clients_payment_and_our_requirements() {
    let mut purse = Purse::new(&usdc());
    purse.edit = Box::new(|payment| {
        if payment["x402Version"] == 2 {
            payment["accepted"]["extra"]["more"] = json!(1);
        }
        payment["extensions"] = json!({"payment-identifier": {"id": "x"}});
    });
    let shop = Shop::new();

    let (_, asked) = shop.verify(&purse.v2(), vec![valid()]);
    assert_eq!(urls(&asked), ["http://one.example/verify"]);
    assert_eq!(
        asked[0].1,
        json!({
            "x402Version": 2,
            "paymentPayload": purse.json(),
            "paymentRequirements": {
                "scheme": "exact",
                "network": "eip155:84532",
                "amount": "10000",
                "asset": usdc().asset,
                "payTo": usdc().pay_to,
                "maxTimeoutSeconds": 60,
                "extra": {"name": "USDC", "version": "2"},
            },
        })
    );

    let (_, asked) = shop.verify(&purse.v1(), vec![valid()]);
    let body = &asked[0].1;
    assert_eq!(body["x402Version"], 1);
    assert_eq!(body["paymentPayload"], purse.v1_json());
    assert_eq!(body["paymentRequirements"]["maxAmountRequired"], "10000");
    assert_eq!(body["paymentRequirements"]["network"], "base-sepolia");
    assert_eq!(body["paymentRequirements"]["resource"], shop.info.url);
}

#[test]
fn in_version_1_the_offer_is_the_one_that_was_signed_for() {
    let mut shop = Shop::new();
    let euro = Offer {
        asset: "0x808456652fdb597867f38412077A9182bf77359F".to_owned(),
        extra: Some(r#"{"name":"EURC","version":"2"}"#.to_owned()),
        ..usdc()
    };
    shop.offers = vec![usdc(), euro.clone()];
    let payment = shop.authorized(&Purse::new(&euro).v1());
    assert_eq!(payment.id.asset, euro.asset.to_lowercase());
}

#[test]
fn a_refusal_by_the_facilitator_is_passed_on_whatever_its_status() {
    let purse = Purse::new(&usdc());
    for status in [200, 400, 402, 412, 500, 503] {
        let refused = json!({"isValid": false, "invalidReason": "insufficient_funds"});
        let (verification, _) = Shop::new().verify(&purse.v2(), vec![reply(status, &refused)]);
        let Verification::Refused(refusal) = verification.unwrap() else {
            panic!("authorized with status {status}");
        };
        assert_eq!(refusal.reason, "insufficient_funds");
        assert_eq!(refusal.challenge.status, 402);
        let told = decode(&refusal.challenge.headers, "payment-required");
        assert_eq!(told["error"], "insufficient_funds");
    }
}

#[test]
fn unknown_reasons_are_passed_on_bounded_and_in_ascii() {
    let long = "x".repeat(1000);
    for (given, told) in [
        ("a_reason_of_tomorrow", "a_reason_of_tomorrow"),
        ("line\nbreak\r ä", "linebreak"),
        (long.as_str(), &long[..96]),
        ("", "unexpected_verify_error"),
    ] {
        let refused = json!({"isValid": false, "invalidReason": given});
        let (verification, _) =
            Shop::new().verify(&Purse::new(&usdc()).v2(), vec![reply(200, &refused)]);
        assert_eq!(refusal_reason(verification.unwrap()), told);
    }
}

#[test]
fn only_the_facilitator_decides_on_a_signature_that_is_not_the_payers_key() {
    let mut purse = Purse::new(&usdc());
    purse.mend = |_| [0x64, 0x92].repeat(160);
    let no = json!({"isValid": false, "invalidReason": "invalid_exact_evm_signature"});
    let (verification, _) = Shop::new().verify(&purse.v2(), vec![reply(200, &no)]);
    assert_eq!(
        refusal_reason(verification.unwrap()),
        "invalid_exact_evm_signature"
    );
    Shop::new().authorized(&purse.v2());
}

#[test]
fn an_account_with_code_signs_well_and_the_facilitators_no_stands() {
    // EIP-7702: offline this is a good payment, and the token refuses it.
    let no = json!({"isValid": false, "invalidReason": "invalid_exact_evm_signature"});
    let (verification, _) = Shop::new().verify(&Purse::new(&usdc()).v2(), vec![reply(200, &no)]);
    assert_eq!(
        refusal_reason(verification.unwrap()),
        "invalid_exact_evm_signature"
    );
}

/// What is no answer, in verification.
fn no_answers() -> Vec<(&'static str, super::kit::Reply)> {
    let yes = json!({"isValid": true, "payer": evm::text(payer())});
    let mut no_answers = faults();
    no_answers.extend([
        ("yes with 503", reply(503, &yes)),
        ("yes with 402", reply(402, &yes)),
        (
            "a failure with 500",
            reply(
                500,
                &json!({"isValid": false, "invalidReason": "unexpected_verify_error"}),
            ),
        ),
        ("yes in words", reply(200, &json!({"isValid": "true"}))),
        (
            "yes twice",
            answer(200, r#"{"isValid":false,"isValid":true}"#),
        ),
        ("connection refused", refused_connection()),
        (
            "another payer",
            reply(200, &json!({"isValid": true, "payer": usdc().pay_to})),
        ),
        (
            "no address",
            reply(200, &json!({"isValid": true, "payer": "me"})),
        ),
        (
            "a number for the payer",
            reply(200, &json!({"isValid": true, "payer": 1})),
        ),
        (
            "another network",
            reply(200, &json!({"isValid": true, "network": "eip155:1"})),
        ),
        (
            "another amount",
            reply(200, &json!({"isValid": true, "amount": "1"})),
        ),
    ]);
    no_answers
}

#[test]
fn what_is_no_answer_leaves_a_payment_neither_accepted_nor_refused() {
    for (name, fault) in no_answers() {
        let (answer, _) = Shop::new().verify(&Purse::new(&usdc()).v2(), vec![fault]);
        let error: ErrorCode = answer.map(drop).unwrap_err().into();
        let ErrorCode::Unavailable(text) = error else {
            panic!("{name}: {error:?}");
        };
        assert!(!text.contains("example"), "no URL in an error: {text}");
    }
}

#[test]
fn what_is_no_answer_is_asked_of_the_next_facilitator() {
    for (name, fault) in no_answers() {
        let shop = Shop::with_two_facilitators();
        let (answer, asked) = shop.verify(&Purse::new(&usdc()).v2(), vec![fault, valid()]);
        assert!(matches!(answer, Ok(Verification::Authorized(_))), "{name}");
        assert_eq!(
            urls(&asked),
            [
                "http://one.example/verify",
                "http://two.example/x402/verify"
            ]
        );
    }
}

#[test]
fn a_refusal_is_not_asked_of_the_next_facilitator() {
    let refused = json!({"isValid": false, "invalidReason": "insufficient_funds"});
    let shop = Shop::with_two_facilitators();
    let (_, asked) = shop.verify(&Purse::new(&usdc()).v2(), vec![reply(200, &refused)]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn the_payer_in_the_answer_may_be_absent_or_in_any_case() {
    for payer in [json!(payer().to_string()), Value::Null, json!("")] {
        let yes = json!({"isValid": true, "payer": payer});
        let (answer, _) = Shop::new().verify(&Purse::new(&usdc()).v2(), vec![reply(200, &yes)]);
        assert!(matches!(answer, Ok(Verification::Authorized(_))), "{payer}");
    }
}

#[test]
fn settlement_goes_to_the_facilitator_that_verified() {
    let shop = Shop::with_two_facilitators();
    let (answer, _) = shop.verify(&Purse::new(&usdc()).v2(), vec![timeout(), valid()]);
    let Ok(Verification::Authorized(payment)) = answer else {
        panic!("not authorized");
    };
    let success = json!({
        "success": true, "transaction": TRANSACTION, "network": "eip155:84532",
    });
    let (_, asked) = shop.settle(payment, vec![reply(200, &success)]);
    assert_eq!(urls(&asked), ["http://two.example/x402/settle"]);
}
