//! What is written is read, and what was moved or altered is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod disk;
mod generous;
mod places;
mod postgres;
mod ring;
mod rows;
#[path = "../../../../tests/src/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is a file of the end-to-end tests, which use more of it"
)]
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hypervisor_store::{
    Backend, Change, Disk, Error, Keys, RawChange, RawRow, SealingKey, Store, Table, Under,
};
use proptest::prelude::*;
use tempfile::TempDir;
use zeroize::Zeroizing;

const PLATFORM: Table = Table {
    name: "of the platform",
    under: Under::Platform,
};
const FILE: Table = Table {
    name: "of the file",
    under: Under::File,
};

fn key(byte: u8) -> SealingKey {
    SealingKey::new(Zeroizing::new([byte; 32]))
}

fn keys(platform: Option<u8>, file: u8) -> Keys {
    Keys::new(platform.map(key).as_ref(), &key(file)).unwrap()
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("state/rows.redb")
}

fn open(folder: &TempDir, platform: Option<u8>) -> Store {
    Store::open(&path(folder), keys(platform, 1), &[PLATFORM, FILE]).unwrap()
}

fn value(store: &Store, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    let row = store.get(table, key).unwrap();
    row.map(|row| row.value.to_vec())
}

fn put(store: &Store, table: Table, key: &[u8], value: &[u8]) {
    store
        .commit(&[Change::put(table, key, value)], true)
        .unwrap();
}

/// A backend that a test can look into and change, and go on using when the store is gone.
#[derive(Clone)]
struct Open(Arc<Mutex<Disk>>);

impl Open {
    fn new(folder: &TempDir) -> Self {
        Self(Arc::new(Mutex::new(Disk::open(&path(folder)).unwrap())))
    }

    fn store(&self) -> Store {
        let keys = keys(Some(2), 1);
        Store::over(Box::new(self.clone()), keys, &[PLATFORM, FILE]).unwrap()
    }

    fn row(&self, table: &str, key: &[u8]) -> RawRow {
        self.get(table, key).unwrap().unwrap()
    }

    /// Puts a sealed row where it was not written.
    fn plant(&self, table: &str, key: &[u8], row: RawRow) {
        plant(self, table, key, row);
    }
}

/// Puts a sealed row where another is, or none.
fn plant(backend: &dyn Backend, table: &str, key: &[u8], row: RawRow) {
    let present = backend.get(table, key).unwrap();
    let change = RawChange {
        table: table.to_owned(),
        key: key.to_owned(),
        expected: present.map(|it| it.version),
        row: Some(row),
    };
    backend.commit(vec![change], true).unwrap();
}

impl Backend for Open {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        self.0.lock().unwrap().get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        self.0.lock().unwrap().scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        self.0.lock().unwrap().commit(changes, durable)
    }

    fn clear(&mut self, table: &str) -> Result<(), Error> {
        self.0.lock().unwrap().clear(table)
    }
}

fn refused<T>(result: Result<T, Error>, table: Table) {
    match result {
        Err(Error::Authentication(named)) => assert_eq!(named, table.name),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn rows_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for table in [PLATFORM, FILE] {
        put(&open(&folder, Some(2)), table, b"key", b"value");
        let store = open(&folder, Some(2));
        assert!(store.is_lasting());
        assert_eq!(value(&store, table, b"key").unwrap(), b"value");
    }
}

#[test]
fn without_a_platform_key_only_rows_under_the_file_survive() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open(&folder, None);
        assert!(!store.is_lasting());
        put(&store, PLATFORM, b"key", b"value");
        put(&store, FILE, b"key", b"value");
        assert_eq!(value(&store, PLATFORM, b"key").unwrap(), b"value");
    }
    let store = open(&folder, None);
    assert_eq!(value(&store, PLATFORM, b"key"), None);
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"value");
}

#[test]
fn the_room_of_rows_that_ended_with_the_process_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(&folder, None), PLATFORM, b"key", &[7; 8 << 20]);
    drop(open(&folder, None));
    assert!(fs::metadata(path(&folder)).unwrap().len() < 4 << 20);
}

#[test]
fn rows_under_another_platform_key_are_not_seen_and_come_back_with_theirs() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(&folder, Some(2)), PLATFORM, b"key", b"value");
    for other in [Some(3), None] {
        assert_eq!(value(&open(&folder, other), PLATFORM, b"key"), None);
    }
    let back = value(&open(&folder, Some(2)), PLATFORM, b"key");
    assert_eq!(back.unwrap(), b"value");
}

