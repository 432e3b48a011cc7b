//! One key takes the place of another under rows that are in use.

use std::sync::Arc;
use std::thread;

use hypervisor_postgres::Postgres;
use hypervisor_store::{
    Backend, Change, Error, Expect, Head, KeyId, Keys, RawRow, Resealed, Ring, Store,
};

use crate::places::{Place, over_all_places};
use crate::server::Postgres as Server;
use crate::{FILE, PLATFORM, key, plant, put, value};

over_all_places! {
    every_row_is_sealed_anew_and_has_the_value_and_version_that_it_had
    a_row_of_before_that_is_put_back_is_refused_by_the_name_of_its_key
    a_row_that_says_that_it_is_under_another_key_is_refused
    what_only_says_that_it_is_under_the_last_key_is_left_where_it_is
    whoever_gets_the_next_key_late_reads_what_others_wrote_under_it
}

/// More rows than one page has.
const ROWS: u16 = 300;

fn id(byte: u8) -> KeyId {
    key(byte).id().unwrap()
}

/// The keys 1, which names and seals.
fn ring() -> Arc<Ring> {
    Arc::new(Ring::of(&key(1)).unwrap())
}

fn backend(place: &Place) -> Arc<dyn Backend> {
    Arc::from(place.backend())
}

fn store(backend: &Arc<dyn Backend>, ring: &Arc<Ring>) -> Store {
    let backend = Box::new(Arc::clone(backend));
    Store::over(backend, Keys::of(ring), &[PLATFORM, FILE]).unwrap()
}

fn heads(backend: &dyn Backend) -> Vec<Head> {
    let mut all: Vec<Head> = Vec::new();
    loop {
        let last = all.last().cloned();
        let after = last
            .as_ref()
            .map_or(("", &[][..]), |it| (&it.table, &it.key));
        let page = backend.heads(after, 100).unwrap();
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= 100);
        all.extend(page);
    }
}

/// Seals anew all that is under the last key; gives how many rows are nobody's.
fn reseal(backend: &dyn Backend, ring: &Ring) -> usize {
    let last = ring.last().unwrap();
    let of_last = heads(backend).into_iter().filter(|it| it.begins == last);
    of_last
        .filter(|it| ring.reseal(backend, it).unwrap() == Resealed::Nobodys)
        .count()
}

/// Goes from the current key to this one.
fn rotate(backend: &dyn Backend, ring: &Ring, to: u8) {
    let from = ring.current();
    ring.offer(key(to)).unwrap();
    ring.turn(id(to));
    reseal(backend, ring);
    ring.forget(from);
}

fn every_row_is_sealed_anew_and_has_the_value_and_version_that_it_had(place: &Place) {
    let (backend, ring) = (backend(place), ring());
    let store = store(&backend, &ring);
    for table in [FILE, PLATFORM] {
        for number in 0..ROWS {
            let key = number.to_be_bytes();
            let change = Change::put(table, &key, &key);
            store.commit(&[change], false).unwrap();
        }
    }
    let before = heads(&*backend);
    assert_eq!(before.len(), 2 * usize::from(ROWS));
    assert!(before.iter().all(|it| it.begins == id(1)));
    rotate(&*backend, &ring, 2);
    let after = heads(&*backend);
    assert!(after.iter().all(|it| it.begins == id(2)));
    let versions = |heads: &[Head]| -> Vec<_> {
        let of = heads.iter();
        of.map(|it| (it.table.clone(), it.key.clone(), it.version))
            .collect()
    };
    assert_eq!(versions(&after), versions(&before));
    assert_eq!(ring.ids(), [id(2)]);
    for table in [FILE, PLATFORM] {
        let row = store.get(table, &7_u16.to_be_bytes()).unwrap().unwrap();
        assert_eq!(row.value.as_slice(), 7_u16.to_be_bytes());
        // Whoever knew its version changes it as if nothing had been.
        let change = Change {
            expect: Expect::Version(row.version),
            ..Change::put(table, &[0, 7], b"changed")
        };
        store.commit(&[change], true).unwrap();
    }
}

fn a_row_of_before_that_is_put_back_is_refused_by_the_name_of_its_key(place: &Place) {
    let (backend, ring) = (backend(place), ring());
    let store = store(&backend, &ring);
    put(&store, FILE, b"key", b"value");
    let old = backend.get(FILE.name, b"key").unwrap().unwrap();
    rotate(&*backend, &ring, 2);
    plant(&*backend, FILE.name, b"key", old);
    let error = store.get(FILE, b"key").map(drop).unwrap_err();
    assert!(
        matches!(error, Error::UnknownKey(table, under) if table == FILE.name && under == id(1))
    );
    let said = error.to_string();
    assert!(said.contains(&const_hex::encode(id(1))), "{said}");
    // A host that starts with what there is now cannot read it either.
    let joined = Arc::new(Ring::read(&ring.write()).unwrap().unwrap());
    let scanned = self::store(&backend, &joined).scan(FILE, b"", None, 10);
    assert!(scanned.unwrap().iter().all(|it| it.row.is_err()));
}

