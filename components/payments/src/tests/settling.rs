//! Settlement: made, not made, or nobody knows.

use serde_json::{Value, json};

use super::kit::{
    Purse, Reply, Shop, TRANSACTION, decode, faults, payer, refused_connection, reply, success,
    timeout, urls, usdc,
};
use crate::api::{AuthorizedPayment, Settlement, UnknownSettlement};
use crate::evm;
use crate::state::State;

/// An authorized payment of version 2.
fn payment(shop: &Shop) -> AuthorizedPayment {
    shop.authorized(&Purse::new(&usdc()).v2())
}

fn settle(replies: Vec<Reply>) -> Settlement {
    let shop = Shop::new();
    shop.settle(payment(&shop), replies).0
}

/// What is unknown, and what it remembers.
fn unknown(settlement: Settlement) -> (UnknownSettlement, State) {
    match settlement {
        Settlement::Unknown(unknown) => {
            let state = State::decode(&unknown.payment.state).unwrap();
            (unknown, state)
        }
        other => panic!("{other:?}"),
    }
}

fn success_with(key: &str, value: Value) -> Value {
    let mut answer = success();
    answer[key] = value;
    answer
}

#[test]
fn a_settled_payment_of_version_2_is_answered_in_version_2() {
    let shop = Shop::new();
    let (settlement, asked) = shop.settle(payment(&shop), vec![reply(200, &success())]);
    let Settlement::Settled(receipt) = settlement else {
        panic!("{settlement:?}");
    };
    assert_eq!(receipt.transaction, TRANSACTION);
    assert_eq!(receipt.amount, "10000");
    assert_eq!(
        decode(&receipt.headers, "payment-response"),
        json!({
            "success": true,
            "transaction": TRANSACTION,
            "network": "eip155:84532",
            "payer": evm::text(payer()),
            "amount": "10000",
        })
    );
    assert_eq!(urls(&asked), ["http://one.example/settle"]);
    assert_eq!(asked[0].1["paymentRequirements"]["amount"], "10000");
}

#[test]
fn a_settled_payment_of_version_1_is_answered_in_version_1() {
    let shop = Shop::new();
    for network in ["base-sepolia", "eip155:84532"] {
        let payment = shop.authorized(&Purse::new(&usdc()).v1());
        let answer = success_with("network", json!(network));
        let (settlement, asked) = shop.settle(payment, vec![reply(200, &answer)]);
        let Settlement::Settled(receipt) = settlement else {
            panic!("{settlement:?}");
        };
        assert_eq!(
            decode(&receipt.headers, "x-payment-response"),
            json!({
                "success": true,
                "transaction": TRANSACTION,
                "network": "base-sepolia",
                "payer": evm::text(payer()),
            })
        );
        assert_eq!(asked[0].1["x402Version"], 1);
    }
}

#[test]
fn a_definite_refusal_is_a_failure_and_tells_the_client() {
    for reason in [
        "insufficient_funds",
        "invalid_exact_evm_payload_signature",
        "invalid_payment_expired",
    ] {
        for status in [200, 400, 402] {
            let answer = json!({"success": false, "errorReason": reason, "transaction": ""});
            let Settlement::Failed(failure) = settle(vec![reply(status, &answer)]) else {
                panic!("{reason} with {status} is definite");
            };
            assert_eq!(failure.reason, reason);
            assert_eq!(
                decode(&failure.headers, "payment-response"),
                json!({
                    "success": false,
                    "errorReason": reason,
                    "transaction": "",
                    "network": "eip155:84532",
                    "payer": evm::text(payer()),
                })
            );
        }
    }
}

#[test]
fn every_fault_leaves_it_unknown() {
    for (name, fault) in faults() {
        let (unknown, state) = unknown(settle(vec![fault]));
        assert!(!unknown.reason.is_empty(), "{name}");
        assert_eq!(unknown.transaction, None, "{name}");
        assert!(state.submitted, "{name}");
    }
}

#[test]
fn a_success_that_is_not_about_this_payment_is_unknown() {
    for (key, value) in [
        ("payer", json!(usdc().pay_to)),
        ("payer", json!(7)),
        ("network", json!("eip155:8453")),
        ("network", json!("base-sepolia")),
        ("network", Value::Null),
        ("amount", json!("1")),
        ("amount", json!(10_000)),
        ("errorReason", json!("settlement_pending")),
    ] {
        let (unknown, _) = unknown(settle(vec![reply(200, &success_with(key, value.clone()))]));
        assert_eq!(
            unknown.transaction.as_deref(),
            Some(TRANSACTION),
            "{key}: {value}"
        );
    }
    for transaction in [
        json!(""),
        json!("0xabc"),
        json!("pending"),
        Value::Null,
        json!(1),
    ] {
        let (unknown, _) = unknown(settle(vec![reply(
            200,
            &success_with("transaction", transaction),
        )]));
        assert_eq!(unknown.transaction, None);
    }
}

#[test]
fn a_success_with_a_status_that_says_otherwise_is_unknown() {
    for status in [400, 402, 500, 503] {
        let (unknown, _) = unknown(settle(vec![reply(status, &success())]));
        assert_eq!(
            unknown.transaction.as_deref(),
            Some(TRANSACTION),
            "{status}"
        );
    }
}

