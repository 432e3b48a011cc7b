//! The ledger: the store, and who is working on which payment right now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::store::{Answer, Key, Record, State, Store, StoreError};
use crate::config;
use crate::error::Error;
use crate::executor::AuthorizedPayment;
use crate::state::State as Folder;

/// The store, with one worker for each payment at a time.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    /// Payments being worked on; the channel closes when that ends.
    busy: Mutex<HashMap<Key, Working>>,
}

/// Closes when whoever works on a payment is done.
type Working = watch::Receiver<()>;

/// What is known of a payment that a request brings.
pub(crate) enum Claim {
    /// Nothing: it was never used here.
    New,
    /// It was settled and nothing has run for it: the caller is to run what was paid for.
    Rerun(Box<Turn>),
    /// It was settled, and this is the answer.
    Answered(Answer, Fields),
    /// It was settled, and the answer is no longer held.
    Gone(Fields),
    /// Nobody knows whether it was settled.
    InDoubt,
    /// It was brought with another request.
    Reused,
}

/// Names and values of header fields.
type Fields = Vec<(String, String)>;

/// The right to work on a payment, alone. Given back when dropped; a payment that was set aside and not submitted by then
/// is free again.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    key: Key,
    record: Record,
    _done: watch::Sender<()>,
}

impl Ledger {
    pub(super) fn open(folder: &Folder, settings: &config::Payments) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::new(Shared {
                store: Store::open(folder, settings)?,
                busy: Mutex::default(),
            }),
        })
    }

    /// What is known of a payment that comes with the request `request`. While another request works on it, waits for what
    /// comes of that.
    pub(crate) async fn claim(&self, key: &Key, request: &[u8; 32]) -> Result<Claim, StoreError> {
        loop {
            let Some((record, busy)) = self.look(key)? else {
                return Ok(Claim::New);
            };
            if record.request != *request {
                return Ok(Claim::Reused);
            }
            if let Some(mut busy) = busy {
                // Ends when the other request is done with it.
                while busy.changed().await.is_ok() {}
                continue;
            }
            match record.state {
                State::Settled { ran: false, .. } => {
                    if let Some(turn) = self.resume(key)? {
                        return Ok(Claim::Rerun(Box::new(turn)));
                    }
                }
                State::Settled { headers, .. } => {
                    return Ok(match self.answer(key)? {
                        Some(answer) => Claim::Answered(answer, headers),
                        None => Claim::Gone(headers),
                    });
                }
                State::Settling | State::Unknown => return Ok(Claim::InDoubt),
                State::Reserved => return Err(StoreError::unclaimed()),
            }
        }
    }

    /// Sets a payment aside, in the one step that decides between requests that bring the same one. None where another was
    /// faster.
    pub(crate) fn reserve(&self, key: Key, record: Record) -> Result<Option<Turn>, StoreError> {
        let mut busy = self.shared.busy();
        if busy.contains_key(&key) || self.shared.store.reserve(&key, &record)?.is_some() {
            return Ok(None);
        }
        Ok(Some(self.turn(&mut busy, key, record)))
    }

    /// Works on a payment that is known; none while another does, or where it is not known.
    pub(super) fn resume(&self, key: &Key) -> Result<Option<Turn>, StoreError> {
        let mut busy = self.shared.busy();
        if busy.contains_key(key) {
            return Ok(None);
        }
        let record = self.shared.store.record(key)?;
        Ok(record.map(|record| self.turn(&mut busy, *key, record)))
    }

    /// What is known of a payment, and the sign that somebody works on it.
    fn look(&self, key: &Key) -> Result<Option<(Record, Option<Working>)>, StoreError> {
        let busy = self.shared.busy();
        let record = self.shared.store.record(key)?;
        Ok(record.map(|record| (record, busy.get(key).cloned())))
    }

    pub(super) fn answer(&self, key: &Key) -> Result<Option<Answer>, StoreError> {
        self.shared.store.answer(key)
    }

    pub(super) fn in_doubt(&self) -> Result<Vec<Key>, StoreError> {
        self.shared.store.in_doubt()
    }

    pub(super) fn sweep(&self, now: u64, hold: u64) -> Result<(), StoreError> {
        self.shared.store.sweep(now, hold)
    }

    /// Brings what was written to the disk.
    pub(crate) fn flush(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.store.flush() {
                tracing::error!(%error, "cannot write the payment store");
            }
        });
    }

    fn turn(&self, busy: &mut HashMap<Key, Working>, key: Key, record: Record) -> Turn {
        let (done, working) = watch::channel(());
        busy.insert(key, working);
        Turn {
            shared: Arc::clone(&self.shared),
            key,
            record,
            _done: done,
        }
    }
}

impl Shared {
    fn busy(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Working>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    pub(crate) fn payment(&self) -> &AuthorizedPayment {
        &self.record.payment
    }

    pub(crate) fn state(&self) -> &State {
        &self.record.state
    }

    /// The transaction and the header fields of a settlement that was made.
    pub(crate) fn settled(&self) -> Option<(&str, &Fields)> {
        match &self.record.state {
            State::Settled {
                transaction,
                headers,
                ..
            } => Some((transaction, headers)),
            _ => None,
        }
    }

    /// Writes that it is being settled, to the disk: from here on a crash leaves doubt and no free payment.
    pub(crate) fn settling(&mut self) -> Result<(), StoreError> {
        self.record.state = State::Settling;
        let Self {
            shared,
            key,
            record,
            ..
        } = self;
        tokio::task::block_in_place(|| shared.store.update(key, record, None, true))
    }

    /// Writes how far it has come.
    pub(crate) fn conclude(
        &mut self,
        state: State,
        answer: Option<&Answer>,
    ) -> Result<(), StoreError> {
        self.record.state = state;
        self.shared
            .store
            .update(&self.key, &self.record, answer, false)
    }

    /// Replaces what the component settles with.
    pub(crate) fn set_payment(&mut self, payment: AuthorizedPayment) {
        self.record.payment = payment;
    }

    /// Frees the payment: it was not transferred and will not be.
    pub(crate) fn release(&mut self) -> Result<(), StoreError> {
        self.record.state = State::Reserved;
        self.shared.store.release(&self.key)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.record.state == State::Reserved
            && let Err(error) = self.shared.store.release(&self.key)
        {
            tracing::error!(%error, "cannot free a payment that was not used");
        }
        self.shared.busy().remove(&self.key);
    }
}
