//! What must survive a restart: which payments were used for what, and the sealed answers to them.
//!
//! Two tables in one file: small records by payment, and the answers, which are large. A payment whose settlement has not
//! begun is worth nothing after a crash, so only the step to `Settling` waits for the disk; everything else is written
//! atomically and reaches the disk with the next such step.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::executor::{AuthorizedPayment, Header, PaymentId};

const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("payments/1");
const ANSWERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("answers/1");

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

/// The store. Its calls wait for the disk: keep them off the async threads.
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the store in `folder`, or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("payments.redb");
        let unusable = |message: String| Error::PaymentStore {
            path: path.clone(),
            message,
        };
        std::fs::create_dir_all(folder).map_err(|e| unusable(e.to_string()))?;
        let database = Database::create(&path).map_err(|e| unusable(e.to_string()))?;
        let store = Self { database };
        store
            .write(Durability::Immediate, |records, answers| {
                // Nothing was submitted for what was only reserved: those payments are free again.
                let reserved = keys(records, |record| record.state == State::Reserved)?;
                remove_all(records, answers, &reserved)
            })
            .map_err(|e| unusable(e.to_string()))?;
        Ok(store)
    }

    /// Sets a payment aside, unless it is there already: then what is there comes back.
    pub(crate) fn reserve(&self, key: &Key, record: &Record) -> Result<Option<Record>, StoreError> {
        self.write(Durability::None, |records, _| {
            if let Some(found) = get(records, key)? {
                return Ok(Some(found));
            }
            put(records, key, record)?;
            Ok(None)
        })
    }

    /// Moves a payment on. With `sync` it has reached the disk when this returns.
    pub(crate) fn update(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&Answer>,
        sync: bool,
    ) -> Result<(), StoreError> {
        let durability = if sync {
            Durability::Immediate
        } else {
            Durability::None
        };
        let answer = answer.map(encode).transpose()?;
        self.write(durability, |records, answers| {
            put(records, key, record)?;
            if let Some(answer) = &answer {
                answers.insert(key, answer.as_slice()).map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Frees a payment, whose transfer was not and will not be made.
    pub(crate) fn release(&self, key: &Key) -> Result<(), StoreError> {
        self.write(Durability::None, |records, answers| {
            remove_all(records, answers, std::slice::from_ref(key))
        })
    }

    pub(crate) fn record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        get(&read.open_table(RECORDS).map_err(failed)?, key)
    }

    pub(crate) fn answer(&self, key: &Key) -> Result<Option<Answer>, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let answers = read.open_table(ANSWERS).map_err(failed)?;
        let found = answers.get(key).map_err(failed)?;
        found.map(|bytes| decode(bytes.value())).transpose()
    }

    /// Payments in doubt, `Settling` after a restart among them.
    pub(crate) fn in_doubt(&self) -> Result<Vec<Key>, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let records = read.open_table(RECORDS).map_err(failed)?;
        keys(&records, |record| {
            matches!(record.state, State::Settling | State::Unknown)
        })
    }

    /// Forgets what is over: answers after `hold` seconds, records `hold` seconds after the payment could still be used.
    pub(crate) fn sweep(&self, now: u64, hold: u64) -> Result<(), StoreError> {
        let is_over = |instant: u64| instant.saturating_add(hold) < now;
        self.write(Durability::None, |records, answers| {
            let old_answers = keys(records, |record| is_over(record.created))?;
            for key in &old_answers {
                answers.remove(key).map_err(failed)?;
            }
            let over = keys(records, |record| {
                is_over(record.created.max(record.payment.valid_before))
                    && record.state != State::Settling
            })?;
            remove_all(records, answers, &over)
        })
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |_, _| Ok(()))
    }

    fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<'_>, &mut Table<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_durability(durability).map_err(failed)?;
        let done = {
            let mut records = write.open_table(RECORDS).map_err(failed)?;
            let mut answers = write.open_table(ANSWERS).map_err(failed)?;
            change(&mut records, &mut answers)?
        };
        write.commit().map_err(failed)?;
        Ok(done)
    }
}

type Table<'a> = redb::Table<'a, &'static Key, &'static [u8]>;

fn get(
    records: &impl ReadableTable<&'static Key, &'static [u8]>,
    key: &Key,
) -> Result<Option<Record>, StoreError> {
    let found = records.get(key).map_err(failed)?;
    found.map(|bytes| decode(bytes.value())).transpose()
}

