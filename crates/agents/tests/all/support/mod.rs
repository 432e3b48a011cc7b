//! A store with one agent in it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::fs;
use std::path::PathBuf;

use hypervisor_agents::store::digest;
use hypervisor_agents::{Address, Damage, Owner, Record, SealingKey, Store, StoreError};
use hypervisor_protocol::{PrivateKey, PublicKey};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const KEY: [u8; 32] = [7; 32];
pub const COMPONENT: &[u8] = b"\0asm component";
pub const CODE: &[u8] = b"\x7fELF machine code";

pub fn open(folder: &TempDir) -> Store {
    open_with(folder, KEY)
}

pub fn open_with(folder: &TempDir, key: [u8; 32]) -> Store {
    let key = SealingKey::new(Zeroizing::new(key));
    Store::open(folder.path().join("agents"), Some(key)).unwrap()
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

    pub fn file(&self) -> PathBuf {
        let files = files(&self.folder);
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }

    /// What is wrong with the one file, by its listing.
    pub fn damage(&self) -> Damage {
        let stored = self.store.list().unwrap();
        assert!(stored.agents.is_empty());
        let [StoreError::Damaged { damage, .. }] = stored.damaged.as_slice() else {
            panic!("{:?}", stored.damaged);
        };
        damage.clone()
    }
}

pub fn files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("agents")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
