//! `exact` and `upto` by Permit2.

use alloy_primitives::U256;
use serde_json::{Value, json};

use super::kit::{
    FACILITATOR, NOW, Purse, Shop, TRANSACTION, decode, evm_terms, payer, plain,
    refused_connection, reply, success, timeout, upto, urls, usdc,
};
use super::ledger::{BLOCK, block, chain_id, receipt, result, topic, transfer, word};
use crate::api::{AuthorizedPayment, Offer, Settlement, Verification};
use crate::contract::{Authorization, signing_hash};
use crate::permit2::{PERMIT2, place};
use crate::{evm, permit2};

fn shop(offer: Offer) -> Shop {
    Shop {
        offers: vec![offer],
        ..Shop::new()
    }
}

#[test]
fn what_is_signed_is_what_another_library_hashes() {
    for (offer, hash) in [
        (
            plain(),
            "0xdad73c18e062a61658b828d03f7a023612818b5eec04f106dcac21e77aaa5ee9",
        ),
        (
            upto(),
            "0x277ad47b8b5ccaeb94a2a914220c172efa1b45070fd0952ff5d1cea64d1ced13",
        ),
    ] {
        let terms = evm_terms(std::slice::from_ref(&offer));
        let authorization = Authorization {
            nonce: U256::from(7).into(),
            ..Purse::new(&offer).authorization
        };
        assert_eq!(evm::text(signing_hash(&authorization, &terms[0])), hash);
    }
}

#[test]
fn a_good_payment_is_authorized_and_named_by_its_nonce_in_decimal() {
    for offer in [plain(), upto()] {
        let payment = shop(offer.clone()).authorized(&Purse::new(&offer).v2());
        let nonce = U256::from_be_bytes([9; 32]);
        assert_eq!(payment.id.nonce, nonce.to_string());
        assert_eq!(payment.id.payer, evm::text(payer()));
        assert_eq!(payment.amount, "10000");
        // Permit2 takes it in the second of the deadline still.
        assert_eq!(payment.valid_before, NOW + 61);
    }
}

