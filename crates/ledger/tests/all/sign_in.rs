//! Who proves to hold the account that paid.

use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_ledger::{Claim, Key, Ledger, Outcome, Place, Proof, Record, Request, Store};

use crate::store::{answer, at_once, open, record, settled};

const CHAIN: &str = "eip155:84532";
const REQUEST: Request = Request {
    digest: [7; 32],
    scope: [9; 32],
    is_secret: false,
    name: None,
};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn proof(payer: &str, nonce: &str) -> Proof {
    Proof {
        accounts: vec![
            ("eip155:1".to_owned(), payer.to_owned()),
            (CHAIN.to_owned(), payer.to_owned()),
        ],
        nonce: nonce.to_owned(),
        issued: now(),
        expires: now() + 300,
    }
}

/// A purchase in the clear, made at a time.
fn bought(store: &Store, nonce: &str, created: u64) -> (Key, Record) {
    let (key, mut record) = record(nonce, settled());
    record.is_secret = false;
    record.created = created;
    store.update(&key, &record, Some(&answer())).unwrap();
    (key, record)
}

fn is_answered(ledger: &Ledger, proof: &Proof) -> bool {
    let Some(request) = ledger.signed_in(&REQUEST, proof, now()).unwrap() else {
        return false;
    };
    let claimed = at_once(ledger.claim(None, &request)).unwrap().unwrap();
    matches!(claimed, Claim::Answered(held, _) if held == answer())
}

#[test]
fn who_paid_is_answered_for_the_same_request_by_a_new_proof_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    bought(&store, "1", 900);
    let ledger = Ledger::new(store);
    assert!(is_answered(&ledger, &proof("0xbb", "a")));
    assert!(!is_answered(&ledger, &proof("0xbb", "a")));
    assert!(is_answered(&ledger, &proof("0xbb", "b")));
    assert!(!is_answered(&ledger, &proof("0xdd", "c")));
    let mut elsewhere = proof("0xbb", "d");
    elsewhere.accounts.pop();
    assert!(!is_answered(&ledger, &elsewhere));
    let other = Request {
        digest: [8; 32],
        ..REQUEST
    };
    let unpaid = ledger.signed_in(&other, &proof("0xbb", "e"), now());
    assert!(unpaid.unwrap().is_none());
    // What proved nothing was not taken.
    assert!(is_answered(&ledger, &proof("0xbb", "e")));
}

#[test]
fn a_proof_from_before_the_start_is_not_taken_and_one_holder_fills_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    bought(&store, "1", 900);
    let ledger = Ledger::new(store);
    let mut early = proof("0xbb", "early");
    early.issued = now() - 10;
    assert!(!is_answered(&ledger, &early));
    for number in 0..64 {
        assert!(is_answered(&ledger, &proof("0xbb", &number.to_string())));
    }
    let one_more = proof("0xbb", "one more");
    assert!(!is_answered(&ledger, &one_more));
    // Those that expired are forgotten.
    let later = ledger.signed_in(&REQUEST, &one_more, now() + 300);
    assert!(later.unwrap().is_some());
}

#[test]
fn the_newest_of_several_purchases_is_found_and_those_of_sealed_requests_are_not() {
    for [newer, older] in [["1", "2"], ["2", "1"]] {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = open(&folder);
            bought(&store, newer, 901);
            // Nothing is held of the one before.
            let (key, mut record) = record(older, settled());
            record.is_secret = false;
            store.update(&key, &record, None).unwrap();
        }
        // In whatever order they are read.
        let ledger = Ledger::new(open(&folder));
        assert!(is_answered(&ledger, &proof("0xbb", "a")), "{newer}");
    }

    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (key, sealed) = record("1", settled());
    store.update(&key, &sealed, Some(&answer())).unwrap();
    let ledger = Ledger::new(store);
    assert!(!is_answered(&ledger, &proof("0xbb", "a")));
}

#[test]
fn a_purchase_that_came_to_nothing_hides_none_that_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (_, mut second) = bought(&store, "1", 900);
    let ledger = Ledger::new(store);
    let (key, _) = record("2", settled());
    second.state = hypervisor_ledger::State::Reserved;
    second.created = 901;
    second.payment.id.nonce = "2".to_owned();
    let turn = ledger.reserve(key, second, Place::UNBOUND).unwrap();
    let mut turn = turn.unwrap();
    turn.settling(None).unwrap();
    turn.end(
        Outcome::Failed {
            headers: Vec::new(),
        },
        true,
    );
    drop(turn);
    assert!(is_answered(&ledger, &proof("0xbb", "a")));
}
