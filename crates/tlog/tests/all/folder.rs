//! A log in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hypervisor_tlog::folder::Log;
use hypervisor_tlog::note::Algorithm;
use hypervisor_tlog::{Error, Folder, SigningKey, Tree, tree};

struct Rig {
    folder: tempfile::TempDir,
    key: SigningKey,
}

impl Rig {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: SigningKey::generate("example.com/log", Algorithm::Ed25519).unwrap(),
        }
    }

    fn at(&self) -> Folder {
        Folder::new(self.folder.path())
    }

    fn read(&self) -> Result<Log, Error> {
        self.at().read(self.key.verifier())
    }

    /// Adds entries with these numbers.
    fn grow(&self, entries: std::ops::Range<u32>) {
        let entries = entries.map(|n| n.to_be_bytes().to_vec()).collect();
        let (folder, mut log) = (self.at(), self.read().unwrap());
        let lock = folder.lock().unwrap();
        folder.append(&lock, &mut log, entries, &self.key).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn a_log_is_read_as_it_was_written_at_every_size_around_a_tile() {
    let rig = Rig::new();
    let mut size = 0;
    for step in [1, 4, 250, 1, 1, 255, 1, 300] {
        rig.grow(size..size + step);
        size += step;
        let log = rig.read().unwrap();
        assert_eq!(log.entries().len(), size as usize);
        rig.at().check_tiles(&log).unwrap();
    }
}

#[test]
fn tiles_have_the_names_and_hashes_of_the_specification() {
    // The numbers of C2SP tlog-tiles, "Partial Tiles".
    let rig = Rig::new();
    rig.grow(0..70_000);
    let width = |name: &str| std::fs::metadata(rig.path(name)).unwrap().len() / 32;
    assert_eq!(width("tile/0/272"), 256);
    assert_eq!(width("tile/0/273.p/112"), 112);
    assert_eq!(width("tile/1/000"), 256);
    assert_eq!(width("tile/1/001.p/17"), 17);
    assert_eq!(width("tile/2/000.p/1"), 1);
    assert!(!rig.path("tile/3").exists());
    assert!(rig.path("tile/entries/273.p/112").exists());
    // A tile's hash is the tree's over the tile below.
    let mut below = Tree::default();
    for hash in std::fs::read(rig.path("tile/0/000")).unwrap().chunks(32) {
        below.push(hash.try_into().unwrap());
    }
    let above = std::fs::read(rig.path("tile/1/000")).unwrap();
    assert_eq!(above[..32], below.head().root);
    assert_eq!(
        std::fs::read(rig.path("tile/0/000")).unwrap()[..32],
        tree::leaf(&0_u32.to_be_bytes())
    );
}

#[test]
fn parts_of_tiles_go_when_the_whole_is_there() {
    let rig = Rig::new();
    rig.grow(0..200);
    rig.grow(200..300);
    assert!(!rig.path("tile/entries/000.p").exists() && !rig.path("tile/0/000.p").exists());
    assert!(rig.path("tile/entries/000").exists());
    // Who read the checkpoint before it was replaced finds the part in the whole.
    rig.grow(300..301);
    assert!(rig.path("tile/entries/001.p/44").exists());
}

#[test]
fn whoever_is_stopped_anywhere_leaves_the_old_log_or_the_new_one() {
    let rig = Rig::new();
    rig.grow(0..255);
    let before = files(rig.folder.path());
    let old = rig.read().unwrap().tree().head();
    rig.grow(255..258);
    let after = files(rig.folder.path());
    let new = rig.read().unwrap().tree().head();

    // What is written, in its order: tiles in any, the checkpoint after them, and then parts are removed in any.
    let checkpoint = rig.path("checkpoint");
    let written: Vec<&PathBuf> = after
        .keys()
        .filter(|path| **path != checkpoint && before.get(*path) != after.get(*path))
        .collect();
    let removed: Vec<&PathBuf> = before
        .keys()
        .filter(|path| !after.contains_key(*path))
        .collect();
    assert!(written.len() >= 4 && removed.len() == 2);
    let steps = written.len() + 1 + removed.len();
    for stop in 0..=steps {
        let other = Rig {
            folder: tempfile::tempdir().unwrap(),
            key: rig.key.to_text().parse().unwrap(),
        };
        let put = |path: &Path, bytes: &[u8]| {
            let path = other.path(
                path.strip_prefix(rig.folder.path())
                    .unwrap()
                    .to_str()
                    .unwrap(),
            );
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        before.iter().for_each(|(path, bytes)| put(path, bytes));
        written
            .iter()
            .take(stop)
            .for_each(|path| put(path, &after[*path]));
        if stop > written.len() {
            put(&checkpoint, &after[&checkpoint]);
        }
        for path in removed.iter().take(stop.saturating_sub(written.len() + 1)) {
            let path = path.strip_prefix(rig.folder.path()).unwrap();
            std::fs::remove_file(other.path(path.to_str().unwrap())).unwrap();
        }
        // And half of the file that was being written.
        put(&rig.path("checkpoint.new"), b"half");
        put(&rig.path("tile/entries/001.new"), b"half");

        let log = other.read().unwrap();
        let is_new = stop > written.len();
        assert_eq!(log.tree().head(), if is_new { new } else { old }, "{stop}");
        other.at().check_tiles(&log).unwrap();
        other.grow(1000..1400);
        let log = other.read().unwrap();
        other.at().check_tiles(&log).unwrap();
        log.continues(&old).unwrap();
    }
}

#[test]
fn an_append_that_fails_at_any_file_leaves_the_old_log() {
    let (rig, twin) = (Rig::new(), Rig::new());
    for rig in [&rig, &twin] {
        rig.grow(0..255);
    }
    let before = files(twin.folder.path());
    twin.grow(255..258);
    let mut after = files(twin.folder.path());
    after.retain(|path, bytes| before.get(path) != Some(bytes));
    assert!(after.len() >= 5);
    let old = rig.read().unwrap().tree().head();
    for path in after.keys() {
        let name = path.strip_prefix(twin.folder.path()).unwrap();
        // What is written first is this file under another name, and there a folder is in the way.
        let way = rig.path(&format!("{}.new", name.display()));
        std::fs::create_dir_all(&way).unwrap();
        let (folder, mut log) = (rig.at(), rig.read().unwrap());
        let lock = folder.lock().unwrap();
        let entries = vec![vec![1], vec![2], vec![3]];
        let failed = folder.append(&lock, &mut log, entries, &rig.key);
        assert!(matches!(failed, Err(Error::Io { .. })), "{name:?}");
        assert_eq!(log.tree().head(), old);
        let read = rig.read().unwrap();
        assert_eq!(read.tree().head(), old, "{name:?}");
        rig.at().check_tiles(&read).unwrap();
        std::fs::remove_dir(&way).unwrap();
    }
    rig.grow(255..258);
    let log = rig.read().unwrap();
    rig.at().check_tiles(&log).unwrap();
    log.continues(&old).unwrap();
}

#[test]
fn a_log_whose_files_are_not_those_of_its_checkpoint_is_refused() {
    let rig = Rig::new();
    rig.grow(0..300);
    let whole = files(rig.folder.path());
    for (path, bytes) in &whole {
        let name = path.strip_prefix(rig.folder.path()).unwrap();
        for altered in [bytes.len() - 1, bytes.len() / 2, 0] {
            let mut changed = bytes.clone();
            changed[altered] ^= 1;
            std::fs::write(path, changed).unwrap();
            let found = rig.read().and_then(|log| rig.at().check_tiles(&log));
            assert!(found.unwrap_err().is_refusal(), "{name:?}");
        }
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(
            rig.read()
                .and_then(|log| rig.at().check_tiles(&log))
                .is_err(),
            "{name:?}"
        );
        std::fs::remove_file(path).unwrap();
        if name != Path::new("checkpoint") {
            let found = rig.read().and_then(|log| rig.at().check_tiles(&log));
            assert!(matches!(found, Err(Error::Altered(_))), "{name:?}");
        }
        std::fs::write(path, bytes).unwrap();
    }
    rig.read()
        .and_then(|log| rig.at().check_tiles(&log))
        .unwrap();
}

#[test]
fn a_log_that_went_back_or_another_way_does_not_continue_what_was_seen() {
    let rig = Rig::new();
    rig.grow(0..3);
    let seen = rig.read().unwrap().tree().head();
    rig.grow(3..9);
    let log = rig.read().unwrap();
    log.continues(&seen).unwrap();
    let other = Rig::new();
    other.grow(0..2);
    let shorter = other.read().unwrap();
    assert!(matches!(
        shorter.continues(&seen),
        Err(Error::RolledBack { old: 3, new: 2 })
    ));
    other.grow(7..12);
    let forked = other.read().unwrap();
    assert!(matches!(
        forked.continues(&seen),
        Err(Error::Forked { old: 3, new: 7 })
    ));
}

#[test]
fn two_do_not_write_at_once() {
    let rig = Rig::new();
    let lock = rig.at().lock().unwrap();
    assert!(matches!(rig.at().lock(), Err(Error::Busy(_))));
    drop(lock);
    rig.at().lock().unwrap();
}