/// What is wrong with a payment, by which change, and the reason.
type Case = (&'static str, fn(&mut Purse));

#[test]
fn what_cannot_be_settled_is_refused_without_a_network() {
    let cases: [Case; 14] = [
        ("permit2_invalid_nonce", |purse| {
            purse.authorization.nonce = U256::from(7).into();
        }),
        // Whoever is paid is named in any transfer to them.
        ("permit2_invalid_nonce", |purse| {
            purse.authorization.nonce = purse.authorization.to.into_word();
        }),
        ("invalid_permit2_spender", |purse| {
            purse.authorization.permit.as_mut().unwrap().spender = payer();
        }),
        ("permit2_token_mismatch", |purse| {
            purse.authorization.permit.as_mut().unwrap().token = payer();
        }),
        ("invalid_permit2_recipient_mismatch", |purse| {
            purse.authorization.to = payer();
        }),
        ("permit2_amount_mismatch", |purse| {
            purse.authorization.value = U256::from(10_001);
        }),
        ("permit2_amount_mismatch", |purse| {
            purse.authorization.value = U256::from(9_999);
        }),
        ("permit2_deadline_expired", |purse| {
            purse.authorization.valid_before = U256::from(NOW + 5);
        }),
        ("permit2_deadline_expired", |purse| {
            purse.authorization.valid_before = U256::from(NOW + 3600);
        }),
        ("permit2_not_yet_valid", |purse| {
            purse.authorization.valid_after = U256::from(NOW + 1);
        }),
        ("invalid_permit2_signature", |purse| {
            purse.mend = |_| Vec::new();
        }),
        ("invalid_permit2_signature", |purse| {
            purse.mend = |mut signature| {
                signature[64] -= 27;
                signature
            };
        }),
        ("invalid_payload", |purse| {
            purse.edit = Box::new(|payment| {
                payment["payload"]["permit2Authorization"]["nonce"] = json!("07");
            });
        }),
        ("invalid_payload", |purse| {
            purse.edit = Box::new(|payment| {
                payment["payload"]["authorization"] = json!({});
            });
        }),
    ];
    for offer in [plain(), upto()] {
        for (reason, change) in &cases {
            let mut purse = Purse::new(&offer);
            change(&mut purse);
            let refusal = shop(offer.clone()).refused_offline(&purse.v2());
            assert_eq!(&refusal.reason, reason, "{}", offer.scheme);
        }
    }
}

#[test]
fn a_witness_that_names_another_facilitator_or_none_is_refused() {
    for facilitator in [Some(payer()), None] {
        let mut purse = Purse::new(&upto());
        purse.authorization.permit.as_mut().unwrap().facilitator = facilitator;
        let refusal = shop(upto()).refused_offline(&purse.v2());
        assert_eq!(refusal.reason, "upto_facilitator_mismatch");
    }
    let mut purse = Purse::new(&plain());
    purse.authorization.permit.as_mut().unwrap().facilitator = Some(payer());
    let refusal = shop(plain()).refused_offline(&purse.v2());
    assert_eq!(refusal.reason, "upto_facilitator_mismatch");
}

#[test]
fn a_payment_by_the_other_method_is_refused_though_all_else_is_as_offered() {
    for (offered, paid) in [(usdc(), plain()), (plain(), usdc()), (upto(), usdc())] {
        let mut purse = Purse::new(&paid);
        let accepted = evm_terms(std::slice::from_ref(&offered))[0].v2();
        purse.edit = Box::new(move |payment| payment["accepted"] = accepted.clone());
        let refusal = shop(offered).refused_offline(&purse.v2());
        assert_eq!(refusal.reason, "invalid_payload");
    }
}

#[test]
fn version_1_is_not_offered_what_it_cannot_pay() {
    let shop = Shop {
        offers: vec![upto(), plain()],
        ..Shop::new()
    };
    let refusal = shop.refused_offline(&[]);
    let v1: Value = serde_json::from_slice(&refusal.challenge.body).unwrap();
    assert_eq!(v1["accepts"], json!([]));
    let v2 = decode(&refusal.challenge.headers, "payment-required");
    assert_eq!(v2["accepts"][0]["scheme"], "upto");
    assert_eq!(v2["accepts"][0]["extra"]["facilitatorAddress"], FACILITATOR);
    assert_eq!(v2["accepts"][1]["extra"]["assetTransferMethod"], "permit2");
    assert_eq!(
        shop.refused_offline(&Purse::new(&usdc()).v1()).reason,
        "invalid_network"
    );
}

#[test]
fn an_allowance_that_is_missing_is_told_with_its_own_status() {
    let no = json!({"isValid": false, "invalidReason": "permit2_allowance_required"});
    let (verification, _) = shop(upto()).verify(&Purse::new(&upto()).v2(), vec![reply(200, &no)]);
    let Ok(Verification::Refused(refusal)) = verification else {
        panic!("authorized");
    };
    assert_eq!(refusal.reason, "permit2_allowance_required");
    assert_eq!(refusal.challenge.status, 412);
}

#[test]
fn what_is_signed_for_one_facilitator_is_brought_to_no_other() {
    let shop = Shop {
        offers: vec![upto()],
        ..Shop::with_two_facilitators()
    };
    let headers = Purse::new(&upto()).v2();
    let (answer, asked) = shop.verify(&headers, vec![refused_connection()]);
    assert!(answer.is_err());
    assert_eq!(urls(&asked), ["http://one.example/verify"]);
    let payment = shop.authorized(&headers);
    let (settlement, asked) = shop.settle_part(
        payment,
        "1",
        vec![refused_connection(), refused_connection()],
    );
    assert!(matches!(settlement, Settlement::Unknown(_)));
    assert_eq!(urls(&asked), ["http://one.example/settle"; 2]);
}

fn amount(value: &Value) -> &Value {
    &value["paymentRequirements"]["amount"]
}

#[test]
fn what_the_work_came_to_is_taken_and_told() {
    let shop = shop(upto());
    let payment = shop.authorized(&Purse::new(&upto()).v2());
    let mut answer = success();
    answer["amount"] = json!("1234");
    let (settlement, asked) = shop.settle_part(payment, "1234", vec![reply(200, &answer)]);
    let Settlement::Settled(receipt) = settlement else {
        panic!("{settlement:?}");
    };
    assert_eq!(receipt.amount, "1234");
    let told = decode(&receipt.headers, "payment-response");
    assert_eq!(told["amount"], "1234");
    assert_eq!(amount(&asked[0].1), "1234");
    let accepted = &asked[0].1["paymentPayload"]["accepted"];
    assert_eq!(accepted["amount"], "10000", "the client's words stay");
}

#[test]
fn a_facilitator_that_took_another_amount_is_not_believed() {
    let shop = shop(upto());
    let payment = shop.authorized(&Purse::new(&upto()).v2());
    let mut answer = success();
    answer["amount"] = json!("10000");
    let (settlement, _) = shop.settle_part(payment, "1234", vec![reply(200, &answer)]);
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );
}

