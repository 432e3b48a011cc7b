//! What survives a restart: agents with their components and machine code, and which agents of the registry are deployed.
//!
//! ```text
//! agents            id → head, CBOR; the id is a keyed hash of the address and tells nothing of it
//! agent-bodies      id ‖ 16 random bytes, the writing ‖ u32 BE → a piece of a component, or of machine code
//! agent-leftovers   id ‖ writing → length; a body that no head names: being written, or to be deleted
//! registered-agents name → since when, Unix time in microseconds; nothing of it is secret, and it is kept without the platform's key too
//! ```
//!
//! A head names its bodies by their writings, so that pieces of two writings cannot be mixed. Bodies are written before their
//! head and deleted after it, so that after a crash there is the old agent or the new one; what is left over is deleted at
//! the next start. Where the platform gives no key, agents end with the process ([`hypervisor_store::Under`]).
//!
//! Every call waits for the disk.

mod contents;
mod import;
mod record;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor_store::{Change, Error, Expect, Fingerprint, Row, Table, Under};

pub use hypervisor_runtime::sha256 as digest;
pub use record::{Head, MAX_DETAILS, MAX_FINGERPRINT, Record};

use crate::error::{Damage, StoreError};
use crate::manifest::Manifest;
use crate::name::{Address, Name, Owner};
use contents::{Body, Contents};

const HEADS: Table = platform("agents");
const BODIES: Table = platform("agent-bodies");
const LEFTOVERS: Table = platform("agent-leftovers");
const REGISTERED: Table = Table {
    name: "registered-agents",
    under: Under::File,
};

/// The tables of agents.
pub const TABLES: [Table; 4] = [HEADS, BODIES, LEFTOVERS, REGISTERED];

/// Bytes of a piece: others may write between two of them.
const PIECE: usize = 1 << 20;

/// After so many microseconds a body that no head names is nobody's: whoever shares the rows and wrote it is gone, or gave up.
const ABANDONED: u64 = 10 * 60 * 1_000_000;

/// Damaged rows that are named; there may be more.
const MOST_NAMED: usize = 1000;

/// How often an agent is written anew when another host was faster.
const ATTEMPTS: usize = 16;

const fn platform(name: &'static str) -> Table {
    Table {
        name,
        under: Under::Platform,
    }
}

/// What an agent is kept under.
type Id = [u8; 32];

/// What survives a restart.
pub struct Store {
    rows: hypervisor_store::Store,
    /// Machine code is written beside components, and what others wrote there is run.
    keeps_code: bool,
    /// Held while an agent changes, so that it is not written from what was read before another change.
    changing: Mutex<()>,
}

