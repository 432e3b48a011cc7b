//! Members that change the key, over rows in memory; how one gets it from another over the network is for the end-to-end tests.

use std::sync::atomic::{AtomicU64, Ordering};

use hypervisor_fleet::{Fleet, Settings, Vitals};
use hypervisor_store::{Change, KeyId, Keys, Store, Table, Under};

use super::*;
use crate::Phase;
use crate::rotation::{Rotation, Rotations};

#[path = "../../../store/tests/all/shared.rs"]
#[allow(dead_code, reason = "tests of other crates use more of it")]
mod shared;

use shared::Shared;

const DATA: Table = Table {
    name: "data",
    under: Under::File,
};
const NOW: Vitals = Vitals {
    leaving: false,
    sessions: 0,
};

/// A host: its place among the nodes, and its keys.
struct Host {
    member: Member,
    fleet: Arc<Fleet>,
    rows: Store,
}

impl Host {
    async fn start(shared: &Shared, terms: &Terms) -> Self {
        Self::with(shared, terms, ring(7)).await
    }

    async fn pair(shared: &Shared, terms: &Terms) -> (Self, Self) {
        let first = Self::start(shared, terms).await;
        (first, Self::start(shared, terms).await)
    }

    /// Two, in the order of their tags.
    async fn ordered(shared: &Shared, terms: &Terms) -> (Self, Self) {
        let (a, b) = Self::pair(shared, terms).await;
        match a.fleet.tag() < b.fleet.tag() {
            true => (a, b),
            false => (b, a),
        }
    }

    async fn with(shared: &Shared, terms: &Terms, ring: Arc<Ring>) -> Self {
        let store = |tables: &[Table]| {
            Store::over(Box::new(shared.clone()), Keys::of(&ring), tables).unwrap()
        };
        let settings = Settings::new(None, "1.2.3");
        let fleet = Fleet::join(Arc::new(store(&[NODES])), settings).await;
        let rows = Rows::of(Arc::new(shared.clone()));
        Self {
            rows: store(&[DATA]),
            member: Member::new(Arc::clone(&ring), rows, terms, (None, None)).unwrap(),
            fleet: fleet.unwrap(),
        }
    }

    async fn looks(&self, attestation: &Attestation) -> Result<(), Error> {
        self.fleet.beat(NOW).await.unwrap();
        let looked = self.member.look(&self.fleet, attestation, true).await;
        // What it has by now is in its row.
        self.fleet.beat(NOW).await.unwrap();
        looked
    }

    async fn rotates(&self) -> Result<KeyId, Error> {
        self.member.rotate(&self.fleet).await
    }

    /// Has the keys that another host has, as if that had given them.
    fn is_given_by(&self, other: &Self) {
        assert!(self.member.ring().adopt(other.member.ring()));
    }

    fn writes(&self, key: &[u8]) {
        self.rows
            .commit(&[Change::put(DATA, key, b"value")], true)
            .unwrap();
    }

    fn reads(&self, key: &[u8]) -> Option<Vec<u8>> {
        let row = self.rows.get(DATA, key).ok()?;
        row.map(|row| row.value.to_vec())
    }

    fn phase(&self) -> Option<Phase> {
        self.member.turning().1.map(|it| it.phase)
    }
}

fn shared() -> Shared {
    let shared = Shared::new();
    let clock: &AtomicU64 = &shared.clock;
    clock.store(1_000_000_000, Ordering::Relaxed);
    shared
}

#[tokio::test]
async fn a_key_takes_the_place_of_another_once_all_that_live_have_it_and_then_that_is_forgotten() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let (a, b) = Host::pair(&shared, &terms).await;
    a.writes(b"before");
    let first = a.member.ring().current();
    let next = a.rotates().await.unwrap();
    a.looks(&attestation).await.unwrap();
    // The other one lacks it, so nothing is written under it.
    let turning = a.member.turning();
    assert_eq!(turning.0, first);
    assert_eq!(turning.1.unwrap().waits_for, [b.fleet.tag()]);
    a.writes(b"meanwhile");
    assert_eq!(b.reads(b"meanwhile").unwrap(), b"value");
    b.is_given_by(&a);
    for host in [&b, &a, &b, &a] {
        host.looks(&attestation).await.unwrap();
    }
    for host in [&a, &b] {
        assert_eq!(host.member.ring().ids(), [next]);
        assert_eq!(host.phase(), None);
        assert_eq!(host.reads(b"before").unwrap(), b"value");
        assert_eq!(host.reads(b"meanwhile").unwrap(), b"value");
    }
    // And again.
    let third = b.rotates().await.unwrap();
    a.is_given_by(&b);
    for host in [&a, &b, &a, &b] {
        host.looks(&attestation).await.unwrap();
    }
    assert_eq!(a.member.ring().ids(), [third]);
    assert_eq!(
        (a.member.ring().number(), a.reads(b"before").unwrap()),
        (3, b"value".to_vec())
    );
}

