//! The rows of environments.
//!
//! ```text
//! environments           id → head, CBOR
//! environment-states     id ‖ writing, u64 BE ‖ number, u32 BE → a piece of a state, 1 MiB at most
//! environment-logs       id ‖ sequence, u64 BE → a row, CBOR
//! environment-log-heads  id → whose log it is, its bounds and its last hash, CBOR
//! environment-uses       id → when it was used last, Unix seconds, u64 BE; later than what its head says
//! ```
//!
//! A head and its state are written, and the state before deleted, in one change: after a crash there is the old or the new. All are under
//! the platform's key; where there is none, they end with the process. Ids are random.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::{decode, encode};
use hypervisor_runtime::{State, sha256};
use hypervisor_store::{
    Change, Error as RowError, Expect, Fingerprint, Row, Scanned, Store, Table, Under,
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::head::{Head, Id};
use crate::journal::Bounds;

const HEADS: Table = platform("environments");
const STATES: Table = platform("environment-states");
const LOGS: Table = platform("environment-logs");
const LOG_HEADS: Table = platform("environment-log-heads");
const USES: Table = platform("environment-uses");

/// The tables of environments.
pub const TABLES: [Table; 5] = [HEADS, STATES, LOGS, LOG_HEADS, USES];

const PIECE: usize = 1 << 20;
/// Rows that are read, or deleted, at once.
const AT_ONCE: usize = 256;

const fn platform(name: &'static str) -> Table {
    Table {
        name,
        under: Under::Platform,
    }
}

/// The rows.
pub(crate) struct Rows {
    store: Store,
    /// Held while a state is written: one at a time is in memory a second time.
    putting: Mutex<()>,
}

/// A row that is to be written, or to be deleted where there is no value.
pub(crate) struct Written {
    table: Table,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Written {
    fn change(&self) -> Change<'_> {
        match &self.value {
            Some(value) => Change::put(self.table, &self.key, value),
            None => Change::delete(self.table, &self.key),
        }
    }

    fn expecting(&self, expect: Expect) -> Change<'_> {
        Change {
            expect,
            ..self.change()
        }
    }

    /// A head.
    pub(crate) fn head(head: &Head) -> Result<Self, Error> {
        Ok(Self {
            table: HEADS,
            key: head.id.as_bytes().to_vec(),
            value: Some(encode(head)?),
        })
    }

    /// That an environment was used.
    pub(crate) fn used(id: &Id, at: u64) -> Self {
        Self {
            table: USES,
            key: id.as_bytes().to_vec(),
            value: Some(at.to_be_bytes().to_vec()),
        }
    }

    /// A row of a log.
    pub(crate) fn log(id: &Id, sequence: u64, row: Vec<u8>) -> Self {
        Self {
            table: LOGS,
            key: log_key(id, sequence),
            value: Some(row),
        }
    }

    /// A row of a log that is kept no longer.
    pub(crate) fn no_log(id: &Id, sequence: u64) -> Self {
        Self {
            table: LOGS,
            key: log_key(id, sequence),
            value: None,
        }
    }

    /// What is known of a log.
    pub(crate) fn bounds(id: &Id, bounds: &Bounds) -> Result<Self, Error> {
        Ok(Self {
            table: LOG_HEADS,
            key: id.as_bytes().to_vec(),
            value: Some(encode(bounds)?),
        })
    }
}

/// What becomes of one log.
pub(crate) struct LogChange {
    pub(crate) bounds: Written,
    /// The version that the bounds have so far; none where they are not there yet.
    pub(crate) version: Option<u64>,
    pub(crate) rows: Vec<Written>,
}

