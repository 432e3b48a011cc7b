//! The environments there are, by id, with what each owner has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::{Exit, Rejection};

use crate::clock::Clock;
use crate::error::{rejected, unknown};
use crate::head::{Head, Id};
use crate::settings::Settings;

/// Seconds that uses may be lost of in a crash: nothing ends earlier for it.
const GRACE: u64 = 1;

/// An environment.
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) owner: String,
    /// Held while it changes in the store.
    head: Mutex<Head>,
    used_at: AtomicU64,
    ends_at: AtomicU64,
    idle: AtomicU64,
    in_use: AtomicUsize,
    /// It is in nobody's list any more.
    gone: AtomicBool,
    /// Nor in the store.
    ended: AtomicBool,
    /// Held by a turn.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Entry {
    fn new(head: Head) -> Arc<Self> {
        Arc::new(Self {
            id: head.id,
            owner: head.owner.clone(),
            used_at: AtomicU64::new(head.used_at),
            ends_at: AtomicU64::new(head.ends_at),
            idle: AtomicU64::new(head.idle_seconds),
            head: Mutex::new(head),
            in_use: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            turn: Arc::default(),
        })
    }

    /// What is known of it now.
    pub(crate) fn head(&self) -> Head {
        Head {
            used_at: self.used_at.load(Ordering::Relaxed),
            ..self.locked().clone()
        }
    }

    /// Held while it changes; [`Self::is_gone`] tells whether it still may.
    pub(crate) fn locked(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn used(&self, now: u64) {
        self.used_at.fetch_max(now, Ordering::Relaxed);
    }

    /// It stays for other times from here on.
    pub(crate) fn times(&self, head: &Head) {
        self.idle.store(head.idle_seconds, Ordering::Relaxed);
        self.ends_at.store(head.ends_at, Ordering::Relaxed);
    }

    pub(crate) fn expires_at(&self) -> u64 {
        let (used, idle) = (
            self.used_at.load(Ordering::Relaxed),
            self.idle.load(Ordering::Relaxed),
        );
        used.saturating_add(idle)
            .min(self.ends_at.load(Ordering::Relaxed))
    }
}

/// An environment in use: its time does not end it.
pub(crate) struct Using(pub(crate) Arc<Entry>);

impl Drop for Using {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Default)]
struct Set {
    entries: HashMap<Id, Arc<Entry>>,
    accounts: HashMap<String, Holding>,
    all: Holding,
}

/// What somebody has: what is being set up is counted.
#[derive(Clone, Copy, Default)]
struct Holding {
    count: usize,
    bytes: u64,
}

/// Room for an environment that is being set up.
pub(crate) struct Place {
    set: Arc<Mutex<Set>>,
    accounts: Vec<String>,
    is_taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            locked(&self.set).add(&self.accounts, (-1, 0));
        }
    }
}

/// The environments there are.
pub(crate) struct Live {
    set: Arc<Mutex<Set>>,
}

impl Live {
    /// Those that were kept. Of what an earlier clock said no more is taken than the environments' own times; where hosts share
    /// them there is one clock.
    pub(crate) fn taking_up(heads: Vec<Head>, clock: &Clock, is_shared: bool) -> Self {
        let mut set = Set::default();
        let now = clock.seconds();
        for mut head in heads {
            if is_shared {
                set.adopt(head);
                continue;
            }
            let longest = head.ends_at.saturating_sub(head.created_at);
            head.ends_at = head.ends_at.min(now.saturating_add(longest));
            head.used_at = head
                .used_at
                .saturating_add(GRACE)
                .min(now.saturating_add(GRACE));
            set.adopt(head);
        }
        Self {
            set: Arc::new(Mutex::new(set)),
        }
    }

    pub(crate) fn count(&self) -> usize {
        locked(&self.set).entries.len()
    }

    /// Takes a place for one more, where there is one.
    pub(crate) fn reserve(
        &self,
        accounts: Vec<String>,
        settings: &Settings,
    ) -> Result<Place, Exit> {
        let mut set = locked(&self.set);
        if set.most_of(&accounts).count >= settings.per_owner {
            return Err(too_many(format!(
                "this owner, or the network that the request comes from, has {} environments, as many as this host lets one have; remove one",
                settings.per_owner
            )));
        }
        if set.all.count >= settings.environments {
            return Err(too_many(
                "this host has as many environments as it may have",
            ));
        }
        set.add(&accounts, (1, 0));
        Ok(Place {
            set: Arc::clone(&self.set),
            accounts,
            is_taken: false,
        })
    }

    /// Counts the bytes of a state in the place of those of another, where there is room.
    pub(crate) fn exchange(
        &self,
        accounts: &[String],
        (before, after): (u64, u64),
        settings: &Settings,
    ) -> Result<(), Exit> {
        let mut set = locked(&self.set);
        let of_owner = set.most_of(accounts);
        let with = |holding: Holding| holding.bytes.saturating_sub(before).saturating_add(after);
        if after > before && with(of_owner) > settings.stored_per_owner {
            return Err(too_many(format!(
                "the state has {after} bytes; with it the owner's environments keep more than the {} bytes that this host lets one keep",
                settings.stored_per_owner
            )));
        }
        if after > before && with(set.all) > settings.stored {
            return Err(too_many(
                "this host keeps as much of environments as it may keep",
            ));
        }
        set.add(accounts, (0, signed(after).saturating_sub(signed(before))));
        Ok(())
    }

