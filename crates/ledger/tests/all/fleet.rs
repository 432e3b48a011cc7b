//! Several hosts over one store.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypervisor_ledger::{
    Answer, Bounds, Claim, Ended, Error, Key, Ledger, Node, Outcome, Payment, Place, Proof, Record,
    Request, Settler, Standing, State, Store, TABLES, Tag, Turn, Unused, key,
};
use hypervisor_store::{Backend, Store as Rows};

use crate::shared::Shared;
use crate::store::{answer, at_once, record};

/// A fleet: its rows, and which of its nodes are taken for dead.
pub(crate) struct Fleet {
    shared: Shared,
    dead: Arc<Mutex<HashSet<Tag>>>,
    bounds: Bounds,
}

const BOUNDS: Bounds = Bounds {
    held: 1 << 30,
    held_each: 1 << 24,
    held_payer: 1 << 26,
    unsettled: 1,
    watches: false,
};

pub(crate) const A: Tag = [1; 4];
pub(crate) const B: Tag = [2; 4];
pub(crate) const C: Tag = [3; 4];

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::with(BOUNDS)
    }

    fn with(bounds: Bounds) -> Self {
        Self {
            shared: Shared::new(),
            dead: Arc::default(),
            bounds,
        }
    }

    /// A node of it.
    pub(crate) fn node(&self, tag: Tag) -> Ledger {
        let dead = Arc::clone(&self.dead);
        let node = Node {
            tag,
            is_alive: Box::new(move |tag| !dead.lock().unwrap().contains(&tag)),
            patience: Duration::from_secs(20),
        };
        Ledger::new(Store::join(self.rows(), self.bounds, node))
    }

    fn rows(&self) -> Rows {
        self.shared.store(9, &TABLES)
    }

    /// From now on the others take a node for dead.
    pub(crate) fn dies(&self, tag: Tag) {
        self.dead.lock().unwrap().insert(tag);
    }

    /// Commits since this was last asked: those that wait for the disk, and those that do not.
    fn commits(&self) -> [usize; 2] {
        [1, 0].map(|it: usize| self.shared.commits[it].swap(0, Ordering::Relaxed))
    }
}

/// The chain: says whether the money moved.
struct Says(bool);

impl Settler for Says {
    async fn reconcile(&self, _: &Payment) -> Outcome {
        match self.0 {
            true => made(),
            false => refused(),
        }
    }

    async fn standing(&self, _: &Payment, _: &str) -> Standing {
        Standing::Stands
    }
}

pub(crate) fn made() -> Outcome {
    Outcome::Settled {
        transaction: "0xABC".into(),
        headers: vec![("payment-response".into(), "e30=".into())],
    }
}

pub(crate) fn refused() -> Outcome {
    Outcome::Failed {
        headers: Vec::new(),
    }
}

/// A payment that is good for longer than a test takes.
pub(crate) fn good(nonce: &str) -> (Key, Record) {
    let (key, mut record) = record(nonce, State::Reserved);
    record.payment.valid_before = u64::MAX / 2;
    (key, record)
}

/// The request of [`good`].
pub(crate) fn request() -> Request {
    Request {
        digest: [7; 32],
        scope: [8; 32],
        is_secret: true,
        name: None,
    }
}

/// A purchase in the clear by one payer.
fn purchase(nonce: &str, digest: u8, name: Option<u8>) -> (Key, Record, Request) {
    let (key, record) = good(nonce);
    let request = Request {
        digest: [digest; 32],
        scope: [8; 32],
        is_secret: false,
        name: name.map(|it| [it; 32]),
    };
    (key, Record::new(record.payment, request, 900), request)
}

pub(crate) fn reserve(ledger: &Ledger, (key, record): &(Key, Record)) -> Option<Turn> {
    (ledger.reserve(*key, record.clone(), Place::UNBOUND)).unwrap()
}

/// What a node says of a payment, which does not have to wait.
fn claim(ledger: &Ledger, key: &Key, request: &Request) -> Claim {
    at_once(ledger.claim(Some(key), request)).unwrap().unwrap()
}

fn is_answered(ledger: &Ledger, key: &Key, request: &Request) -> bool {
    matches!(claim(ledger, key, request), Claim::Answered(held, fields) if held == answer() && fields.len() == 1)
}

