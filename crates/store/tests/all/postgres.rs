//! What a database does that can be away, of another version, or set back.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hypervisor_postgres::Postgres;
use hypervisor_store::{Backend, Change, Error, Expect, Keys, Store};

use crate::places::Place;
use crate::server::{PASSWORD, Postgres as Server};
use crate::{FILE, key, plant, put, value};

/// How long a call takes at most, with room for a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(10);

fn store(url: &str) -> Store {
    let backend = Postgres::open(url).unwrap();
    Store::over(Box::new(backend), Keys::shared(&key(3)).unwrap(), &[FILE]).unwrap()
}

/// Tries again until it is done.
fn at_last<T>(what: &str, mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_database<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Database(..)))
}

#[test]
fn hosts_that_start_at_once_make_one_schema() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Postgres::open(&server.url()).unwrap());
        }
    });
    let made = Postgres::inspect(&server.url()).unwrap();
    assert_eq!(made.schema, made.known);
    assert_eq!(
        server.query("select count(*) from hypervisor_schema"),
        made.known.to_string()
    );
}

#[test]
fn an_inspection_changes_nothing() {
    let server = Server::start();
    assert_eq!(Postgres::inspect(&server.url()).unwrap().schema, 0);
    assert_eq!(Postgres::inspect(&server.url()).unwrap().schema, 0);
}

#[test]
fn a_schema_of_a_newer_program_is_refused_with_both_versions() {
    let server = Server::start();
    let known = Postgres::inspect(&server.url()).unwrap().known;
    drop(Postgres::open(&server.url()).unwrap());
    server.query(
        "insert into hypervisor_schema (version, description, success, checksum, execution_time) \
         values (77, 'of the future', true, '', 0)",
    );
    for error in [
        Postgres::open(&server.url()).unwrap_err(),
        Postgres::inspect(&server.url()).unwrap_err(),
    ] {
        let said = error.to_string();
        assert!(
            said.contains("version 77") && said.contains(&format!("knows {known}")),
            "{said}"
        );
    }
}

#[test]
fn no_error_shows_a_password() {
    let mut server = Server::start();
    let url = server.url();
    let wrong = url.replace(PASSWORD, "wrong-and-secret");
    let shown = format!("{:?}", Postgres::open(&url).unwrap());
    let refused = Postgres::open(&wrong).unwrap_err();
    server.kill();
    let away = Postgres::open(&url).unwrap_err();
    let bad = Postgres::open(&format!("{url}?sslmode={PASSWORD}")).unwrap_err();
    for said in [
        shown,
        format!("{refused} {refused:?}"),
        format!("{away} {away:?}"),
        format!("{bad} {bad:?}"),
    ] {
        assert!(
            !said.contains(PASSWORD) && !said.contains("secret"),
            "{said}"
        );
    }
    let place = format!("127.0.0.1:{}", server.port());
    assert!(away.to_string().contains(&place), "{away}");
    assert!(
        refused
            .to_string()
            .contains("password authentication failed"),
        "{refused}"
    );
}

#[test]
fn a_database_that_stands_still_is_given_up_and_well_again_by_itself() {
    let server = Server::start();
    let store = store(&server.url());
    put(&store, FILE, b"key", b"value");
    server.freeze();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..32_u8 {
            let store = &store;
            scope.spawn(move || {
                let key = [number];
                assert!(is_database(store.get(FILE, &key)));
                assert!(is_database(
                    store.commit(&[Change::put(FILE, &key, b"")], true)
                ));
            });
        }
    });
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(!store.is_well());
    // Nobody waits for it any more.
    let began = Instant::now();
    for _ in 0..1000 {
        assert!(is_database(store.get(FILE, b"key")));
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    server.thaw();
    at_last("it is well", || match store.is_well() {
        true => Ok(()),
        false => store.now().map(drop),
    });
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"value");
}

#[test]
fn a_database_that_was_killed_and_started_again_is_used_again() {
    let mut server = Server::durable();
    let store = store(&server.url());
    put(&store, FILE, b"key", b"value");
    for immediate in [false, true] {
        match immediate {
            true => server.stop_immediately(),
            false => server.kill(),
        }
        assert!(is_database(store.get(FILE, b"key")));
        assert!(!store.is_well());
        server.run();
        let found = at_last("it is back", || store.get(FILE, b"key"));
        assert_eq!(found.unwrap().value.as_slice(), b"value");
        assert!(store.is_well());
    }
}