#[test]
fn what_a_facilitator_does_not_know_is_unknown() {
    let cases = [
        json!({"success": false, "errorReason": "unexpected_settle_error", "transaction": ""}),
        json!({"success": false, "errorReason": "invalid_exact_evm_transaction_failed"}),
        json!({"success": false, "errorReason": "duplicate_settlement"}),
        json!({"success": false, "errorReason": "invalid_exact_evm_nonce_already_used"}),
        json!({"success": false, "errorReason": "invalid_exact_evm_transaction_simulation_failed"}),
        json!({"success": false, "errorReason": "timeout"}),
        json!({"success": false, "errorReason": "rpc_error"}),
        json!({"success": false, "errorReason": "already known"}),
        json!({"success": false, "errorReason": "a_reason_of_tomorrow"}),
        json!({"success": false}),
        json!({"success": "false", "errorReason": "insufficient_funds"}),
        json!({"success": false, "errorReason": 7}),
    ];
    for case in cases {
        unknown(settle(vec![reply(200, &case)]));
    }
    let failure = json!({"success": false, "errorReason": "insufficient_funds"});
    for status in [408, 429, 500] {
        unknown(settle(vec![reply(status, &failure)]));
    }
}

#[test]
fn a_pending_settlement_is_unknown_and_its_transaction_is_remembered() {
    let pending = json!({
        "success": false, "errorReason": "settlement_pending", "transaction": TRANSACTION,
    });
    let (unknown, state) = unknown(settle(vec![reply(200, &pending)]));
    assert_eq!(unknown.reason, "settlement_pending");
    assert_eq!(unknown.transaction.as_deref(), Some(TRANSACTION));
    assert_eq!(state.transaction.as_deref(), Some(TRANSACTION));
}

#[test]
fn a_failure_that_names_a_transaction_is_unknown() {
    let failure = json!({
        "success": false, "errorReason": "insufficient_funds", "transaction": TRANSACTION,
    });
    let (unknown, _) = unknown(settle(vec![reply(200, &failure)]));
    assert_eq!(unknown.transaction.as_deref(), Some(TRANSACTION));
}

#[test]
fn where_nothing_was_sent_it_is_tried_again_and_kept_for_later() {
    let settlement = settle(vec![refused_connection(), reply(200, &success())]);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );
    let shop = Shop::new();
    let facilitators = shop.settings().unwrap().facilitators.len();
    let refused = || vec![refused_connection(); facilitators + 1];
    let (kept, state) = unknown(shop.settle(payment(&shop), refused()).0);
    assert!(!state.submitted);
    let (settlement, _) = shop.settle(kept.payment, vec![reply(200, &success())]);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );

    unknown(settle(vec![refused_connection(), timeout()]));
}

#[test]
fn where_nothing_was_sent_the_other_facilitators_are_asked() {
    let shop = Shop::with_two_facilitators();
    let payment = payment(&shop);
    let replies = vec![
        refused_connection(),
        refused_connection(),
        reply(200, &success()),
    ];
    let (settlement, asked) = shop.settle(payment, replies);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );
    assert_eq!(
        urls(&asked).last().copied(),
        Some("http://two.example/x402/settle")
    );
}

#[test]
fn what_may_have_been_sent_is_not_sent_again() {
    // The script has no second reply.
    unknown(settle(vec![timeout()]));
}

#[test]
fn settling_a_payment_that_was_submitted_before_never_fails_on_the_facilitators_word() {
    let shop = Shop::new();
    let (unknown_settlement, _) = unknown(settle(vec![timeout()]));
    let used = json!({
        "success": false, "errorReason": "invalid_exact_evm_nonce_already_used", "transaction": "",
    });
    let (settlement, _) = shop.settle(unknown_settlement.payment, vec![reply(200, &used)]);
    unknown(settlement);
}

#[test]
fn a_state_of_something_else_is_unknown_and_sends_nothing() {
    let shop = Shop::new();
    let good = payment(&shop);
    let text = String::from_utf8(good.state.clone()).unwrap();
    let states = [
        vec![],
        vec![0xff; 8],
        text.replace(r#""form":2"#, r#""form":3"#).into_bytes(),
        vec![b' '; 1 << 20],
    ];
    for state in states {
        let payment = AuthorizedPayment {
            state,
            ..good.clone()
        };
        let (settlement, asked) = shop.settle(payment, vec![]);
        assert!(matches!(settlement, Settlement::Unknown(_)));
        assert!(asked.is_empty());
    }
}

#[test]
fn a_state_of_the_form_before_is_settled_still() {
    let shop = Shop::new();
    let good = payment(&shop);
    let mut state: Value = serde_json::from_slice(&good.state).unwrap();
    state["form"] = json!(1);
    state.as_object_mut().unwrap().remove("resource");
    let payment = AuthorizedPayment {
        state: state.to_string().into_bytes(),
        ..good
    };
    let (settlement, _) = shop.settle(payment, vec![reply(200, &success())]);
    assert!(matches!(settlement, Settlement::Settled(_)));
}

#[test]
fn settings_that_are_wrong_send_nothing() {
    let mut shop = Shop::new();
    let payment = payment(&shop);
    shop.variables.clear();
    let (settlement, asked) = shop.settle(payment.clone(), vec![]);
    assert!(matches!(settlement, Settlement::Failed(_)));
    assert!(asked.is_empty());
    let (settlement, _) = shop.reconcile(payment, vec![]);
    assert!(matches!(settlement, Settlement::Unknown(_)));
}