    /// An environment that was set up, in the place that was taken for it; its bytes are counted.
    pub(crate) fn insert(&self, mut place: Place, head: Head) -> Arc<Entry> {
        place.is_taken = true;
        let (id, entry) = (head.id, Entry::new(head));
        locked(&self.set).entries.insert(id, Arc::clone(&entry));
        entry
    }

    /// One that another host set up.
    pub(crate) fn adopt(&self, head: Head) {
        let mut set = locked(&self.set);
        if !set.entries.contains_key(&head.id) {
            set.adopt(head);
        }
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Entry>> {
        locked(&self.set).entries.get(id).cloned()
    }

    /// One of an owner's that has not ended.
    pub(crate) fn find(&self, id: &Id, owner: &str, now: u64) -> Result<Using, Exit> {
        let set = locked(&self.set);
        let entry = set.entries.get(id).filter(|it| it.owner == owner);
        let entry = entry
            .filter(|it| it.expires_at() > now)
            .ok_or_else(unknown)?;
        entry.in_use.fetch_add(1, Ordering::AcqRel);
        entry.used(now);
        Ok(Using(Arc::clone(entry)))
    }

    /// An owner's, oldest first.
    pub(crate) fn of_owner(&self, owner: &str, now: u64) -> Vec<Head> {
        let entries: Vec<_> = {
            let set = locked(&self.set);
            let own = set.entries.values().filter(|it| it.owner == owner);
            own.filter(|it| it.expires_at() > now).cloned().collect()
        };
        let mut heads: Vec<_> = entries.iter().map(|it| it.head()).collect();
        heads.sort_by_key(|head| (head.created_at, head.id));
        heads
    }

    /// All, or those of one owner.
    pub(crate) fn entries(&self, owner: Option<&str>) -> Vec<Arc<Entry>> {
        let set = locked(&self.set);
        let wanted = |it: &&Arc<Entry>| owner.is_none_or(|owner| it.owner == owner);
        set.entries.values().filter(wanted).cloned().collect()
    }

    /// Takes one away. Whoever uses it goes on; nothing that it does is kept.
    pub(crate) fn remove(&self, id: &Id) -> Option<Arc<Entry>> {
        locked(&self.set).remove(id)
    }

    /// Takes away those that ended and that nobody uses, and says when the next one ends.
    pub(crate) fn ended(&self, now: u64) -> (Vec<Arc<Entry>>, Option<u64>) {
        let mut set = locked(&self.set);
        let is_over = |entry: &&Arc<Entry>| {
            entry.in_use.load(Ordering::Acquire) == 0 && entry.expires_at() <= now
        };
        let over: Vec<Id> = (set.entries.values().filter(is_over))
            .map(|it| it.id)
            .collect();
        let ended = over.iter().filter_map(|id| set.remove(id)).collect();
        let next = set.entries.values().map(|it| it.expires_at()).min();
        (ended, next)
    }

    /// Puts one back that was taken away and could not be ended.
    pub(crate) fn put_back(&self, entry: &Arc<Entry>) {
        let mut set = locked(&self.set);
        entry.gone.store(false, Ordering::Release);
        set.entries.insert(entry.id, Arc::clone(entry));
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        locked(&self.set).entries.contains_key(id)
    }

    /// Counts as before an exchange that came to nothing.
    pub(crate) fn undo(&self, accounts: &[String], (before, after): (u64, u64)) {
        let bytes = signed(before).saturating_sub(signed(after));
        locked(&self.set).add(accounts, (0, bytes));
    }

    /// Gives back what an environment kept that was taken away.
    pub(crate) fn release(&self, accounts: &[String], bytes: u64) {
        locked(&self.set).add(accounts, (-1, signed(bytes).saturating_neg()));
    }
}

impl Set {
    fn adopt(&mut self, head: Head) {
        self.add(&head.accounts(), (1, signed(head.state_bytes)));
        self.entries.insert(head.id, Entry::new(head));
    }

    fn remove(&mut self, id: &Id) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(id)?;
        entry.gone.store(true, Ordering::Release);
        Some(entry)
    }

    fn add(&mut self, accounts: &[String], (count, bytes): (isize, i64)) {
        for account in accounts {
            let held = self.accounts.entry(account.clone()).or_default();
            held.add(count, bytes);
            if held.count == 0 {
                self.accounts.remove(account);
            }
        }
        self.all.add(count, bytes);
    }

    /// What the one of some accounts has that has most.
    fn most_of(&self, accounts: &[String]) -> Holding {
        let held = accounts.iter().filter_map(|it| self.accounts.get(it));
        held.fold(Holding::default(), |most, held| Holding {
            count: most.count.max(held.count),
            bytes: most.bytes.max(held.bytes),
        })
    }
}

impl Holding {
    fn add(&mut self, count: isize, bytes: i64) {
        self.count = self.count.saturating_add_signed(count);
        self.bytes = self.bytes.saturating_add_signed(bytes);
    }
}

fn locked(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn too_many(detail: impl Into<String>) -> Exit {
    rejected(Rejection::TooManyEnvironments, detail)
}