/// What a store holds.
#[derive(Debug, Default)]
pub struct Stored {
    /// The heads of the agents, by address.
    pub agents: Vec<Head>,
    /// Rows and files that cannot be read as agents of this store, as far as they are named: a thousand.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// The agents in a store that was opened with [`TABLES`]. `keeps_code`: machine code is kept beside components, because nobody but
    /// hosts can write what opens. What a crash left half written is deleted; where other hosts share
    /// the rows, what is so old that none of them writes it any more.
    ///
    /// # Errors
    /// [`StoreError::Rows`].
    pub fn open(rows: hypervisor_store::Store, keeps_code: bool) -> Result<Self, StoreError> {
        let store = Self {
            rows,
            keeps_code,
            changing: Mutex::new(()),
        };
        let newest = match store.rows.is_shared() {
            true => store.rows.now()?.saturating_sub(ABANDONED),
            false => u64::MAX,
        };
        store.rows.each(LEFTOVERS, b"", |found| {
            if let (Some((id, writing)), Ok(row)) = (found.key.split_first_chunk(), found.row)
                && row.version <= newest
                && let (Ok(writing), Ok(length)) =
                    (writing.try_into(), row.value.as_slice().try_into())
            {
                let length = u64::from_be_bytes(length);
                store.clean(id, &Body::new(writing, length))?;
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(store)
    }

    /// Whether agents survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.rows.is_lasting()
    }

    /// Whether other hosts deploy and remove agents of the same rows.
    pub fn is_shared(&self) -> bool {
        self.rows.is_shared()
    }

    /// What is another one after an agent was deployed, replaced or removed.
    ///
    /// # Errors
    /// [`StoreError::Rows`].
    pub fn fingerprint(&self) -> Result<Fingerprint, StoreError> {
        Ok(self.rows.fingerprint(HEADS)?)
    }

    /// The time by the clock of whoever shares the rows: Unix time, microseconds.
    ///
    /// # Errors
    /// [`StoreError::Rows`].
    pub fn now(&self) -> Result<u64, StoreError> {
        Ok(self.rows.now()?)
    }

    /// Reads the head of every agent; components and machine code stay where they are.
    ///
    /// # Errors
    /// [`StoreError::Rows`]. What is wrong with single rows is in the answer.
    pub fn list(&self) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        self.rows.each(HEADS, b"", |found| {
            match self.head(&found.key, found.row) {
                Ok(head) => stored.agents.push(head),
                Err(damage) if stored.damaged.len() < MOST_NAMED => {
                    stored.damaged.push(damaged(&found.key, damage));
                }
                // Whoever has the rows decides how many there are.
                Err(_) => {}
            }
            Ok::<_, StoreError>(())
        })?;
        stored.agents.sort_by_cached_key(Head::address);
        Ok(stored)
    }

    fn head(&self, key: &[u8], row: Result<Row, Error>) -> Result<Head, Damage> {
        let row = row.map_err(|_| Damage::Authentication("head"))?;
        let head = Contents::read(&row.value)?.into_head()?;
        if self.id(&head.address()) == key {
            Ok(head)
        } else {
            Err(contents::wrong("it is another agent's"))
        }
    }

    /// Keeps an agent, in place of an earlier one of its address. Gives the writing of its component, which no other has.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::TooLarge`], [`StoreError::Rows`]; what was there is there still.
    pub fn put(&self, record: &Record<'_>) -> Result<[u8; 16], StoreError> {
        let manifest = Manifest::parse(record.manifest_text.as_bytes())?;
        let address = Address {
            name: manifest.name,
            owner: record.owner.map_or(Owner::Operator, Owner::from),
        };
        let id = self.id(&address);
        contents::check(record)?;
        let record = &match self.keeps_code {
            true => *record,
            false => Record {
                code: &[],
                code_fingerprint: "",
                ..*record
            },
        };
        let _changing = self.changing();
        let component = self.write(&id, record.component)?;
        let code = self.write(&id, record.code)?;
        let written = [&component, &code].map(Clone::clone);
        let writing = component.writing();
        let head = Contents::new(record, component, code).write()?;
        let (name, since) = (address.name.as_str().as_bytes(), record.deployed_at);
        let since = since.to_be_bytes();
        self.over(&id, |expect, gone| {
            let head = Change {
                expect,
                ..Change::put(HEADS, &id, &head)
            };
            let noted = Change::put(REGISTERED, name, &since);
            let mut changes = vec![head];
            changes.extend(address.is_registered().then_some(noted));
            self.switch(&id, changes, &written, gone)
        })?;
        Ok(writing)
    }

    /// Changes a head, whatever it is now: told what to expect of it and which bodies it names, again where another host was
    /// faster. One that does not open is changed too; its bodies stay, and nobody knows them.
    fn over<T>(
        &self,
        id: &Id,
        change: impl Fn(Expect, Vec<Body>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let (expect, gone) = match self.rows.get(HEADS, id) {
                Ok(Some(row)) => {
                    let contents = Contents::read(&row.value).ok();
                    let gone = contents.map_or_else(Vec::new, Contents::bodies);
                    (Expect::Version(row.version), gone)
                }
                Ok(None) => (Expect::Absent, Vec::new()),
                Err(error) if error.does_not_open() => (Expect::Any, Vec::new()),
                Err(error) => return Err(error.into()),
            };
            change(expect, gone)
        };
        for _ in 1..ATTEMPTS {
            match attempt() {
                Err(StoreError::Rows(Error::Conflict(_))) => {}
                done => return done,
            }
        }
        attempt()
    }

    /// Makes a head name other bodies, from here on; those that it named before are deleted.
    fn switch(
        &self,
        id: &Id,
        changes: Vec<Change<'_>>,
        written: &[Body],
        gone: Vec<Body>,
    ) -> Result<(), StoreError> {
        let written: Vec<_> = written.iter().map(|body| body.key(id)).collect();
        let left: Vec<_> = (gone.iter())
            .map(|body| (body.key(id), body.length.to_be_bytes()))
            .collect();
        let mut changes: Vec<Change<'_>> = changes;
        changes.extend(written.iter().map(|key| Change::delete(LEFTOVERS, key)));
        changes.extend((left.iter()).map(|(key, length)| Change::put(LEFTOVERS, key, length)));
        // What is noted of the registry is kept without the platform's key too.
        let is_noted = changes.iter().any(|change| change.table == REGISTERED);
        (self.rows).commit(&changes, is_noted || self.rows.is_lasting())?;
        gone.iter().try_for_each(|body| self.clean(id, body))
    }

    /// An agent's machine code, if it was made under this fingerprint; `None` means that it has to be compiled again.
    /// `component` is the SHA-256 of the component that the caller means: an agent may be replaced at any time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Replaced`], [`StoreError::Damaged`], [`StoreError::Rows`].
    pub fn load_code(
        &self,
        address: &Address,
        component: &[u8; 32],
        fingerprint: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (id, contents, version) = self.contents(address, component)?;
        if !self.keeps_code || contents.code_fingerprint != fingerprint {
            return Ok(None);
        }
        let code = self.read(&id, &contents.code, "code");
        self.still(&id, version, code).map(Some)
    }

    /// An agent's component. `component` is the SHA-256 of the one that the caller means.
    ///
    /// # Errors
    /// As [`Self::load_code`].
    pub fn load_component(
        &self,
        address: &Address,
        component: &[u8; 32],
    ) -> Result<Vec<u8>, StoreError> {
        let (id, contents, version) = self.contents(address, component)?;
        let component = self.read(&id, &contents.component, "component");
        self.still(&id, version, component)
    }

    /// A body that could not be read whole because its agent was replaced meanwhile is not damaged.
    fn still<T>(
        &self,
        id: &Id,
        version: u64,
        read: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged(..)) = &read
            && let Ok(head) = self.rows.get(HEADS, id)
            && head.is_none_or(|head| head.version != version)
        {
            return Err(StoreError::Replaced);
        }
        read
    }

