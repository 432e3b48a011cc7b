//! What of the host survives a restart, and under which key: `executor_path`, which nobody else can enter.
//!
//! ```text
//! store/agents.redb     agents, sealed under the platform's key
//! store/audit.redb      the audit trail, likewise
//! store/protocols.redb  what components keep that answer in the host's own name, likewise
//! store/payments.redb   payments; see docs/decisions/0027-the-payment-store-has-a-key-of-its-own.md
//! store/store.key       32 random bytes, for what has to survive where the platform gives no key
//! ```

use std::path::{Path, PathBuf};

use hypervisor_store::{Error, Keys, SealingKey, Store, Table, private_folder};

/// The folder of the host's own state, with the keys of what is in it.
pub struct State {
    folder: PathBuf,
    platform: Option<SealingKey>,
    file: SealingKey,
}

impl State {
    /// Takes the folder from everybody else, and reads the key in it or makes it. `platform`: the platform's sealing key.
    ///
    /// # Errors
    /// When the folder or the key file cannot be used.
    pub fn open(folder: &Path, platform: Option<SealingKey>) -> Result<Self, Error> {
        private_folder(folder)?;
        let store = folder.join("store");
        private_folder(&store)?;
        Ok(Self {
            folder: folder.to_owned(),
            platform,
            file: SealingKey::of_file(&store.join("store.key"))?,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The platform's sealing key; none where it gives none.
    pub fn platform(&self) -> Option<&SealingKey> {
        self.platform.as_ref()
    }

    /// The store of this name.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn store(&self, name: &str, tables: &[Table]) -> Result<Store, Error> {
        let path = self.path(name);
        let keys = Keys::new(self.platform.as_ref(), &self.file)?;
        Store::open(&path, keys, tables)
    }

    /// The file of a store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("store").join(name).with_extension("redb")
    }
}
