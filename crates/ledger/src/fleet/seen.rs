//! What the rows say of a payment, and who works on it.

use hypervisor_store::Row;
use tokio::sync::watch;

use super::{Note, Tag};
use crate::error::Error;
use crate::record::{Answer, Key, Record, State};
use crate::store::{Held, Kept, NAMES, PAYMENTS, Store, TRANSACTIONS, decode, settler};

/// A payment as its row has it.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) version: u64,
    pub(crate) record: Record,
    pub(crate) held: Option<Held>,
    pub(crate) note: Note,
}

/// Who works on a payment.
pub(crate) enum Work {
    /// Nobody.
    Nobody,
    /// This host: closes when it is done. `is_asked_about`: nobody runs anything for it.
    Here {
        working: watch::Receiver<()>,
        is_asked_about: bool,
    },
    /// Another node.
    Elsewhere,
    /// A node that died; or this one, which knows nothing of it.
    Gone(Tag),
}

impl Work {
    /// Whether something may run for the payment.
    pub(crate) fn may_run(&self) -> bool {
        match self {
            Self::Nobody | Self::Gone(_) => false,
            Self::Here { is_asked_about, .. } => !is_asked_about,
            Self::Elsewhere => true,
        }
    }
}

/// What a name stands for.
pub(crate) struct Named {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) created: u64,
}

impl Named {
    pub(crate) fn encode(key: &Key, created: u64) -> Vec<u8> {
        [key.as_slice(), &created.to_be_bytes()].concat()
    }

    fn decode(row: &Row) -> Option<Self> {
        let (key, created) = row.value.split_first_chunk()?;
        Some(Self {
            version: row.version,
            key: *key,
            created: u64::from_be_bytes(created.try_into().ok()?),
        })
    }
}

impl Store {
    /// What a payment is found by in a table of the rows.
    pub(crate) fn place(&self, table: hypervisor_store::Table, key: &Key) -> Key {
        self.rows.blind(table, key)
    }

    /// What a transaction is found by.
    pub(crate) fn transaction(&self, record: &Record, transaction: &str) -> Key {
        self.rows.blind(TRANSACTIONS, &settler(record, transaction))
    }

    /// A payment.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Found>, Error> {
        self.find_at(&self.place(PAYMENTS, key))
    }

    pub(crate) fn find_at(&self, place: &[u8]) -> Result<Option<Found>, Error> {
        let row = self.rows.get(PAYMENTS, place);
        // What was to be done for it may not be done by now.
        let row = row.inspect_err(|_| {
            if let Some(member) = &self.member {
                member.untidy();
            }
        });
        let Some(row) = row? else {
            return Ok(None);
        };
        let kept: Kept = decode(&row.value)?;
        Ok(Some(Found::of((row.version, kept))))
    }

    /// With what it is settled and asked about; none where that is no longer kept. Gives its row's version too.
    pub(crate) fn authorize(&self, found: &mut Found, key: &Key) -> Result<Option<u64>, Error> {
        let place = self.place(self.authorizations, key);
        let row = self.rows.get(self.authorizations, &place)?;
        if let Some(row) = &row {
            found.record.payment.state = row.value.to_vec();
        }
        Ok(row.map(|it| it.version))
    }

    /// What a name stands for.
    pub(crate) fn named_row(&self, place: &Key) -> Result<Option<Named>, Error> {
        let row = self.rows.get(NAMES, place)?;
        Ok(row.and_then(|row| Named::decode(&row)))
    }

    /// The answer that is held for a payment.
    pub(crate) fn answer_of(&self, found: &Found, key: &Key) -> Result<Option<Answer>, Error> {
        let Some(held) = found.held else {
            return Ok(None);
        };
        let place = self.place(held.table(), key);
        let row = self.rows.get(held.table(), &place)?;
        row.map(|row| decode(&row.value)).transpose()
    }
}

impl Found {
    /// Who works on it, where nobody here does.
    pub(crate) fn elsewhere(&self, here: Tag, is_alive: impl Fn(Tag) -> bool) -> Work {
        let is_worked_on = match self.record.state {
            State::Reserved | State::Settling => true,
            State::Unknown => false,
            State::Settled { .. } => self.note.is_running,
        };
        match self.note.holder {
            None => Work::Nobody,
            Some(tag) if tag == here => match self.record.state {
                // Nothing runs for it, and nothing was submitted.
                State::Reserved => Work::Gone(tag),
                _ if self.note.is_running => Work::Gone(tag),
                _ => Work::Nobody,
            },
            Some(tag) if !is_alive(tag) => Work::Gone(tag),
            Some(_) if is_worked_on => Work::Elsewhere,
            Some(_) => Work::Nobody,
        }
    }
}