fn a_row_that_says_that_it_is_under_another_key_is_refused(place: &Place) {
    let (backend, ring) = (backend(place), ring());
    let store = store(&backend, &ring);
    ring.offer(key(2)).unwrap();
    put(&store, FILE, b"key", b"value");
    let row = backend.get(FILE.name, b"key").unwrap().unwrap();
    let under = |key: KeyId| RawRow {
        version: row.version,
        sealed: [&key[..], row.sealed.get(8..).unwrap()].concat(),
    };
    plant(&*backend, FILE.name, b"key", under(id(2)));
    assert!(matches!(
        store.get(FILE, b"key"),
        Err(Error::Authentication(_))
    ));
    plant(&*backend, FILE.name, b"key", under(*b"no key's"));
    assert!(matches!(store.get(FILE, b"key"), Err(Error::UnknownKey(_, it)) if it == *b"no key's"));
    plant(&*backend, FILE.name, b"key", under(id(1)));
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"value");
    let short = RawRow {
        version: row.version,
        sealed: id(1).to_vec(),
    };
    plant(&*backend, FILE.name, b"key", short);
    assert!(matches!(
        store.get(FILE, b"key"),
        Err(Error::Authentication(_))
    ));
}

fn what_only_says_that_it_is_under_the_last_key_is_left_where_it_is(place: &Place) {
    let (backend, ring) = (backend(place), ring());
    let store = store(&backend, &ring);
    put(&store, FILE, b"key", b"value");
    let planted = RawRow {
        version: backend.now().unwrap(),
        sealed: [&id(1)[..], &[7; 40]].concat(),
    };
    plant(&*backend, FILE.name, b"planted", planted.clone());
    ring.offer(key(2)).unwrap();
    ring.turn(id(2));
    assert_eq!(reseal(&*backend, &ring), 1);
    assert_eq!(backend.get(FILE.name, b"planted").unwrap(), Some(planted));
    ring.forget(id(1));
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"value");
}

fn whoever_gets_the_next_key_late_reads_what_others_wrote_under_it(place: &Place) {
    let (backend, ring) = (backend(place), ring());
    let (first, late) = (store(&backend, &ring), self::ring());
    let slow = store(&backend, &late);
    put(&first, FILE, b"key", b"value");
    let seen = slow.fingerprint(FILE).unwrap();
    rotate(&*backend, &ring, 2);
    // A reader that looks again only where something changed does so once it has the key.
    assert_eq!(slow.fingerprint(FILE).unwrap(), seen);
    assert!(matches!(slow.get(FILE, b"key"), Err(Error::UnknownKey(..))));
    assert!(late.adopt(&ring));
    assert_ne!(slow.fingerprint(FILE).unwrap(), seen);
    assert_eq!(value(&slow, FILE, b"key").unwrap(), b"value");
    // What rows are called by is the same.
    assert_eq!(first.blind(FILE, b"name"), slow.blind(FILE, b"name"));
}

#[test]
fn whoever_has_the_next_key_goes_on_under_it_when_the_last_is_retired_and_whoever_has_not_is_told()
{
    let place = Place::postgres();
    let (backend, has, lacks) = (backend(&place), ring(), ring());
    has.offer(key(2)).unwrap();
    let (has_next, lacks_next) = (store(&backend, &has), store(&backend, &lacks));
    put(&lacks_next, FILE, b"key", b"before");
    backend.retire(id(1)).unwrap();
    // It may be said again.
    backend.retire(id(1)).unwrap();
    let change = [Change::put(FILE, b"key", b"too late")];
    assert!(matches!(
        lacks_next.commit(&change, true),
        Err(Error::Retired)
    ));
    assert_eq!(value(&lacks_next, FILE, b"key").unwrap(), b"before");
    put(&has_next, FILE, b"key", b"after");
    assert_eq!((has.current(), has.last()), (id(2), Some(id(1))));
    let row = backend.get(FILE.name, b"key").unwrap().unwrap();
    assert!(row.sealed.starts_with(&id(2)));
    // Rows go, whatever they were under.
    put(&has_next, FILE, b"other", b"value");
    lacks_next
        .commit(&[Change::delete(FILE, b"other")], true)
        .unwrap();
    // Nothing newer is there: the key is refused, and nobody goes back.
    backend.retire(id(2)).unwrap();
    assert!(matches!(
        has_next.commit(&change, true),
        Err(Error::Retired)
    ));
    assert_eq!(has.current(), id(2));
}

#[test]
fn once_a_key_is_retired_nothing_that_was_begun_before_comes_under_it() {
    let server = Server::start();
    let open = || -> Arc<dyn Backend> { Arc::new(Postgres::open(&server.url()).unwrap()) };
    let backend = open();
    let under = |key: KeyId| {
        let heads = heads(&*backend);
        heads.into_iter().filter(|it| it.begins == key).count()
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let store = store(&open(), &ring());
                scope.spawn(move || {
                    for number in 0_u32.. {
                        let key = [&[writer][..], &number.to_be_bytes()].concat();
                        match store.commit(&[Change::put(FILE, &key, b"value")], false) {
                            Ok(()) => {}
                            Err(Error::Retired) => return number,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    0
                })
            })
            .collect();
        while under(id(1)) < 100 {
            thread::yield_now();
        }
        backend.retire(id(1)).unwrap();
        let then = under(id(1));
        let written: u32 = writers.into_iter().map(|it| it.join().unwrap()).sum();
        assert_eq!(then, usize::try_from(written).unwrap());
        assert_eq!(under(id(1)), then);
    });
}
