//! Writes that gather until they go to the disk together, and are read before what the store has.

use std::collections::{BTreeMap, btree_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor_store::{Change, Error, Store};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::ROWS;
use super::kept::Kept;

/// When so much has gathered, bytes, whoever writes more waits for the disk.
const MOST: usize = 8 << 20;
/// What an entry takes beside its bytes.
const ENTRY_BYTES: usize = 128;

/// Where a row is in the store.
pub(super) type Place = [u8; 32];
/// What a place is to become: a row as [`Kept::write`] has it, or none.
pub(super) type Entry = Option<Zeroizing<Vec<u8>>>;

type Entries = BTreeMap<Place, Arc<Entry>>;

/// The store, and what is on its way there.
pub(super) struct Gathered {
    store: Store,
    state: Mutex<State>,
    /// Held by whoever brings rows to the disk.
    turn: Mutex<()>,
    /// Told that something was written.
    pub(super) wrote: Notify,
}

#[derive(Default)]
struct State {
    /// Written since the last ones left, and the bytes of that.
    fresh: Entries,
    bytes: usize,
    /// Being committed. Those that are fresh are newer.
    leaving: Arc<Entries>,
    /// Writes so far, and as many of them as have reached the disk.
    written: u64,
    saved: u64,
    /// Whether the last ones could not be brought there.
    is_stuck: bool,
}

impl Gathered {
    pub(super) fn over(store: Store) -> Self {
        Self {
            store,
            state: Mutex::default(),
            turn: Mutex::default(),
            wrote: Notify::new(),
        }
    }

    /// What has reached the store.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Shows a row as it is now. One that does not open is none: whatever is written takes its place.
    pub(super) fn look<T>(
        &self,
        place: &Place,
        look: impl FnOnce(Option<Kept<'_>>) -> T,
    ) -> Result<T, Error> {
        if let Some(entry) = self.waiting(place) {
            let row = entry.as_ref().as_ref();
            return Ok(look(row.and_then(|row| Kept::read(row))));
        }
        let row = match self.store.get(ROWS, place) {
            Err(Error::Authentication(_)) => None,
            row => row?,
        };
        Ok(look(row.as_ref().and_then(|row| Kept::read(&row.value))))
    }

    /// What is to become of a place; none where the store says it.
    pub(super) fn waiting(&self, place: &Place) -> Option<Arc<Entry>> {
        let state = self.state();
        let found = state.fresh.get(place);
        found.or_else(|| state.leaving.get(place)).cloned()
    }

    /// Writes all of these. Who writes to a place is one at a time.
    pub(super) fn put(&self, entries: Vec<(Place, Entry)>) {
        let mut state = self.state();
        for (place, entry) in entries {
            state.bytes = state.bytes.saturating_add(bytes(&entry));
            if let Some(before) = state.fresh.insert(place, Arc::new(entry)) {
                state.bytes = state.bytes.saturating_sub(bytes(&before));
            }
        }
        state.written = state.written.saturating_add(1);
        drop(state);
        self.wrote.notify_one();
    }

    /// Keys in a bucket, by their places behind `after`: what the store has on one page, under what is to become of it, and where the
    /// next page begins, if there is one.
    pub(super) fn page(
        &self,
        bucket: &[u8; 16],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<(Vec<String>, Option<Place>), Error> {
        let key = |row: &[u8]| Kept::read(row).map(|kept| kept.key.to_owned());
        // What reaches the store between these two is in both.
        let waiting = self.waiting_in(bucket, after.unwrap_or_default());
        let page = self.store.scan(ROWS, bucket, after, most)?;
        // Behind a page that is full, the store has to be asked again first.
        let end = page.last().filter(|_| page.len() == most);
        let end = end.and_then(|last| Place::try_from(&*last.key).ok());
        let mut all = BTreeMap::new();
        for scanned in &page {
            if let Ok(place) = Place::try_from(&*scanned.key) {
                let row = scanned.row.as_ref().ok();
                all.insert(place, row.and_then(|row| key(&row.value)));
            }
        }
        let is_here = |place: &Place| end.is_none_or(|end| *place <= end);
        let here = waiting.into_iter().filter(|(place, _)| is_here(place));
        all.extend(
            here.map(|(place, row)| (place, row.as_ref().as_ref().and_then(|row| key(row)))),
        );
        let mut keys = Vec::new();
        let mut all = all.into_iter().peekable();
        while let Some((place, key)) = all.next() {
            keys.extend(key);
            let is_last = all.peek().is_none();
            if (is_last && end.is_some()) || (!is_last && keys.len() == most) {
                return Ok((keys, Some(place)));
            }
        }
        Ok((keys, None))
    }

    fn waiting_in(&self, bucket: &[u8; 16], after: &[u8]) -> Entries {
        let mut first = [0; 32];
        let (head, _) = first.split_at_mut(16);
        head.copy_from_slice(bucket);
        let state = self.state();
        let mut all = BTreeMap::new();
        for entries in [&*state.leaving, &state.fresh] {
            let there = entries.range(first..);
            let there = there.take_while(|(place, _)| place.starts_with(bucket));
            let there = there.filter(|(place, _)| place.as_slice() > after);
            all.extend(there.map(|(place, entry)| (*place, Arc::clone(entry))));
        }
        all
    }

    /// Whether so much has gathered that who writes more is to [`flush`](Self::flush) first.
    pub(super) fn is_behind(&self) -> bool {
        self.state().bytes >= MOST
    }

    /// Whether the disk takes nothing, as far as is known.
    pub(super) fn is_stuck(&self) -> bool {
        self.state().is_stuck
    }

    /// Returns when all that was written before has reached the disk.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let upto = self.state().written;
        let _turn = self.turn();
        let (leaving, written) = {
            let mut state = self.state();
            // Whoever had the turn before may have brought it there.
            if state.saved >= upto {
                return Ok(());
            }
            (state.leave(), state.written)
        };
        let changes: Vec<Change<'_>> = leaving
            .iter()
            .map(|(place, entry)| Change {
                value: entry.as_ref().as_ref().map(|row| row.as_slice()),
                ..Change::delete(ROWS, place)
            })
            .collect();
        let done = self.store.commit(&changes, true);
        let mut state = self.state();
        state.is_stuck = done.is_err();
        match &done {
            Ok(()) => {
                state.saved = written;
                state.leaving = Arc::default();
            }
            Err(_) => state.stay(),
        }
        done
    }

    /// Nothing reaches the disk while this is held.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the end of what protocols keep is lost");
        }
    }
}

impl State {
    fn leave(&mut self) -> Arc<Entries> {
        self.bytes = 0;
        self.leaving = Arc::new(std::mem::take(&mut self.fresh));
        Arc::clone(&self.leaving)
    }

    /// Those that left are not in the store: they leave with the next ones.
    fn stay(&mut self) {
        for (place, entry) in std::mem::take(&mut self.leaving).iter() {
            if let btree_map::Entry::Vacant(free) = self.fresh.entry(*place) {
                self.bytes = self.bytes.saturating_add(bytes(entry));
                free.insert(Arc::clone(entry));
            }
        }
    }
}

fn bytes(entry: &Entry) -> usize {
    let length = entry.as_ref().map_or(0, |row| row.len());
    length.saturating_add(ENTRY_BYTES)
}
