//! The right to work on a payment, alone.

use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_store::Error as RowError;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Error;
use crate::fleet::{Hold, Slot, Step, With};
use crate::ledger::Working;
use crate::record::{Answer, Fields, Outcome, Payment, Record, Request, State};
use crate::store::Store;

/// A place among the unsettled payments of one payer. Given back when dropped.
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    /// Its place among those of all nodes.
    pub(crate) slot: Option<Slot>,
}

impl Place {
    /// None: of a payment that is settled before anything runs.
    pub const UNBOUND: Self = Self {
        _permit: None,
        slot: None,
    };

    pub(crate) fn of(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: Some(permit),
            slot: None,
        }
    }
}

/// The right to work on a payment, alone. Given back when dropped; a payment that was set aside and not submitted by then
/// is free again.
pub struct Turn {
    record: Record,
    /// There is a row of it, or may be one.
    is_written: bool,
    /// What it knows of its rows, where hosts share them.
    hold: Option<Hold>,
    /// What is paid for is run in it.
    runs: bool,
    _place: Place,
    /// Given back after all else.
    working: Working,
}

/// How a settlement ended.
pub enum Ended {
    /// The money moved.
    Settled,
    /// It did not and will not, and the payment is free; the fields tell the client.
    Failed(Fields),
    /// Nobody knows.
    Unknown,
    /// Another node has the payment by now, and finds out.
    Lost,
}

impl Turn {
    pub(crate) fn new(
        working: Working,
        (record, is_written): (Record, bool),
        place: Place,
    ) -> Self {
        Self {
            record,
            is_written,
            hold: None,
            runs: true,
            _place: place,
            working,
        }
    }

    /// Of a host that shares its rows. `runs`: what is paid for is run in it.
    pub(crate) fn of_node(
        working: Working,
        (record, hold): (Record, Hold),
        place: Place,
        runs: bool,
    ) -> Self {
        let mut turn = Self::new(working, (record, true), place);
        turn.hold = Some(hold);
        turn.runs = runs;
        turn
    }

    fn store(&self) -> &Store {
        &self.working.shared.store
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
            && self.working.shared.unfreed().get(&self.working.key) == Some(&self.record.request)
    }

    /// It was settled, and what was paid for is still to be run.
    pub(crate) fn is_owed(&self) -> bool {
        matches!(self.record.state, State::Settled { ran: false, .. })
    }

