//! What every store does, wherever its rows are.

use std::sync::Barrier;

use hypervisor_store::{Change, Error, Expect, RawChange, Store, Table, Under};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::places::{Place, over_all_places};
use crate::{FILE, PLATFORM, put, refused, value};

over_all_places! {
    what_is_written_is_read
    rows_are_there_when_a_store_is_opened_again
    a_change_that_expects_another_version_changes_nothing
    a_conflict_names_the_first_change_in_the_callers_order
    changes_of_several_tables_are_made_together
    a_row_that_was_deleted_and_made_again_has_a_higher_version
    a_scan_is_of_one_prefix_and_bounded
    a_scan_is_in_the_order_of_the_keys_bytes
    a_table_is_read_page_by_page
    of_two_stores_that_make_one_row_at_once_one_does
    two_stores_that_change_the_same_rows_in_other_orders_both_end
    a_fingerprint_is_another_after_any_change
    a_long_value_comes_back_alone_and_in_a_scan
    rows_of_several_tables_are_read_at_once_in_the_callers_order
    rows_that_were_altered_or_moved_are_refused_by_name
}

fn absent<'a>(key: &'a [u8], value: &'a [u8]) -> Change<'a> {
    Change {
        expect: Expect::Absent,
        ..Change::put(FILE, key, value)
    }
}

fn version(store: &Store, key: &[u8]) -> u64 {
    store.get(FILE, key).unwrap().unwrap().version
}

fn keys_of(store: &Store, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    let found = store.scan(FILE, prefix, after, limit).unwrap();
    assert!(found.iter().all(|it| it.row.is_ok()));
    found.into_iter().map(|it| it.key).collect()
}

fn what_is_written_is_read(place: &Place) {
    let rows = prop::collection::btree_map(
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<u8>(), 0..2000),
        1..8,
    );
    let mut runner = TestRunner::new(Config::with_cases(32));
    let store = place.store();
    runner
        .run(&rows, |rows| {
            for table in [PLATFORM, FILE] {
                let old = store.scan(table, b"", None, usize::MAX).unwrap();
                let gone = old.iter().map(|it| Change::delete(table, &it.key));
                store.commit(&gone.collect::<Vec<_>>(), false).unwrap();
                let changes = rows
                    .iter()
                    .map(|(key, value)| Change::put(table, key, value));
                store.commit(&changes.collect::<Vec<_>>(), true).unwrap();
                for (key, written) in &rows {
                    prop_assert_eq!(&value(&store, table, key).unwrap(), written);
                }
                let found = store.scan(table, b"", None, usize::MAX).unwrap();
                prop_assert!(found.iter().map(|it| &it.key).eq(rows.keys()));
            }
            Ok(())
        })
        .unwrap();
}

fn rows_are_there_when_a_store_is_opened_again(place: &Place) {
    for table in [PLATFORM, FILE] {
        put(&place.store(), table, b"key", b"value");
        let store = place.store();
        assert!(store.is_lasting());
        assert_eq!(value(&store, table, b"key").unwrap(), b"value");
    }
}

