//! Rows of components: what comes back, what fits, what goes by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hypervisor_agents::{Allowance, ROW_TABLES, SealingKey, Shelf, Shelves};
use hypervisor_runtime::{Chain, Rows};
use hypervisor_store::{Change, Keys, Store};
use proptest::prelude::*;
use tempfile::TempDir;
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn store(folder: &Path) -> Store {
    let key = SealingKey::new(Zeroizing::new([7; 32]));
    let keys = Keys::new(Some(&key), &key).unwrap();
    Store::open(&folder.join("protocols.redb"), keys, &ROW_TABLES).unwrap()
}

/// Calls are those of the client that the chain names.
fn client_of(chain: &Chain) -> Option<String> {
    chain.sender::<String>().map(|name| (*name).clone())
}

fn shelves(folder: &TempDir, bytes: u64) -> Shelves {
    let allowance = |keep| Allowance { bytes, keep };
    let allowed = [
        ("a".to_owned(), allowance(DAY)),
        ("b".to_owned(), allowance(2 * DAY)),
    ];
    Shelves::open(store(folder.path()), allowed, client_of).unwrap()
}

/// A shelf of 64 KiB, of which one client may have 16.
fn shelf(folder: &TempDir) -> Arc<Shelf> {
    shelves(folder, 64 << 10).of("a").unwrap()
}

fn by(client: &str) -> Chain {
    Chain::default().by(Arc::new(client.to_owned()))
}

fn put(shelf: &Shelf, client: &str, key: &str, bytes: usize) -> Result<(), String> {
    let rows = vec![(key.to_owned(), Some(vec![b'v'; bytes]))];
    let written = shelf.write(&by(client), "bucket", rows);
    written.map_err(|error| error.to_string())
}

fn is_there(shelf: &Shelf, key: &str) -> bool {
    shelf.get("bucket", &[key.to_owned()]).unwrap()[0].is_some()
}

#[test]
fn all_rows_of_a_write_are_written_or_none() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    let small = ("small".to_owned(), Some(vec![0; 10]));
    let large = ("large".to_owned(), Some(vec![0; 32 << 10]));
    let refused = shelf.write(&by("one"), "bucket", vec![small, large]);
    assert!(refused.is_err());
    assert!(!is_there(&shelf, "small"));
}

#[test]
fn one_client_has_a_quarter_and_what_it_deletes_it_has_again() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    put(&shelf, "one", "1", 10_000).unwrap();
    let words = put(&shelf, "one", "2", 10_000).unwrap_err();
    assert!(words.contains("one client"), "{words}");
    put(&shelf, "two", "2", 10_000).unwrap();
    let gone = vec![("1".to_owned(), None)];
    shelf.write(&by("one"), "bucket", gone).unwrap();
    put(&shelf, "one", "3", 10_000).unwrap();
}

#[test]
fn all_clients_together_have_no_more_than_the_component() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    for client in ["1", "2", "3", "4"] {
        put(&shelf, client, client, 15_000).unwrap();
    }
    let words = put(&shelf, "5", "5", 15_000).unwrap_err();
    assert!(words.contains("component"), "{words}");
}

#[test]
fn a_row_stays_on_the_account_of_who_caused_it() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    put(&shelf, "one", "row", 10_000).unwrap();
    put(&shelf, "two", "row", 12_000).unwrap();
    put(&shelf, "two", "other", 12_000).unwrap();
    assert!(put(&shelf, "one", "another", 10_000).is_err());
}

#[test]
fn what_is_kept_is_counted_again_after_a_restart() {
    let folder = TempDir::new().unwrap();
    put(&shelf(&folder), "one", "1", 10_000).unwrap();
    let shelf = shelf(&folder);
    assert!(put(&shelf, "one", "2", 10_000).is_err());
    put(&shelf, "two", "2", 10_000).unwrap();
}