#[tokio::test]
async fn of_two_rotations_at_once_one_is_made_and_the_other_names_it() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let (a, b) = Host::pair(&shared, &terms).await;
    let next = a.rotates().await.unwrap();
    // What the first one has is in its row with its next heartbeat.
    a.fleet.beat(NOW).await.unwrap();
    let refused = b.rotates().await.unwrap_err();
    assert!(
        matches!(&refused, Error::UnderWay(key) if *key == const_hex::encode(next)),
        "{refused}"
    );
    assert_eq!(b.member.ring().next(), None);
    b.is_given_by(&a);
    a.looks(&attestation).await.unwrap();
    b.looks(&attestation).await.unwrap();
    for host in [&a, &b, &a] {
        host.looks(&attestation).await.unwrap();
    }
    assert_eq!(a.member.ring().ids(), [next]);
    assert_eq!(b.member.ring().ids(), [next]);
}

#[tokio::test]
async fn a_key_that_nobody_has_who_lives_makes_room_for_another() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let (a, b) = Host::pair(&shared, &terms).await;
    let lost = a.rotates().await.unwrap();
    a.fleet.beat(NOW).await.unwrap();
    // The first one dies before anybody asked it.
    b.writes(b"row");
    shared.clock.fetch_add(60_000_000, Ordering::Relaxed);
    b.fleet.beat(NOW).await.unwrap();
    b.fleet.beat(NOW).await.unwrap();
    let error = b.looks(&attestation).await.unwrap_err();
    assert!(
        matches!(&error, Error::Lacking(key, _) if *key == const_hex::encode(lost)),
        "{error}"
    );
    let next = b.rotates().await.unwrap();
    b.looks(&attestation).await.unwrap();
    assert_eq!(b.member.ring().ids(), [next]);
    assert_eq!(b.reads(b"row").unwrap(), b"value");
    // It only stood still: nothing came under its key, and it lacks the one there is, which it says.
    let error = a.looks(&attestation).await.unwrap_err();
    assert!(matches!(error, Error::Lacking(..)), "{error}");
    a.is_given_by(&b);
    a.looks(&attestation).await.unwrap();
    assert_eq!(a.member.ring().ids(), [next]);
    assert_eq!(a.reads(b"row").unwrap(), b"value");
}

#[tokio::test]
async fn a_host_that_dies_while_it_seals_anew_leaves_the_rest_to_the_others() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let (first, second) = Host::ordered(&shared, &terms).await;
    first.writes(b"row");
    let next = second.rotates().await.unwrap();
    first.is_given_by(&second);
    first.fleet.beat(NOW).await.unwrap();
    // It is the first one's to do, which does not come to it.
    second.looks(&attestation).await.unwrap();
    assert_eq!(second.phase(), Some(Phase::Writing));
    assert!(second.member.ring().last().is_some());
    shared.clock.fetch_add(60_000_000, Ordering::Relaxed);
    second.fleet.beat(NOW).await.unwrap();
    second.fleet.beat(NOW).await.unwrap();
    second.looks(&attestation).await.unwrap();
    assert_eq!(second.member.ring().ids(), [next]);
    assert_eq!(second.reads(b"row").unwrap(), b"value");
    // When that is back it has what there is.
    first.looks(&attestation).await.unwrap();
    assert_eq!(first.member.ring().ids(), [next]);
    assert_eq!(first.reads(b"row").unwrap(), b"value");
}

/// Takes the row of the rotation away, or puts an earlier one there.
fn set(shared: &Shared, to: Option<RawRow>) -> Option<RawRow> {
    let table = format!("fleet-rotation@{}", const_hex::encode(ring(7).id()));
    let before = shared.get(&table, b"rotation").unwrap();
    let change = RawChange {
        table,
        key: b"rotation".to_vec(),
        expected: before.as_ref().map(|it| it.version),
        row: to,
    };
    shared.commit(vec![change], true).unwrap();
    before
}

