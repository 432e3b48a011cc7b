//! What the disk does to a trail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hypervisor_audit::{Error, Kind, TABLES, Trail};
use hypervisor_store::{
    Backend, Change, Disk, Error as StoreError, Keys, RawChange, RawRow, SealingKey, Store,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::kit::{at_once, continues, digest, fill, grown, open, proved, signer, store};

fn keys() -> Keys {
    let key = |byte| SealingKey::new(Zeroizing::new([byte; 32]));
    Keys::new(Some(&key(9)), &key(1)).unwrap()
}

/// A disk that fails while it is told to, after or before it has written.
struct Failing {
    disk: Disk,
    fails: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    /// What fails was written all the same.
    writes: bool,
}

impl Backend for Failing {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, StoreError> {
        self.disk.get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, StoreError> {
        self.disk.scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), StoreError> {
        assert!(durable, "an entry is on the disk before its head is signed");
        if !self.fails.load(Ordering::Acquire) {
            return self.disk.commit(changes, durable);
        }
        if self.writes {
            self.disk.commit(changes, durable)?;
        }
        self.failed.fetch_add(1, Ordering::AcqRel);
        Err(StoreError::Database("here".into(), "it is full".to_owned()))
    }

    fn clear(&mut self, table: &str) -> Result<(), StoreError> {
        self.disk.clear(table)
    }
}

fn a_disk_that_fails_loses_nothing(writes: bool) {
    let folder = TempDir::new().unwrap();
    let (fails, failed) = (Arc::default(), Arc::default());
    let backend = Failing {
        disk: Disk::open(&folder.path().join("audit.redb")).unwrap(),
        fails: Arc::clone(&fails),
        failed: Arc::clone(&failed),
        writes,
    };
    let store = Store::over(Box::new(backend), keys(), &TABLES).unwrap();
    let trail = Trail::open(store, signer(1), at_once()).unwrap();
    fill(&trail, 0..5);
    let old = trail.published().head;
    fails.store(true, Ordering::Release);
    for number in 5..20 {
        trail.append(Kind::Execution, digest(number));
    }
    while failed.load(Ordering::Acquire) == 0 || trail.is_well() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Nothing is signed that is not known to be on the disk.
    assert_eq!(trail.published().head, old);
    fails.store(false, Ordering::Release);
    trail.append(Kind::Execution, digest(20));
    grown(&trail, 1 + 21);
    assert!(trail.is_well());
    continues(&trail, &old);
    assert!((0..=20).all(|number| proved(&trail, &digest(number)).is_some()));
    assert_eq!(trail.published().head.size, 1 + 21);
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing() {
    a_disk_that_fails_loses_nothing(false);
}

#[test]
fn a_change_that_failed_although_it_was_written_is_not_made_twice() {
    a_disk_that_fails_loses_nothing(true);
}

#[test]
fn rows_that_were_put_back_are_a_fork_that_a_client_sees() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    fill(&trail, 0..10);
    drop(trail);
    let before = std::fs::read(folder.path().join("audit.redb")).unwrap();
    let trail = open(folder.path(), 2, at_once());
    fill(&trail, 10..20);
    let seen = trail.published().head;
    drop(trail);
    std::fs::write(folder.path().join("audit.redb"), before).unwrap();
    let trail = open(folder.path(), 3, at_once());
    assert!(matches!(
        trail.consistency(seen.size, None),
        Err(Error::Size { .. })
    ));
    fill(&trail, 20..40);
    let proof = trail.consistency(seen.size, None).unwrap();
    let now = trail.published().head;
    let verified = hypervisor_tlog::tree::verify_consistency(&seen, &now, &proof.path);
    assert!(verified.is_err());
}

#[test]
fn a_trail_whose_rows_were_mixed_is_not_gone_on_with() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for (folder, from) in [(&one, 0), (&two, 100)] {
        let trail = open(folder.path(), 1, at_once());
        fill(&trail, from..from + 10);
    }
    // The last tile of the other one: it authenticates, for both are under one key.
    let tile = hypervisor_store::Table {
        name: "audit-entries",
        under: hypervisor_store::Under::Platform,
    };
    let key = 0_u64.to_be_bytes();
    let other = store(two.path(), Some(9)).get(tile, &key).unwrap().unwrap();
    let own = store(one.path(), Some(9));
    own.commit(&[Change::put(tile, &key, &other.value)], true)
        .unwrap();
    drop(own);
    let opened = Trail::open(store(one.path(), Some(9)), signer(2), at_once());
    assert!(matches!(opened, Err(Error::Damaged(_))));
}

#[test]
fn nothing_of_a_trail_is_to_be_read_on_the_disk() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    fill(&trail, 0..50);
    drop(trail);
    let bytes = std::fs::read(folder.path().join("audit.redb")).unwrap();
    for number in 0..50 {
        let digest = digest(number);
        assert!(!bytes.windows(16).any(|it| digest.starts_with(it)));
    }
}