    /// Replaces an agent's machine code, made from the component with the SHA-256 `component`.
    ///
    /// # Errors
    /// As [`Self::load_code`], and as [`Self::put`].
    pub fn update_code(
        &self,
        address: &Address,
        component: &[u8; 32],
        code: &[u8],
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        if !self.keeps_code {
            return Ok(());
        }
        let _changing = self.changing();
        let (id, mut contents, version) = self.contents(address, component)?;
        let written = self.write(&id, code)?;
        let gone = std::mem::replace(&mut contents.code, written.clone());
        fingerprint.clone_into(&mut contents.code_fingerprint);
        let head = contents.write()?;
        let change = Change {
            expect: Expect::Version(version),
            ..Change::put(HEADS, &id, &head)
        };
        self.switch(&id, vec![change], &[written], vec![gone])
    }

    /// Forgets an agent, damaged or not; false where there is none.
    ///
    /// # Errors
    /// [`StoreError::Rows`].
    pub fn remove(&self, address: &Address) -> Result<bool, StoreError> {
        let id = self.id(address);
        let name = address.name.as_str().as_bytes();
        let _changing = self.changing();
        self.over(&id, |expect, gone| {
            let is_noted = address.is_registered() && self.rows.get(REGISTERED, name)?.is_some();
            if expect == Expect::Absent && !is_noted {
                return Ok(false);
            }
            let head = Change {
                expect,
                ..Change::delete(HEADS, &id)
            };
            let mut changes = vec![head];
            changes.extend(is_noted.then(|| Change::delete(REGISTERED, name)));
            self.switch(&id, changes, &[], gone)?;
            Ok(true)
        })
    }

    /// The registry's agents that are deployed, and when each was: Unix time, microseconds.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Rows`].
    pub fn deployed_names(&self) -> Result<BTreeMap<Name, u64>, StoreError> {
        let mut names = BTreeMap::new();
        self.rows.each(REGISTERED, b"", |found| {
            let since = found.row?.value.as_slice().try_into().ok();
            let name = str::from_utf8(&found.key).ok();
            let name = name.and_then(|it| it.parse().ok());
            let (Some(name), Some(since)) = (name, since) else {
                let damage = contents::wrong("it is no name with a time");
                return Err(damaged(&found.key, damage));
            };
            names.insert(name, u64::from_be_bytes(since));
            Ok::<_, StoreError>(())
        })?;
        Ok(names)
    }

    /// Notes that an agent of the registry is deployed, since `at`.
    fn note(&self, name: &Name, at: u64) -> Result<(), StoreError> {
        let (key, value) = (name.as_str().as_bytes(), at.to_be_bytes());
        let change = Change::put(REGISTERED, key, &value);
        Ok(self.rows.commit(&[change], true)?)
    }

