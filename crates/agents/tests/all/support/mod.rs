//! A store with one agent in it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::PathBuf;

use hypervisor_agents::store::{TABLES, digest};
use hypervisor_agents::{Address, Damage, Owner, Record, SealingKey, Store, StoreError};
use hypervisor_protocol::{PrivateKey, PublicKey};
use hypervisor_store::Keys;
use redb::{ReadableTable, TableHandle};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const KEY: [u8; 32] = [7; 32];
pub const COMPONENT: &[u8] = b"\0asm component";
pub const CODE: &[u8] = b"\x7fELF machine code";

pub fn open(folder: &TempDir) -> Store {
    open_with(folder, Some(KEY))
}

/// The store under this key of the platform's.
pub fn open_with(folder: &TempDir, key: Option<[u8; 32]>) -> Store {
    let key = key.map(|key| SealingKey::new(Zeroizing::new(key)));
    let file = SealingKey::of_file(&folder.path().join("key")).unwrap();
    let keys = Keys::new(key.as_ref(), &file).unwrap();
    let rows = hypervisor_store::Store::open(&path(folder), keys, &TABLES).unwrap();
    Store::open(rows, true).unwrap()
}

pub fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("store/agents.redb")
}

/// Changes the rows of a table that nobody has open, each a version of 8 bytes and what is sealed; none deletes.
pub fn alter(folder: &TempDir, table: &str, change: impl Fn(&[u8], Vec<u8>) -> Option<Vec<u8>>) {
    let database = redb::Database::open(path(folder)).unwrap();
    let write = database.begin_write().unwrap();
    let names: Vec<String> = (write.list_tables().unwrap().map(|it| it.name().to_owned()))
        .filter(|name| name.split('@').next() == Some(table))
        .collect();
    for name in names {
        let definition = redb::TableDefinition::<&[u8], &[u8]>::new(&name);
        let mut table = write.open_table(definition).unwrap();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect();
        for (key, value) in rows {
            match change(&key, value) {
                Some(value) => table.insert(key.as_slice(), value.as_slice()).unwrap(),
                None => table.remove(key.as_slice()).unwrap(),
            };
        }
    }
    write.commit().unwrap();
}

/// The rows of a table that nobody has open.
pub fn rows(folder: &TempDir, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = std::cell::RefCell::new(Vec::new());
    alter(folder, table, |key, value| {
        rows.borrow_mut().push((key.to_vec(), value.clone()));
        Some(value)
    });
    rows.into_inner()
}

pub fn manifest(name: &str) -> String {
    format!(
        "name = '{name}'\ndescription = 'An agent.'\nversion = '1.0.0'\n[environment]\nKEY = 'hunter2'\n"
    )
}

/// An agent under test, with a folder of its own.
pub struct Kept {
    pub folder: TempDir,
    pub store: Store,
    pub owner: PublicKey,
    pub address: Address,
    manifest: String,
}

pub fn record<'a>(owner: &'a PublicKey, manifest_text: &'a str) -> Record<'a> {
    Record {
        owner: Some(owner),
        manifest_text,
        component: COMPONENT,
        code: CODE,
        code_fingerprint: "engine 1",
        deployed_at: 1_700_000_000,
        details: b"details",
    }
}

pub fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let owner = PrivateKey::generate().public_key().clone();
    let manifest = manifest("weather");
    store.put(&record(&owner, &manifest)).unwrap();
    let address = Address {
        name: "weather".parse().unwrap(),
        owner: Owner::from(&owner),
    };
    Kept {
        folder,
        store,
        owner,
        address,
        manifest,
    }
}

impl Kept {
    /// As it was put.
    pub fn record(&self) -> Record<'_> {
        record(&self.owner, &self.manifest)
    }

    pub fn code(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.store
            .load_code(&self.address, &digest(COMPONENT), "engine 1")
    }

    pub fn component(&self) -> Result<Vec<u8>, StoreError> {
        self.store.load_component(&self.address, &digest(COMPONENT))
    }

    /// The same store, after something was done to its rows.
    pub fn altered(self, table: &str, change: impl Fn(&[u8], Vec<u8>) -> Option<Vec<u8>>) -> Self {
        let Self { folder, store, .. } = self;
        drop(store);
        alter(&folder, table, change);
        Self {
            store: open(&folder),
            folder,
            ..self
        }
    }

    /// What is wrong with the one agent, by its listing.
    pub fn damage(&self) -> Damage {
        let stored = self.store.list().unwrap();
        assert!(stored.agents.is_empty());
        let [StoreError::Damaged(_, damage)] = stored.damaged.as_slice() else {
            panic!("{:?}", stored.damaged);
        };
        damage.clone()
    }
}
