//! What of a fleet's key is in its database, where everybody who has the database reads and writes it.
//!
//! ```text
//! fleet-key           "key" → id of the key that names rows, 8 bytes; not sealed: the first host inserts it, and only one can
//! fleet-members       tag → address; not sealed: a host that joins has no key yet
//! fleet-key-sealed@…  id → the keys, sealed under the platform's key of a host, with the policy in its derivation
//! nodes@id            tag → …; sealed; its versions say, in the open, when a member was last seen
//! fleet-rotation@id   "rotation" → how one key takes the place of another; sealed
//! ```
//!
//! None of it is believed that is not sealed: a member proves itself, and what it gives has to have the id that the row names.

use std::sync::Arc;

use hypervisor_fleet::{Address, NODES, Tag};
use hypervisor_store::{
    Backend, Change, Error as RowError, Head, KeyId, Keys, RawChange, RawRow, Ring, SealingKey,
    Store, Table, Under,
};

use crate::error::Error;

const KEYS: &str = "fleet-key";
const KEY: &[u8] = b"key";
const MEMBERS: &str = "fleet-members";
const SEALED: Table = Table {
    name: "fleet-key-sealed",
    under: Under::Platform,
};

/// What the names of tables begin with that have keys sealed for a platform.
const FOR_PLATFORMS: &str = "fleet-key-sealed@";
/// Rows of members that are looked at.
const MOST: usize = 256;
/// Bytes of an address at most.
const ADDRESS: usize = 256;
/// A member that was not seen for so many microseconds is dead.
const DEAD: u64 = 10_000_000;
/// Microseconds by which what a host takes for the database's clock is behind it.
const SKEW: u64 = 10_000_000;
/// As often a row is written whose version was too low.
const ATTEMPTS: usize = 16;

/// The database of a fleet.
#[derive(Clone)]
pub struct Rows(Arc<dyn Backend>);

/// The row that names the key.
pub(crate) struct KeyRow {
    pub(crate) id: KeyId,
    /// So many microseconds ago, by the database's clock.
    pub(crate) age: u64,
}

impl Rows {
    /// Those of a database.
    pub fn of(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    /// Which key the fleet has, as the database says; none where there is none yet.
    pub(crate) fn key(&self) -> Result<Option<KeyRow>, Error> {
        let Some(row) = self.0.get(KEYS, KEY)? else {
            return match self.0.is_used()? {
                // It may have been inserted since.
                true if self.0.get(KEYS, KEY)?.is_none() => Err(Error::NoKeyRow),
                true => self.key(),
                false => Ok(None),
            };
        };
        let id = row.sealed.as_slice().try_into();
        Ok(Some(KeyRow {
            id: id.map_err(|_| Error::BadKeyRow)?,
            age: self.0.now()?.saturating_sub(row.version),
        }))
    }

    /// The database itself.
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.0
    }