    fn id(&self, address: &Address) -> Id {
        self.rows.blind(HEADS, address.to_string().as_bytes())
    }

    /// The head of an agent that has this component, and its version.
    fn contents(
        &self,
        address: &Address,
        component: &[u8; 32],
    ) -> Result<(Id, Contents, u64), StoreError> {
        let id = self.id(address);
        let row = match self.rows.get(HEADS, &id) {
            Ok(row) => row.ok_or(StoreError::NotFound)?,
            Err(error) if error.does_not_open() => {
                return Err(damaged(&id, Damage::Authentication("head")));
            }
            Err(error) => return Err(error.into()),
        };
        let contents = Contents::read(&row.value).map_err(|damage| damaged(&id, damage))?;
        if contents.digest.0 == *component {
            Ok((id, contents, row.version))
        } else {
            Err(StoreError::Replaced)
        }
    }

    /// Writes a body that no head names yet.
    fn write(&self, id: &Id, bytes: &[u8]) -> Result<Body, StoreError> {
        let mut writing = [0; 16];
        getrandom::fill(&mut writing).map_err(|_| StoreError::Random)?;
        let body = Body::new(writing, bytes.len() as u64);
        let length = body.length.to_be_bytes();
        self.rows
            .commit(&[Change::put(LEFTOVERS, &body.key(id), &length)], false)?;
        for (index, piece) in (0..).zip(bytes.chunks(PIECE)) {
            let key = body.piece(id, index);
            let change = Change {
                expect: Expect::Absent,
                ..Change::put(BODIES, &key, piece)
            };
            self.rows.commit(&[change], false)?;
        }
        Ok(body)
    }

    fn read(&self, id: &Id, body: &Body, section: &'static str) -> Result<Vec<u8>, StoreError> {
        let not_whole = || damaged(id, Damage::Authentication(section));
        let mut bytes = Vec::new();
        for index in 0..body.pieces() {
            match self.rows.get(BODIES, &body.piece(id, index)) {
                // Taken as it is: to copy machine code and erase the copy takes longer than to open it.
                Ok(Some(mut row)) => {
                    let mut piece = std::mem::take(&mut *row.value);
                    if bytes.is_empty() {
                        bytes = piece;
                    } else {
                        bytes.append(&mut piece);
                    }
                }
                Err(error) if !error.does_not_open() => return Err(error.into()),
                Ok(None) | Err(_) => return Err(not_whole()),
            }
        }
        if bytes.len() as u64 == body.length {
            Ok(bytes)
        } else {
            Err(not_whole())
        }
    }

    /// Deletes a body that no head names.
    fn clean(&self, id: &Id, body: &Body) -> Result<(), StoreError> {
        for index in 0..body.pieces() {
            let key = body.piece(id, index);
            self.rows.commit(&[Change::delete(BODIES, &key)], false)?;
        }
        let key = body.key(id);
        Ok(self
            .rows
            .commit(&[Change::delete(LEFTOVERS, &key)], false)?)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        // It guards no value, so there is none that a panic could leave half changed.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(key: &[u8], damage: Damage) -> StoreError {
    StoreError::Damaged(format!("agent {}", const_hex::encode(key)), damage)
}

#[cfg(test)]
mod tests {
    use hypervisor_store::{Keys, SealingKey};
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn what_a_crash_left_half_written_is_deleted_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let key = SealingKey::new(Zeroizing::new([7; 32]));
            let keys = Keys::new(Some(&key), &key).unwrap();
            let path = folder.path().join("agents.redb");
            hypervisor_store::Store::open(&path, keys, &TABLES).unwrap()
        };
        let left = |rows: &hypervisor_store::Store, table| {
            rows.scan(table, b"", None, usize::MAX).unwrap().len()
        };
        {
            let store = Store::open(open(), true).unwrap();
            store.write(&[1; 32], &[2; 3 * PIECE]).unwrap();
            store.rows.commit(&[], true).unwrap();
        }
        let rows = open();
        assert_eq!((left(&rows, BODIES), left(&rows, LEFTOVERS)), (3, 1));
        drop(rows);
        let store = Store::open(open(), true).unwrap();
        assert_eq!(left(&store.rows, BODIES), 0);
        assert_eq!(left(&store.rows, LEFTOVERS), 0);
    }
}