#[test]
fn of_fifty_requests_with_one_payment_on_three_nodes_one_is_first() {
    let fleet = Fleet::new();
    let nodes = [A, B, C].map(|it| fleet.node(it));
    let payment = good("1");
    let won = AtomicUsize::new(0);
    let turns = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for index in 0..50 {
            let (nodes, payment, won, turns) = (&nodes, &payment, &won, &turns);
            scope.spawn(move || {
                if let Some(turn) = reserve(&nodes[index % 3], payment) {
                    won.fetch_add(1, Ordering::Relaxed);
                    turns.lock().unwrap().push(turn);
                }
            });
        }
    });
    assert_eq!(won.load(Ordering::Relaxed), 1);
    drop(turns);
    assert!(
        reserve(&nodes[1], &payment).is_some(),
        "it is free afterwards"
    );
}

#[test]
fn a_payment_takes_three_commits_of_which_one_waits_for_the_disk() {
    let fleet = Fleet::new();
    let node = fleet.node(A);
    let payment = good("1");
    fleet.commits();
    let mut turn = reserve(&node, &payment).unwrap();
    assert_eq!(fleet.commits(), [0, 1]);
    turn.settling(Some(&answer())).unwrap();
    assert_eq!(fleet.commits(), [1, 0]);
    assert!(matches!(turn.end(made(), true), Ended::Settled));
    drop(turn);
    assert_eq!(fleet.commits(), [0, 1]);
}

#[test]
fn every_node_answers_the_same_request_with_the_same_bytes() {
    let fleet = Fleet::new();
    let nodes = [A, B, C].map(|it| fleet.node(it));
    let payment = good("1");
    let mut turn = reserve(&nodes[0], &payment).unwrap();
    turn.settling(Some(&answer())).unwrap();
    assert!(matches!(turn.end(made(), true), Ended::Settled));
    drop(turn);
    for node in &nodes {
        assert!(is_answered(node, &payment.0, &request()));
        assert!(reserve(node, &payment).is_none());
        // The request proves itself, whatever payment it brings.
        let (other, _) = good("2");
        assert!(is_answered(node, &other, &request()));
        let reused = Request {
            digest: [9; 32],
            scope: [9; 32],
            ..request()
        };
        assert!(matches!(claim(node, &payment.0, &reused), Claim::Reused));
    }
}

#[test]
fn a_node_that_joins_frees_nothing_that_others_work_on() {
    let fleet = Fleet::new();
    let first = fleet.node(A);
    let mut turn = reserve(&first, &good("1")).unwrap();
    let second = fleet.node(B);
    assert_eq!(second.take_over_dead().unwrap(), 0);
    assert!(reserve(&second, &good("1")).is_none());
    turn.settling(None).unwrap();
}

#[test]
fn what_a_dead_node_had_set_aside_is_free_and_its_turn_is_lost() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let mut paused = reserve(&a, &good("1")).unwrap();
    fleet.dies(A);
    assert_eq!(b.take_over_dead().unwrap(), 1);
    assert_eq!(b.take_over_dead().unwrap(), 0);
    let mut turn = reserve(&b, &good("1")).unwrap();
    let lost = paused.settling(Some(&answer()));
    assert!(matches!(lost, Err(Error::TurnLost)));
    // Nor does it free what is another's now.
    drop(paused);
    turn.settling(Some(&answer())).unwrap();
    assert!(matches!(turn.end(made(), true), Ended::Settled));
}

#[test]
fn what_a_dead_node_was_settling_is_asked_about_by_one_that_lives() {
    let fleet = Fleet::new();
    let [a, b, c] = [A, B, C].map(|it| fleet.node(it));
    let payment = good("1");
    let mut paused = reserve(&a, &payment).unwrap();
    paused.settling(Some(&answer())).unwrap();
    fleet.dies(A);
    let taken = b.take_over(A).unwrap() + c.take_over(A).unwrap();
    assert_eq!(taken, 1);
    // Whoever comes first, it is settled once.
    assert!(matches!(
        claim(&c, &payment.0, &request()),
        Claim::InDoubt(_)
    ));
    let left = at_once(b.clear_doubts(Some(&Says(true)), (900, 1000))).unwrap();
    assert_eq!(left.unwrap(), 0);
    assert!(matches!(paused.end(made(), true), Ended::Lost));
    drop(paused);
    for node in [&b, &c] {
        assert!(is_answered(node, &payment.0, &request()));
    }
}

#[test]
fn a_payment_that_its_first_node_may_still_submit_is_not_called_free() {
    for (is_good, is_free) in [(true, false), (false, true)] {
        let fleet = Fleet::new();
        let [a, b] = [A, B].map(|it| fleet.node(it));
        let mut payment = good("1");
        if !is_good {
            payment.1.payment.valid_before = 1;
        }
        let mut paused = reserve(&a, &payment).unwrap();
        paused.settling(Some(&answer())).unwrap();
        fleet.dies(A);
        b.take_over_dead().unwrap();
        at_once(b.clear_doubts(Some(&Says(false)), (900, 1000)))
            .unwrap()
            .unwrap();
        assert_eq!(reserve(&b, &payment).is_some(), is_free);
    }
}