impl Rows {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            putting: Mutex::new(()),
        }
    }

    pub(crate) fn is_lasting(&self) -> bool {
        self.store.is_lasting()
    }

    /// Whether other hosts use the same rows.
    pub(crate) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// The time by the clock of whoever uses the rows: Unix time, microseconds.
    pub(crate) fn now(&self) -> Result<u64, Error> {
        Ok(self.store.now()?)
    }

    /// What is another one after an environment was set up, moved on or ended.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint, Error> {
        Ok(self.store.fingerprint(HEADS)?)
    }

    /// All heads that can be read, with their last use, and how many cannot.
    pub(crate) fn heads(&self) -> Result<(Vec<Head>, usize), Error> {
        let (mut heads, damaged) = self.all(HEADS, |key, head: Head, version| {
            (head.id.as_bytes() == key).then_some(Head { version, ..head })
        })?;
        let (mut used, mut elsewhere) = (HashMap::new(), HashSet::new());
        self.store.each(USES, b"", |found| {
            match &found.row {
                Ok(row) => {
                    used.insert(found.key, moment(row));
                }
                Err(RowError::UnknownKey(..)) => {
                    elsewhere.insert(found.key);
                }
                Err(_) => {}
            }
            Ok::<_, Error>(())
        })?;
        // What was used, and when is not known yet, is not to end for it.
        heads.retain(|head| !elsewhere.contains(head.id.as_bytes().as_slice()));
        for head in &mut heads {
            let used = used.get(head.id.as_bytes().as_slice()).copied();
            head.used_at = head.used_at.max(used.unwrap_or(0));
        }
        Ok((heads, damaged))
    }

    /// One head, with its last use.
    pub(crate) fn one(&self, id: &Id) -> Result<Option<Head>, Error> {
        let Some(row) = self.store.get(HEADS, id.as_bytes())? else {
            return Ok(None);
        };
        let head: Head = decode(&row.value)?;
        if head.id != *id {
            return Err(Error::Damaged("its head is another's"));
        }
        let used = match self.store.get(USES, id.as_bytes()) {
            Err(error @ RowError::UnknownKey(..)) => return Err(error.into()),
            used => used.ok().flatten(),
        };
        Ok(Some(Head {
            used_at: head.used_at.max(used.as_ref().map_or(0, moment)),
            version: row.version,
            ..head
        }))
    }

    /// What a change of a head expects: the one that is known here. Nobody else changes those of a host alone.
    fn expecting(&self, known: &Head) -> Expect {
        match self.store.is_shared() {
            true => Expect::Version(known.version),
            false => Expect::Any,
        }
    }

    /// Makes all the changes, on the disk; gives the version that the first row has then.
    fn commit(&self, changes: &[Change<'_>]) -> Result<u64, Error> {
        match self.store.write(changes, true) {
            Err(RowError::Conflict(_)) if self.store.is_shared() => Err(Error::Moved),
            done => Ok(done?.first().copied().unwrap_or_default()),
        }
    }

    /// What is known of all logs.
    pub(crate) fn logs(&self) -> Result<(Vec<(Id, Bounds)>, usize), Error> {
        let mut ids = Vec::new();
        let (bounds, damaged) = self.all(LOG_HEADS, |key, bounds: Bounds, _| {
            let id = Id::parse(const_hex::encode(key).as_bytes())?;
            ids.push(id);
            Some(bounds)
        })?;
        Ok((ids.into_iter().zip(bounds).collect(), damaged))
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: Table,
        mut right: impl FnMut(&[u8], T, u64) -> Option<T>,
    ) -> Result<(Vec<T>, usize), Error> {
        let (mut found, mut damaged) = (Vec::new(), 0_usize);
        self.store.each(table, b"", |Scanned { key, row }| {
            let value = row.ok().and_then(|row| {
                let value = decode::<T>(&row.value).ok()?;
                right(&key, value, row.version)
            });
            match value {
                Some(value) => found.push(value),
                None => damaged = damaged.saturating_add(1),
            }
            Ok::<_, Error>(())
        })?;
        Ok((found, damaged))
    }

    /// Keeps a head and its state, in place of the one of the writing before; gives the head back with the digest of the state.
    pub(crate) fn put(
        &self,
        head: Head,
        state: &State,
        before: Option<&Head>,
    ) -> Result<Head, Error> {
        let _putting = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = state.to_bytes();
        let head = Head {
            state: HexArray(sha256(&bytes)),
            ..head
        };
        let keys: Vec<_> = (0..)
            .map(|n| state_key(&head.id, head.writing, n))
            .take(pieces(bytes.len() as u64))
            .collect();
        let gone = before.map(state_keys).unwrap_or_default();
        let expect = match before {
            Some(before) => self.expecting(before),
            None => Expect::Absent,
        };
        let written = Written::head(&head)?;
        let put = (keys.iter().zip(bytes.chunks(PIECE)))
            .map(|(key, piece)| Change::put(STATES, key, piece));
        let delete = gone.iter().map(|key| Change::delete(STATES, key));
        let changes: Vec<_> = [written.expecting(expect)]
            .into_iter()
            .chain(put)
            .chain(delete)
            .collect();
        let version = self.commit(&changes)?;
        Ok(Head { version, ..head })
    }

    /// Forgets an environment.
    pub(crate) fn remove(&self, head: &Head) -> Result<(), Error> {
        let gone = state_keys(head);
        let delete = gone.iter().map(|key| Change::delete(STATES, key));
        let id = head.id.as_bytes();
        let row = Change {
            expect: self.expecting(head),
            ..Change::delete(HEADS, id)
        };
        let rows = [row, Change::delete(USES, id)];
        let changes: Vec<_> = rows.into_iter().chain(delete).collect();
        self.commit(&changes).map(drop)
    }

    /// The state that a head names.
    pub(crate) fn state(&self, head: &Head) -> Result<State, Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            usize::try_from(head.state_bytes).unwrap_or_default(),
        ));
        for key in state_keys(head) {
            let piece = self.store.get(STATES, &key)?;
            let piece = piece.ok_or(Error::Missing)?;
            bytes.extend_from_slice(&piece.value);
        }
        let state = State::from_bytes(&bytes);
        state.map_err(|_| Error::Damaged("its state cannot be read"))
    }

    /// Rows of a log from `from` on.
    pub(crate) fn log(&self, id: &Id, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        let after = from.checked_sub(1).map(|before| log_key(id, before));
        let found = self
            .store
            .scan(LOGS, id.as_bytes(), after.as_deref(), limit)?;
        let value = |found: Scanned| Ok(std::mem::take(&mut *found.row?.value));
        found.into_iter().map(value).collect()
    }

    /// Deletes a log, part by part.
    pub(crate) fn remove_log(&self, id: &Id) -> Result<(), Error> {
        loop {
            let found = self.store.scan(LOGS, id.as_bytes(), None, AT_ONCE)?;
            if found.is_empty() {
                let id = id.as_bytes();
                let last = [Change::delete(LOG_HEADS, id), Change::delete(USES, id)];
                return Ok(self.store.commit(&last, false)?);
            }
            let changes = found.iter().map(|found| Change::delete(LOGS, &found.key));
            self.store.commit(&changes.collect::<Vec<_>>(), false)?;
        }
    }

    /// Writes a head alone, in the place of the one before; its state stays as it is. Gives it back as it is from then on.
    pub(crate) fn put_head(&self, head: Head, before: &Head) -> Result<Head, Error> {
        let written = Written::head(&head)?;
        let version = self.commit(&[written.expecting(self.expecting(before))])?;
        Ok(Head { version, ..head })
    }

    /// What is known of one log, and the version of that.
    pub(crate) fn log_bounds(&self, id: &Id) -> Result<Option<(Bounds, u64)>, Error> {
        let row = self.store.get(LOG_HEADS, id.as_bytes())?;
        row.map(|row| Ok((decode(&row.value)?, row.version)))
            .transpose()
    }

    /// Writes rows of logs, where what is known of each is what it was; on the disk.
    pub(crate) fn write_logs(&self, logs: &[LogChange]) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(logs.len());
        for log in logs {
            let expect = log.version.map_or(Expect::Absent, Expect::Version);
            changes.push(log.bounds.expecting(expect));
            changes.extend(log.rows.iter().map(Written::change));
        }
        match self.store.commit(&changes, true) {
            Err(RowError::Conflict(_)) => Err(Error::Moved),
            done => Ok(done?),
        }
    }
}

/// The moment that a row holds; 0 where it holds none.
fn moment(row: &Row) -> u64 {
    row.value
        .as_slice()
        .try_into()
        .map_or(0, u64::from_be_bytes)
}

fn pieces(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(PIECE as u64)).unwrap_or(usize::MAX)
}

fn state_keys(head: &Head) -> Vec<Vec<u8>> {
    let keys = (0..).map(|number| state_key(&head.id, head.writing, number));
    keys.take(pieces(head.state_bytes)).collect()
}

fn state_key(id: &Id, writing: u64, number: u32) -> Vec<u8> {
    [
        &id.as_bytes()[..],
        &writing.to_be_bytes(),
        &number.to_be_bytes(),
    ]
    .concat()
}

fn log_key(id: &Id, sequence: u64) -> Vec<u8> {
    [&id.as_bytes()[..], &sequence.to_be_bytes()].concat()
}
