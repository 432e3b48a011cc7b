//! What became of a payment, by the facilitator alone and by the chain.

use serde_json::json;

use super::kit::{
    NOW, Purse, Reply, Shop, TRANSACTION, answer, faults, payer, reply, success, timeout, urls,
    usdc,
};
use super::ledger::{
    BLOCK, block, chain_id, no_receipt, nonce_event, nonce_used, nonce_used_with, our_transfer,
    receipt, result, transfer, used, word,
};
use crate::api::{AuthorizedPayment, Settlement};
use crate::evm;
use crate::finality::Verdict;
use crate::settle;

const RPC: &str = "http://rpc.example/";

/// A payment whose settlement timed out.
fn pending(shop: &Shop) -> AuthorizedPayment {
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    match shop.settle(payment, vec![timeout()]).0 {
        Settlement::Unknown(unknown) => unknown.payment,
        other => panic!("{other:?}"),
    }
}

fn reconcile(replies: Vec<Reply>) -> Settlement {
    let shop = Shop::with_rpc();
    shop.reconcile(pending(&shop), replies).0
}

#[test]
fn without_an_endpoint_only_a_success_is_more_than_unknown() {
    let shop = Shop::new();
    let payment = pending(&shop);
    let (settlement, asked) = shop.reconcile(payment.clone(), vec![reply(200, &success())]);
    assert!(matches!(settlement, Settlement::Settled(_)));
    assert_eq!(urls(&asked), ["http://one.example/settle"]);

    let mut no_answers = faults();
    for reason in ["invalid_exact_evm_nonce_already_used", "insufficient_funds"] {
        let failure = json!({"success": false, "errorReason": reason, "transaction": ""});
        no_answers.push((reason, reply(200, &failure)));
    }
    no_answers.push(("refused", super::kit::refused_connection()));
    for (name, fault) in no_answers {
        // Only where nothing was sent is there another attempt.
        let attempts = if name == "refused" { 2 } else { 1 };
        let (settlement, _) = shop.reconcile(payment.clone(), vec![fault; attempts]);
        assert!(matches!(settlement, Settlement::Unknown(_)), "{name}");
    }
}

#[test]
fn the_very_same_authorization_is_submitted_again() {
    let shop = Shop::new();
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    let (first, asked_first) = shop.settle(payment, vec![timeout()]);
    let Settlement::Unknown(unknown) = first else {
        panic!("{first:?}");
    };
    let (_, asked_again) = shop.reconcile(unknown.payment, vec![reply(200, &success())]);
    assert_eq!(asked_first, asked_again);
}

#[test]
fn a_transfer_that_is_found_on_the_chain_is_settled() {
    let settlement = reconcile(nonce_used_with(vec![nonce_used(), our_transfer()]));
    let Settlement::Settled(receipt) = settlement else {
        panic!("{settlement:?}");
    };
    assert_eq!(receipt.transaction, TRANSACTION);
}

#[test]
fn the_chain_is_asked_about_this_nonce_of_this_payer_at_one_block() {
    let shop = Shop::with_rpc();
    let replies = nonce_used_with(vec![nonce_used(), our_transfer()]);
    let (_, asked) = shop.reconcile(pending(&shop), replies);
    assert!(urls(&asked).iter().all(|url| *url == RPC));
    let call = |index: usize| {
        let (_, request) = &asked[index];
        (request["method"].as_str().unwrap(), &request["params"])
    };
    let payer = evm::text(payer());
    let (method, params) = call(2);
    assert_eq!(method, "eth_call");
    assert_eq!(params[0]["to"], usdc().asset.to_lowercase());
    // authorizationState(address,bytes32)
    let data = format!("0xe94a0102{:0>64}{}", &payer[2..], "09".repeat(32));
    assert_eq!(params[0]["data"], data);
    assert_eq!(params[1], "0x1388");
    let (method, params) = call(3);
    assert_eq!(method, "eth_getLogs");
    assert_eq!(params[0]["topics"][1], word(&payer));
    assert_eq!(params[0]["topics"][2], evm::text([9; 32]));
    assert_eq!(params[0]["toBlock"], "0x1388");
}