#[test]
fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = Server::durable();
    let store = store(&server.url());
    put(&store, FILE, b"key", b"value");
    for round in 0..3_u8 {
        server.stop_immediately();
        server.run();
        match round {
            0 => assert_eq!(value(&store, FILE, b"key").unwrap(), b"value"),
            _ => put(&store, FILE, &[round], b"value"),
        }
        assert!(store.is_well());
    }
}

#[test]
fn what_was_not_durable_may_be_gone_after_a_crash_and_is_no_lie() {
    // Nothing reaches the disk by itself in the time of this test.
    let mut server = Server::with("wal_writer_delay = 10s\n");
    let store = store(&server.url());
    put(&store, FILE, b"key", b"durable");
    let loose = Change::put(FILE, b"key", b"not durable");
    store.commit(&[loose], false).unwrap();
    assert_eq!(value(&store, FILE, b"key").unwrap(), b"not durable");
    server.kill();
    server.run();
    let found = at_last("it is back", || store.get(FILE, b"key"));
    assert_eq!(found.unwrap().value.as_slice(), b"durable");
}

#[test]
fn an_empty_commit_that_is_durable_brings_what_came_before_to_the_disk() {
    let mut server = Server::with("wal_writer_delay = 10s\n");
    let store = store(&server.url());
    let loose = Change::put(FILE, b"key", b"value");
    store.commit(&[loose], false).unwrap();
    store.commit(&[], true).unwrap();
    server.kill();
    server.run();
    let found = at_last("it is back", || store.get(FILE, b"key"));
    assert_eq!(found.unwrap().value.as_slice(), b"value");
}

#[test]
fn a_value_that_is_longer_than_any_that_is_written_is_not_read() {
    let server = Server::start();
    let store = store(&server.url());
    put(&store, FILE, b"known", b"value");
    server.query(&format!(
        "insert into hypervisor_rows values ('{}', 'long', 1, convert_to(repeat('x', 68000000), 'UTF8'))",
        FILE.name
    ));
    let read = store.get(FILE, b"long");
    assert!(matches!(read, Err(Error::Authentication(_))));
    let scanned = store.scan(FILE, b"", None, 10).unwrap();
    let refused: Vec<_> = scanned.iter().map(|it| it.row.is_err()).collect();
    assert_eq!(refused, [false, true]);
}

#[test]
fn a_row_whose_key_is_longer_than_any_that_is_written_keeps_nobody_from_the_others() {
    let server = Server::start();
    let store = store(&server.url());
    put(&store, FILE, b"known", b"value");
    put(&store, FILE, b"last", b"value");
    server.query(&format!(
        "insert into hypervisor_rows values ('{}', convert_to(repeat('l', 1100), 'UTF8'), 1, ''), \
         (repeat('a', 1100), 'key', 1, '')",
        FILE.name
    ));
    let scanned = store.scan(FILE, b"", None, 10).unwrap();
    let keys: Vec<_> = scanned.into_iter().map(|it| it.key).collect();
    assert_eq!(keys, [b"known".to_vec(), b"last".to_vec()]);
    let backend = Postgres::open(&server.url()).unwrap();
    let seen = backend.heads(("", b""), 10).unwrap();
    let keys: Vec<_> = seen.into_iter().map(|it| it.key).collect();
    assert_eq!(keys, [b"known".to_vec(), b"last".to_vec()]);
}

#[test]
fn long_values_come_a_few_at_a_time_and_all_of_them_come() {
    let server = Server::start();
    let store = store(&server.url());
    let value = vec![0; 25 << 20];
    let keys = [b"a", b"b", b"c"];
    // A busy machine may take longer for some of them than the store waits.
    for key in keys {
        at_last("a long value is written", || {
            store.commit(&[Change::put(FILE, key, &value)], true)
        });
    }
    let page = at_last("a page is read", || store.scan(FILE, b"", None, 10));
    assert_eq!(page.len(), 2);
    let mut seen = Vec::new();
    at_last("all rows are read", || {
        seen.clear();
        store.each(FILE, b"", |scanned| {
            assert_eq!(scanned.row?.value.len(), value.len());
            seen.push(scanned.key);
            Ok::<_, Error>(())
        })
    });
    assert_eq!(seen, keys);
}