fn a_change_that_expects_another_version_changes_nothing(place: &Place) {
    let store = place.store();
    put(&store, FILE, b"a", b"first");
    let first = version(&store, b"a");
    put(&store, FILE, b"a", b"second");
    for expect in [Expect::Version(first), Expect::Absent] {
        for with_it in [&[][..], &[Change::put(FILE, b"b", b"with it")]] {
            for value in [Some(b"late".as_slice()), None] {
                let late = Change {
                    expect,
                    value,
                    ..Change::put(FILE, b"a", b"")
                };
                let changes = [with_it, &[late]].concat();
                let error = store.commit(&changes, true).unwrap_err();
                assert!(
                    matches!(error, Error::Conflict(at) if at == with_it.len()),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(value(&store, FILE, b"a").unwrap(), b"second");
    assert_eq!(value(&store, FILE, b"b"), None);
}

fn a_conflict_names_the_first_change_in_the_callers_order(place: &Place) {
    let store = place.store();
    for key in [b"a", b"b", b"c"] {
        put(&store, FILE, key, b"there");
    }
    let changes = [absent(b"d", b"1"), absent(b"c", b"2"), absent(b"a", b"3")];
    let error = store.commit(&changes, false).unwrap_err();
    assert!(matches!(error, Error::Conflict(1)), "{error}");
    assert_eq!(value(&store, FILE, b"d"), None);
}

fn changes_of_several_tables_are_made_together(place: &Place) {
    let store = place.store();
    put(&store, FILE, b"gone", b"soon");
    let old = version(&store, b"gone");
    let changes = [
        Change::put(PLATFORM, b"key", b"one"),
        Change::put(FILE, b"key", b"two"),
        Change {
            expect: Expect::Version(old),
            ..Change::delete(FILE, b"gone")
        },
    ];
    store.commit(&changes, true).unwrap();
    assert_eq!(value(&store, PLATFORM, b"key").unwrap(), b"one");
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"two");
    assert_eq!(value(&store, FILE, b"gone"), None);
    store.commit(&[], true).unwrap();
}

fn a_row_that_was_deleted_and_made_again_has_a_higher_version(place: &Place) {
    let store = place.store();
    put(&store, FILE, b"a", b"same");
    let first = version(&store, b"a");
    store.commit(&[Change::delete(FILE, b"a")], true).unwrap();
    assert_eq!(value(&store, FILE, b"a"), None);
    put(&store, FILE, b"a", b"same");
    assert!(version(&store, b"a") > first);
}

fn a_scan_is_of_one_prefix_and_bounded(place: &Place) {
    let store = place.store();
    for key in ["a", "b1", "b2", "b3", "c"] {
        put(&store, FILE, key.as_bytes(), key.as_bytes());
    }
    put(&store, PLATFORM, b"b4", b"of another table");
    assert_eq!(keys_of(&store, b"b", None, 10), [b"b1", b"b2", b"b3"]);
    assert_eq!(keys_of(&store, b"b", None, 2), [b"b1", b"b2"]);
    assert_eq!(keys_of(&store, b"b", Some(b"b2"), 10), [b"b3"]);
    assert_eq!(keys_of(&store, b"", Some(b"b3"), 10), [b"c"]);
    assert_eq!(keys_of(&store, b"b", Some(b"a"), 1), [b"b1"]);
    assert!(keys_of(&store, b"d", None, 10).is_empty());
    assert!(keys_of(&store, b"", None, 0).is_empty());
}

fn a_scan_is_in_the_order_of_the_keys_bytes(place: &Place) {
    let store = place.store();
    let mut keys: Vec<Vec<u8>> = [
        &b""[..],
        b"\0",
        b"\0\0",
        b"A",
        b"a",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xff\0",
        b"\xff\xff",
    ]
    .map(<[u8]>::to_vec)
    .into();
    for key in keys.iter().rev() {
        put(&store, FILE, key, b"value");
    }
    keys.sort();
    assert_eq!(keys_of(&store, b"", None, 100), keys);
    assert_eq!(keys_of(&store, b"\xff", None, 100), keys[7..]);
    assert_eq!(keys_of(&store, b"\xff\xff", None, 100), keys[9..]);
}

fn a_table_is_read_page_by_page(place: &Place) {
    let store = place.store();
    let keys: Vec<[u8; 2]> = (0..100_u16).map(u16::to_be_bytes).collect();
    let changes: Vec<_> = keys.iter().map(|key| Change::put(FILE, key, key)).collect();
    store.commit(&changes, false).unwrap();
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = keys_of(&store, b"", found.last().map(Vec::as_slice), 7);
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        found.extend(page);
    }
    assert_eq!(found, keys);
}

fn of_two_stores_that_make_one_row_at_once_one_does(place: &Place) {
    let (one, other) = place.pair();
    for round in 0..50_u8 {
        let (both, key) = (Barrier::new(2), [round]);
        let race = |store: &Store, own: &[u8]| {
            both.wait();
            store.commit(&[absent(&key, own)], false)
        };
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| race(&one, b"one"));
            let second = scope.spawn(|| race(&other, b"other"));
            (first.join().unwrap(), second.join().unwrap())
        });
        let winner: &[u8] = match (&first, &second) {
            (Ok(()), Err(Error::Conflict(0))) => b"one",
            (Err(Error::Conflict(0)), Ok(())) => b"other",
            _ => panic!("{first:?}, {second:?}"),
        };
        assert_eq!(value(&one, FILE, &key).unwrap(), winner);
        assert_eq!(value(&other, FILE, &key).unwrap(), winner);
    }
}

