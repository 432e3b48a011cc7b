//! What survives a restart, and what does not.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use hypervisor_ledger::{
    Answer, Bounds, Claim, EARLIER_ANSWERS, EARLIER_RECORDS, Ended, Key, Ledger, Outcome, Payment,
    PaymentId, Place, Record, Request, Settler, Standing, State, Store, TABLES, key,
};
use hypervisor_protocol::HexBytes;
use hypervisor_store::{
    Backend, Disk, Error as RowError, Keys, RawChange, RawRow, SealingKey, Store as Rows, Table,
    Under,
};

const BOUNDS: Bounds = Bounds {
    held: 1 << 30,
    held_each: 1 << 24,
    held_payer: 1 << 26,
    unsettled: 1,
    watches: false,
};

fn keys(folder: &Path, key: Option<u8>) -> Keys {
    let key = key.map(|key| SealingKey::new(zeroize::Zeroizing::new([key; 32])));
    let file = SealingKey::of_file(&folder.join("store.key")).unwrap();
    Keys::new(key.as_ref(), &file).unwrap()
}

fn rows(folder: &Path, key: Option<u8>) -> Rows {
    let file = folder.join("store/payments.redb");
    Rows::open(&file, keys(folder, key), &TABLES).unwrap()
}

/// The store in a folder; `key`: of the platform, if it has one.
fn open_with(folder: &tempfile::TempDir, key: Option<u8>, bounds: Bounds) -> Store {
    let folder = folder.path();
    Store::open(rows(folder, key), bounds, &folder.join("payments.redb")).unwrap()
}

pub(crate) fn open(folder: &tempfile::TempDir) -> Store {
    open_with(folder, None, BOUNDS)
}

fn id(nonce: &str) -> PaymentId {
    PaymentId {
        chain: "eip155:84532".to_owned(),
        asset: "0xaa".to_owned(),
        payer: "0xbb".to_owned(),
        nonce: nonce.to_owned(),
    }
}

pub(crate) fn record(nonce: &str, state: State) -> (Key, Record) {
    let payment = Payment {
        id: id(nonce),
        amount: "10000".to_owned(),
        pay_to: "0xcc".to_owned(),
        valid_before: 1_000,
        state: vec![1, 2, 3],
    };
    let request = Request {
        digest: [7; 32],
        scope: [8; 32],
        is_secret: true,
        name: None,
    };
    let record = Record {
        state,
        ..Record::new(payment, request, 900)
    };
    (key(&id(nonce)), record)
}

pub(crate) fn settled() -> State {
    State::Settled {
        transaction: "0x01".to_owned(),
        headers: vec![("payment-response".to_owned(), "e30=".to_owned())],
        ran: true,
    }
}

pub(crate) fn answer() -> Answer {
    Answer {
        media_type: "application/json".to_owned(),
        body: HexBytes(b"sealed".to_vec()),
    }
}

#[test]
fn a_payment_is_set_aside_once_and_nothing_is_written_before_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (key, first) = record("1", State::Reserved);
    {
        let ledger = Ledger::new(open(&folder));
        let reserve = || ledger.reserve(key, first.clone(), Place::UNBOUND).unwrap();
        let turn = reserve().unwrap();
        assert!(reserve().is_none());
        drop(turn);
        let mut turn = reserve().unwrap();
        turn.settling(Some(&answer())).unwrap();
        drop(turn);
        // In doubt, and nobody else's.
        assert!(reserve().is_none());
    }
    let store = open(&folder);
    assert_eq!(store.in_doubt(), [key]);
    assert_eq!(store.answer(&key).unwrap(), Some(answer()));
}

/// What comes of a future that does not wait.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn an_answer_that_anybody_can_read_is_for_who_brings_the_payment_as_it_was() {
    for (is_secret, scope, is_answered) in [
        (false, 8, true),
        (false, 9, false),
        // The request proves by itself whose it is.
        (true, 9, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (key, record) = record("1", settled());
        let store = open(&folder);
        store.update(&key, &record, Some(&answer())).unwrap();
        let request = Request {
            digest: [7; 32],
            scope: [scope; 32],
            is_secret,
            name: None,
        };
        let ledger = Ledger::new(store);
        let claim = at_once(ledger.claim(Some(&key), &request)).unwrap();
        let claim = claim.unwrap();
        assert_eq!(matches!(claim, Claim::Answered(..)), is_answered);
        assert_eq!(matches!(claim, Claim::Reused), !is_answered);
    }
}