    /// It is in doubt no longer: another node found out.
    pub(crate) fn is_clear(&self) {
        if self.hold.is_some() {
            self.store().index().gone(&self.working.key);
        }
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
    /// [`Error`]: the payment is not to be settled, and is free; or [`Error::TurnLost`], and another node has it.
    pub fn settling(&mut self, answer: Option<&Answer>) -> Result<(), Error> {
        let record = Record {
            state: State::Settling,
            ..self.record.clone()
        };
        let Working { shared, key, .. } = &self.working;
        if let Some(hold) = &mut self.hold {
            shared.store.submit(key, &record, hold, answer)?;
            self.record = record;
            return Ok(());
        }
        let written = (shared.store).settling(key, &record, answer, !self.is_written);
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
                let step = self.settled_by(&settled, &transaction, ran);
                match step.unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot write down what settled a payment");
                    Step::Done
                }) {
                    Step::Done => {
                        self.record = settled;
                        return Ended::Settled;
                    }
                    Step::Lost => return Ended::Lost,
                    Step::OfAnother => {}
                }
                tracing::error!("a transaction that settled one payment was named for another");
            }
            // Who held it before may submit it yet.
            Outcome::Failed { .. } if self.may_be_submitted() => {}
            Outcome::Failed { headers } => {
                self.release();
                return Ended::Failed(headers);
            }
            Outcome::Unknown(payment) => self.record.payment = *payment,
        }
        match self.write(State::Unknown, None) {
            true => Ended::Unknown,
            false => Ended::Lost,
        }
    }

    fn settled_by(
        &mut self,
        settled: &Record,
        transaction: &str,
        ran: bool,
    ) -> Result<Step, Error> {
        let Working { shared, key, .. } = &self.working;
        if let Some(hold) = &mut self.hold {
            let with = With {
                transaction: Some(transaction),
                is_running: self.runs && !ran,
                ..With::default()
            };
            return shared.store.step(key, settled, hold, with);
        }
        Ok(match shared.store.settled(key, settled, transaction)? {
            true => Step::Done,
            false => Step::OfAnother,
        })
    }

    /// It was taken from a node that may come back to life, and the authorization is still good.
    fn may_be_submitted(&self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |it| it.as_secs());
        let is_taken = self.hold.as_ref().is_some_and(|it| it.note.is_taken);
        is_taken && now <= self.record.payment.valid_before
    }

    /// Writes that what was paid for was run: this is the answer, or there is none because it failed. False: another node has the
    /// payment by now, and whatever it answers is the answer.
    #[must_use]
    pub fn ran(&mut self, answer: Option<&Answer>) -> bool {
        if let State::Settled { ran, .. } = &mut self.record.state {
            *ran = true;
            let state = self.record.state.clone();
            return self.write(state, answer);
        }
        true
    }

    /// Writes that what settled it stands, and need not be looked at again.
    pub(crate) fn stands(&mut self) -> Result<(), Error> {
        let Working { shared, key, .. } = &self.working;
        let Some(hold) = &mut self.hold else {
            return shared.store.stands(key);
        };
        self.record.payment.state.clear();
        shared
            .store
            .step(key, &self.record, hold, With::default())
            .map(drop)
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

    /// Whether the turn is still this host's. What cannot be written is told to the log.
    fn write(&mut self, state: State, answer: Option<&Answer>) -> bool {
        self.record.state = state;
        let Working { shared, key, .. } = &self.working;
        let written = match &mut self.hold {
            Some(hold) => {
                (shared.store.hold_answer(key, &self.record, hold, answer)).and_then(|answer| {
                    let with = With {
                        answer: answer.as_deref(),
                        ..With::default()
                    };
                    shared.store.step(key, &self.record, hold, with)
                })
            }
            None => (shared.store.update(key, &self.record, answer)).map(|()| Step::Done),
        };
        match written {
            Ok(step) => step == Step::Done,
            Err(error) => {
                tracing::error!(%error, "cannot write down what became of a payment");
                true
            }
        }
    }

    /// Frees the payment: it was not transferred and will not be. Waits for the disk where it was written down: what is asked
    /// about a payment after a crash must not settle one that its client was told is free.
    pub fn release(&mut self) {
        let was_submitted = self.record.state != State::Reserved;
        self.record.state = State::Reserved;
        let Working { shared, key, .. } = &self.working;
        let freed = match &mut self.hold {
            Some(hold) if hold.is_over => return,
            Some(hold) => {
                let erased = shared.store.erase(key, &self.record, hold, was_submitted);
                hold.is_over = true;
                erased.map(drop)
            }
            None => {
                shared.store.unnote(key, &self.record);
                if !std::mem::take(&mut self.is_written) {
                    return;
                }
                shared.store.release(key)
            }
        };
        if let Err(error) = freed {
            tracing::error!(%error, "cannot free a payment that was not used");
            shared.unfreed().insert(*key, self.record.request);
        } else {
            shared.unfreed().remove(key);
        }
    }

    /// Lets another request run what was paid for.
    fn stop(&mut self) {
        let Working { shared, key, .. } = &self.working;
        if let Some(hold) = &mut self.hold
            && hold.note.is_running
            && !hold.is_over
            && let Err(error) = shared.store.stop(key, &self.record, hold)
        {
            tracing::error!(%error, "cannot write down what became of a payment");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.record.state == State::Reserved {
            self.release();
        }
        self.stop();
    }
}