#[test]
fn a_known_transaction_is_looked_at_first() {
    let shop = Shop::with_rpc();
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    let pending = json!({
        "success": false, "errorReason": "settlement_pending", "transaction": TRANSACTION,
    });
    let (settlement, _) = shop.settle(payment, vec![reply(200, &pending)]);
    let Settlement::Unknown(unknown) = settlement else {
        panic!("{settlement:?}");
    };
    let found = vec![chain_id(), receipt(1, vec![nonce_used(), our_transfer()])];
    let (settlement, asked) = shop.reconcile(unknown.payment.clone(), found);
    assert!(matches!(settlement, Settlement::Settled(_)));
    assert_eq!(asked[1].1["params"], json!([TRANSACTION]));

    // Reverted: the authorization may still be used.
    let reverted = vec![
        chain_id(),
        receipt(0, vec![]),
        block(BLOCK, NOW + 100),
        used(false),
    ];
    let (settlement, _) = shop.reconcile(unknown.payment, reverted);
    assert!(
        matches!(settlement, Settlement::Failed(_)),
        "{settlement:?}"
    );
}

#[test]
fn an_unused_nonce_has_failed_once_the_chains_time_is_past_its_end() {
    let settlement = reconcile(vec![chain_id(), block(BLOCK, NOW + 61), used(false)]);
    let Settlement::Failed(failure) = settlement else {
        panic!("{settlement:?}");
    };
    assert_eq!(
        failure.reason,
        "invalid_exact_evm_payload_authorization_valid_before"
    );
}

#[test]
fn an_unused_nonce_that_still_holds_is_submitted_again_and_confirmed() {
    let open = || vec![chain_id(), block(BLOCK, NOW + 60), used(false)];
    let mut replies = open();
    replies.extend([
        reply(200, &success()),
        chain_id(),
        receipt(1, vec![nonce_used(), our_transfer()]),
    ]);
    let settlement = reconcile(replies);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );

    let failure = json!({"success": false, "errorReason": "insufficient_funds"});
    let mut replies = open();
    replies.push(reply(200, &failure));
    assert!(matches!(reconcile(replies), Settlement::Unknown(_)));
}

#[test]
fn what_was_settled_stands_until_the_chain_no_longer_has_it() {
    let ours = || receipt(1, vec![nonce_used(), our_transfer()]);
    let unused = |now| vec![chain_id(), no_receipt(), block(BLOCK, now), used(false)];
    let mut moved = vec![chain_id(), no_receipt()];
    moved.extend(nonce_used_with(vec![nonce_used(), our_transfer()]).split_off(1));
    for (name, replies, expected) in [
        ("as it was", vec![chain_id(), ours()], Verdict::Stands),
        ("in another block", moved, Verdict::Stands),
        ("unused", unused(NOW + 60), Verdict::Gone),
        ("expired", unused(NOW + 61), Verdict::Gone),
        ("no answer", vec![chain_id(), timeout()], Verdict::Unclear),
    ] {
        let shop = Shop::with_rpc();
        let ports = shop.ports(replies);
        let verdict = settle::standing(&ports, shop.settings(), pending(&shop), TRANSACTION);
        assert_eq!(verdict, expected, "{name}");
    }
    // Where no chain can be asked, nobody is.
    let shop = Shop::new();
    let ports = shop.ports(Vec::new());
    let verdict = settle::standing(&ports, shop.settings(), pending(&shop), TRANSACTION);
    assert_eq!(verdict, Verdict::Stands);
}

#[test]
fn a_cancelled_authorization_has_failed() {
    let cancelled = nonce_event("AuthorizationCanceled(address,bytes32)", 9);
    let settlement = reconcile(vec![
        chain_id(),
        block(BLOCK, NOW + 10),
        used(true),
        result(json!([cancelled])),
    ]);
    assert!(
        matches!(settlement, Settlement::Failed(_)),
        "{settlement:?}"
    );
}

#[test]
fn a_nonce_used_for_another_transfer_has_failed() {
    for other in [
        transfer(&usdc().pay_to, 9_999),
        transfer(&usdc().asset, 10_000),
    ] {
        let settlement = reconcile(nonce_used_with(vec![nonce_used(), other]));
        let Settlement::Failed(failure) = settlement else {
            panic!("{settlement:?}");
        };
        assert_eq!(failure.reason, "invalid_exact_evm_nonce_already_used");
    }
}