#[test]
fn what_a_crash_left_in_doubt_may_be_for_another_request_where_no_answer_is_held() {
    for held in [None, Some(answer())] {
        let folder = tempfile::tempdir().unwrap();
        let (key, first) = record("1", State::Reserved);
        {
            let ledger = Ledger::new(open(&folder));
            let reserved = ledger.reserve(key, first, Place::UNBOUND);
            reserved.unwrap().unwrap().settling(held.as_ref()).unwrap();
        }
        let ledger = Ledger::new(open(&folder));
        let claim = |digest, scope| {
            let request = Request {
                digest: [digest; 32],
                scope: [scope; 32],
                is_secret: true,
                name: None,
            };
            at_once(ledger.claim(Some(&key), &request))
                .unwrap()
                .unwrap()
        };
        assert!(matches!(claim(7, 8), Claim::InDoubt(_)));
        let other = claim(9, 8);
        match held {
            None => assert!(matches!(other, Claim::InDoubt(_))),
            Some(_) => assert!(matches!(other, Claim::Reused)),
        }
        assert!(matches!(claim(9, 9), Claim::Reused), "of another route");
    }
}

/// Says that the money moved, when it is asked a second time.
#[derive(Default)]
struct Slow(AtomicBool);

impl Settler for Slow {
    async fn reconcile(&self, _: &Payment) -> Outcome {
        poll_fn(|_| match self.0.swap(true, Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        Outcome::Settled {
            transaction: "0x1".into(),
            headers: Vec::new(),
        }
    }

    async fn standing(&self, _: &Payment, _: &str) -> Standing {
        Standing::Stands
    }
}

/// Says how what was settled stands.
struct Says(Standing);

impl Settler for Says {
    async fn reconcile(&self, payment: &Payment) -> Outcome {
        Outcome::Unknown(Box::new(payment.clone()))
    }

    async fn standing(&self, payment: &Payment, transaction: &str) -> Standing {
        assert_eq!(payment.state, [1, 2, 3], "what it is asked about with");
        assert_eq!(transaction, "0xabc");
        self.0
    }
}

/// Rows on a disk that may be full.
struct MayFail(Disk, Arc<AtomicBool>);

impl Backend for MayFail {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, RowError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, RowError> {
        self.0.scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), RowError> {
        match self.1.load(Ordering::Relaxed) {
            true => Err(RowError::Seal("full")),
            false => self.0.commit(changes, durable),
        }
    }

    fn clear(&mut self, table: &str) -> Result<(), RowError> {
        self.0.clear(table)
    }
}

#[test]
fn a_payment_whose_row_could_not_be_deleted_is_freed_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = Disk::open(&folder.path().join("store/payments.redb")).unwrap();
    let backend = Box::new(MayFail(disk, is_full.clone()));
    let rows = Rows::over(backend, keys(folder.path(), None), &TABLES).unwrap();
    let earlier = folder.path().join("payments.redb");
    let ledger = Ledger::new(Store::open(rows, BOUNDS, &earlier).unwrap());
    let (key, first) = record("1", State::Reserved);
    let again = first.clone();
    let mut turn = ledger.reserve(key, first, Place::UNBOUND).unwrap().unwrap();
    turn.settling(None).unwrap();
    is_full.store(true, Ordering::Relaxed);
    turn.release();
    drop(turn);
    is_full.store(false, Ordering::Relaxed);
    // Nobody is asked: that it was not made is known.
    let unasked = Says(Standing::Stands);
    let left = at_once(ledger.clear_doubts(Some(&unasked), (900, 1000))).unwrap();
    assert_eq!(left.unwrap(), 0);
    let reserved = ledger.reserve(key, again, Place::UNBOUND).unwrap();
    assert!(reserved.is_some(), "it is good for another request");
}

#[test]
fn what_was_settled_is_looked_at_once_more_and_is_in_doubt_where_it_was_taken_back() {
    for (standing, asked_again, in_doubt) in [
        (Standing::Stands, false, false),
        (Standing::Unclear, true, false),
        (Standing::Gone, false, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let watching = Bounds {
            watches: true,
            ..BOUNDS
        };
        let (key, first) = record("1", State::Reserved);
        let created = first.created;
        {
            let ledger = Ledger::new(open_with(&folder, None, watching));
            let mut turn = (ledger.reserve(key, first, Place::UNBOUND))
                .unwrap()
                .unwrap();
            turn.settling(None).unwrap();
            let made = Outcome::Settled {
                transaction: "0xabc".into(),
                headers: Vec::new(),
            };
            assert!(matches!(turn.end(made, true), Ended::Settled));
            drop(turn);
            ledger.flush().unwrap();
        }
        // A restart forgets nothing of it.
        let store = || open_with(&folder, None, watching);
        let ledger = Ledger::new(store());
        let watch = |ledger: &Ledger, says, now| {
            at_once(ledger.watch(&Says(says), (now, 300)))
                .unwrap()
                .unwrap()
        };
        // Not yet: nobody is asked.
        assert!(watch(&ledger, Standing::Gone, created + 300));
        assert!(watch(&ledger, standing, created + 301));
        drop(ledger);
        let kept = store();
        assert_eq!(!kept.in_doubt().is_empty(), in_doubt, "{standing:?}");
        let state = kept.record(&key).unwrap().unwrap().payment.state;
        assert_eq!(state.is_empty(), !asked_again && !in_doubt, "{standing:?}");
    }
}

#[test]
fn what_is_being_asked_about_after_a_crash_is_waited_for_and_runs_for_another_request() {
    let folder = tempfile::tempdir().unwrap();
    let (key, first) = record("1", State::Reserved);
    {
        let ledger = Ledger::new(open(&folder));
        let reserved = ledger.reserve(key, first, Place::UNBOUND);
        reserved.unwrap().unwrap().settling(None).unwrap();
    }
    let ledger = Ledger::new(open(&folder));
    let other = Request {
        digest: [9; 32],
        scope: [8; 32],
        is_secret: true,
        name: None,
    };
    let slow = Slow::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut asking = pin!(ledger.reconcile(&slow, &key));
    assert!(asking.as_mut().poll(&mut context).is_pending());
    let mut claim = pin!(ledger.claim(Some(&key), &other));
    assert!(claim.as_mut().poll(&mut context).is_pending());
    assert!(asking.as_mut().poll(&mut context).is_ready());
    let Poll::Ready(claim) = claim.as_mut().poll(&mut context) else {
        panic!("waits for nothing");
    };
    assert!(matches!(claim.unwrap(), Claim::Rerun(_)));
}

#[test]
fn a_payment_that_was_not_settled_is_free_whatever_becomes_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let (key, first) = record("1", State::Reserved);
    {
        let ledger = Ledger::new(open(&folder));
        let reserved = ledger.reserve(key, first, Place::UNBOUND);
        let mut turn = reserved.unwrap().unwrap();
        turn.settling(Some(&answer())).unwrap();
        let headers = Vec::new();
        assert!(matches!(
            turn.end(Outcome::Failed { headers }, true),
            Ended::Failed(_)
        ));
    }
    let store = open(&folder);
    assert_eq!(store.record(&key).unwrap(), None);
    assert_eq!(store.answer(&key).unwrap(), None);
}

#[test]
fn a_restart_frees_what_was_reserved_and_keeps_what_was_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let (reserved, settling, done) = (
        record("1", State::Reserved),
        record("2", State::Settling),
        record("3", settled()),
    );
    {
        let store = open(&folder);
        store.update(&reserved.0, &reserved.1, None).unwrap();
        store.update(&settling.0, &settling.1, None).unwrap();
        store.update(&done.0, &done.1, Some(&answer())).unwrap();
        store.flush().unwrap();
    }
    let store = open(&folder);
    assert_eq!(store.record(&reserved.0).unwrap(), None);
    assert_eq!(store.record(&settling.0).unwrap(), Some(settling.1));
    assert_eq!(store.record(&done.0).unwrap(), Some(settled_record(done.1)));
    assert_eq!(store.answer(&done.0).unwrap(), Some(answer()));
    assert_eq!(store.in_doubt(), [settling.0]);
}

