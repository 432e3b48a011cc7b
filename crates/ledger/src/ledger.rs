//! The ledger: the store, and who is working on which payment right now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::record::{Answer, Fields, Key, Outcome, Payment, PaymentId, Record, Request, State};
use crate::sign_in::Taken;
use crate::store::Store;
use crate::turn::{Ended, Place, Turn};

/// Who moves money, and knows what became of it.
pub trait Settler: Sync {
    /// What became of a payment that is in doubt.
    fn reconcile(&self, payment: &Payment) -> impl Future<Output = Outcome> + Send;

    /// Whether what a transaction settled still stands.
    fn standing(
        &self,
        payment: &Payment,
        transaction: &str,
    ) -> impl Future<Output = Standing> + Send;
}

/// Whether a payment that was settled is still made: a chain may take a block back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is, or nobody will ever say.
    Stands,
    /// It is not: it is in doubt.
    Gone,
    /// It cannot be told now.
    Unclear,
}

/// The store, with one worker for each payment at a time.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) taken: Taken,
    /// Payments being worked on.
    busy: Mutex<HashMap<Key, Busy>>,
    /// Payments that are free and whose rows could not be deleted, with the requests that they were for.
    unfreed: Mutex<HashMap<Key, [u8; 32]>>,
    /// What payers may have worked on at once, each for as long as one of them is.
    purses: Mutex<HashMap<[u8; 32], Weak<Semaphore>>>,
    /// When what is over was last looked for, Unix seconds.
    swept: AtomicU64,
}

/// Seconds between two searches for what is over, at the most: each reads all rows.
const SWEEP: u64 = 60;
/// Settled payments that are looked at in one round.
const ROUND: usize = 64;

/// A payment that is being worked on.
#[derive(Clone)]
struct Busy {
    /// Closes when whoever works on it is done.
    working: watch::Receiver<()>,
    /// What is known of it where it was only set aside: there is no row of it then.
    set_aside: Option<Record>,
    /// Nobody runs anything for it: it is only asked what became of it.
    is_asked_about: bool,
}

/// What is known of a payment that a request brings.
pub enum Claim {
    /// Nothing: it was never used here, and the request was not paid for with another.
    New,
    /// It was settled and nothing has run for it: the caller is to run what was paid for.
    Rerun(Box<Turn>),
    /// It was settled, and this is the answer.
    Answered(Answer, Fields),
    /// It was settled, and the answer is no longer held.
    Gone(Fields),
    /// Nobody knows whether this payment was settled: the one that was brought, or the one that the same request came with before.
    InDoubt(Key),
    /// It was brought with another request.
    Reused,
}

