//! What must survive a restart: which payments were used for what, and the answers to them.
//!
//! ```text
//! payments        key → state, request, times, who pays whom and how much; under the key file: a used payment stays used
//!                 whatever becomes of the platform's key
//! authorizations  key → what the component settles and reconciles with; deleted once the payment is settled
//! sealed-answers  key → an answer that only its client can open
//! plain-answers   key → any other; under the platform's key, so that it ends with the host where there is none
//! ```
//!
//! A payment whose settlement has not begun is worth nothing after a crash, so only the step to `Settling` waits for the disk;
//! everything else is written atomically and reaches the disk with the next such step.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::ContentFormat;
use hypervisor_store::{Change, Error as RowError, Expect, Store as Rows, Table, Under};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::record::{Answer, Key, Record, State};

const PAYMENTS: Table = table("payments", Under::File);
const SEALED_ANSWERS: Table = table("sealed-answers", Under::File);
const PLAIN_ANSWERS: Table = table("plain-answers", Under::Platform);
const AUTHORIZATIONS: &str = "authorizations";

/// The tables that [`Store::open`] wants in its rows.
pub const TABLES: [Table; 3] = [PAYMENTS, SEALED_ANSWERS, PLAIN_ANSWERS];

const fn table(name: &'static str, under: Under) -> Table {
    Table { name, under }
}

/// Rows that are read at once.
const PAGE: usize = 256;

/// A record as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    record: Record,
    /// The answer that is held, if one is.
    held: Option<Held>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Held {
    bytes: u64,
    is_sealed: bool,
}

impl Held {
    fn table(self) -> Table {
        if self.is_sealed {
            SEALED_ANSWERS
        } else {
            PLAIN_ANSWERS
        }
    }
}

/// How much is held.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of all answers.
    pub held: u64,
    /// Bytes of one answer.
    pub held_each: u64,
}

/// The store. Its calls wait for the disk: keep them off the async threads.
pub struct Store {
    rows: Rows,
    authorizations: Table,
    bounds: Bounds,
    held: Mutex<HashMap<Key, Held>>,
}

/// One record, with the version that it was read at.
struct Found {
    key: Key,
    version: u64,
    kept: Kept,
}