#[test]
fn answers_are_forgotten_after_the_hold_and_payments_once_they_can_no_longer_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (key, record) = record("1", settled());
    store.update(&key, &record, Some(&answer())).unwrap();
    store.sweep(950, 50).unwrap();
    assert_eq!(store.answer(&key).unwrap(), Some(answer()));
    store.sweep(951, 50).unwrap();
    assert_eq!(store.answer(&key).unwrap(), None);
    assert!(store.record(&key).unwrap().is_some());
    store.sweep(1_051, 50).unwrap();
    assert_eq!(store.record(&key).unwrap(), None);
}

#[test]
fn ids_that_read_alike_when_joined_are_different_payments() {
    let mut other = id("1");
    other.asset = "0xaa0".to_owned();
    other.payer = "xbb".to_owned();
    assert_ne!(key(&id("1")), key(&other));
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// A settled payment needs no authorization any more.
fn settled_record(mut record: Record) -> Record {
    record.payment.state.clear();
    record
}

fn plain() -> Answer {
    Answer {
        media_type: "message/bhttp".to_owned(),
        body: HexBytes(b"what nobody else may read".to_vec()),
    }
}

#[test]
fn a_used_payment_stays_used_whatever_becomes_of_the_platforms_key() {
    let folder = tempfile::tempdir().unwrap();
    let (key, record) = record("1", settled());
    let used = settled_record(record.clone());
    {
        let store = open_with(&folder, Some(1), BOUNDS);
        store.update(&key, &record, Some(&answer())).unwrap();
        store.flush().unwrap();
    }
    for platform in [Some(2), None, Some(1)] {
        let store = open_with(&folder, platform, BOUNDS);
        assert_eq!(store.record(&key).unwrap(), Some(used.clone()));
        assert_eq!(store.answer(&key).unwrap(), Some(answer()));
    }
}

#[test]
fn an_answer_that_its_client_did_not_seal_ends_with_a_host_without_a_platform_key() {
    for (platform, expected) in [(Some(1), Some(plain())), (None, None)] {
        let folder = tempfile::tempdir().unwrap();
        let (key, record) = record("1", settled());
        {
            let store = open_with(&folder, platform, BOUNDS);
            store.update(&key, &record, Some(&plain())).unwrap();
            store.flush().unwrap();
            assert_eq!(store.answer(&key).unwrap(), Some(plain()));
        }
        let store = open_with(&folder, platform, BOUNDS);
        assert_eq!(store.answer(&key).unwrap(), expected);
        assert!(store.record(&key).unwrap().is_some());
    }
}

#[test]
fn an_authorization_is_kept_as_long_as_it_may_be_needed_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (key, mut record) = record("1", State::Settling);
    let store = open(&folder);
    store.settling(&key, &record, None, true).unwrap();
    drop(store);
    let store = open(&folder);
    let kept = store.record(&key).unwrap().unwrap();
    assert_eq!(kept.payment.state, record.payment.state);
    record.state = settled();
    store.update(&key, &record, None).unwrap();
    store.flush().unwrap();
    drop(store);
    let authorizations = Table {
        name: "authorizations",
        under: Under::File,
    };
    let rows = rows(folder.path(), None);
    assert!(rows.get(authorizations, &key).unwrap().is_none());
}

