//! Settlements on Solana, and what the chain says of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kit::{CURRENT, Draft, FIRST, NETWORK, PAYER, shop, shop_authorizes, shop_with_rpc, v2};
use crate::api::Settlement;
use crate::finality::Verdict;
use crate::settle;
use crate::svm::{self, code, message};
use crate::tests::kit::{NOW, Reply, TRANSACTION, reply};

const GENESIS: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG";
/// A name that a transaction may have.
const NAME: &str =
    "2682QJH8gfjGd8a5dw4ccrFEvn1GUQJUyJTbcBuuabMSzbbtxPajdEPVjsv6xLVP6WZu41kZTqNa8tNotTbMz13s";

fn success() -> Value {
    json!({"success": true, "payer": PAYER, "transaction": NAME, "network": NETWORK})
}

fn result(value: Value) -> Reply {
    reply(200, &json!({"jsonrpc": "2.0", "id": 1, "result": value}))
}

/// The chain has this transaction.
fn chain_has(transaction: &str, error: Value) -> Reply {
    result(json!({"slot": 9, "transaction": [transaction, "base64"], "meta": {"err": error}}))
}

fn listed(entries: &[(&str, u64, Option<&str>)]) -> Reply {
    let entries = entries.iter().map(|(name, time, memo)| {
        json!({"signature": name, "slot": 9, "err": null, "memo": memo, "blockTime": time})
    });
    result(entries.collect())
}

/// The chain's newest final block, this old.
fn newest(time: u64) -> [Reply; 2] {
    [result(json!(9)), result(json!(time))]
}

#[test]
fn what_was_settled_is_gone_when_it_expired_and_the_chain_does_not_have_it_and_not_before() {
    let shop = shop_with_rpc();
    let late = NOW + svm::LIFETIME + 1;
    let expired = result(json!({"context": {"slot": 9}, "value": false}));
    let missing = |time: u64| [vec![result(Value::Null)], newest(time).to_vec()].concat();
    for (then, expected) in [
        (vec![chain_has(CURRENT, Value::Null)], Verdict::Stands),
        ([missing(NOW), vec![listed(&[])]].concat(), Verdict::Unclear),
        (
            [missing(late), vec![expired, listed(&[])]].concat(),
            Verdict::Gone,
        ),
    ] {
        let ports = shop.ports([vec![result(json!(GENESIS))], then].concat());
        let payment = shop_authorizes(&v2(CURRENT));
        let verdict = settle::standing(&ports, shop.settings(), payment, NAME);
        assert_eq!(verdict, expected);
    }
}

fn outcome(settlement: Settlement) -> Result<String, String> {
    match settlement {
        Settlement::Settled(receipt) => Ok(receipt.transaction),
        Settlement::Failed(failure) => Err(failure.reason),
        Settlement::Unknown(unknown) => Err(format!("unknown: {}", unknown.reason)),
    }
}

#[test]
fn a_settlement_is_believed_when_the_chain_has_the_message() {
    let payment = || shop_authorizes(&v2(CURRENT));
    let shop = shop_with_rpc();
    let settle = |chain: Vec<Reply>| {
        let replies = [vec![reply(200, &success()), result(json!(GENESIS))], chain].concat();
        outcome(shop.settle(payment(), replies).0)
    };
    assert_eq!(
        settle(vec![chain_has(CURRENT, Value::Null)]).as_deref(),
        Ok(NAME)
    );
    for lie in [
        chain_has(FIRST, Value::Null),
        chain_has(CURRENT, json!({"InstructionError": [2, {"Custom": 1}]})),
    ] {
        let answer = settle(vec![lie]).unwrap_err();
        assert_eq!(
            answer,
            "unknown: the transaction does not hold the transfer"
        );
    }
    let replies = vec![
        reply(200, &success()),
        result(json!("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")),
    ];
    let again = std::iter::repeat_n(replies[1].clone(), 3);
    let (answer, _) = shop.settle(payment(), replies.into_iter().chain(again).collect());
    let answer = outcome(answer).unwrap_err();
    assert!(answer.contains("not one of solana:"), "{answer}");
}

