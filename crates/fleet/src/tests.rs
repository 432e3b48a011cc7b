//! Nodes over one file, with a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hypervisor_store::Store;

use crate::{Fleet, NODES, Settings, Tag, Vitals};

#[path = "../../store/tests/all/shared.rs"]
#[allow(dead_code, reason = "tests of other crates use more of it")]
mod shared;

use shared::Shared;

fn fleet() -> Shared {
    let shared = Shared::new();
    shared.clock.store(1_000_000_000, Ordering::Relaxed);
    shared
}

fn pass(shared: &Shared, time: Duration) {
    let time = u64::try_from(time.as_micros()).unwrap();
    shared.clock.fetch_add(time, Ordering::Relaxed);
}

async fn node(shared: &Shared, port: u16) -> Arc<Fleet> {
    let address = format!("192.0.2.1:{port}").parse().unwrap();
    let settings = Settings {
        beat: Duration::from_millis(5),
        ..Settings::new(Some(address), "1.2.3")
    };
    let rows = Arc::new(shared.store(KEY, &[NODES]));
    Fleet::join(rows, settings).await.unwrap()
}

/// The key of the fleet.
const KEY: u8 = 7;

/// Rows under the fleet's key.
pub(crate) fn rows() -> Arc<Store> {
    Arc::new(fleet().store(KEY, &[NODES]))
}

/// Rows under a key that is not the fleet's.
pub(crate) fn stranger() -> Arc<Store> {
    Arc::new(fleet().store(8, &[NODES]))
}

const NOW: Vitals = Vitals {
    leaving: false,
    sessions: 0,
};

#[tokio::test]
async fn nodes_see_each_other_and_what_each_says_of_itself() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    let says = Vitals {
        leaving: true,
        sessions: 3,
    };
    b.beat(says).await.unwrap();
    a.beat(NOW).await.unwrap();
    let seen = a.owner_of(b.tag()).await.unwrap();
    assert_eq!(seen.address, Some("192.0.2.1:2".parse().unwrap()));
    assert_eq!(
        (&*seen.host, seen.leaving, seen.sessions),
        ("1.2.3", true, 3)
    );
    assert_eq!(a.nodes().len(), 2);
}

#[tokio::test]
async fn a_node_that_joined_since_the_last_heartbeat_is_found() {
    let shared = fleet();
    let a = node(&shared, 1).await;
    let b = node(&shared, 2).await;
    assert_eq!(a.owner_of(b.tag()).await.unwrap().tag, b.tag());
}

#[tokio::test]
async fn tags_that_nobody_has_are_looked_up_once_for_all_who_ask_at_once() {
    let shared = fleet();
    let a = node(&shared, 1).await;
    let before = shared.scans.load(Ordering::Relaxed);
    let asking: Vec<_> = (0..50)
        .map(|at| {
            let a = Arc::clone(&a);
            tokio::spawn(async move { a.owner_of(Tag([0, 0, 0, at])).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), None);
    }
    let looks = shared.scans.load(Ordering::Relaxed) - before;
    // Each look is two pages: the rows, and the end of them.
    assert!(looks <= 2 * 3, "{looks}");
}

#[tokio::test]
async fn a_node_is_dead_when_it_was_not_seen_for_too_long_by_the_clock_of_the_database() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    pass(&shared, Duration::from_secs(9));
    a.beat(NOW).await.unwrap();
    assert!(a.owner_of(b.tag()).await.is_some());
    pass(&shared, Duration::from_secs(2));
    a.beat(NOW).await.unwrap();
    assert_eq!(a.owner_of(b.tag()).await, None);
    assert_eq!(a.dead(), [b.tag()]);
}

#[tokio::test]
async fn nobody_is_taken_for_dead_because_the_database_was_away_for_all() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    // Neither could write or look for a minute.
    pass(&shared, Duration::from_secs(60));
    a.last_looked(Duration::from_secs(60));
    a.beat(NOW).await.unwrap();
    assert!(a.dead().is_empty() && a.is_alive(b.tag()));
    // The other one had its time since, and said nothing.
    a.came_back(Duration::from_secs(10));
    a.beat(NOW).await.unwrap();
    assert_eq!(a.dead(), [b.tag()]);
}

#[tokio::test]
async fn what_a_dead_node_left_is_taken_over_and_its_row_goes() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    pass(&shared, Duration::from_secs(11));
    let (told, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let (attended, dead) = (Arc::clone(&a), b.tag());
    let attending = tokio::spawn(attended.attend(
        || NOW,
        move |tag| {
            told.send(tag).unwrap();
            async { true }
        },
    ));
    assert_eq!(taken.recv().await, Some(dead));
    while a.nodes().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(a.takeovers(), 1);
    attending.abort();
}

#[tokio::test]
async fn a_dead_nodes_row_stays_as_long_as_its_work_is_not_taken_over() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    pass(&shared, Duration::from_secs(11));
    let (told, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let attended = Arc::clone(&a);
    let attending = tokio::spawn(attended.attend(
        || NOW,
        move |tag| {
            told.send(tag).unwrap();
            async { false }
        },
    ));
    assert_eq!(taken.recv().await, Some(b.tag()));
    assert_eq!(taken.recv().await, Some(b.tag()));
    attending.abort();
    assert_eq!((a.dead(), a.takeovers()), (vec![b.tag()], 0));
}

#[tokio::test]
async fn a_node_that_wakes_and_finds_its_row_gone_has_its_tag_again() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    a.beat(NOW).await.unwrap();
    shared
        .store(KEY, &[NODES])
        .commit(
            &[hypervisor_store::Change::delete(NODES, &b.tag().0)],
            false,
        )
        .unwrap();
    a.beat(NOW).await.unwrap();
    assert_eq!(a.owner_of(b.tag()).await, None);
    b.beat(NOW).await.unwrap();
    assert!(a.owner_of(b.tag()).await.is_some());
    b.beat(NOW).await.unwrap();
    assert_eq!(a.nodes().len(), 2);
}

#[tokio::test]
async fn a_node_that_departs_has_no_row_and_gets_none_by_a_late_heartbeat() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    b.leave().await.unwrap();
    a.beat(NOW).await.unwrap();
    assert!(a.owner_of(b.tag()).await.unwrap().leaving);
    b.depart().await.unwrap();
    b.beat(NOW).await.unwrap();
    a.beat(NOW).await.unwrap();
    assert_eq!(a.nodes().len(), 1);
}

#[tokio::test]
async fn a_node_that_closed_serves_no_session_and_is_not_dead() {
    let shared = fleet();
    let (a, b) = (node(&shared, 1).await, node(&shared, 2).await);
    b.close().await.unwrap();
    b.beat(NOW).await.unwrap();
    a.beat(NOW).await.unwrap();
    assert_eq!(a.owner_of(b.tag()).await, None);
    assert!(a.dead().is_empty());
}

#[tokio::test]
async fn a_row_under_another_key_is_no_node() {
    let shared = fleet();
    let a = node(&shared, 1).await;
    let other = Fleet::join(
        Arc::new(shared.store(9, &[NODES])),
        Settings::new(None, "1"),
    );
    let other = other.await.unwrap();
    a.beat(NOW).await.unwrap();
    assert_eq!(a.owner_of(other.tag()).await, None);
}