#[test]
fn a_transfer_by_another_token_is_not_ours() {
    let mut fake = our_transfer();
    fake["address"] = json!(usdc().pay_to);
    let settlement = reconcile(nonce_used_with(vec![nonce_used(), fake]));
    assert!(
        matches!(settlement, Settlement::Failed(_)),
        "{settlement:?}"
    );
}

#[test]
fn a_transfer_that_belongs_to_another_nonce_of_the_same_transaction_is_not_ours() {
    let other_nonce = nonce_event("AuthorizationUsed(address,bytes32)", 1);
    let batch = vec![
        nonce_used(),
        transfer(&usdc().asset, 10_000),
        other_nonce,
        our_transfer(),
    ];
    let settlement = reconcile(nonce_used_with(batch));
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );
}

#[test]
fn events_are_looked_for_back_to_the_verification_and_no_further() {
    let replies = vec![
        chain_id(),
        block(BLOCK, NOW + 3000),
        used(true),
        result(json!([])),
        block(BLOCK - 999, NOW + 1000),
        result(json!([nonce_used()])),
        receipt(1, vec![nonce_used(), our_transfer()]),
    ];
    let settlement = reconcile(replies);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );

    let replies = vec![
        chain_id(),
        block(BLOCK, NOW + 10),
        used(true),
        result(json!([])),
        block(BLOCK - 999, NOW - 301),
    ];
    let settlement = reconcile(replies);
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );

    // A chain of many blocks, none of them old enough: the search is bounded.
    let mut replies = vec![chain_id(), block(1 << 40, NOW + 10), used(true)];
    for _ in 0..20 {
        replies.extend([result(json!([])), block(1, NOW + 10)]);
    }
    let settlement = reconcile(replies);
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );
}

#[test]
fn an_endpoint_that_does_not_answer_or_is_of_another_chain_decides_nothing() {
    let of_mainnet = result(json!("0x1"));
    let settlement = reconcile(vec![of_mainnet]);
    assert!(
        matches!(settlement, Settlement::Unknown(_)),
        "{settlement:?}"
    );

    let mut bad = faults();
    let failed = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "x"}});
    bad.push(("an error", reply(200, &failed)));
    bad.push(("another type", result(json!({"x": 1}))));
    bad.push(("no token", result(json!("0x"))));
    for step in 0..3 {
        for (name, fault) in bad.clone() {
            let mut replies = vec![chain_id(), block(BLOCK, NOW + 100), used(false)];
            replies.truncate(step);
            replies.push(fault);
            let settlement = reconcile(replies);
            assert!(
                matches!(settlement, Settlement::Unknown(_)),
                "{name} at step {step}: {settlement:?}"
            );
        }
    }
}

#[test]
fn a_success_is_confirmed_on_the_chain_before_it_counts() {
    let shop = Shop::with_rpc();
    let settle = |replies: Vec<Reply>| {
        let payment = shop.authorized(&Purse::new(&usdc()).v2());
        let mut script = vec![reply(200, &success())];
        script.extend(replies);
        shop.settle(payment, script).0
    };
    let good = || receipt(1, vec![nonce_used(), our_transfer()]);

    let settlement = settle(vec![chain_id(), good()]);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );
    // The endpoint is a little behind the facilitator's.
    let settlement = settle(vec![chain_id(), no_receipt(), chain_id(), good()]);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );

    let never = (0..4).flat_map(|_| [chain_id(), no_receipt()]).collect();
    let down = (0..4).map(|_| answer(502, "<html>")).collect();
    for replies in [
        never,
        down,
        vec![chain_id(), receipt(0, vec![])],
        vec![chain_id(), receipt(1, vec![])],
        vec![chain_id(), receipt(1, vec![our_transfer()])],
        vec![
            chain_id(),
            receipt(1, vec![nonce_used(), transfer(&usdc().pay_to, 1)]),
        ],
    ] {
        let settlement = settle(replies);
        let Settlement::Unknown(unknown) = settlement else {
            panic!("{settlement:?}");
        };
        assert_eq!(unknown.transaction.as_deref(), Some(TRANSACTION));
    }
}

