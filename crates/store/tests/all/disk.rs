//! How often the disk is waited for, and what becomes of a database whose disk failed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Barrier, Condvar, Mutex};

use hypervisor_store::{Change, Disk, Error, Expect, Store};
use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::{FILE, keys, open, path, put, value};

/// What a test does to storage, and what it sees of it.
#[derive(Debug, Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whoever waits for the disk waits for the test.
    is_held: bool,
    /// There is no space left.
    is_full: bool,
    syncs: usize,
}

impl Control {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn syncs(&self) -> usize {
        self.state.lock().unwrap().syncs
    }

    /// Waits until the disk was waited for more often than so many times.
    fn syncs_after(&self, before: usize) {
        let state = self.state.lock().unwrap();
        drop((self.changed.wait_while(state, |it| it.syncs <= before)).unwrap());
    }

    fn disk(self: &Arc<Self>, path: &Path) -> Result<Disk, Error> {
        let (control, file) = (Arc::clone(self), path.to_owned());
        Disk::over(path, move || {
            let options = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&file);
            Ok(Controlled {
                file: FileBackend::new(options.unwrap()).unwrap(),
                control: Arc::clone(&control),
            })
        })
    }
}

/// A file under a test's control.
#[derive(Debug)]
struct Controlled {
    file: FileBackend,
    control: Arc<Control>,
}

impl StorageBackend for Controlled {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.control.set(|it| it.syncs += 1);
        let state = self.control.state.lock().unwrap();
        drop((self.control.changed.wait_while(state, |it| it.is_held)).unwrap());
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.control.state.lock().unwrap().is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn store(disk: Disk) -> Store {
    Store::over(Box::new(disk), keys(Some(2), 1), &[FILE]).unwrap()
}

#[test]
fn writes_that_come_while_one_reaches_the_disk_share_the_next_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    let store = store(control.disk(&folder.path().join("rows.redb")).unwrap());
    let write = |key: u8| put(&store, FILE, &[key], b"value");
    let before = control.syncs();
    write(0);
    let of_one = control.syncs() - before;

    let before = control.syncs();
    control.set(|it| it.is_held = true);
    std::thread::scope(|scope| {
        scope.spawn(|| write(1));
        control.syncs_after(before);
        let all = Arc::new(Barrier::new(17));
        for key in 2..18 {
            let (all, write) = (Arc::clone(&all), &write);
            scope.spawn(move || {
                all.wait();
                write(key);
            });
        }
        all.wait();
        control.set(|it| it.is_held = false);
    });
    let of_all = control.syncs() - before;
    assert!(
        of_all < 17 * of_one,
        "{of_all} waits for 17 writes, {of_one} for one"
    );
    for key in 0..18 {
        assert_eq!(value(&store, FILE, &[key]).unwrap(), b"value");
    }
}

#[test]
fn a_flush_of_nothing_does_not_wait_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    let store = store(control.disk(&folder.path().join("rows.redb")).unwrap());
    store
        .commit(&[Change::put(FILE, b"a", b"1")], false)
        .unwrap();
    let before = control.syncs();
    store.commit(&[], true).unwrap();
    let after = control.syncs();
    assert!(after > before);
    store.commit(&[], true).unwrap();
    assert_eq!(control.syncs(), after);
}

#[test]
fn a_database_whose_disk_was_full_is_used_again_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    let store = store(control.disk(&folder.path().join("rows.redb")).unwrap());
    put(&store, FILE, b"before", b"kept");
    assert!(store.is_well());
    control.set(|it| it.is_full = true);
    let error = store.commit(&[Change::put(FILE, b"late", b"lost")], true);
    assert!(matches!(error, Err(Error::Database(..))));
    assert!(!store.is_well());
    control.set(|it| it.is_full = false);
    // Nothing has to be restarted for it.
    assert_eq!(value(&store, FILE, b"before").unwrap(), b"kept");
    put(&store, FILE, b"after", b"kept");
    assert!(store.is_well());
    assert_eq!(value(&store, FILE, b"after").unwrap(), b"kept");
    assert_eq!(value(&store, FILE, b"late"), None);
}

#[test]
fn a_large_file_that_is_mostly_free_is_made_smaller_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open(&folder, Some(2));
        // The last one holds the end of the file, which would be cut off otherwise.
        for key in 0..4 {
            put(&store, FILE, &[key], &vec![7; 7 << 20]);
        }
        for key in 0..3 {
            let key = [key];
            store.commit(&[Change::delete(FILE, &key)], true).unwrap();
        }
    }
    let before = fs::metadata(path(&folder)).unwrap().len();
    let store = open(&folder, Some(2));
    assert_eq!(value(&store, FILE, &[3]).unwrap().len(), 7 << 20);
    drop(store);
    let after = fs::metadata(path(&folder)).unwrap().len();
    assert!(after < before / 2, "{after} of {before}");
}

#[test]
fn a_conflict_of_one_caller_is_no_other_callers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, Some(2));
    let absent = |key| Change {
        expect: Expect::Absent,
        ..Change::put(FILE, key, b"mine")
    };
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u8)
            .map(|own| {
                let store = &store;
                scope.spawn(move || {
                    put(store, FILE, &[own], b"own");
                    usize::from(store.commit(&[absent(b"one for all")], true).is_ok())
                })
            })
            .collect();
        writers.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert!((0..8).all(|own| value(&store, FILE, &[own]).is_some()));
}