#[tokio::test]
async fn a_row_of_the_rotation_that_is_taken_away_or_put_back_ends_nothing_and_forgets_nothing() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let (first, second) = Host::ordered(&shared, &terms).await;
    first.writes(b"row");
    let next = second.rotates().await.unwrap();
    first.is_given_by(&second);
    first.fleet.beat(NOW).await.unwrap();
    let offered = set(&shared, None);
    // Nothing is under the next key, and it is as if it had never been.
    second.looks(&attestation).await.unwrap();
    assert_eq!(second.member.ring().next(), None);
    set(&shared, offered.clone());
    second.is_given_by(&first);
    second.looks(&attestation).await.unwrap();
    assert_eq!(second.phase(), Some(Phase::Writing));
    // From here on rows are under it.
    second.writes(b"other");
    set(&shared, None);
    second.looks(&attestation).await.unwrap();
    assert!(
        second.member.ring().last().is_some(),
        "nothing was sealed anew yet"
    );
    set(&shared, offered.clone());
    second.looks(&attestation).await.unwrap_err();
    assert!(second.member.ring().last().is_some());
    // What was put back is written anew, as whoever knows better knows it.
    first.looks(&attestation).await.unwrap();
    second.looks(&attestation).await.unwrap();
    first.looks(&attestation).await.unwrap();
    second.looks(&attestation).await.unwrap();
    for host in [&first, &second] {
        assert_eq!(host.member.ring().ids(), [next]);
        assert_eq!(host.reads(b"row").unwrap(), b"value");
        assert_eq!(host.reads(b"other").unwrap(), b"value");
    }
    // An old one says nothing to whoever has gone on, and does not keep the next one from being made.
    set(&shared, offered);
    assert!(second.looks(&attestation).await.is_err());
    assert_eq!(second.member.ring().ids(), [next]);
}

#[tokio::test]
async fn a_database_that_is_away_in_the_middle_ends_nothing() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let host = Host::start(&shared, &terms).await;
    host.writes(b"row");
    shared.is_away.store(true, Ordering::Relaxed);
    assert!(host.rotates().await.is_err());
    shared.is_away.store(false, Ordering::Relaxed);
    let next = host.rotates().await.unwrap();
    shared.is_away.store(true, Ordering::Relaxed);
    assert!(
        host.member
            .look(&host.fleet, &attestation, true)
            .await
            .is_err()
    );
    shared.is_away.store(false, Ordering::Relaxed);
    host.looks(&attestation).await.unwrap();
    assert_eq!(host.member.ring().ids(), [next]);
    assert_eq!(host.reads(b"row").unwrap(), b"value");
}

#[tokio::test]
async fn what_a_platform_kept_that_nobody_lives_on_goes_with_the_key() {
    let (terms, shared) = (terms(), shared());
    let attestation = attestation(&terms);
    let rows = Rows::of(Arc::new(shared.clone()));
    let gone = Vault::of(&rows, &key(9), [1; 32]).unwrap();
    let host = Host::start(&shared, &terms).await;
    gone.keep(host.member.ring()).unwrap();
    let id = host.member.ring().id();
    shared.clock.fetch_add(60_000_000, Ordering::Relaxed);
    host.rotates().await.unwrap();
    let lives = Vault::of(&rows, &key(8), [1; 32]).unwrap();
    lives.keep(host.member.ring()).unwrap();
    host.looks(&attestation).await.unwrap();
    assert!(gone.open(id).unwrap().is_none());
    assert!(lives.open(id).unwrap().is_some());
}

#[test]
fn a_row_of_a_rotation_is_read_as_it_was_written_and_nothing_else_is_one() {
    let shared = shared();
    let (rows, ring) = (Rows::of(Arc::new(shared.clone())), ring(7));
    let rotations = Rotations::of(&rows, &ring).unwrap();
    assert!(rotations.read().unwrap().is_none());
    let offer = Rotation::offer([[1; 8], [2; 8]], 2, 3);
    assert!(
        rotations
            .write(&offer, hypervisor_store::Expect::Absent)
            .unwrap()
    );
    assert!(
        !rotations
            .write(&offer, hypervisor_store::Expect::Absent)
            .unwrap()
    );
    assert_eq!(rotations.read().unwrap().unwrap().0, offer);
    let stranger = Rotations::of(&rows, &super::ring(8)).unwrap();
    assert!(stranger.read().unwrap().is_none());
}