#[test]
fn reconciling_again_and_again_keeps_what_is_known() {
    let shop = Shop::new();
    let mut payment = pending(&shop);
    let known = json!({
        "success": false, "errorReason": "settlement_pending", "transaction": TRANSACTION,
    });
    for fault in [reply(200, &known), timeout(), answer(502, "")] {
        match shop.reconcile(payment, vec![fault]).0 {
            Settlement::Unknown(unknown) => {
                assert_eq!(unknown.transaction.as_deref(), Some(TRANSACTION));
                payment = unknown.payment;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The facilitator refuses with this reason, and then the chain says this.
fn refused(shop: &Shop, reason: &str, mut chain: Vec<Reply>) -> Settlement {
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    let failure = json!({"success": false, "errorReason": reason, "transaction": ""});
    chain.insert(0, reply(200, &failure));
    shop.settle(payment, chain).0
}

#[test]
fn a_refusal_is_a_failure_only_where_the_chain_does_not_know_better() {
    let shop = Shop::with_rpc();
    let made = || nonce_used_with(vec![nonce_used(), our_transfer()]);
    let open = || vec![chain_id(), block(BLOCK, NOW + 10), used(false)];
    for reason in ["insufficient_funds", "timeout", "already known"] {
        let settlement = refused(&shop, reason, made());
        assert!(matches!(settlement, Settlement::Settled(_)), "{reason}");
    }
    let settlement = refused(&shop, "insufficient_funds", open());
    assert!(matches!(settlement, Settlement::Failed(_)));
    // A block that comes late may hold it yet.
    let settlement = refused(&shop, "timeout", open());
    assert!(matches!(settlement, Settlement::Unknown(_)));
    let settlement = refused(&shop, "insufficient_funds", vec![timeout()]);
    assert!(matches!(settlement, Settlement::Unknown(_)));
}

#[test]
fn on_a_shared_account_a_transfer_that_nobody_named_is_not_taken_for_our_own() {
    let mut shop = Shop::with_rpc();
    shop.variables.push(("SHARED_ACCOUNT", "1".to_owned()));
    let made = || nonce_used_with(vec![nonce_used(), our_transfer()]);
    let reason = "invalid_exact_evm_nonce_already_used";
    let settlement = refused(&shop, reason, made());
    assert!(matches!(settlement, Settlement::Unknown(_)));
    let (settlement, _) = shop.reconcile(pending(&shop), made());
    assert!(matches!(settlement, Settlement::Unknown(_)));
    // The one that the facilitator named to us is.
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    let confirmed = vec![
        reply(200, &success()),
        chain_id(),
        receipt(1, vec![nonce_used(), our_transfer()]),
    ];
    let (settlement, _) = shop.settle(payment, confirmed);
    assert!(matches!(settlement, Settlement::Settled(_)));
}

#[test]
fn a_transfer_is_final_when_enough_blocks_are_on_top_of_it() {
    let mut shop = Shop::with_rpc();
    let pair = "eip155:84532=2".to_owned();
    shop.variables.push(("CONFIRMATIONS", pair));
    let look = |newest: u64| {
        let transfer = receipt(1, vec![nonce_used(), our_transfer()]);
        [chain_id(), transfer, block(newest, NOW + 10)]
    };
    let payment = shop.authorized(&Purse::new(&usdc()).v2());
    let mut replies = vec![reply(200, &success())];
    replies.extend(look(BLOCK));
    replies.extend(look(BLOCK + 1));
    replies.extend(look(BLOCK + 2));
    let (settlement, _) = shop.settle(payment, replies);
    assert!(
        matches!(settlement, Settlement::Settled(_)),
        "{settlement:?}"
    );
    let mut replies = nonce_used_with(vec![nonce_used(), our_transfer()]);
    replies.push(block(BLOCK + 1, NOW + 10));
    let (settlement, _) = shop.reconcile(pending(&shop), replies);
    assert!(matches!(settlement, Settlement::Unknown(_)));
}