#[test]
fn a_request_takes_over_at_once_what_it_brings_and_a_dead_node_held() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    std::mem::forget(reserve(&a, &payment));
    fleet.dies(A);
    assert!(matches!(claim(&b, &payment.0, &request()), Claim::New));
    let mut turn = reserve(&b, &payment).unwrap();
    turn.settling(None).unwrap();
}

#[tokio::test]
async fn a_request_waits_for_the_node_that_works_on_its_payment() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    let mut turn = reserve(&a, &payment).unwrap();
    let waiting = tokio::spawn({
        let (b, key) = (b.clone(), payment.0);
        async move { b.claim(Some(&key), &request()).await.unwrap() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    turn.settling(Some(&answer())).unwrap();
    assert!(matches!(turn.end(made(), true), Ended::Settled));
    assert!(matches!(waiting.await.unwrap(), Claim::Answered(..)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_long_enough_is_told_so() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    let _turn = reserve(&a, &payment).unwrap();
    let waited = b.claim(Some(&payment.0), &request()).await;
    assert!(matches!(waited, Err(Error::Elsewhere)));
}

#[test]
fn what_goes_by_one_name_is_bought_once_on_whatever_node() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (first, one, request) = purchase("1", 1, Some(9));
    let (second, two, _) = purchase("2", 1, Some(9));
    let mut turn = reserve(&a, &(first, one)).unwrap();
    assert!(reserve(&b, &(second, two.clone())).is_none());
    turn.settling(Some(&answer())).unwrap();
    assert!(matches!(turn.end(made(), true), Ended::Settled));
    drop(turn);
    assert!(is_answered(&b, &second, &request));
    // The name of what came to nothing is free.
    let (third, three, _) = purchase("3", 3, Some(8));
    drop(reserve(&a, &(third, three)));
    let (fourth, four, _) = purchase("4", 4, Some(8));
    assert!(reserve(&b, &(fourth, four)).is_some());
}

#[test]
fn one_unsettled_payment_of_a_payer_is_worked_on_in_the_fleet() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (one, two) = (good("1"), Fleet::other("2"));
    let id = &one.1.payment.id;
    let place = a.try_place(id).unwrap().unwrap();
    // Both saw the place free, and the same balance.
    let stale = b.try_place(id).unwrap().unwrap();
    let mut turn = a.reserve(one.0, one.1.clone(), place).unwrap().unwrap();
    assert!(b.reserve(two.0, two.1.clone(), stale).unwrap().is_none());
    assert!(b.try_place(id).unwrap().is_none());
    turn.settling(None).unwrap();
    assert!(matches!(turn.end(made(), true), Ended::Settled));
    drop(turn);
    let place = b.try_place(id).unwrap().unwrap();
    let turn = b.reserve(two.0, two.1.clone(), place).unwrap().unwrap();
    assert!(a.try_place(id).unwrap().is_none());
    std::mem::forget(turn);
    fleet.dies(B);
    a.take_over_dead().unwrap();
    assert!(
        a.try_place(id).unwrap().is_some(),
        "a dead node has no place"
    );
}

#[test]
fn what_was_seen_of_a_new_payment_at_the_first_look_holds_until_another_node_changes_it() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (one, two) = (good("1"), Fleet::other("2"));
    let id = &one.1.payment.id;
    let (seen, stale) = (unused(&a, &one).unwrap(), unused(&b, &two).unwrap());
    let place = a.place_of(id, seen).unwrap();
    let mut turn = a.reserve(one.0, one.1.clone(), place).unwrap().unwrap();
    // Neither this payment nor another of the same request is new any longer, nor is there a place for one of another.
    assert!(unused(&b, &one).is_none());
    assert!(unused(&b, &good("3")).is_none());
    assert!(unused(&a, &two).is_none());
    let place = b.place_of(id, stale).unwrap();
    assert!(b.reserve(two.0, two.1.clone(), place).unwrap().is_none());
    turn.settling(None).unwrap();
    turn.end(made(), true);
    drop(turn);
    assert!(unused(&b, &one).is_none(), "it was used");
    let seen = unused(&b, &two).unwrap();
    let place = b.place_of(id, seen).unwrap();
    assert!(b.reserve(two.0, two.1.clone(), place).unwrap().is_some());
}

/// What a node sees of a payment at first.
fn unused(ledger: &Ledger, (_, record): &(Key, Record)) -> Option<Unused> {
    let request = Request {
        digest: record.request,
        ..request()
    };
    ledger.unused(&record.payment.id, &request).unwrap()
}

#[test]
fn a_place_that_was_taken_and_given_back_meanwhile_was_not_free_all_the_time() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (one, two, three) = (good("1"), Fleet::other("2"), Fleet::other("3"));
    let id = &one.1.payment.id;
    let seen = b.try_place(id).unwrap().unwrap();
    let place = a.try_place(id).unwrap().unwrap();
    let mut turn = a.reserve(one.0, one.1.clone(), place).unwrap().unwrap();
    turn.settling(None).unwrap();
    turn.end(made(), true);
    drop(turn);
    assert!(b.reserve(two.0, two.1, seen).unwrap().is_none());
    let place = b.try_place(id).unwrap().unwrap();
    assert!(b.reserve(three.0, three.1, place).unwrap().is_some());
}