impl Ledger {
    /// Over a store.
    pub fn new(store: Store) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                taken: Taken::new(),
                busy: Mutex::default(),
                unfreed: Mutex::default(),
                purses: Mutex::default(),
                swept: AtomicU64::new(0),
            }),
        }
    }

    /// What is known of a payment that comes with a request, or of a request that comes with none. While another request works
    /// on it, waits for what comes of that.
    ///
    /// A secret request, or a purchase of the same name, that was paid for with another payment is that one's, and this payment
    /// is not touched.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim(&self, brought: Option<&Key>, request: &Request) -> Result<Claim, Error> {
        loop {
            let mut found = None;
            if let Some(key) = brought {
                found = self.look(key)?.map(|it| (*key, it));
            }
            let is_brought = found.is_some();
            for name in request.names() {
                if found.is_none()
                    && let Some(earlier) = self.shared.store.named(&name)
                {
                    found = self.look(&earlier)?.map(|it| (earlier, it));
                }
            }
            let Some((key, (record, busy))) = found else {
                return Ok(Claim::New);
            };
            // What names a payment is on its chain for all to see: an answer that anybody can read is for who brings the payment itself.
            let proves_itself = request.is_secret || !is_brought;
            let is_same = record.request == request.digest
                && (proves_itself || record.scope.is_none_or(|it| it == request.scope));
            let may_be_another = match record.state {
                State::Settled { ran: false, .. } => true,
                // Of what a crash left in doubt nothing is held, so nothing has run for anybody: once it is known to be settled
                // it is as good for this request as for the first.
                State::Settling | State::Unknown => {
                    busy.as_ref().is_none_or(|it| it.is_asked_about)
                        && self.shared.store.answer(&key)?.is_none()
                }
                _ => false,
            };
            let is_open = may_be_another && record.scope == Some(request.scope);
            if !is_same && !is_open {
                return Ok(Claim::Reused);
            }
            if let Some(mut busy) = busy {
                // Ends when the other request is done with it.
                while busy.working.changed().await.is_ok() {}
                continue;
            }
            match record.state {
                State::Settled { ran: false, .. } => {
                    if let Some(mut turn) = self.resume(&key, false)? {
                        turn.bind(request);
                        return Ok(Claim::Rerun(Box::new(turn)));
                    }
                }
                State::Settled { headers, .. } => {
                    return Ok(match self.shared.store.answer(&key)? {
                        Some(answer) => Claim::Answered(answer, headers),
                        None => Claim::Gone(headers),
                    });
                }
                State::Settling | State::Unknown => return Ok(Claim::InDoubt(key)),
                State::Reserved => return Err(Error::Unclaimed),
            }
        }
    }

    /// A place among the unsettled payments of one payer, where one is free. To be taken before a payment is verified: what was
    /// found of a balance holds until the next payment of the same payer is settled.
    pub fn try_place(&self, id: &PaymentId) -> Option<Place> {
        let permit = self.purse(id).try_acquire_owned().ok()?;
        Some(Place {
            _permit: Some(permit),
        })
    }

    /// The same; waits for one.
    pub async fn place(&self, id: &PaymentId) -> Place {
        Place {
            // It is never closed.
            _permit: self.purse(id).acquire_owned().await.ok(),
        }
    }

    fn purse(&self, id: &PaymentId) -> Arc<Semaphore> {
        let mut purses = (self.shared.purses.lock()).unwrap_or_else(PoisonError::into_inner);
        purses.retain(|_, it| it.strong_count() > 0);
        let known = purses.get(&id.purse()).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let most = self.shared.store.bounds.unsettled;
            let semaphore = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
            purses.insert(id.purse(), Arc::downgrade(&semaphore));
            semaphore
        })
    }

    /// Sets a payment aside, in the one step that decides between requests that bring the same one, or the same name. None where
    /// another was faster. Nothing is written: a payment whose settlement has not begun is worth nothing after a crash.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reserve(&self, key: Key, record: Record, place: Place) -> Result<Option<Turn>, Error> {
        let mut busy = self.shared.busy();
        let store = &self.shared.store;
        let is_taken = record.name.is_some_and(|name| store.named(&name).is_some());
        if is_taken || busy.contains_key(&key) || store.record(&key)?.is_some() {
            return Ok(None);
        }
        self.shared.store.note(&key, &record);
        let set_aside = Some(record.clone());
        let turn = self.turn(&mut busy, key, (record, set_aside), (place, false));
        Ok(Some(turn))
    }

    /// Works on a payment that is known; none while another does, or where it is not known.
    fn resume(&self, key: &Key, is_asked_about: bool) -> Result<Option<Turn>, Error> {
        let mut busy = self.shared.busy();
        if busy.contains_key(key) {
            return Ok(None);
        }
        let record = self.shared.store.record(key)?;
        let work = (Place::UNBOUND, is_asked_about);
        Ok(record.map(|record| self.turn(&mut busy, *key, (record, None), work)))
    }

    /// What is known of a payment, and who works on it.
    fn look(&self, key: &Key) -> Result<Option<(Record, Option<Busy>)>, Error> {
        let busy = self.shared.busy();
        let worked_on = busy.get(key);
        let set_aside = || worked_on.and_then(|it| it.set_aside.clone());
        let record = self.shared.store.record(key)?.or_else(set_aside);
        Ok(record.map(|record| (record, worked_on.cloned())))
    }

    /// Asks `settler` what became of a payment in doubt, and writes it down. Does nothing while somebody works on it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reconcile(&self, settler: &impl Settler, key: &Key) -> Result<(), Error> {
        let Some(mut turn) = self.resume(key, true)? else {
            return Ok(());
        };
        if !turn.is_in_doubt() {
            return Ok(());
        }
        if turn.is_owed_its_freedom() {
            turn.release();
            return Ok(());
        }
        let outcome = settler.reconcile(turn.payment()).await;
        // What is not held was given to nobody: it can be run once more.
        let ran = self.shared.store.answer(key)?.is_some();
        match turn.end(outcome, ran) {
            Ended::Settled => tracing::info!("a settlement in doubt was made"),
            Ended::Failed(_) => tracing::info!("a settlement in doubt was not made"),
            Ended::Unknown => {}
        }
        Ok(())
    }

    /// Forgets what is over at `now`, once in a while, then asks `settler` about all payments in doubt. How many are left.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clear_doubts(
        &self,
        settler: Option<&impl Settler>,
        (now, hold): (u64, u64),
    ) -> Result<usize, Error> {
        let swept = &self.shared.swept;
        if now.abs_diff(swept.load(Ordering::Relaxed)) >= SWEEP.min(hold) {
            swept.store(now, Ordering::Relaxed);
            self.shared.store.sweep(now, hold)?;
        }
        if let Some(settler) = settler {
            for key in self.shared.store.in_doubt() {
                self.reconcile(settler, &key).await?;
            }
        }
        Ok(self.shared.store.in_doubt().len())
    }

    /// Asks `settler` whether payments still stand that were set aside more than `after` seconds before `now`. Each is looked at
    /// once; one that was taken back is in doubt from then on. Whether none waits any more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn watch(
        &self,
        settler: &impl Settler,
        (now, after): (u64, u64),
    ) -> Result<bool, Error> {
        let due = (self.shared.store).due(now.saturating_sub(after), ROUND);
        for key in &due {
            // Somebody who works on it may write it: it is looked at after that.
            let Some(mut turn) = self.resume(key, true)? else {
                if self.shared.busy().contains_key(key) {
                    self.shared.store.later(key, now);
                }
                continue;
            };
            let Some((transaction, _)) = turn.settled() else {
                continue;
            };
            match settler.standing(turn.payment(), transaction).await {
                Standing::Stands => self.shared.store.stands(key)?,
                Standing::Unclear => self.shared.store.later(key, now),
                Standing::Gone => turn.taken_back(),
            }
        }
        Ok(due.len() < ROUND)
    }

    /// Brings what was written to the disk: waits for it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.store.flush()
    }

    /// Whether what is written can reach the disk, as far as is known.
    pub fn is_well(&self) -> bool {
        self.shared.store.is_well()
    }

    fn turn(
        &self,
        busy: &mut HashMap<Key, Busy>,
        key: Key,
        (record, set_aside): (Record, Option<Record>),
        (place, is_asked_about): (Place, bool),
    ) -> Turn {
        let (done, working) = watch::channel(());
        let is_written = set_aside.is_none();
        let work = Busy {
            working,
            set_aside,
            is_asked_about,
        };
        busy.insert(key, work);
        Turn::new(
            Arc::clone(&self.shared),
            (key, record),
            is_written,
            (place, done),
        )
    }
}

impl Shared {
    fn busy(&self) -> MutexGuard<'_, HashMap<Key, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Payments that are free and whose rows are still there.
    pub(crate) fn unfreed(&self) -> MutexGuard<'_, HashMap<Key, [u8; 32]>> {
        self.unfreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody works on this payment any more.
    pub(crate) fn done(&self, key: &Key) {
        self.busy().remove(key);
    }
}
