//! The right to work on a payment, alone.

use std::sync::Arc;

use hypervisor_store::Error as RowError;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::error::Error;
use crate::ledger::Shared;
use crate::record::{Answer, Fields, Key, Outcome, Payment, Record, Request, State};

/// A place among the unsettled payments of one payer. Given back when dropped.
pub struct Place {
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// None: of a payment that is settled before anything runs.
    pub const UNBOUND: Self = Self { _permit: None };
}

/// The right to work on a payment, alone. Given back when dropped; a payment that was set aside and not submitted by then
/// is free again.
pub struct Turn {
    shared: Arc<Shared>,
    key: Key,
    record: Record,
    /// There is a row of it, or may be one.
    is_written: bool,
    _held: (Place, watch::Sender<()>),
}

/// How a settlement ended.
pub enum Ended {
    /// The money moved.
    Settled,
    /// It did not and will not, and the payment is free; the fields tell the client.
    Failed(Fields),
    /// Nobody knows.
    Unknown,
}

impl Turn {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (key, record): (Key, Record),
        is_written: bool,
        held: (Place, watch::Sender<()>),
    ) -> Self {
        Self {
            shared,
            key,
            record,
            is_written,
            _held: held,
        }
    }

    /// The payment.
    pub fn payment(&self) -> &Payment {
        &self.record.payment
    }

    /// Less is taken than was authorized: from here on the payment is one of this amount.
    pub fn take(&mut self, amount: String) {
        self.record.payment.amount = amount;
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

    pub(crate) fn is_in_doubt(&self) -> bool {
        matches!(self.record.state, State::Settling | State::Unknown)
    }

    /// Its settlement was never asked for, or refused for certain, and only its row is still there.
    pub(crate) fn is_owed_its_freedom(&self) -> bool {
        self.record.state == State::Settling
            && self.shared.unfreed().get(&self.key) == Some(&self.record.request)
    }

    /// Another request is run for a payment for which nothing has run.
    pub(crate) fn bind(&mut self, request: &Request) {
        // The same one may come without the words in which the payment was brought.
        if self.record.request != request.digest {
            self.record.scope = Some(request.scope);
        }
        self.record.request = request.digest;
        self.record.is_secret = request.is_secret;
    }

    /// Writes that it is being settled, with the answer where there is one already, and waits for the disk: from here on a
    /// crash leaves doubt and no free payment, and loses no answer.
    ///
    /// # Errors
    /// [`Error`]: the payment is not to be settled, and is free.
    pub fn settling(&mut self, answer: Option<&Answer>) -> Result<(), Error> {
        let record = Record {
            state: State::Settling,
            ..self.record.clone()
        };
        let store = &self.shared.store;
        let written = store.settling(&self.key, &record, answer, !self.is_written);
        // Where it fails there may be a row all the same; but not this one's, where there was one before.
        self.is_written |= !matches!(&written, Err(Error::Rows(RowError::Conflict(_))));
        written?;
        self.record = record;
        Ok(())
    }

    /// Writes how a settlement ended. `ran`: what was paid for was run, and its answer is held if it can be.
    ///
    /// A transaction that settled another payment is not believed to have settled this one. What cannot be written is told to
    /// the log and is in doubt after a restart: the client gets what was paid for all the same.
    pub fn end(&mut self, outcome: Outcome, ran: bool) -> Ended {
        match outcome {
            Outcome::Settled {
                transaction,
                headers,
            } => {
                let settled = Record {
                    state: State::Settled {
                        transaction: transaction.clone(),
                        headers,
                        ran,
                    },
                    ..self.record.clone()
                };
                let written = (self.shared.store).settled(&self.key, &settled, &transaction);
                let is_ours = written.unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot write down what settled a payment");
                    true
                });
                if is_ours {
                    self.record = settled;
                    return Ended::Settled;
                }
                tracing::error!("a transaction that settled one payment was named for another");
            }
            Outcome::Failed { headers } => {
                self.release();
                return Ended::Failed(headers);
            }
            Outcome::Unknown(payment) => self.record.payment = *payment,
        }
        self.write(State::Unknown, None);
        Ended::Unknown
    }

    /// Writes that what was paid for was run: this is the answer, or there is none because it failed.
    pub fn ran(&mut self, answer: Option<&Answer>) {
        if let State::Settled { ran, .. } = &mut self.record.state {
            *ran = true;
            let state = self.record.state.clone();
            self.write(state, answer);
        }
    }

    /// Writes that what was settled was taken back: it is in doubt again.
    pub(crate) fn taken_back(&mut self) {
        if let Some((transaction, _)) = self.settled() {
            let chain = &self.record.payment.id.chain;
            tracing::error!(
                chain,
                transaction,
                "the chain took a settled payment back; it is submitted again"
            );
        }
        self.write(State::Unknown, None);
    }

    fn write(&mut self, state: State, answer: Option<&Answer>) {
        self.record.state = state;
        let store = &self.shared.store;
        if let Err(error) = store.update(&self.key, &self.record, answer) {
            tracing::error!(%error, "cannot write down what became of a payment");
        }
    }

    /// Frees the payment: it was not transferred and will not be. Waits for the disk where it was written down: what is asked
    /// about a payment after a crash must not settle one that its client was told is free.
    pub fn release(&mut self) {
        self.record.state = State::Reserved;
        let (store, request) = (&self.shared.store, self.record.request);
        store.unnote(&self.key, &self.record);
        if !std::mem::take(&mut self.is_written) {
            return;
        }
        if let Err(error) = store.release(&self.key) {
            tracing::error!(%error, "cannot free a payment that was not used");
            self.shared.unfreed().insert(self.key, request);
        } else {
            self.shared.unfreed().remove(&self.key);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.record.state == State::Reserved {
            self.release();
        }
        self.shared.done(&self.key);
    }
}