#[test]
fn a_row_goes_when_it_was_not_written_for_as_long_as_its_component_keeps_it() {
    let folder = TempDir::new().unwrap();
    let shelves = shelves(&folder, 64 << 10);
    let (a, b) = (shelves.of("a").unwrap(), shelves.of("b").unwrap());
    put(&a, "one", "row", 10_000).unwrap();
    put(&b, "one", "row", 10_000).unwrap();
    let now = SystemTime::now();
    shelves.sweep(now + DAY / 2).unwrap();
    assert!(is_there(&a, "row") && is_there(&b, "row"));
    shelves.sweep(now + DAY + DAY / 2).unwrap();
    assert!(!is_there(&a, "row") && is_there(&b, "row"));
    shelves.sweep(now + 3 * DAY).unwrap();
    assert!(!is_there(&b, "row"));
    // Its room is free again.
    put(&a, "one", "row", 15_000).unwrap();
}

#[test]
fn what_a_component_left_that_is_gone_goes_too() {
    let folder = TempDir::new().unwrap();
    put(&shelf(&folder), "one", "row", 100).unwrap();
    let allowance = Allowance {
        bytes: 64 << 10,
        keep: DAY,
    };
    let others = [("other".to_owned(), allowance)];
    let shelves = Shelves::open(store(folder.path()), others, client_of).unwrap();
    shelves.sweep(SystemTime::now() + 2 * DAY).unwrap();
    drop(shelves);
    assert!(!is_there(&shelf(&folder), "row"));
}

#[test]
fn a_row_that_was_altered_reads_as_none_and_goes() {
    let folder = TempDir::new().unwrap();
    put(&shelf(&folder), "one", "row", 100).unwrap();
    let file = store(folder.path());
    let row = file.scan(ROW_TABLES[0], &[], None, 1).unwrap().remove(0);
    let damage = Change::put(ROW_TABLES[0], &row.key, b"\xff\xff\xff\xffno row");
    file.commit(&[damage], true).unwrap();
    drop(file);
    let shelves = shelves(&folder, 64 << 10);
    let shelf = shelves.of("a").unwrap();
    assert!(!is_there(&shelf, "row"));
    assert_eq!(shelf.keys("bucket", None).unwrap(), (vec![], None));
    shelves.sweep(SystemTime::now()).unwrap();
    drop((shelves, shelf));
    let left = store(folder.path()).scan(ROW_TABLES[0], &[], None, 1);
    assert!(left.unwrap().is_empty());
}

#[test]
fn of_a_bucket_of_clients_each_client_has_another() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    let of = |client: &str, name: &str| shelf.bucket(&by(client), &name.into());
    let (one, two) = (of("one", "client:a"), of("two", "client:a"));
    assert!(one != two && one == of("one", "client:a") && one != of("one", "client:b"));
    // Nobody gets at another's by a name that it makes up.
    assert_ne!(of("two", &one), one);
    let row = vec![("key".to_owned(), Some(b"one's".to_vec()))];
    shelf.write(&by("one"), &one, row).unwrap();
    let there = |bucket: &str| shelf.get(bucket, &["key".to_owned()]).unwrap()[0].is_some();
    assert!(there(&one) && !there(&two) && !there("client:a"));
    // All others are everybody's.
    assert_eq!(of("one", "clients"), of("two", "clients"));
}

#[test]
fn no_more_is_read_together_than_is_written_together() {
    let folder = TempDir::new().unwrap();
    let shelf = shelves(&folder, 64 << 20).of("a").unwrap();
    put(&shelf, "one", "row", 1 << 20).unwrap();
    let read = |times| shelf.get("bucket", &vec!["row".to_owned(); times]);
    assert_eq!(read(8).unwrap().len(), 8);
    assert!(read(9).is_err());
    assert!(shelf.get("bucket", &vec!["none".to_owned(); 1025]).is_err());
}

#[test]
fn numbers_do_not_run_over() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    let add = |delta| shelf.increment(&by("one"), "bucket", "n", delta);
    assert_eq!(add(u64::MAX - 1), Ok(u64::MAX - 1));
    assert_eq!(add(1), Ok(u64::MAX));
    assert!(add(1).is_err());
    let now = shelf.get("bucket", &["n".to_owned()]).unwrap();
    assert_eq!(now, [Some(u64::MAX.to_string().into_bytes())]);
}