fn two_stores_that_change_the_same_rows_in_other_orders_both_end(place: &Place) {
    let (one, other) = place.pair();
    let change = |store: &Store, keys: [&[u8]; 2]| {
        for _ in 0..25 {
            let changes = keys.map(|key| Change::put(FILE, key, b"value"));
            match store.commit(&changes, false) {
                // The other one was faster each time.
                Ok(()) | Err(Error::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| change(&one, [b"a", b"b"]));
        scope.spawn(|| change(&other, [b"b", b"a"]));
    });
    assert!(value(&one, FILE, b"a").is_some());
}

fn a_fingerprint_is_another_after_any_change(place: &Place) {
    let store = place.store();
    let mut seen = vec![store.fingerprint(FILE).unwrap()];
    for change in [
        Change::put(FILE, b"a", b"1"),
        Change::put(FILE, b"b", b"1"),
        Change::put(FILE, b"a", b"1"),
        Change::delete(FILE, b"a"),
        Change::put(FILE, b"a", b"1"),
    ] {
        store.commit(&[change], false).unwrap();
        let now = store.fingerprint(FILE).unwrap();
        assert!(!seen.contains(&now));
        seen.push(now);
    }
    put(&store, PLATFORM, b"a", b"of another table");
    assert_eq!(Some(&store.fingerprint(FILE).unwrap()), seen.last());
    assert_eq!(seen.last().unwrap().rows, 2);
}

fn a_long_value_comes_back_alone_and_in_a_scan(place: &Place) {
    let store = place.store();
    let long = vec![7; 9 << 20];
    put(&store, FILE, b"a", b"short");
    put(&store, FILE, b"b", &long);
    assert!(value(&store, FILE, b"b").unwrap() == long);
    let found = store.scan(FILE, b"", None, 10).unwrap();
    let lengths = found.into_iter().map(|it| it.row.unwrap().value.len());
    assert_eq!(lengths.collect::<Vec<_>>(), [5, 9 << 20]);
}

fn rows_of_several_tables_are_read_at_once_in_the_callers_order(place: &Place) {
    let store = place.store();
    let long = vec![7; 1 << 20];
    put(&store, FILE, b"a", b"short");
    put(&store, FILE, b"b", &long);
    put(&store, PLATFORM, b"a", b"another");
    let asked: [(Table, &[u8]); 5] = [
        (FILE, b"b"),
        (FILE, b"nothing"),
        (PLATFORM, b"a"),
        (FILE, b"a"),
        (FILE, b"b"),
    ];
    let found = store.get_all(&asked).unwrap();
    let values = (found.iter()).map(|it| it.as_ref().map(|row| row.value.as_slice()));
    let expected: [Option<&[u8]>; 5] = [
        Some(&long),
        None,
        Some(b"another"),
        Some(b"short"),
        Some(&long),
    ];
    assert!(values.eq(expected));
    let versions = found.iter().flatten().map(|row| row.version);
    let expected = [(FILE, b"b"), (PLATFORM, b"a"), (FILE, b"a"), (FILE, b"b")];
    let expected = expected.map(|(table, key)| store.get(table, key).unwrap().unwrap().version);
    assert!(versions.eq(expected));
    assert!(store.get_all(&[]).unwrap().is_empty());
}

fn rows_that_were_altered_or_moved_are_refused_by_name(place: &Place) {
    const OTHER: Table = Table {
        name: "other",
        under: Under::File,
    };
    let (store, backend) = match place {
        Place::Disk(_) => {
            let backend = std::sync::Arc::<dyn hypervisor_store::Backend>::from(place.backend());
            (
                place.over(Box::new(std::sync::Arc::clone(&backend))),
                backend,
            )
        }
        Place::Postgres(_) => (place.store(), place.backend().into()),
    };
    put(&store, FILE, b"here", b"a value");
    put(&store, OTHER, b"there", b"another");
    let row = backend.get(FILE.name, b"here").unwrap().unwrap();
    let plant = |table: Table, key: &[u8], row: &hypervisor_store::RawRow| {
        let present = backend.get(table.name, key).unwrap();
        let change = RawChange {
            table: table.name.to_owned(),
            key: key.to_owned(),
            expected: present.map(|it| it.version),
            row: Some(row.clone()),
        };
        backend.commit(vec![change], false).unwrap();
    };
    plant(OTHER, b"here", &row);
    refused(store.get(OTHER, b"here"), OTHER);
    refused(store.get_all(&[(OTHER, b"there"), (OTHER, b"here")]), OTHER);
    plant(FILE, b"not here", &row);
    refused(store.get(FILE, b"not here"), FILE);
    let (mut flipped, mut later) = (row.clone(), row.clone());
    *flipped.sealed.last_mut().unwrap() ^= 1;
    later.version += 1;
    for wrong in [flipped, later] {
        plant(FILE, b"here", &wrong);
        refused(store.get(FILE, b"here"), FILE);
    }
    plant(FILE, b"here", &row);
    assert_eq!(value(&store, FILE, b"here").unwrap(), b"a value");
    assert_eq!(value(&store, OTHER, b"there").unwrap(), b"another");
}