#[test]
fn more_than_was_signed_nothing_and_part_of_an_exact_payment_are_not_taken() {
    for (offer, part) in [
        (upto(), "10001"),
        (upto(), "0"),
        (upto(), ""),
        (upto(), "01"),
        (plain(), "1"),
        (usdc(), "1"),
    ] {
        let shop = shop(offer.clone());
        let payment = shop.authorized(&Purse::new(&offer).v2());
        let (settlement, _) = shop.settle_part(payment, part, vec![]);
        assert!(matches!(settlement, Settlement::Failed(_)), "{part}");
    }
}

#[test]
fn after_a_crash_the_same_part_is_asked_for_again() {
    let shop = shop(upto());
    let payment = shop.authorized(&Purse::new(&upto()).v2());
    // As the host has it on its disk: the part, and the state of before.
    let stored = AuthorizedPayment {
        amount: "1234".to_owned(),
        ..payment.clone()
    };
    let (_, first) = shop.settle_part(payment, "1234", vec![timeout()]);
    let (settlement, again) = shop.reconcile(stored, vec![reply(200, &success())]);
    assert!(matches!(settlement, Settlement::Settled(_)));
    assert_eq!(first, again);
}

/// What the chain has on Permit2's nonce: its bit in the bitmap, and events of the payer's.
struct Chain {
    is_used: bool,
    logs: Vec<Value>,
    input: String,
}

impl Chain {
    fn after(self, timestamp: u64) -> Vec<super::kit::Reply> {
        let (_, bit) = place(U256::from_be_bytes([9; 32]));
        let bitmap = if self.is_used { bit } else { U256::ZERO };
        let mut replies = vec![
            chain_id(),
            block(BLOCK, timestamp),
            result(json!(evm::text(bitmap.to_be_bytes::<32>()))),
        ];
        if self.is_used {
            let is_transfer = self
                .logs
                .iter()
                .any(|log| log["address"] != json!(evm::text(PERMIT2)));
            replies.push(result(json!(self.logs)));
            if is_transfer {
                replies.push(receipt(1, self.logs));
                replies.push(result(json!({"input": self.input})));
            } else if self.logs.is_empty() {
                replies.push(block(4001, 0));
            }
        }
        replies
    }
}

fn pending(shop: &Shop) -> AuthorizedPayment {
    let payment = shop.authorized(&Purse::new(&upto()).v2());
    match shop.settle_part(payment, "1234", vec![timeout()]).0 {
        Settlement::Unknown(unknown) => unknown.payment,
        other => panic!("{other:?}"),
    }
}