#[test]
fn what_was_written_is_there_before_it_reaches_the_disk_and_after() {
    let folder = TempDir::new().unwrap();
    let shelves = shelves(&folder, 64 << 10);
    let shelf = shelves.of("a").unwrap();
    put(&shelf, "one", "row", 100).unwrap();
    assert!(is_there(&shelf, "row"));
    shelf.sync().unwrap();
    assert!(is_there(&shelf, "row"));
    shelf
        .write(&by("one"), "bucket", vec![("row".to_owned(), None)])
        .unwrap();
    assert!(!is_there(&shelf, "row"));
    assert_eq!(shelf.keys("bucket", None).unwrap(), (vec![], None));
    shelf.sync().unwrap();
    assert!(!is_there(&shelf, "row"));
}

#[test]
fn what_was_synced_is_there_for_who_opens_the_store_next() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(&folder);
    put(&shelf, "one", "row", 100).unwrap();
    shelf.sync().unwrap();
    // As the file is now, whatever is done with it later.
    let copy = TempDir::new().unwrap();
    let file = "protocols.redb";
    std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    assert!(is_there(&self::shelf(&copy), "row"));
}

#[test]
fn whoever_writes_faster_than_the_disk_is_told() {
    let folder = TempDir::new().unwrap();
    let shelf = shelves(&folder, 64 << 20).of("a").unwrap();
    let mut written = 0;
    while !shelf.is_behind() {
        put(&shelf, "one", &written.to_string(), 1 << 20).unwrap();
        written += 1;
    }
    assert_eq!(written, 8);
    shelf.sync().unwrap();
    assert!(!shelf.is_behind());
}

/// What is done to the rows of a bucket.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    Add(u8),
    Sync,
    Sweep,
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        16 => (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Act::Put(key, value)),
        6 => any::<u8>().prop_map(Act::Delete),
        4 => any::<u8>().prop_map(Act::Add),
        2 => Just(Act::Sync),
        1 => Just(Act::Sweep),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec(act, 0..300)
}

/// All keys of a bucket, page by page.
fn listed(shelf: &Shelf) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = shelf.keys("bucket", after).unwrap();
        keys.extend(page);
        match more {
            Some(more) => after = Some(more),
            None => break,
        }
    }
    keys.sort();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_are_as_if_each_write_reached_the_disk_at_once(acts in acts()) {
        let folder = TempDir::new().unwrap();
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut opened = shelves(&folder, 1 << 20);
        for act in acts {
            let shelf = opened.of("a").unwrap();
            let mut write = |key: u8, value: Option<Vec<u8>>| {
                let key = key.to_string();
                match &value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(&key),
                };
                shelf.write(&by("one"), "bucket", vec![(key, value)]).unwrap();
            };
            match act {
                Act::Put(key, value) => write(key, Some(value.to_string().into_bytes())),
                Act::Delete(key) => write(key, None),
                Act::Add(key) => {
                    let key = key.to_string();
                    let sum = shelf.increment(&by("one"), "bucket", &key, 1).unwrap();
                    let digits = model.get(&key).map_or("0", |it| str::from_utf8(it).unwrap());
                    prop_assert_eq!(sum, digits.parse::<u64>().unwrap() + 1);
                    model.insert(key, sum.to_string().into_bytes());
                }
                Act::Sync => shelf.sync().unwrap(),
                Act::Sweep => opened.sweep(SystemTime::now()).unwrap(),
                Act::Reopen => {
                    drop(shelf);
                    drop(opened);
                    opened = shelves(&folder, 1 << 20);
                }
            }
        }
        let shelf = opened.of("a").unwrap();
        let keys: Vec<String> = model.keys().cloned().collect();
        prop_assert_eq!(listed(&shelf), keys.clone());
        let read = shelf.get("bucket", &keys).unwrap();
        prop_assert_eq!(read, model.into_values().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_is_written_is_read_and_listed(
        rows in proptest::collection::btree_map("[^\\x00]{1,20}", proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        bucket in ".{1,20}",
    ) {
        let folder = TempDir::new().unwrap();
        let shelf = shelf(&folder);
        let written = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        shelf.write(&by("one"), &bucket, written.collect()).unwrap();
        let keys: Vec<String> = rows.keys().cloned().collect();
        let read = shelf.get(&bucket, &keys).unwrap();
        prop_assert_eq!(read, rows.values().cloned().map(Some).collect::<Vec<_>>());
        let (mut listed, more) = shelf.keys(&bucket, None).unwrap();
        listed.sort();
        prop_assert_eq!((listed, more), (keys, None));
    }
}
