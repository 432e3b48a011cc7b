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
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::ContentFormat;
use hypervisor_store::{Change, Error as RowError, Expect, Table, Under};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config;
use crate::error::Error;
use crate::executor::{AuthorizedPayment, Header, PaymentId};
use crate::state::State as Folder;

const PAYMENTS: Table = table("payments", Under::File);
const SEALED_ANSWERS: Table = table("sealed-answers", Under::File);
const PLAIN_ANSWERS: Table = table("plain-answers", Under::Platform);
const AUTHORIZATIONS: &str = "authorizations";

const fn table(name: &'static str, under: Under) -> Table {
    Table { name, under }
}

/// Rows that are read at once.
const PAGE: usize = 256;

/// What a payment is found by: SHA-256 over its id, each part with its length.
pub(crate) type Key = [u8; 32];

pub(crate) fn key(id: &PaymentId) -> Key {
    let mut hash = Sha256::new();
    for part in [&id.chain, &id.asset, &id.payer, &id.nonce] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// How far a payment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Set aside for a request that is running; nothing was submitted.
    Reserved,
    /// It is being settled: after a crash in this state nobody knows whether it was.
    Settling,
    /// Nobody knows whether it was settled.
    Unknown,
    /// It was settled; the headers tell the client.
    Settled {
        /// The transaction on the chain.
        transaction: String,
        /// Names and values of the response headers that tell the client.
        headers: Vec<(String, String)>,
        /// The program has run, so that an answer that is not there is lost.
        ran: bool,
    },
}

/// What is kept of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) state: State,
    /// SHA-256 of the request that it pays for.
    pub(crate) request: [u8; 32],
    /// When it was reserved, Unix seconds.
    pub(crate) created: u64,
    /// What the component settles and reconciles with.
    pub(crate) payment: AuthorizedPayment,
}

/// The answer to a paid request: sealed for its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) media_type: String,
    #[serde(with = "bytes_form")]
    pub(crate) body: Vec<u8>,
}

/// As one CBOR byte string: a list of numbers would be twice the size.
mod bytes_form {
    use serde::de::Visitor;
    use serde::{Deserializer, Serializer};
    use std::fmt;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }

        d.deserialize_byte_buf(Bytes)
    }
}

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

/// Why the store cannot do what it should. It names no payment.
#[derive(Debug, thiserror::Error)]
#[error("the payment store: {0}")]
pub(crate) struct StoreError(String);

impl StoreError {
    /// A payment is set aside, and nobody works on it.
    pub(super) fn unclaimed() -> Self {
        Self("a payment is set aside for nobody".to_owned())
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

impl StoreError {
    pub(super) fn new(error: impl std::fmt::Display) -> Self {
        failed(error)
    }
}

impl From<RowError> for StoreError {
    fn from(error: RowError) -> Self {
        failed(error)
    }
}

/// The store. Its calls wait for the disk: keep them off the async threads.
pub(crate) struct Store {
    rows: hypervisor_store::Store,
    authorizations: Table,
    /// Bytes of all answers that are held, and of one, at the most.
    most: u64,
    most_each: u64,
    held: Mutex<HashMap<Key, Held>>,
}

/// One record, with the version that it was read at.
struct Found {
    key: Key,
    version: u64,
    kept: Kept,
}

impl Store {
    /// Opens the store of this host, or makes it.
    pub(crate) fn open(folder: &Folder, settings: &config::Payments) -> Result<Self, Error> {
        let under = if folder.platform().is_some() {
            Under::Platform
        } else {
            Under::File
        };
        let authorizations = table(AUTHORIZATIONS, under);
        let tables = [PAYMENTS, SEALED_ANSWERS, PLAIN_ANSWERS];
        let store = Self {
            rows: folder.store("payments", &tables)?,
            authorizations,
            most: settings.held.as_u64(),
            most_each: settings.held_each.as_u64(),
            held: Mutex::default(),
        };
        store.take_up(folder).map_err(|e| Error::PaymentStore {
            path: folder.path("payments"),
            message: e.0,
        })?;
        Ok(store)
    }

    fn take_up(&self, folder: &Folder) -> Result<(), StoreError> {
        super::import::import(self, folder)?;
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
    pub(crate) fn reserve(&self, key: &Key, record: &Record) -> Result<Option<Record>, StoreError> {
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
    pub(crate) fn update(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&Answer>,
        sync: bool,
    ) -> Result<(), StoreError> {
        let answer = match answer {
            Some(answer) => self.admitted(key, answer)?,
            None => None,
        };
        Ok(self.write(key, record, answer.as_deref(), Expect::Any, sync)?)
    }

    /// The answer in the form in which it is held, if there is room for it; the room is taken then.
    fn admitted(&self, key: &Key, answer: &Answer) -> Result<Option<Vec<u8>>, StoreError> {
        let formats = [ContentFormat::Json, ContentFormat::Cbor];
        let is_sealed = formats
            .iter()
            .any(|format| format.media_type() == answer.media_type);
        let bytes = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
        {
            let mut held = self.held();
            let others = held.iter().filter(|(other, _)| *other != key);
            let total: u64 = others.map(|(_, held)| held.bytes).sum();
            if bytes > self.most_each || bytes > self.most.saturating_sub(total) {
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
    pub(crate) fn release(&self, key: &Key) -> Result<(), StoreError> {
        self.held().remove(key);
        let tables = [PAYMENTS, self.authorizations, SEALED_ANSWERS, PLAIN_ANSWERS];
        let changes = tables.map(|table| Change::delete(table, key));
        Ok(self.rows.commit(&changes, false)?)
    }

    pub(crate) fn record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
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

    pub(crate) fn answer(&self, key: &Key) -> Result<Option<Answer>, StoreError> {
        let Some(held) = self.held().get(key).copied() else {
            return Ok(None);
        };
        let found = self.rows.get(held.table(), key)?;
        found.map(|row| decode(&row.value)).transpose()
    }

    /// Payments in doubt, `Settling` after a restart among them.
    pub(crate) fn in_doubt(&self) -> Result<Vec<Key>, StoreError> {
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
    pub(crate) fn sweep(&self, now: u64, hold: u64) -> Result<(), StoreError> {
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
    fn forget(&self, found: &Found) -> Result<(), StoreError> {
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
    fn each(
        &self,
        mut what: impl FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.rows.scan(PAYMENTS, b"", after.as_deref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            for row in page {
                let key = Key::try_from(row.key.as_slice()).map_err(failed)?;
                let row = row.row?;
                let (version, kept) = (row.version, decode(&row.value)?);
                what(Found { key, version, kept })?;
            }
        }
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        Ok(self.rows.commit(&[], true)?)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

pub(super) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, StoreError> {
    ciborium::from_reader(bytes).map_err(failed)
}

/// Header fields in the form that the store keeps.
pub(crate) fn pairs(headers: Vec<Header>) -> Vec<(String, String)> {
    let pair = |header: Header| (header.name, header.value);
    headers.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests;