#[test]
fn without_an_endpoint_the_facilitator_is_believed_for_this_network_and_payer_alone() {
    let settle = |answer: &Value| {
        outcome(
            shop()
                .settle(shop_authorizes(&v2(CURRENT)), vec![reply(200, answer)])
                .0,
        )
    };
    assert_eq!(settle(&success()).as_deref(), Ok(NAME));
    for (field, value) in [
        ("payer", "CJ4e9tfPtUsvTAkvafAwnsCtC4kVea6WP51pBWuATRKT"),
        ("network", svm::NETWORKS[0].1),
        ("transaction", TRANSACTION),
    ] {
        let mut answer = success();
        answer[field] = value.into();
        assert!(
            settle(&answer).unwrap_err().starts_with("unknown"),
            "{field}"
        );
    }
    let refused = |reason: &str| {
        settle(
            &json!({"success": false, "errorReason": reason, "transaction": "", "network": NETWORK}),
        )
    };
    assert_eq!(refused(code::MINT).unwrap_err(), code::MINT);
    // What is also said of a transaction that was made a moment ago leaves it open.
    for reason in [
        "duplicate_settlement",
        "invalid_exact_svm_transaction_simulation_failed",
        code::TRANSACTION_FAILED,
    ] {
        assert_eq!(refused(reason).unwrap_err(), format!("unknown: {reason}"));
    }
}

#[test]
fn what_became_of_a_transaction_is_found_on_the_account_that_pays() {
    let shop = shop_with_rpc();
    let now = NOW;
    let note = Draft::recorded().instructions[3].2.clone();
    let note = format!("[32] {}", String::from_utf8(note).unwrap());
    let ours = (NAME, now, Some(note.as_str()));
    let reconcile = |time: u64, then: Vec<Reply>| {
        let replies = [vec![result(json!(GENESIS))], newest(time).to_vec(), then].concat();
        let (answer, asked) = shop.reconcile(shop_authorizes(&v2(CURRENT)), replies);
        (outcome(answer), asked)
    };

    let other = ("3".repeat(87), now, Some("[1] x"));
    let list = || listed(&[(&other.0, now, other.2), ours]);
    let (made, asked) = reconcile(now, vec![list(), chain_has(CURRENT, Value::Null)]);
    assert_eq!(made.as_deref(), Ok(NAME));
    let bytes = STANDARD.decode(CURRENT).unwrap();
    let source = message::read(&bytes).unwrap().instructions[2].accounts[0];
    let search = &asked[3].1;
    assert_eq!(search["method"], "getSignaturesForAddress");
    assert_eq!(search["params"][0], source.to_string());
    assert_eq!(search["params"][1]["minContextSlot"], 9);

    let (failed, _) = reconcile(now, vec![list(), chain_has(CURRENT, json!("x"))]);
    assert_eq!(failed.unwrap_err(), code::TRANSACTION_FAILED);

    // Still good: it is sent again, which the chain makes harmless.
    let duplicate = json!({"success": false, "errorReason": "duplicate_settlement", "transaction": "", "network": NETWORK});
    let (open, asked) = reconcile(now, vec![listed(&[]), reply(200, &duplicate)]);
    assert_eq!(open.unwrap_err(), "unknown: duplicate_settlement");
    assert_eq!(asked[4].0, "http://one.example/settle");
}

#[test]
fn a_transaction_has_failed_when_the_chain_takes_it_no_more_and_does_not_have_it() {
    let shop = shop_with_rpc();
    let late = NOW + svm::LIFETIME + 1;
    let reconcile = |valid: bool, then: Vec<Reply>| {
        let replies = [
            vec![result(json!(GENESIS))],
            newest(late).to_vec(),
            vec![result(json!({"context": {"slot": 9}, "value": valid}))],
            then,
        ]
        .concat();
        outcome(shop.reconcile(shop_authorizes(&v2(CURRENT)), replies).0)
    };
    assert_eq!(
        reconcile(false, vec![listed(&[])]).unwrap_err(),
        code::EXPIRED
    );
    let old = (NAME, NOW - 301, None);
    assert_eq!(
        reconcile(false, vec![listed(&[old])]).unwrap_err(),
        code::EXPIRED
    );
    let made = vec![
        listed(&[(NAME, late, None)]),
        chain_has(CURRENT, Value::Null),
    ];
    assert_eq!(reconcile(false, made).as_deref(), Ok(NAME));
    // Not to be told: more transactions than are looked through, or one that the endpoint does not have yet.
    let many = vec![(NAME, late, Some("another")); 1000];
    assert!(
        reconcile(false, vec![listed(&many)])
            .unwrap_err()
            .starts_with("unknown")
    );
    let missing = vec![listed(&[(NAME, late, None)]), result(Value::Null)];
    assert!(
        reconcile(false, missing)
            .unwrap_err()
            .starts_with("unknown")
    );
    // The chain would still take it.
    let pending = json!({"success": false, "errorReason": "settlement_pending", "transaction": NAME, "network": NETWORK});
    let open = vec![listed(&[]), reply(200, &pending)];
    assert_eq!(
        reconcile(true, open).unwrap_err(),
        "unknown: settlement_pending"
    );
}