#[test]
fn answers_are_held_up_to_a_bound_for_each_and_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        held: 100,
        held_each: 60,
        ..BOUNDS
    };
    let of = |bytes: usize| Answer {
        body: HexBytes(vec![0; bytes]),
        ..answer()
    };
    let put = |store: &Store, nonce: &str, bytes| {
        let (key, record) = record(nonce, settled());
        store.update(&key, &record, Some(&of(bytes))).unwrap();
        store.flush().unwrap();
        assert!(store.record(&key).unwrap().is_some());
        store.answer(&key).unwrap().is_some()
    };
    {
        let store = open_with(&folder, None, bounds);
        assert!(!put(&store, "too long", 61));
        assert!(put(&store, "1", 60) && put(&store, "2", 40));
        assert!(!put(&store, "no room", 1));
    }
    // What is held counts after a restart too, until it is forgotten.
    let store = open_with(&folder, None, bounds);
    assert!(!put(&store, "no room", 1));
    store.sweep(951, 50).unwrap();
    assert!(put(&store, "room", 60));
}

#[test]
fn payments_of_an_earlier_version_are_moved_and_their_file_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("payments.redb");
    let (reserved, done) = (record("1", State::Reserved), record("2", settled()));
    {
        let database = redb::Database::create(&old).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut records = write.open_table(EARLIER_RECORDS).unwrap();
            for (key, record) in [&reserved, &done] {
                let bytes = encode(record);
                records.insert(key, bytes.as_slice()).unwrap();
            }
            let mut answers = write.open_table(EARLIER_ANSWERS).unwrap();
            let bytes = encode(&answer());
            answers.insert(&done.0, bytes.as_slice()).unwrap();
        }
        write.commit().unwrap();
    }
    let store = open(&folder);
    assert!(!old.exists());
    assert_eq!(store.record(&reserved.0).unwrap(), None);
    assert_eq!(store.record(&done.0).unwrap(), Some(settled_record(done.1)));
    assert_eq!(store.answer(&done.0).unwrap(), Some(answer()));
}

