//! The store where several hosts use it at once.

use std::sync::{Arc, Barrier};
use std::thread;

use hypervisor_agents::store::TABLES;
use hypervisor_agents::{Record, SealingKey, Store, StoreError};
use hypervisor_protocol::PrivateKey;
use hypervisor_store::{Backend, Disk, Error, Keys, RawChange, RawRow};
use zeroize::Zeroizing;

use crate::support::{KEY, kept, manifest, record};

/// A file that several stores of this process use, as hosts use a database.
#[derive(Clone)]
struct Shared(Arc<Disk>);

impl Backend for Shared {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        self.0.scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        self.0.commit(changes, durable)
    }

    fn clear(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl Shared {
    fn new(folder: &tempfile::TempDir) -> Self {
        Self(Arc::new(Disk::open(&folder.path().join("rows")).unwrap()))
    }

    fn rows(&self) -> hypervisor_store::Store {
        let keys = Keys::shared(&SealingKey::new(Zeroizing::new(KEY))).unwrap();
        hypervisor_store::Store::over(Box::new(self.clone()), keys, &TABLES).unwrap()
    }

    fn host(&self) -> Store {
        Store::open(self.rows()).unwrap()
    }

    fn count(&self, table: usize) -> usize {
        let found = self.rows().scan(TABLES[table], b"", None, usize::MAX);
        found.unwrap().len()
    }
}

const BODIES: usize = 1;
const LEFTOVERS: usize = 2;

#[test]
fn what_one_host_deploys_every_host_has() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::new(&folder);
    let (one, other) = (shared.host(), shared.host());
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
    assert_eq!((shared.count(BODIES), shared.count(LEFTOVERS)), (0, 0));
}

#[test]
fn hosts_that_deploy_one_address_at_once_leave_one_version_and_no_piece_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::new(&folder);
    let owner = PrivateKey::generate();
    let text = manifest("weather");
    let hosts = 4;
    let barrier = Barrier::new(hosts);
    for _ in 0..10 {
        thread::scope(|scope| {
            for host in 0..hosts {
                let (shared, owner, text, barrier) = (&shared, &owner, &text, &barrier);
                scope.spawn(move || {
                    let store = shared.host();
                    let component = vec![u8::try_from(host).unwrap(); 3 << 20];
                    let mine = Record {
                        component: &component,
                        ..record(owner.public_key(), text)
                    };
                    barrier.wait();
                    store.put(&mine).unwrap();
                });
            }
        });
        let store = shared.host();
        let heads = store.list().unwrap().agents;
        assert_eq!(heads.len(), 1);
        let component = store
            .load_component(&heads[0].address(), &heads[0].digest)
            .unwrap();
        assert!(component.iter().all(|byte| *byte == component[0]));
        // The pieces of one component and of its code, and nothing that waits to be deleted.
        assert_eq!((shared.count(BODIES), shared.count(LEFTOVERS)), (4, 0));
    }
}

#[test]
fn a_start_leaves_what_another_host_is_writing() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::new(&folder);
    let rows = shared.rows();
    let key = [7; 48];
    let length = 5_u64.to_be_bytes();
    let change = hypervisor_store::Change::put(TABLES[LEFTOVERS], &key, &length);
    rows.commit(&[change], false).unwrap();
    let _starting = shared.host();
    assert_eq!(shared.count(LEFTOVERS), 1);
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