#[test]
fn a_row_that_is_put_back_older_is_refused_by_whoever_knew_the_newer_one() {
    let place = Place::postgres();
    let (knows, backend) = (place.store(), place.backend());
    put(&knows, FILE, b"other", b"value");
    put(&knows, FILE, b"key", b"first");
    let first = backend.get(FILE.name, b"key").unwrap().unwrap();
    put(&knows, FILE, b"key", b"second");
    plant(&*backend, FILE.name, b"key", first);

    let error = knows.get(FILE, b"key").map(drop).unwrap_err();
    assert!(
        matches!(error, Error::RolledBack(name) if name == FILE.name),
        "{error}"
    );
    let scanned = knows.scan(FILE, b"", None, 10).unwrap();
    let refused: Vec<_> = scanned.iter().map(|it| it.row.is_err()).collect();
    assert_eq!(refused, [true, false]);
    // Another change makes it new for everybody.
    put(&knows, FILE, b"key", b"third");
    assert_eq!(value(&knows, FILE, b"key").unwrap(), b"third");
}

#[test]
fn a_row_that_was_only_read_is_remembered_too() {
    let place = Place::postgres();
    let (reads, writes, backend) = (place.store(), place.store(), place.backend());
    put(&writes, FILE, b"key", b"first");
    let first = backend.get(FILE.name, b"key").unwrap().unwrap();
    put(&writes, FILE, b"key", b"second");
    assert_eq!(value(&reads, FILE, b"key").unwrap(), b"second");
    plant(&*backend, FILE.name, b"key", first);
    assert!(matches!(reads.get(FILE, b"key"), Err(Error::RolledBack(_))));
    // One that knows nothing of it cannot tell.
    assert_eq!(value(&place.store(), FILE, b"key").unwrap(), b"first");
}

#[test]
fn a_row_that_others_deleted_and_made_again_is_no_row_of_before() {
    let place = Place::postgres();
    let (writes, deletes, makes) = (place.store(), place.store(), place.store());
    let absent = Change {
        expect: Expect::Absent,
        ..Change::put(FILE, b"key", b"again")
    };
    // Each knows the database's clock from a moment that was another.
    put(&makes, FILE, b"other", b"value");
    for _ in 0..100 {
        put(&writes, FILE, b"key", b"value");
        deletes
            .commit(&[Change::delete(FILE, b"key")], false)
            .unwrap();
        makes.commit(&[absent], false).unwrap();
        assert_eq!(value(&writes, FILE, b"key").unwrap(), b"again");
        writes
            .commit(&[Change::delete(FILE, b"key")], false)
            .unwrap();
    }
}

#[test]
fn a_new_row_is_above_the_one_that_was_deleted_whatever_its_hosts_clock_says() {
    let place = Place::postgres();
    let (backend, makes) = (place.backend(), place.store());
    put(&makes, FILE, b"key", b"value");
    let mut row = backend.get(FILE.name, b"key").unwrap().unwrap();
    // A host whose clock is an hour ahead wrote it, and another one deleted it.
    row.version += 3_600_000_000;
    let ahead = row.version;
    plant(&*backend, FILE.name, b"key", row);
    makes
        .commit(&[Change::delete(FILE, b"key")], false)
        .unwrap();
    let absent = Change {
        expect: Expect::Absent,
        ..Change::put(FILE, b"key", b"again")
    };
    makes.commit(&[absent], false).unwrap();
    assert!(makes.get(FILE, b"key").unwrap().unwrap().version > ahead);
}

#[test]
fn versions_of_rows_that_are_gone_are_forgotten_after_a_while() {
    let place = Place::postgres();
    let Place::Postgres(server) = &place else {
        return;
    };
    let store = place.store();
    put(&store, FILE, b"old", b"value");
    store
        .commit(&[Change::delete(FILE, b"old")], false)
        .unwrap();
    server.query("update hypervisor_deleted set version = version - 120000000");
    put(&store, FILE, b"new", b"value");
    store
        .commit(&[Change::delete(FILE, b"new")], false)
        .unwrap();
    let left = server.query("select convert_from(key, 'UTF8') from hypervisor_deleted");
    assert_eq!(left, "new");
}