#[test]
fn the_files_show_no_payer_no_authorization_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (key, mut record) = record("1", State::Settling);
    record.payment.state = b"a signed authorization".to_vec();
    record.payment.id.payer = "0x7061796572".to_owned();
    let store = open(&folder);
    store.update(&key, &record, Some(&plain())).unwrap();
    store.flush().unwrap();
    drop(store);
    for entry in std::fs::read_dir(folder.path().join("store")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in ["a signed authorization", "0x7061796572", "what nobody else"] {
            let holds = bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            assert!(!holds, "{secret}");
        }
    }
}

#[test]
fn the_answers_of_one_payer_leave_room_for_those_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        held_payer: 100,
        ..BOUNDS
    };
    let store = open_with(&folder, None, bounds);
    let put = |payer: &str, nonce: &str, bytes: usize| {
        let (_, mut record) = record(nonce, settled());
        record.payment.id.payer = payer.to_owned();
        let key = key(&record.payment.id);
        let answer = Answer {
            body: HexBytes(vec![0; bytes]),
            ..answer()
        };
        store.update(&key, &record, Some(&answer)).unwrap();
        store.answer(&key).unwrap().is_some()
    };
    assert!(put("0x01", "1", 60) && !put("0x01", "2", 60) && put("0x01", "3", 40));
    assert!(put("0x02", "1", 60));
    // The same payment's answer takes the place of its first.
    assert!(put("0x01", "1", 60));
    store.sweep(951, 50).unwrap();
    assert!(put("0x01", "2", 100));
}

/// A purchase by the name `9`, of a request and with a payment of its own.
fn purchase(nonce: &str, request: u8) -> (Key, Record, Request) {
    let (key, record) = record(nonce, State::Reserved);
    let request = Request {
        digest: [request; 32],
        scope: [8; 32],
        is_secret: false,
        name: Some([9; 32]),
    };
    (key, Record::new(record.payment, request, 900), request)
}

#[test]
fn what_goes_by_one_name_is_bought_once_with_whatever_payment_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (first, record, request) = purchase("1", 1);
    let (second, again, _) = purchase("2", 1);
    let (third, _, other) = purchase("3", 2);
    let claim = |ledger: &Ledger, key, request| at_once(ledger.claim(Some(key), request)).unwrap();
    {
        let ledger = Ledger::new(open(&folder));
        let reserved = ledger.reserve(first, record, Place::UNBOUND);
        let mut turn = reserved.unwrap().unwrap();
        let while_it_runs = ledger.reserve(second, again, Place::UNBOUND);
        assert!(while_it_runs.unwrap().is_none());
        let mut waiting = pin!(ledger.claim(Some(&second), &request));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        turn.settling(Some(&answer())).unwrap();
        let outcome = Outcome::Settled {
            transaction: "0x1".into(),
            headers: Vec::new(),
        };
        assert!(matches!(turn.end(outcome, true), Ended::Settled));
        drop(turn);
        let Poll::Ready(Ok(Claim::Answered(..))) = waiting.as_mut().poll(&mut context) else {
            panic!("the same purchase, and no answer");
        };
        ledger.flush().unwrap();
    }
    let ledger = Ledger::new(open(&folder));
    let same = claim(&ledger, &second, &request).unwrap();
    assert!(matches!(same, Claim::Answered(..)));
    let reused = claim(&ledger, &third, &other).unwrap();
    assert!(matches!(reused, Claim::Reused));
    let nameless = Request {
        name: None,
        ..request
    };
    let new = claim(&ledger, &second, &nameless).unwrap();
    assert!(matches!(new, Claim::New));
}

#[test]
fn the_name_of_a_purchase_that_came_to_nothing_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(open(&folder));
    let (first, record, _) = purchase("1", 1);
    drop(ledger.reserve(first, record, Place::UNBOUND).unwrap());
    let (second, other, _) = purchase("2", 2);
    let reserved = ledger.reserve(second, other, Place::UNBOUND);
    assert!(reserved.unwrap().is_some());
}