impl Fleet {
    /// A payment for another request.
    fn other(nonce: &str) -> (Key, Record) {
        let (key, mut record) = good(nonce);
        record.request = [nonce.as_bytes()[0]; 32];
        (key, record)
    }
}

#[test]
fn what_was_settled_first_runs_once_on_whatever_node() {
    let fleet = Fleet::new();
    let [a, b, c] = [A, B, C].map(|it| fleet.node(it));
    let payment = good("1");
    let settle = |ledger| {
        let mut turn = reserve(ledger, &payment).unwrap();
        turn.settling(None).unwrap();
        assert!(matches!(turn.end(made(), false), Ended::Settled));
        turn
    };
    let mut paused = settle(&a);
    // It was not run: another node may.
    drop(paused);
    let Claim::Rerun(turn) = claim(&b, &payment.0, &request()) else {
        panic!("it was paid for");
    };
    paused = *turn;
    fleet.dies(B);
    c.take_over_dead().unwrap();
    let Claim::Rerun(mut turn) = claim(&c, &payment.0, &request()) else {
        panic!("it was paid for");
    };
    assert!(!paused.ran(Some(&answer())), "another node runs it");
    assert!(turn.ran(Some(&answer())));
    drop((turn, paused));
    assert!(is_answered(&a, &payment.0, &request()));
}

#[tokio::test]
async fn what_a_live_node_runs_is_not_run_by_another() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    let mut turn = reserve(&a, &payment).unwrap();
    turn.settling(None).unwrap();
    assert!(matches!(turn.end(made(), false), Ended::Settled));
    let waiting = tokio::spawn({
        let (b, key) = (b.clone(), payment.0);
        async move { b.claim(Some(&key), &request()).await.unwrap() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert!(turn.ran(Some(&answer())));
    assert!(matches!(waiting.await.unwrap(), Claim::Answered(..)));
}

#[test]
fn what_is_to_be_looked_at_once_more_is_looked_at_by_another_node_if_need_be() {
    let fleet = Fleet::with(Bounds {
        watches: true,
        ..BOUNDS
    });
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let mut turn = reserve(&a, &good("1")).unwrap();
    turn.settling(None).unwrap();
    turn.end(made(), true);
    drop(turn);
    let watch = |ledger: &Ledger| at_once(ledger.watch(&Gone, (2000, 300))).unwrap().unwrap();
    assert!(watch(&b));
    assert_eq!(in_doubt(&b), 0, "it is not this node's to ask");
    fleet.dies(A);
    assert_eq!(b.take_over_dead().unwrap(), 1);
    assert!(watch(&b));
    assert_eq!(in_doubt(&b), 1);
}

fn in_doubt(ledger: &Ledger) -> usize {
    at_once(ledger.clear_doubts(None::<&Gone>, (900, 1000)))
        .unwrap()
        .unwrap()
}

/// Says that the chain took everything back.
struct Gone;

impl Settler for Gone {
    async fn reconcile(&self, payment: &Payment) -> Outcome {
        Outcome::Unknown(Box::new(payment.clone()))
    }

    async fn standing(&self, _: &Payment, _: &str) -> Standing {
        Standing::Gone
    }
}

#[test]
fn what_the_database_did_not_take_is_free_again_once_it_is_back() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    let mut turn = reserve(&a, &payment).unwrap();
    fleet.shared.is_away.store(true, Ordering::Relaxed);
    assert!(turn.settling(Some(&answer())).is_err());
    drop(turn);
    fleet.shared.is_away.store(false, Ordering::Relaxed);
    assert_eq!(in_doubt(&a), 0);
    assert!(reserve(&b, &payment).is_some());
}

#[test]
fn a_proof_of_who_paid_is_taken_once_by_all_nodes_together() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (key, record, request) = purchase("1", 1, None);
    let mut turn = reserve(&a, &(key, record)).unwrap();
    turn.settling(Some(&answer())).unwrap();
    turn.end(made(), true);
    drop(turn);
    let proof = |nonce: &str| Proof {
        accounts: vec![("eip155:84532".into(), "0xbb".into())],
        nonce: nonce.into(),
        issued: 900,
        expires: 1200,
    };
    let is_taken = |ledger: &Ledger, nonce: &str| {
        let signed = ledger.signed_in(&request, &proof(nonce), 1000).unwrap();
        signed.is_some_and(|request| {
            let claim = at_once(ledger.claim(None, &request)).unwrap().unwrap();
            matches!(claim, Claim::Answered(..))
        })
    };
    assert!(is_taken(&b, "1"));
    assert!(!is_taken(&a, "1") && !is_taken(&b, "1"));
    assert!(is_taken(&a, "2"));
}