#[test]
fn rows_under_another_file_key_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(&folder, None), FILE, b"key", b"value");
    let store = Store::open(&path(&folder), keys(None, 9), &[FILE]).unwrap();
    refused(store.get(FILE, b"key"), FILE);
}

#[test]
fn the_file_shows_no_value_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(path(&folder), b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(path(&folder), fs::Permissions::from_mode(0o666)).unwrap();
    let store = open(&folder, Some(2));
    for table in [PLATFORM, FILE] {
        put(&store, table, b"key", b"a secret that nobody may read");
    }
    drop(store);
    let bytes = fs::read(path(&folder)).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"a secret"));
    assert_eq!(mode(&path(&folder)), 0o600);
    assert_eq!(mode(path(&folder).parent().unwrap()), 0o700);
}

#[test]
fn a_key_file_is_made_once_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let derived = || {
        SealingKey::of_file(&path)
            .unwrap()
            .derive::<32>(b"it")
            .unwrap()
    };
    assert_eq!(derived(), derived());
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for length in [0, 31, 33] {
        fs::write(&path, vec![7; length]).unwrap();
        let error = SealingKey::of_file(&path).unwrap_err();
        assert!(matches!(error, Error::KeyFile(_)), "{error}");
    }
}

#[test]
fn a_key_file_that_is_given_is_never_made_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    assert!(matches!(SealingKey::given(&path), Err(Error::Io(..))));
    assert!(!path.exists());
    for (length, mode) in [(31, 0o600), (33, 0o600), (32, 0o644), (32, 0o602)] {
        fs::write(&path, vec![7; length]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = SealingKey::given(&path).unwrap_err();
        let is_of_the_length = matches!(error, Error::KeyFile(_));
        let is_of_the_mode = matches!(error, Error::OpenKeyFile(_));
        assert_eq!(
            (is_of_the_length, is_of_the_mode),
            (length != 32, length == 32)
        );
    }
    for mode in [0o400, 0o440] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        SealingKey::given(&path).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 0..2000),
            1..8,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = open(&folder, Some(2));
            for table in [PLATFORM, FILE] {
                let changes: Vec<_> = rows.iter().map(|(key, value)| Change::put(table, key, value)).collect();
                store.commit(&changes, true).unwrap();
            }
        }
        let store = open(&folder, Some(2));
        for table in [PLATFORM, FILE] {
            for (key, written) in &rows {
                prop_assert_eq!(&value(&store, table, key).unwrap(), written);
            }
            let found = store.scan(table, b"", None, usize::MAX).unwrap();
            prop_assert!(found.iter().map(|it| &it.key).eq(rows.keys()));
        }
    }

    #[test]
    fn a_row_moved_to_another_table_key_or_version_is_refused_by_name(
        written in prop::collection::vec(any::<u8>(), 0..200),
        elsewhere in "[a-z]{1,8}",
        flip: prop::sample::Index,
    ) {
        const OTHER: Table = Table { name: "other", under: Under::File };
        let folder = tempfile::tempdir().unwrap();
        let backend = Open::new(&folder);
        let store = backend.store();
        put(&store, FILE, b"here", &written);
        let row = backend.row(FILE.name, b"here");

        backend.plant(OTHER.name, b"here", row.clone());
        refused(store.get(OTHER, b"here"), OTHER);
        let key = [b"not ".as_slice(), elsewhere.as_bytes()].concat();
        backend.plant(FILE.name, &key, row.clone());
        refused(store.get(FILE, &key), FILE);
        let mut altered = row.clone();
        let at = flip.index(altered.sealed.len());
        altered.sealed[at] ^= 1;
        let later = RawRow { version: row.version + 1, ..row.clone() };
        for row in [altered, later] {
            backend.plant(FILE.name, b"here", row);
            refused(store.get(FILE, b"here"), FILE);
        }
        let scanned = store.scan(FILE, b"", None, 10).unwrap();
        prop_assert!(scanned.iter().all(|it| it.row.is_err()));
        backend.plant(FILE.name, b"here", row);
        prop_assert_eq!(value(&store, FILE, b"here").unwrap(), written);
    }
}