fn found(chain: Chain, timestamp: u64) -> Settlement {
    let payment = pending(&shop(upto()));
    let shop = Shop {
        offers: vec![upto()],
        ..Shop::with_rpc()
    };
    shop.reconcile(payment, chain.after(timestamp)).0
}

fn taken(value: u64) -> Value {
    transfer(&upto().pay_to, value)
}

fn with_nonce() -> String {
    format!("0x12345678{}{}", "00".repeat(32), "09".repeat(32))
}

#[test]
fn a_transfer_by_a_call_that_has_the_nonce_is_ours() {
    let chain = Chain {
        is_used: true,
        logs: vec![taken(1234)],
        input: with_nonce(),
    };
    let Settlement::Settled(receipt) = found(chain, NOW) else {
        panic!("not settled");
    };
    assert_eq!(
        (receipt.transaction.as_str(), receipt.amount.as_str()),
        (TRANSACTION, "1234")
    );
}

#[test]
fn a_transfer_by_another_call_or_of_another_amount_leaves_it_unknown() {
    let other = Chain {
        is_used: true,
        logs: vec![taken(1234)],
        input: format!("0x12345678{}", "08".repeat(32)),
    };
    let mut replies = other.after(NOW);
    replies.push(block(4001, 0));
    let payment = pending(&shop(upto()));
    let shop = Shop {
        offers: vec![upto()],
        ..Shop::with_rpc()
    };
    let (settlement, _) = shop.reconcile(payment.clone(), replies);
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );
}

#[test]
fn an_invalidated_nonce_and_one_that_expired_unused_are_no_payment() {
    let (position, bit) = place(U256::from_be_bytes([9; 32]));
    let data = [position.to_be_bytes::<32>(), bit.to_be_bytes::<32>()].concat();
    let invalidated = json!({
        "address": evm::text(PERMIT2),
        "topics": [
            topic("UnorderedNonceInvalidation(address,uint256,uint256)"),
            word(&evm::text(payer())),
        ],
        "data": evm::text(data),
        "transactionHash": TRANSACTION,
    });
    let chain = Chain {
        is_used: true,
        logs: vec![invalidated],
        input: String::new(),
    };
    let Settlement::Failed(failure) = found(chain, NOW) else {
        panic!("not failed");
    };
    assert_eq!(failure.reason, "permit2_invalid_nonce");
    let unused = Chain {
        is_used: false,
        logs: vec![],
        input: String::new(),
    };
    assert!(matches!(found(unused, NOW + 1000), Settlement::Failed(_)));
}

#[test]
fn each_nonce_has_a_bit_of_its_own() {
    assert_eq!(place(U256::from(0)), (U256::ZERO, U256::from(1)));
    assert_eq!(place(U256::from(255)), (U256::ZERO, U256::from(1) << 255));
    assert_eq!(place(U256::from(256)), (U256::from(1), U256::from(1)));
    assert_eq!(permit2::nonce("0x07"), None);
    assert_eq!(permit2::nonce("7"), Some(U256::from(7)));
}

proptest::proptest! {
    #[test]
    fn any_permit_is_read_or_refused(
        path in proptest::sample::select(vec![
            "", "/permitted", "/permitted/token", "/permitted/amount", "/spender", "/nonce", "/deadline", "/witness",
            "/witness/to", "/witness/facilitator", "/witness/validAfter", "/from",
        ]),
        text in "\\PC{0,80}",
        kind in 0..4,
    ) {
        let mut payment = Purse::new(&upto()).json();
        let value = match kind {
            0 => json!(text),
            1 => json!([text]),
            2 => json!({ text: 1 }),
            _ => Value::Null,
        };
        *payment.pointer_mut(&format!("/payload/permit2Authorization{path}")).unwrap() = value;
        let header = super::kit::header("PAYMENT-SIGNATURE", &super::kit::encode(&payment));
        let refusal = shop(upto()).refused_offline(&[header]);
        proptest::prop_assert!(!refusal.reason.is_empty());
    }
}