#[test]
fn the_rows_tell_nothing_of_payers_names_or_payments() {
    let fleet = Fleet::new();
    let node = fleet.node(A);
    let (id, mut record, _) = purchase("1", 1, Some(9));
    record.payment.state = b"a signed authorization".to_vec();
    let mut turn = reserve(&node, &(id, record.clone())).unwrap();
    turn.settling(Some(&answer())).unwrap();
    let known: [&[u8]; 5] = [
        &key(&record.payment.id),
        &[9; 32],
        b"0xbb",
        b"a signed authorization",
        b"sealed",
    ];
    let tables = [
        "payments",
        "payment-holders",
        "payment-names",
        "payment-purses",
    ];
    for table in tables {
        for (key, row) in fleet.shared.disk.scan(table, b"", None, 100).unwrap() {
            for secret in known {
                let holds = |it: &[u8]| it.windows(secret.len()).any(|it| it == secret);
                assert!(!holds(&key) && !holds(&row.sealed), "{table}");
            }
        }
    }
}

#[test]
fn what_is_over_is_forgotten_by_whichever_node() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let (key, mut record, request) = purchase("1", 1, Some(9));
    record.payment.valid_before = 1000;
    let mut turn = reserve(&a, &(key, record)).unwrap();
    turn.settling(Some(&answer())).unwrap();
    turn.end(made(), true);
    drop(turn);
    let sweep = |now| {
        at_once(b.clear_doubts(None::<&Gone>, (now, 50)))
            .unwrap()
            .unwrap()
    };
    sweep(951);
    assert!(matches!(claim(&a, &key, &request), Claim::Gone(_)));
    sweep(1051);
    assert!(matches!(claim(&a, &key, &request), Claim::New));
    for table in [
        "payments",
        "payment-holders",
        "payment-names",
        "transactions",
    ] {
        assert_eq!(
            fleet.shared.disk.scan(table, b"", None, 1).unwrap(),
            [],
            "{table}"
        );
    }
}

#[test]
fn an_answer_is_as_long_as_its_bounds_on_each_node() {
    let fleet = Fleet::with(Bounds {
        held_each: 3,
        ..BOUNDS
    });
    let node = fleet.node(A);
    let payment = good("1");
    let mut turn = reserve(&node, &payment).unwrap();
    let long: Answer = answer();
    turn.settling(Some(&long)).unwrap();
    turn.end(made(), true);
    drop(turn);
    let claimed = claim(&node, &payment.0, &request());
    assert!(matches!(claimed, Claim::Gone(_)));
}

#[test]
fn an_answer_is_given_by_every_node_with_the_evidence_that_its_own_added() {
    let fleet = Fleet::new();
    let [a, b] = [A, B].map(|it| fleet.node(it));
    let payment = good("1");
    let mut turn = reserve(&a, &payment).unwrap();
    turn.settling(Some(&answer())).unwrap();
    turn.end(made(), true);
    drop(turn);
    let quoted = Answer {
        body: hypervisor_protocol::HexBytes(b"sealed, and a quote".to_vec()),
        ..answer()
    };
    a.amend(&payment.0, &quoted).unwrap();
    let claimed = claim(&b, &payment.0, &request());
    assert!(matches!(claimed, Claim::Answered(held, _) if held == quoted));
    let (unknown, _) = good("2");
    a.amend(&unknown, &quoted).unwrap();
    assert!(matches!(
        at_once(a.claim(
            Some(&unknown),
            &Request {
                digest: [1; 32],
                ..request()
            }
        ))
        .unwrap()
        .unwrap(),
        Claim::New
    ));
}
