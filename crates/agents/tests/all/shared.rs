//! The store where several hosts use it at once.

use std::sync::Barrier;
use std::thread;

use hypervisor_agents::store::TABLES;
use hypervisor_agents::{Record, Store, StoreError};
use hypervisor_protocol::PrivateKey;

use crate::rows_of_hosts::Shared;
use crate::support::{kept, manifest, record};

fn host(shared: &Shared) -> Store {
    Store::open(shared.store(KEY, &TABLES), true).unwrap()
}

fn count(shared: &Shared, table: usize) -> usize {
    let found = (shared.store(KEY, &TABLES)).scan(TABLES[table], b"", None, usize::MAX);
    found.unwrap().len()
}

/// The key that all hosts have.
const KEY: u8 = 7;
const BODIES: usize = 1;
const LEFTOVERS: usize = 2;

#[test]
fn what_one_host_deploys_every_host_has() {
    let shared = Shared::new();
    let (one, other) = (host(&shared), host(&shared));
    assert!(one.is_shared() && one.is_persistent());
    let before = other.fingerprint().unwrap();
    let text = manifest("weather");
    let owner = PrivateKey::generate();
    let writing = one.put(&record(owner.public_key(), &text)).unwrap();
    assert_ne!(other.fingerprint().unwrap(), before);
    let heads = other.list().unwrap().agents;
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].writing, writing);
    assert!(other.remove(&heads[0].address()).unwrap());
    assert!(one.list().unwrap().agents.is_empty());
    assert_eq!((count(&shared, BODIES), count(&shared, LEFTOVERS)), (0, 0));
}

#[test]
fn where_rows_may_be_written_by_others_than_hosts_no_machine_code_is_kept_or_read() {
    let shared = Shared::new();
    let (trusting, wary) = (
        host(&shared),
        Store::open(shared.store(KEY, &TABLES), false).unwrap(),
    );
    let text = manifest("weather");
    let owner = PrivateKey::generate();
    let own = record(owner.public_key(), &text);
    trusting.put(&own).unwrap();
    let head = trusting.list().unwrap().agents.pop().unwrap();
    let (address, digest) = (head.address(), head.digest);
    let code = |store: &Store| {
        let read = store.load_code(&address, &digest, own.code_fingerprint);
        read.unwrap()
    };
    assert!(code(&trusting).is_some());
    assert_eq!(code(&wary), None);
    assert_eq!(
        wary.load_component(&address, &digest).unwrap(),
        own.component
    );

    wary.put(&own).unwrap();
    assert_eq!(code(&trusting), None);
    wary.update_code(&address, &digest, b"code", own.code_fingerprint)
        .unwrap();
    assert_eq!(code(&trusting), None);
}

#[test]
fn hosts_that_deploy_one_address_at_once_leave_one_version_and_no_piece_of_another() {
    let shared = Shared::new();
    let owner = PrivateKey::generate();
    let text = manifest("weather");
    let hosts = 4;
    let barrier = Barrier::new(hosts);
    for _ in 0..10 {
        thread::scope(|scope| {
            for number in 0..hosts {
                let (shared, owner, text, barrier) = (&shared, &owner, &text, &barrier);
                scope.spawn(move || {
                    let store = host(shared);
                    let component = vec![u8::try_from(number).unwrap(); 3 << 20];
                    let mine = Record {
                        component: &component,
                        ..record(owner.public_key(), text)
                    };
                    barrier.wait();
                    store.put(&mine).unwrap();
                });
            }
        });
        let store = host(&shared);
        let heads = store.list().unwrap().agents;
        assert_eq!(heads.len(), 1);
        let component = store
            .load_component(&heads[0].address(), &heads[0].digest)
            .unwrap();
        assert!(component.iter().all(|byte| *byte == component[0]));
        // The pieces of one component and of its code, and nothing that waits to be deleted.
        assert_eq!((count(&shared, BODIES), count(&shared, LEFTOVERS)), (4, 0));
    }
}

#[test]
fn a_start_leaves_what_another_host_is_writing() {
    let shared = Shared::new();
    let rows = shared.store(KEY, &TABLES);
    let key = [7; 48];
    let length = 5_u64.to_be_bytes();
    let change = hypervisor_store::Change::put(TABLES[LEFTOVERS], &key, &length);
    rows.commit(&[change], false).unwrap();
    let _starting = host(&shared);
    assert_eq!(count(&shared, LEFTOVERS), 1);
}

#[test]
fn an_agent_that_was_replaced_while_it_was_loaded_is_not_damaged() {
    let kept = kept();
    let head = kept.store.list().unwrap().agents.remove(0);
    let other = Record {
        component: b"\0asm another",
        ..record(&kept.owner, &head.manifest_text)
    };
    kept.store.put(&other).unwrap();
    let error = kept.store.load_component(&kept.address, &head.digest);
    assert!(matches!(error, Err(StoreError::Replaced)), "{error:?}");
}
