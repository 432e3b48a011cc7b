//! What must survive a restart: which payments were used for what, and the answers to them.
//!
//! ```text
//! payments        key → state, request, times, who pays whom and how much; under the key file: a used payment stays used
//!                 whatever becomes of the platform's key
//! authorizations  key → what the component settles and reconciles with; deleted once the payment is settled, or once it was
//!                 looked at again after that
//! sealed-answers  key → an answer that only its client can open
//! plain-answers   key → any other; under the platform's key, so that it ends with the host where there is none
//! transactions    SHA-256 of chain and transaction → the key of the payment that it settled: it settles no other
//! ```
//!
//! A payment whose settlement has not begun is worth nothing after a crash and is not written. The step to `Settling` waits for
//! the disk, and takes the answer with it, and so does the one that frees a payment after that; everything else is written
//! atomically and reaches the disk with the next such step.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::ContentFormat;
use hypervisor_store::{Change, Error as RowError, Expect, Store as Rows, Table, Under};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fleet::{Member, Node, Note};
use crate::index::Index;
use crate::record::{Answer, Key, Record, State, digest};

pub(crate) const PAYMENTS: Table = table("payments", Under::File);
pub(crate) const SEALED_ANSWERS: Table = table("sealed-answers", Under::File);
pub(crate) const PLAIN_ANSWERS: Table = table("plain-answers", Under::Platform);
pub(crate) const TRANSACTIONS: Table = table("transactions", Under::File);
const AUTHORIZATIONS: &str = "authorizations";

// Of fleets alone.
pub(crate) const HOLDERS: Table = table("payment-holders", Under::File);
pub(crate) const NAMES: Table = table("payment-names", Under::File);
pub(crate) const PURSES: Table = table("payment-purses", Under::File);
pub(crate) const PROOFS: Table = table("payment-proofs", Under::File);
pub(crate) const SWEEPS: Table = table("payment-sweeps", Under::File);

/// The tables that [`Store::open`] wants in its rows.
pub const TABLES: [Table; 4] = [PAYMENTS, SEALED_ANSWERS, PLAIN_ANSWERS, TRANSACTIONS];

const fn table(name: &'static str, under: Under) -> Table {
    Table { name, under }
}

/// A record as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    /// The answer that is held, if one is.
    pub(crate) held: Option<Held>,
    /// What the nodes of a fleet tell each other of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<Note>,
}

/// An answer that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) bytes: u64,
    is_sealed: bool,
}

impl Held {
    pub(crate) fn table(self) -> Table {
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
    /// Bytes of all answers to one payer in one token.
    pub held_payer: u64,
    /// Payments of one payer in one token that are worked on at once before they are settled.
    pub unsettled: usize,
    /// Payments that were settled are looked at once more ([`crate::Ledger::watch`]).
    pub watches: bool,
}

/// The store. Its calls wait for the disk: keep them off the async threads.
pub struct Store {
    pub(crate) rows: Rows,
    pub(crate) authorizations: Table,
    pub(crate) bounds: Bounds,
    index: Mutex<Index>,
    /// This host in its fleet; none: it is alone, and the rows are its own.
    pub(crate) member: Option<Member>,
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
        let store = Self::over(rows, bounds, None);
        crate::import::import(&store, earlier)?;
        store.take_up()?;
        Ok(store)
    }

    /// Joins a fleet, whose nodes share `rows`. What is in them stays as it is: what dead nodes left is taken over by
    /// [`crate::Ledger::take_over_dead`].
    pub fn join(rows: Rows, bounds: Bounds, node: Node) -> Self {
        Self::over(rows, bounds, Some(Member::new(node)))
    }

    fn over(rows: Rows, bounds: Bounds, member: Option<Member>) -> Self {
        let under = if rows.is_lasting() {
            Under::Platform
        } else {
            Under::File
        };
        Self {
            rows,
            authorizations: table(AUTHORIZATIONS, under),
            bounds,
            index: Mutex::default(),
            member,
        }
    }

    fn take_up(&self) -> Result<(), Error> {
        let whatever = Bounds {
            held: u64::MAX,
            held_each: u64::MAX,
            held_payer: u64::MAX,
            ..self.bounds
        };
        self.each(|found| {
            let Kept { record, held, .. } = &found.kept;
            if record.state == State::Reserved {
                // Nothing was submitted for what was only reserved: those payments are free again.
                return self.forget(&found);
            }
            let is_settled = matches!(record.state, State::Settled { .. });
            let is_watched = is_settled
                && self.bounds.watches
                && (self.rows.get(self.authorizations, &found.key)).is_ok_and(|it| it.is_some());
            let mut index = self.index();
            index.note(&found.key, record);
            index.moved(&found.key, record, is_watched);
            if let Some(answer) = held
                && (answer.is_sealed || self.rows.is_lasting())
            {
                index.hold(&found.key, record, *answer, &whatever);
            }
            Ok(())
        })?;
        self.flush()
    }