impl Store {
    /// Takes up what is in `rows`, and what an earlier version kept in `earlier`, if that file is there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(rows: Rows, bounds: Bounds, earlier: &Path) -> Result<Self, Error> {
        let under = if rows.is_lasting() {
            Under::Platform
        } else {
            Under::File
        };
        let store = Self {
            rows,
            authorizations: table(AUTHORIZATIONS, under),
            bounds,
            held: Mutex::default(),
        };
        crate::import::import(&store, earlier)?;
        store.take_up()?;
        Ok(store)
    }

    fn take_up(&self) -> Result<(), Error> {
        let mut held = HashMap::new();
        self.each(|found| {
            if found.kept.record.state == State::Reserved {
                // Nothing was submitted for what was only reserved: those payments are free again.
                return self.forget(&found);
            }
            if let Some(answer) = found.kept.held
                && (answer.is_sealed || self.rows.is_lasting())
            {
                held.insert(found.key, answer);
            }
            Ok(())
        })?;
        *self.held() = held;
        self.flush()
    }

    /// Sets a payment aside, unless it is there already: then what is there comes back.
    pub fn reserve(&self, key: &Key, record: &Record) -> Result<Option<Record>, Error> {
        loop {
            match self.write(key, record, None, Expect::Absent, false) {
                Ok(()) => return Ok(None),
                Err(RowError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // Freed in the meantime: once more.
            if let Some(found) = self.record(key)? {
                return Ok(Some(found));
            }
        }
    }

    /// Moves a payment on. With `sync` it has reached the disk when this returns. An answer that there is no room for is not
    /// kept.
    pub fn update(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&Answer>,
        sync: bool,
    ) -> Result<(), Error> {
        let answer = match answer {
            Some(answer) => self.admitted(key, answer)?,
            None => None,
        };
        Ok(self.write(key, record, answer.as_deref(), Expect::Any, sync)?)
    }

    /// The answer in the form in which it is held, if there is room for it; the room is taken then.
    fn admitted(&self, key: &Key, answer: &Answer) -> Result<Option<Vec<u8>>, Error> {
        let formats = [ContentFormat::Json, ContentFormat::Cbor];
        let is_sealed = formats
            .iter()
            .any(|format| format.media_type() == answer.media_type);
        let bytes = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
        {
            let mut held = self.held();
            let others = held.iter().filter(|(other, _)| *other != key);
            let total: u64 = others.map(|(_, held)| held.bytes).sum();
            if bytes > self.bounds.held_each || bytes > self.bounds.held.saturating_sub(total) {
                tracing::warn!(
                    bytes,
                    "no room to hold the answer to a payment ([payments] `held`, `held_each`): it is given once"
                );
                held.remove(key);
                return Ok(None);
            }
            held.insert(*key, Held { bytes, is_sealed });
        }
        encode(answer).map(Some)
    }

    fn write(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&[u8]>,
        expect: Expect,
        sync: bool,
    ) -> Result<(), RowError> {
        let held = self.held().get(key).copied();
        let mut kept = Kept {
            record: record.clone(),
            held,
        };
        let authorization = std::mem::take(&mut kept.record.payment.state);
        let row = encode(&kept).map_err(|_| RowError::Seal("a payment has no CBOR"))?;
        let is_settled = matches!(record.state, State::Settled { .. });
        let mut changes = vec![
            Change {
                expect,
                ..Change::put(PAYMENTS, key, &row)
            },
            Change {
                value: (!is_settled).then_some(authorization.as_slice()),
                ..Change::delete(self.authorizations, key)
            },
        ];
        if let (Some(held), Some(answer)) = (held, answer) {
            changes.push(Change::put(held.table(), key, answer));
        }
        self.rows.commit(&changes, sync)
    }

    /// Frees a payment, whose transfer was not and will not be made.
    pub fn release(&self, key: &Key) -> Result<(), Error> {
        self.held().remove(key);
        let tables = [PAYMENTS, self.authorizations, SEALED_ANSWERS, PLAIN_ANSWERS];
        let changes = tables.map(|table| Change::delete(table, key));
        Ok(self.rows.commit(&changes, false)?)
    }

    pub fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        let Some(row) = self.rows.get(PAYMENTS, key)? else {
            return Ok(None);
        };
        let mut record = decode::<Kept>(&row.value)?.record;
        if !matches!(record.state, State::Settled { .. })
            && let Some(row) = self.rows.get(self.authorizations, key)?
        {
            record.payment.state = row.value.to_vec();
        }
        Ok(Some(record))
    }

    pub fn answer(&self, key: &Key) -> Result<Option<Answer>, Error> {
        let Some(held) = self.held().get(key).copied() else {
            return Ok(None);
        };
        let found = self.rows.get(held.table(), key)?;
        found.map(|row| decode(&row.value)).transpose()
    }

    /// Payments in doubt, `Settling` after a restart among them.
    pub fn in_doubt(&self) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        self.each(|found| {
            if matches!(found.kept.record.state, State::Settling | State::Unknown) {
                keys.push(found.key);
            }
            Ok(())
        })?;
        Ok(keys)
    }

    /// Forgets what is over: answers after `hold` seconds, records `hold` seconds after the payment could still be used.
    pub fn sweep(&self, now: u64, hold: u64) -> Result<(), Error> {
        let is_over = |instant: u64| instant.saturating_add(hold) < now;
        self.each(|found| {
            let record = &found.kept.record;
            let used = record.created.max(record.payment.valid_before);
            if is_over(used) && record.state != State::Settling {
                return self.forget(&found);
            }
            if is_over(record.created)
                && let Some(held) = self.held().remove(&found.key)
            {
                let change = Change::delete(held.table(), &found.key);
                self.rows.commit(&[change], false)?;
            }
            Ok(())
        })
    }

    /// Deletes a payment that is still as it was found.
    fn forget(&self, found: &Found) -> Result<(), Error> {
        let key = &found.key;
        let [payment, others @ ..] = [PAYMENTS, self.authorizations, SEALED_ANSWERS, PLAIN_ANSWERS]
            .map(|table| Change::delete(table, key));
        let expect = Expect::Version(found.version);
        let payment = Change { expect, ..payment };
        let [first, second, third] = others;
        match self.rows.commit(&[payment, first, second, third], false) {
            Ok(()) => {
                self.held().remove(key);
                Ok(())
            }
            // Somebody is working on it.
            Err(RowError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes through all records, a page at a time, so that nobody waits for long.
    fn each(&self, mut what: impl FnMut(Found) -> Result<(), Error>) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.rows.scan(PAYMENTS, b"", after.as_deref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            for row in page {
                let key = Key::try_from(row.key.as_slice()).map_err(Error::form)?;
                let row = row.row?;
                let (version, kept) = (row.version, decode(&row.value)?);
                what(Found { key, version, kept })?;
            }
        }
    }

    /// Brings everything written so far to the disk.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.rows.commit(&[], true)?)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(Error::form)?;
    Ok(bytes)
}

pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Error> {
    ciborium::from_reader(bytes).map_err(Error::form)
}
