//! The ledger: the store, and who is working on which payment right now.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::fleet::Work;
use crate::record::{Answer, Fields, Key, Outcome, Payment, PaymentId, Record, Request, State};
use crate::sign_in::Taken;
use crate::store::Store;
use crate::turn::{Place, Turn};

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
    pub(crate) swept: AtomicU64,
}

/// A payment that is being worked on.
#[derive(Clone)]
pub(crate) struct Busy {
    /// Closes when whoever works on it is done.
    working: watch::Receiver<()>,
    /// What is known of it where it was only set aside: there is no row of it then.
    set_aside: Option<Record>,
    /// Nobody runs anything for it: it is only asked what became of it.
    is_asked_about: bool,
}

impl Busy {
    pub(crate) fn work(&self) -> Work {
        Work::Here {
            working: self.working.clone(),
            is_asked_about: self.is_asked_about,
        }
    }

    /// What was set aside, of which there may be no row yet.
    pub(crate) fn set_aside(&self) -> Option<&Record> {
        self.set_aside.as_ref()
    }
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
        let mut pauses = self.shared.store.pauses();
        loop {
            let mut found = None;
            if let Some(key) = brought {
                found = self.look(key)?.map(|it| (*key, it));
            }
            let is_brought = found.is_some();
            for name in request.names() {
                if found.is_none()
                    && let Some(earlier) = self.shared.store.named(&name)?
                {
                    found = self.look(&earlier)?.map(|it| (earlier, it));
                }
            }
            let Some((key, (record, work))) = found else {
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
                    !work.may_run() && self.shared.store.answer(&key)?.is_none()
                }
                _ => false,
            };
            let is_open = may_be_another && record.scope == Some(request.scope);
            if !is_same && !is_open {
                return Ok(Claim::Reused);
            }
            match work {
                Work::Nobody => {}
                Work::Here { mut working, .. } => {
                    // Ends when the other request is done with it.
                    while working.changed().await.is_ok() {}
                    continue;
                }
                Work::Elsewhere => {
                    pauses.pause().await?;
                    continue;
                }
                Work::Gone(tag) => {
                    if !self.take_one(&key, tag)? {
                        pauses.pause().await?;
                    }
                    continue;
                }
            }
            match record.state {
                State::Settled { ran: false, .. } => {
                    // Somebody may have run it since it was looked at.
                    if let Some(mut turn) = self.resume(&key, false)?.filter(Turn::is_owed) {
                        turn.bind(request);
                        return Ok(Claim::Rerun(Box::new(turn)));
                    }
                    // Another node may have been faster; on this host it is waited for.
                    if self.shared.store.member.is_some() {
                        pauses.pause().await?;
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
    ///
    /// # Errors
    /// [`Error`].
    pub fn try_place(&self, id: &PaymentId) -> Result<Option<Place>, Error> {
        let Some(mut place) = self.permitted(id) else {
            return Ok(None);
        };
        if self.shared.store.member.is_some() {
            place.slot = self.shared.store.slot(id)?;
            return Ok(place.slot.is_some().then_some(place));
        }
        Ok(Some(place))
    }

    /// The same; waits for one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn place(&self, id: &PaymentId) -> Result<Place, Error> {
        // It is never closed.
        let permit = self.purse(id).acquire_owned().await;
        let mut place = permit.map_or(Place::UNBOUND, Place::of);
        if self.shared.store.member.is_some() {
            let mut pauses = self.shared.store.pauses();
            loop {
                place.slot = self.shared.store.slot(id)?;
                if place.slot.is_some() {
                    break;
                }
                pauses.pause().await?;
            }
        }
        Ok(place)
    }

    /// A place among those of this host.
    pub(crate) fn permitted(&self, id: &PaymentId) -> Option<Place> {
        let permit = self.purse(id).try_acquire_owned().ok()?;
        Some(Place::of(permit))
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
    /// another was faster. A host alone writes nothing: a payment whose settlement has not begun is worth nothing after a crash.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reserve(&self, key: Key, record: Record, place: Place) -> Result<Option<Turn>, Error> {
        let store = &self.shared.store;
        if store.member.is_some() {
            let entered = self.try_enter(&key, (Some(record.clone()), false));
            let Some(working) = entered else {
                return Ok(None);
            };
            let hold = store.set_aside(&key, &record, place.slot)?;
            return Ok(hold.map(|hold| Turn::of_node(working, (record, hold), place, true)));
        }
        let mut busy = self.shared.busy();
        let is_taken = match record.name {
            Some(name) => store.named(&name)?.is_some(),
            None => false,
        };
        if is_taken || busy.contains_key(&key) || store.record(&key)?.is_some() {
            return Ok(None);
        }
        store.note(&key, &record);
        let working = self.enter(&mut busy, &key, (Some(record.clone()), false));
        Ok(Some(Turn::new(working, (record, false), place)))
    }

    /// Works on a payment that is known; none while another does, or where it is not known.
    pub(crate) fn resume(&self, key: &Key, is_asked_about: bool) -> Result<Option<Turn>, Error> {
        if self.shared.store.member.is_some() {
            return self.resume_shared(key, is_asked_about);
        }
        let mut busy = self.shared.busy();
        if busy.contains_key(key) {
            return Ok(None);
        }
        let Some(record) = self.shared.store.record(key)? else {
            return Ok(None);
        };
        let working = self.enter(&mut busy, key, (None, is_asked_about));
        Ok(Some(Turn::new(working, (record, true), Place::UNBOUND)))
    }

    /// What is known of a payment, and who works on it.
    fn look(&self, key: &Key) -> Result<Option<(Record, Work)>, Error> {
        if let Some(member) = &self.shared.store.member {
            return self.look_shared(member, key);
        }
        let busy = self.shared.busy();
        let worked_on = busy.get(key);
        let set_aside = || worked_on.and_then(|it| it.set_aside.clone());
        let record = self.shared.store.record(key)?.or_else(set_aside);
        let work = || worked_on.map_or(Work::Nobody, Busy::work);
        Ok(record.map(|record| (record, work())))
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

    /// Has the right to work on a payment from here on, of all on this host.
    fn enter(
        &self,
        busy: &mut HashMap<Key, Busy>,
        key: &Key,
        (set_aside, is_asked_about): (Option<Record>, bool),
    ) -> Working {
        let (done, working) = watch::channel(());
        let work = Busy {
            working,
            set_aside,
            is_asked_about,
        };
        busy.insert(*key, work);
        Working {
            shared: Arc::clone(&self.shared),
            key: *key,
            _done: done,
        }
    }

    /// The same, where nobody on this host works on it.
    pub(crate) fn try_enter(&self, key: &Key, what: (Option<Record>, bool)) -> Option<Working> {
        let mut busy = self.shared.busy();
        let is_free = !busy.contains_key(key);
        is_free.then(|| self.enter(&mut busy, key, what))
    }
}

/// The right to work on a payment, of all on this host. Given back when dropped.
pub(crate) struct Working {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    /// Closes after the payment is out of the books: who waits for it looks again.
    _done: watch::Sender<()>,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.shared.busy().remove(&self.key);
    }
}

impl Shared {
    pub(crate) fn busy(&self) -> MutexGuard<'_, HashMap<Key, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Payments that are free and whose rows are still there.
    pub(crate) fn unfreed(&self) -> MutexGuard<'_, HashMap<Key, [u8; 32]>> {
        self.unfreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