    /// Notes what a payment is for that was set aside; nothing is written.
    pub(crate) fn note(&self, key: &Key, record: &Record) {
        self.index().note(key, record);
    }

    /// Forgets that.
    pub(crate) fn unnote(&self, key: &Key, record: &Record) {
        self.index().forget(key, record);
    }

    /// Writes down that a payment is being settled, which has reached the disk when this returns; `is_new`: it is not there
    /// yet. An answer that there is no room for is not kept.
    ///
    /// # Errors
    /// [`Error`].
    pub fn settling(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&Answer>,
        is_new: bool,
    ) -> Result<(), Error> {
        let answer = match answer {
            Some(answer) => self.admitted(key, record, answer)?,
            None => None,
        };
        let expect = if is_new { Expect::Absent } else { Expect::Any };
        Ok(self.write(key, record, answer.as_deref(), (expect, None), true)?)
    }

    /// Moves a payment on; reaches the disk with the next step that does. An answer that there is no room for is not kept.
    ///
    /// # Errors
    /// [`Error`].
    pub fn update(&self, key: &Key, record: &Record, answer: Option<&Answer>) -> Result<(), Error> {
        let answer = match answer {
            Some(answer) => self.admitted(key, record, answer)?,
            None => None,
        };
        Ok(self.write(key, record, answer.as_deref(), (Expect::Any, None), false)?)
    }