fn put(records: &mut Table<'_>, key: &Key, record: &Record) -> Result<(), StoreError> {
    let bytes = encode(record)?;
    records.insert(key, bytes.as_slice()).map_err(failed)?;
    Ok(())
}

fn keys(
    records: &impl ReadableTable<&'static Key, &'static [u8]>,
    which: impl Fn(&Record) -> bool,
) -> Result<Vec<Key>, StoreError> {
    let mut found = Vec::new();
    for entry in records.iter().map_err(failed)? {
        let (key, bytes) = entry.map_err(failed)?;
        if which(&decode(bytes.value())?) {
            found.push(*key.value());
        }
    }
    Ok(found)
}

fn remove_all(
    records: &mut Table<'_>,
    answers: &mut Table<'_>,
    keys: &[Key],
) -> Result<(), StoreError> {
    for key in keys {
        records.remove(key).map_err(failed)?;
        answers.remove(key).map_err(failed)?;
    }
    Ok(())
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, StoreError> {
    ciborium::from_reader(bytes).map_err(failed)
}

/// Header fields in the form that the store keeps.
pub(crate) fn pairs(headers: Vec<Header>) -> Vec<(String, String)> {
    let pair = |header: Header| (header.name, header.value);
    headers.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(nonce: &str) -> PaymentId {
        PaymentId {
            chain: "eip155:84532".to_owned(),
            asset: "0xaa".to_owned(),
            payer: "0xbb".to_owned(),
            nonce: nonce.to_owned(),
        }
    }

    fn record(nonce: &str, state: State) -> (Key, Record) {
        let payment = AuthorizedPayment {
            id: id(nonce),
            amount: "10000".to_owned(),
            pay_to: "0xcc".to_owned(),
            valid_before: 1_000,
            state: vec![1, 2, 3],
        };
        let record = Record {
            state,
            request: [7; 32],
            created: 900,
            payment,
        };
        (key(&id(nonce)), record)
    }

    fn settled() -> State {
        State::Settled {
            transaction: "0x01".to_owned(),
            headers: vec![("payment-response".to_owned(), "e30=".to_owned())],
            ran: true,
        }
    }

    fn answer() -> Answer {
        Answer {
            media_type: "application/json".to_owned(),
            body: b"sealed".to_vec(),
        }
    }

    #[test]
    fn a_payment_is_reserved_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (key, first) = record("1", State::Reserved);
        assert_eq!(store.reserve(&key, &first).unwrap(), None);
        let second = Record {
            request: [8; 32],
            ..first.clone()
        };
        assert_eq!(store.reserve(&key, &second).unwrap(), Some(first));
        store.release(&key).unwrap();
        assert_eq!(store.reserve(&key, &second).unwrap(), None);
    }

    #[test]
    fn a_restart_frees_what_was_reserved_and_keeps_what_was_submitted() {
        let folder = tempfile::tempdir().unwrap();
        let (reserved, settling, done) = (
            record("1", State::Reserved),
            record("2", State::Settling),
            record("3", settled()),
        );
        {
            let store = Store::open(folder.path()).unwrap();
            store.reserve(&reserved.0, &reserved.1).unwrap();
            store.update(&settling.0, &settling.1, None, true).unwrap();
            store
                .update(&done.0, &done.1, Some(&answer()), true)
                .unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.record(&reserved.0).unwrap(), None);
        assert_eq!(store.record(&settling.0).unwrap(), Some(settling.1));
        assert_eq!(store.record(&done.0).unwrap(), Some(done.1));
        assert_eq!(store.answer(&done.0).unwrap(), Some(answer()));
        assert_eq!(store.in_doubt().unwrap(), [settling.0]);
    }

    #[test]
    fn answers_are_forgotten_after_the_hold_and_payments_once_they_can_no_longer_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (key, record) = record("1", settled());
        store.update(&key, &record, Some(&answer()), false).unwrap();
        store.sweep(950, 50).unwrap();
        assert_eq!(store.answer(&key).unwrap(), Some(answer()));
        store.sweep(951, 50).unwrap();
        assert_eq!(store.answer(&key).unwrap(), None);
        assert!(store.record(&key).unwrap().is_some());
        store.sweep(1_051, 50).unwrap();
        assert_eq!(store.record(&key).unwrap(), None);
    }

    #[test]
    fn ids_that_read_alike_when_joined_are_different_payments() {
        let mut other = id("1");
        other.asset = "0xaa0".to_owned();
        other.payer = "xbb".to_owned();
        assert_ne!(key(&id("1")), key(&other));
    }
}
