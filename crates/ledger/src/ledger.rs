//! The ledger: the store, and who is working on which payment right now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::Error;
use crate::record::{Answer, Fields, Key, Outcome, Payment, Record, State};
use crate::store::Store;

/// Who moves money, and knows what became of it.
pub trait Settler: Sync {
    /// What became of a payment that is in doubt.
    fn reconcile(&self, payment: &Payment) -> impl Future<Output = Outcome> + Send;
}

/// The store, with one worker for each payment at a time.
#[derive(Clone)]
pub struct Ledger {
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
pub enum Claim {
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

/// The right to work on a payment, alone. Given back when dropped; a payment that was set aside and not submitted by then
/// is free again.
pub struct Turn {
    shared: Arc<Shared>,
    key: Key,
    record: Record,
    _done: watch::Sender<()>,
}

impl Ledger {
    /// Over a store.
    pub fn new(store: Store) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                busy: Mutex::default(),
            }),
        }
    }

    /// What is known of a payment that comes with the request `request`. While another request works on it, waits for what
    /// comes of that.
    pub async fn claim(&self, key: &Key, request: &[u8; 32]) -> Result<Claim, Error> {
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
                    return Ok(match self.shared.store.answer(key)? {
                        Some(answer) => Claim::Answered(answer, headers),
                        None => Claim::Gone(headers),
                    });
                }
                State::Settling | State::Unknown => return Ok(Claim::InDoubt),
                State::Reserved => return Err(Error::Unclaimed),
            }
        }
    }

    /// Sets a payment aside, in the one step that decides between requests that bring the same one. None where another was
    /// faster.
    pub fn reserve(&self, key: Key, record: Record) -> Result<Option<Turn>, Error> {
        let mut busy = self.shared.busy();
        if busy.contains_key(&key) || self.shared.store.reserve(&key, &record)?.is_some() {
            return Ok(None);
        }
        Ok(Some(self.turn(&mut busy, key, record)))
    }

    /// Works on a payment that is known; none while another does, or where it is not known.
    pub fn resume(&self, key: &Key) -> Result<Option<Turn>, Error> {
        let mut busy = self.shared.busy();
        if busy.contains_key(key) {
            return Ok(None);
        }
        let record = self.shared.store.record(key)?;
        Ok(record.map(|record| self.turn(&mut busy, *key, record)))
    }

    /// What is known of a payment, and the sign that somebody works on it.
    fn look(&self, key: &Key) -> Result<Option<(Record, Option<Working>)>, Error> {
        let busy = self.shared.busy();
        let record = self.shared.store.record(key)?;
        Ok(record.map(|record| (record, busy.get(key).cloned())))
    }

    /// Asks `settler` what became of a payment in doubt, and writes it down. Does nothing while somebody works on it.
    /// `settled_first`: of what was settled and has no answer, nothing has run.
    pub async fn reconcile(
        &self,
        settler: &impl Settler,
        key: &Key,
        settled_first: bool,
    ) -> Result<(), Error> {
        let Some(mut turn) = self.resume(key)? else {
            return Ok(());
        };
        if !matches!(turn.state(), State::Settling | State::Unknown) {
            return Ok(());
        }
        let payment = turn.payment().clone();
        match settler.reconcile(&payment).await {
            Outcome::Settled {
                transaction,
                headers,
            } => {
                tracing::info!("a settlement in doubt was made");
                let ran = self.shared.store.answer(key)?.is_some() || !settled_first;
                let state = State::Settled {
                    transaction,
                    headers,
                    ran,
                };
                turn.conclude(state, None)
            }
            Outcome::Failed { .. } => {
                tracing::info!("a settlement in doubt was not made");
                turn.release()
            }
            Outcome::Unknown(payment) => {
                turn.set_payment(*payment);
                turn.conclude(State::Unknown, None)
            }
        }
    }

    /// Forgets what is over at `now`, then asks `settler` about all payments in doubt. How many are left.
    pub async fn clear_doubts(
        &self,
        settler: Option<&impl Settler>,
        settled_first: bool,
        (now, hold): (u64, u64),
    ) -> Result<usize, Error> {
        self.shared.store.sweep(now, hold)?;
        if let Some(settler) = settler {
            for key in self.shared.store.in_doubt()? {
                self.reconcile(settler, &key, settled_first).await?;
            }
        }
        Ok(self.shared.store.in_doubt()?.len())
    }

    /// Brings what was written to the disk: waits for it.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.store.flush()
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
    pub fn payment(&self) -> &Payment {
        &self.record.payment
    }

    pub fn state(&self) -> &State {
        &self.record.state
    }

    /// The transaction and the header fields of a settlement that was made.
    pub fn settled(&self) -> Option<(&str, &Fields)> {
        match &self.record.state {
            State::Settled {
                transaction,
                headers,
                ..
            } => Some((transaction, headers)),
            _ => None,
        }
    }

    /// Writes that it is being settled, and waits for the disk: from here on a crash leaves doubt and no free payment.
    pub fn settling(&mut self) -> Result<(), Error> {
        self.record.state = State::Settling;
        let Self {
            shared,
            key,
            record,
            ..
        } = self;
        shared.store.update(key, record, None, true)
    }

    /// Writes how far it has come.
    pub fn conclude(&mut self, state: State, answer: Option<&Answer>) -> Result<(), Error> {
        self.record.state = state;
        self.shared
            .store
            .update(&self.key, &self.record, answer, false)
    }

    /// Replaces what the component settles with.
    pub fn set_payment(&mut self, payment: Payment) {
        self.record.payment = payment;
    }

    /// Frees the payment: it was not transferred and will not be.
    pub fn release(&mut self) -> Result<(), Error> {
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