    /// Moves a payment on that a transaction settled. False, and nothing is written, where that one settled another payment.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn settled(
        &self,
        key: &Key,
        record: &Record,
        transaction: &str,
    ) -> Result<bool, Error> {
        let name = settler(record, transaction);
        match self.write(key, record, None, (Expect::Any, Some(&name)), false) {
            Ok(()) => Ok(true),
            Err(RowError::Conflict(_)) => {
                let other = self.rows.get(TRANSACTIONS, &name)?;
                if other.is_some_and(|row| row.value.as_slice() != key) {
                    return Ok(false);
                }
                self.write(key, record, None, (Expect::Any, None), false)?;
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The answer in the form in which it is held, if there is room for it; the room is taken then.
    pub(crate) fn admitted(
        &self,
        key: &Key,
        record: &Record,
        answer: &Answer,
    ) -> Result<Option<Vec<u8>>, Error> {
        let formats = [ContentFormat::Json, ContentFormat::Cbor];
        let bytes = u64::try_from(answer.body.0.len()).unwrap_or(u64::MAX);
        let held = Held {
            bytes,
            is_sealed: (formats.iter()).any(|it| it.media_type() == answer.media_type),
        };
        if !self.index().hold(key, record, held, &self.bounds) {
            tracing::warn!(
                bytes,
                "no room to hold the answer to a payment ([payments] `held`, `held_each`, `held_payer`): it is given once"
            );
            return Ok(None);
        }
        encode(answer).map(Some)
    }

    /// Writes a payment, and in the same step the transaction that settled it, which is to have settled no other.
    fn write(
        &self,
        key: &Key,
        record: &Record,
        answer: Option<&[u8]>,
        (expect, transaction): (Expect, Option<&[u8; 32]>),
        sync: bool,
    ) -> Result<(), RowError> {
        let held = self.index().held(key);
        let mut kept = Kept {
            record: record.clone(),
            held,
            note: None,
        };
        let authorization = std::mem::take(&mut kept.record.payment.state);
        let row = encode(&kept).map_err(|_| RowError::Seal("a payment has no CBOR"))?;
        let is_settled = matches!(record.state, State::Settled { .. });
        let is_watched = is_settled && self.bounds.watches && !authorization.is_empty();
        if !is_settled {
            self.index().moved(key, record, false);
        }
        let mut changes = vec![
            Change {
                expect,
                ..Change::put(PAYMENTS, key, &row)
            },
            Change {
                value: (!is_settled || is_watched).then_some(authorization.as_slice()),
                ..Change::delete(self.authorizations, key)
            },
        ];
        if let (Some(held), Some(answer)) = (held, answer) {
            changes.push(Change::put(held.table(), key, answer));
        }
        if let Some(transaction) = transaction {
            changes.push(Change {
                expect: Expect::Absent,
                ..Change::put(TRANSACTIONS, transaction, key)
            });
        }
        self.rows.commit(&changes, sync)?;
        if is_settled {
            self.index().moved(key, record, is_watched);
        }
        Ok(())
    }

    /// Payments that were settled before `before` and are to be looked at now, `most` of them.
    pub(crate) fn due(&self, before: u64, most: usize) -> Vec<Key> {
        self.index().take_watched(before, most)
    }

    /// Has a payment looked at later, counted from `since`.
    pub(crate) fn later(&self, key: &Key, since: u64) {
        self.index().watch(key, since);
    }

    /// Forgets what a payment that stands would be asked about with.
    pub(crate) fn stands(&self, key: &Key) -> Result<(), Error> {
        let change = Change::delete(self.authorizations, key);
        Ok(self.rows.commit(&[change], false)?)
    }

    /// Deletes a payment, whose transfer was not and will not be made; waits for the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn release(&self, key: &Key) -> Result<(), Error> {
        let tables = [PAYMENTS, self.authorizations, SEALED_ANSWERS, PLAIN_ANSWERS];
        let changes = tables.map(|table| Change::delete(table, key));
        self.rows.commit(&changes, true)?;
        self.index().gone(key);
        Ok(())
    }

    /// Whether what is written can reach the disk, as far as is known.
    pub(crate) fn is_well(&self) -> bool {
        self.rows.is_well()
    }

    /// What is known of a payment.
    ///
    /// # Errors
    /// [`Error`].
    pub fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        if self.member.is_some() {
            let Some(mut found) = self.find(key)? else {
                return Ok(None);
            };
            self.authorize(&mut found, key)?;
            return Ok(Some(found.record));
        }
        let Some(row) = self.rows.get(PAYMENTS, key)? else {
            return Ok(None);
        };
        let mut record = decode::<Kept>(&row.value)?.record;
        if let Some(row) = self.rows.get(self.authorizations, key)? {
            record.payment.state = row.value.to_vec();
        }
        Ok(Some(record))
    }

    /// The answer that is held for a payment.
    ///
    /// # Errors
    /// [`Error`].
    pub fn answer(&self, key: &Key) -> Result<Option<Answer>, Error> {
        if self.member.is_some() {
            let found = self.find(key)?;
            return found.map_or(Ok(None), |it| self.answer_of(&it, key));
        }
        let Some(held) = self.index().held(key) else {
            return Ok(None);
        };
        let found = self.rows.get(held.table(), key)?;
        found.map(|row| decode(&row.value)).transpose()
    }

    /// Payments in doubt, `Settling` after a restart among them.
    pub fn in_doubt(&self) -> Vec<Key> {
        self.index().doubts()
    }

    /// Forgets what is over: answers after `hold` seconds, records `hold` seconds after the payment could still be used.
    ///
    /// # Errors
    /// [`Error`].
    pub fn sweep(&self, now: u64, hold: u64) -> Result<(), Error> {
        if self.member.is_some() {
            return self.sweep_shared(now, hold);
        }
        let is_over = |instant: u64| instant.saturating_add(hold) < now;
        self.each(|found| {
            let record = &found.kept.record;
            let used = record.created.max(record.payment.valid_before);
            if is_over(used) && record.state != State::Settling {
                return self.forget(&found);
            }
            if is_over(record.created)
                && let Some(held) = self.index().drop_answer(&found.key)
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
        let record = &found.kept.record;
        let transaction = match &record.state {
            State::Settled { transaction, .. } => transaction.clone(),
            _ => String::new(),
        };
        let transaction = settler(record, &transaction);
        let changes = [
            Change {
                expect: Expect::Version(found.version),
                ..Change::delete(PAYMENTS, key)
            },
            Change::delete(self.authorizations, key),
            Change::delete(SEALED_ANSWERS, key),
            Change::delete(PLAIN_ANSWERS, key),
            Change::delete(TRANSACTIONS, &transaction),
        ];
        match self.rows.commit(&changes, false) {
            Ok(()) => {
                let mut index = self.index();
                index.forget(key, record);
                index.gone(key);
                Ok(())
            }
            // Somebody is working on it.
            Err(RowError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes through all records.
    fn each(&self, mut what: impl FnMut(Found) -> Result<(), Error>) -> Result<(), Error> {
        self.rows.each(PAYMENTS, b"", |scanned| {
            let key = Key::try_from(scanned.key.as_slice()).map_err(Error::form)?;
            let row = scanned.row?;
            let (version, kept) = (row.version, decode(&row.value)?);
            what(Found { key, version, kept })
        })
    }

    /// Brings everything written so far to the disk.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.rows.commit(&[], true)?)
    }

    /// The payment that is named so.
    pub(crate) fn named(&self, name: &[u8; 32]) -> Result<Option<Key>, Error> {
        if self.member.is_some() {
            let named = self.named_row(&self.place(NAMES, name))?;
            return Ok(named.map(|it| it.key));
        }
        Ok(self.index().named(name))
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a transaction is found by that settled a payment.
pub(crate) fn settler(record: &Record, transaction: &str) -> [u8; 32] {
    digest(&[&record.payment.id.chain, &transaction.to_lowercase()])
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(Error::form)?;
    Ok(bytes)
}

pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Error> {
    ciborium::from_reader(bytes).map_err(Error::form)
}