    /// Makes these the fleet's keys; false where another host was faster.
    pub(crate) fn begin(&self, ring: &Ring) -> Result<bool, Error> {
        let made = self.put(KEYS, KEY, ring.id().to_vec(), None);
        match made {
            Ok(()) => Ok(true),
            Err(RowError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Members that live, as the database says, in no order that others choose.
    pub(crate) fn members(&self, fleet: KeyId) -> Result<Vec<Address>, Error> {
        let now = self.0.now()?;
        let nodes = NODES.place(&const_hex::encode(fleet));
        let seen = self.0.scan(&nodes, b"", None, MOST)?;
        let rows = self.0.scan(MEMBERS, b"", None, MOST)?;
        let is_live = |tag: &[u8]| {
            let row = seen.iter().find(|(of, _)| of == tag);
            row.is_some_and(|(_, row)| now.saturating_sub(row.version) < DEAD)
        };
        let live = rows.into_iter().filter(|(tag, _)| is_live(tag));
        let addresses = live.filter_map(|(_, row)| {
            let text = Some(row.sealed).filter(|it| it.len() <= ADDRESS)?;
            String::from_utf8(text).ok()?.parse().ok()
        });
        Ok(addresses.collect())
    }

    /// Says where this member is, and takes away what members left that are gone.
    pub(crate) fn enter(&self, fleet: KeyId, tag: Tag, address: &Address) -> Result<(), RowError> {
        let nodes = NODES.place(&const_hex::encode(fleet));
        for (left, row) in self.0.scan(MEMBERS, b"", None, MOST)? {
            if left != tag.0 && self.0.get(&nodes, &left)?.is_none() {
                // Somebody else may have been faster.
                let _ = self.remove(&left, row.version);
            }
        }
        let text = address.to_string().into_bytes();
        let before = self.0.get(MEMBERS, &tag.0)?.map(|row| row.version);
        self.put(MEMBERS, &tag.0, text, before)
    }

    /// Takes away what this member said.
    pub(crate) fn leave(&self, tag: Tag) -> Result<(), RowError> {
        match self.0.get(MEMBERS, &tag.0)? {
            Some(row) => self.remove(&tag.0, row.version),
            None => Ok(()),
        }
    }

    fn remove(&self, tag: &[u8], version: u64) -> Result<(), RowError> {
        let change = RawChange {
            table: MEMBERS.to_owned(),
            key: tag.to_vec(),
            expected: Some(version),
            row: None,
        };
        self.0.commit(vec![change], false)
    }

    /// Takes away what a platform keeps since before a rotation began: no host that lives has written it since.
    pub(crate) fn drop_sealed(&self, head: &Head, began: u64) -> Result<(), RowError> {
        let is_old = head.version < began.saturating_sub(SKEW);
        if !is_old || !head.table.starts_with(FOR_PLATFORMS) {
            return Ok(());
        }
        let change = RawChange {
            table: head.table.clone(),
            key: head.key.clone(),
            expected: Some(head.version),
            row: None,
        };
        match self.0.commit(vec![change], false) {
            // It was written since.
            Err(RowError::Conflict(_)) => Ok(()),
            done => done,
        }
    }

    /// Writes a row that is not sealed.
    fn put(
        &self,
        table: &str,
        key: &[u8],
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<(), RowError> {
        let next = expected.map_or(0, |version| version.saturating_add(1));
        let mut version = self.0.now()?.max(next);
        let mut made = Ok(());
        for _ in 0..ATTEMPTS {
            let change = RawChange {
                table: table.to_owned(),
                key: key.to_vec(),
                expected,
                row: Some(RawRow {
                    version,
                    sealed: value.clone(),
                }),
            };
            made = self.0.commit(vec![change], true);
            match made {
                Err(RowError::Behind(least)) => version = least.saturating_add(1),
                done => return done,
            }
        }
        made
    }
}

/// What a platform keeps of the keys, so that a host on it has them when no other one lives.
pub(crate) struct Vault(Store);

impl Vault {
    /// That of a platform. `policy` is in the derivation: a host that goes by another one opens nothing of it.
    pub(crate) fn of(
        rows: &Rows,
        platform: &SealingKey,
        policy: [u8; 32],
    ) -> Result<Self, RowError> {
        let label = [b"hypervisor/v1 fleet-key platform\0".as_slice(), &policy].concat();
        let own = SealingKey::new(platform.derive(&label)?);
        let store = Store::over(
            Box::new(Arc::clone(&rows.0)),
            Keys::shared(&own)?,
            &[SEALED],
        );
        store.map(Self)
    }

    /// Keeps the keys, in the place of earlier ones.
    pub(crate) fn keep(&self, ring: &Ring) -> Result<(), RowError> {
        let (id, keys) = (ring.id(), ring.write());
        self.0.commit(&[Change::put(SEALED, &id, &keys)], true)
    }

    /// The keys of the fleet with this id, where this platform has them.
    pub(crate) fn open(&self, fleet: KeyId) -> Result<Option<Ring>, RowError> {
        let row = match self.0.get(SEALED, &fleet) {
            Ok(row) => row,
            Err(error) if error.does_not_open() => None,
            Err(error) => return Err(error),
        };
        let ring = row.map(|row| Ring::read(&row.value)).transpose()?.flatten();
        Ok(ring.filter(|ring| ring.id() == fleet))
    }
}
