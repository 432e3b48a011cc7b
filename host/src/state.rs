//! What of the host survives a restart, and under which key: `executor_path`, which nobody else can enter.
//!
//! ```text
//! store/agents.redb     agents, sealed under the platform's key
//! store/audit.redb      the audit trail, likewise
//! store/protocols.redb  what components keep that answer in the host's own name, likewise
//! store/payments.redb   payments; see docs/decisions/0027-the-payment-store-has-a-key-of-its-own.md
//! store/store.key       32 random bytes, for what has to survive where the platform gives no key
//! ```
//!
//! In a fleet agents, environments and payments are in the database that its hosts share, under the fleet's key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypervisor_fleet::Address;
use hypervisor_peers::{Joining, Member, Rows};
use hypervisor_postgres::{Inspection, Postgres};
use hypervisor_store::{Error, Keys, Ring, SealingKey, Store, Table, private_folder};

use crate::attestation::Attestation;
use crate::config::Fleet;

/// What the hosts of a fleet have in common.
const SHARED: [&str; 4] = ["agents", "environments", "nodes", "payments"];

/// The folder of the host's own state, with the keys of what is in it.
pub struct State {
    folder: PathBuf,
    platform: Option<SealingKey>,
    file: SealingKey,
    fleet: Option<(Arc<Postgres>, Arc<Ring>)>,
    /// Where hosts give each other the key: gives it to others.
    member: Option<Arc<Member>>,
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
            fleet: None,
            member: None,
        })
    }

    /// The same with what a fleet shares, where this host is in one. Where none has its key in a file, another host gives it for
    /// evidence that `attestation` makes; `own` is where others reach this one.
    ///
    /// # Errors
    /// When the fleet's key cannot be had, or its database not be used.
    pub async fn sharing(
        mut self,
        fleet: &Fleet,
        own: Option<&Address>,
        attestation: Result<&Attestation, &str>,
    ) -> Result<Self, crate::error::Error> {
        if !fleet.is_on() {
            return Ok(self);
        }
        let opened = Postgres::open(&fleet.store).map_err(crate::error::Error::Fleet)?;
        let shared = Arc::new(opened);
        let keys = match &fleet.terms {
            None => {
                let ring = SealingKey::given(&fleet.key).and_then(|key| Ring::of(&key));
                Arc::new(ring.map_err(crate::error::Error::Fleet)?)
            }
            Some(terms) => {
                let no_evidence = |why: &str| hypervisor_peers::Error::NoEvidence(why.to_owned());
                let joining = Joining {
                    rows: Rows::of(Arc::clone(&shared) as _),
                    terms,
                    attestation: attestation.map_err(no_evidence)?,
                    platform: self.platform.as_ref(),
                    own,
                };
                let member = Arc::new(joining.join().await?);
                let keys = Arc::clone(member.ring());
                self.member = Some(member);
                keys
            }
        };
        self.fleet = Some((shared, keys));
        Ok(self)
    }

    /// What gives other hosts the key; none where they have it from a file, or there are none.
    pub fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    /// Whether machine code may be kept beside components. Whoever has a key file could write some that hosts then run.
    pub fn keeps_code(&self) -> bool {
        self.fleet.is_none() || self.member.is_some()
    }

    /// The database that a fleet shares; none where this host is in none.
    pub fn shared(&self) -> Option<&Arc<Postgres>> {
        self.fleet.as_ref().map(|(shared, _)| shared)
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
        if let Some((shared, keys)) = self.fleet.as_ref().filter(|_| SHARED.contains(&name)) {
            return Store::over(Box::new(Arc::clone(shared)), Keys::of(keys), tables);
        }
        let path = self.path(name);
        let keys = Keys::new(self.platform.as_ref(), &self.file)?;
        Store::open(&path, keys, tables)
    }

    /// The file of a store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("store").join(name).with_extension("redb")
    }
}

/// Checks `[fleet]` as a start would, without changing anything: what the database says of itself; none where it is off.
///
/// # Errors
/// What is wrong with its key or its database.
pub fn check(fleet: &Fleet) -> Result<Option<Inspection>, crate::error::Error> {
    if !fleet.is_on() {
        return Ok(None);
    }
    let key = match &fleet.terms {
        Some(_) => Ok(()),
        None => SealingKey::given(&fleet.key).map(drop),
    };
    let inspected = key.and_then(|()| Postgres::inspect(&fleet.store));
    inspected.map(Some).map_err(crate::error::Error::Fleet)
}