#[test]
fn a_value_of_more_than_64_mib_is_refused_before_it_is_sent() {
    let server = Server::start();
    let store = store(&server.url());
    let largest = vec![7; 64 << 20];
    put(&store, FILE, b"key", &largest);
    assert!(value(&store, FILE, b"key").unwrap() == largest);
    let longer = vec![7; (64 << 20) + 100];
    let refused = store.commit(&[Change::put(FILE, b"other", &longer)], true);
    assert!(is_database(refused));
    assert!(store.is_well());
    let key = [7; 1025];
    assert!(is_database(
        store.commit(&[Change::put(FILE, &key, b"")], true)
    ));
    assert!(store.is_well());
}

#[test]
fn a_runtime_goes_on_while_the_database_is_waited_for() {
    let server = Server::start();
    let store = store(&server.url());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    server.freeze();
    let (done, other) = channel();
    let waits = runtime.spawn(async move { store.get(FILE, b"key").map(drop) });
    // It has one worker, and that one waits for the database.
    runtime.spawn(async move { done.send(()).unwrap() });
    other.recv_timeout(BOUND).unwrap();
    assert!(is_database(runtime.block_on(waits).unwrap()));
    server.thaw();
}

#[test]
fn nothing_durable_is_lost_when_the_standby_takes_over() {
    let mut primary = Server::durable();
    let standby = primary.standby();
    let (first, second) = (primary.url(), standby.port());
    let both = first.replace(
        &format!(":{}/", primary.port()),
        &format!(":{},127.0.0.1:{second}/", primary.port()),
    );
    let store = store(&both);
    let mut kept = Vec::new();
    for number in 0..100_u8 {
        put(&store, FILE, &[number], b"value");
        kept.push(vec![number]);
    }
    primary.kill();
    assert!(is_database(
        store.commit(&[Change::put(FILE, b"key", b"")], true)
    ));
    standby.promote();
    at_last("the standby takes writes", || {
        store.commit(&[Change::put(FILE, b"last", b"value")], true)
    });
    kept.push(b"last".to_vec());
    let found = store.scan(FILE, b"", None, 1000).unwrap();
    assert!(found.iter().all(|it| it.row.is_ok()));
    let found: Vec<_> = found.into_iter().map(|it| it.key).collect();
    assert!(kept.iter().all(|key| found.contains(key)));
}

#[test]
fn a_standby_alone_is_refused() {
    let primary = Server::start();
    let standby = primary.standby();
    let error = Postgres::open(&standby.url()).unwrap_err();
    assert!(error.to_string().contains("standby"), "{error}");
}

#[test]
fn a_connection_is_under_tls_where_the_url_says_so_and_its_server_is_the_right_one() {
    let (server, other) = (Server::with_tls(), Server::with_tls());
    let trusting = |of: &Server| {
        let certificate = of.certificate();
        let parameters = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
        format!("{}?{parameters}", server.url())
    };
    let store = store(&trusting(&server));
    put(&store, FILE, b"key", b"value");
    let under_tls = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
                     where application_name = 'hypervisor'";
    assert_eq!(server.query(under_tls), "t");
    let refused = Postgres::open(&trusting(&other)).unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let plain = Server::start();
    let error = Postgres::open(&format!("{}?sslmode=require", plain.url())).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[test]
fn a_commit_that_would_not_see_what_is_retired_meanwhile_is_refused() {
    let server = Server::start();
    drop(Postgres::open(&server.url()).unwrap());
    let commit = "perform hypervisor_commit('{}', '{}', '{}', '{}', '{}', '{}', false, false);";
    let refused = format!(
        "do $$ begin {commit} raise exception 'taken'; exception when others then \
         if sqlerrm not like '%have to be read committed%' then raise; end if; end $$"
    );
    for isolation in ["repeatable read", "serializable"] {
        server.query(&format!(
            "begin isolation level {isolation}; {refused}; commit"
        ));
    }
    server.query(&format!("do $$ begin {commit} end $$"));
}
