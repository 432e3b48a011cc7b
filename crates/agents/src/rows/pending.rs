//! Writes that have not reached the store yet: what is read instead of what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::kept::{Client, Kept};

/// Where a row is in the store.
pub(super) type Place = [u8; 32];

/// A row that is to be written.
pub(super) struct Fresh {
    pub(super) by: Client,
    pub(super) key: String,
    pub(super) value: Zeroizing<Vec<u8>>,
}

/// What a place is to become: a row, or none.
pub(super) type Entry = Option<Fresh>;

/// Entries by their places.
pub(super) type Entries = BTreeMap<Place, Arc<Entry>>;

/// What an entry takes beside its key and value, bytes.
const ENTRY_BYTES: usize = 128;

/// Entries that are on their way to the store.
#[derive(Default)]
pub(super) struct Pending {
    /// Written since the last ones left.
    fresh: Entries,
    /// Being committed. Those that are fresh are newer.
    leaving: Arc<Entries>,
    /// Bytes of the fresh ones.
    bytes: usize,
}

impl Fresh {
    /// The row as the store has it.
    pub(super) fn kept<'a>(&'a self, component: &'a str) -> Kept<'a> {
        Kept {
            component,
            by: self.by,
            key: &self.key,
            value: &self.value,
        }
    }
}

fn bytes(entry: &Entry) -> usize {
    let length = |fresh: &Fresh| fresh.key.len().saturating_add(fresh.value.len());
    let length = entry.as_ref().map_or(0, length);
    length.saturating_add(ENTRY_BYTES)
}

impl Pending {
    /// What is to become of a place; none where the store says it.
    pub(super) fn find(&self, place: &Place) -> Option<Arc<Entry>> {
        let found = self.fresh.get(place).or_else(|| self.leaving.get(place));
        found.cloned()
    }

    /// Writes an entry.
    pub(super) fn put(&mut self, place: Place, entry: Entry) {
        self.bytes = self.bytes.saturating_add(bytes(&entry));
        if let Some(before) = self.fresh.insert(place, Arc::new(entry)) {
            self.bytes = self.bytes.saturating_sub(bytes(&before));
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to become of the places of a bucket behind `after`: keys, or none for a row that goes.
    pub(super) fn keys(&self, bucket: &[u8; 16], after: &[u8]) -> BTreeMap<Place, Option<String>> {
        let key = |entry: &Entry| entry.as_ref().map(|fresh| fresh.key.clone());
        let mut first = [0; 32];
        let (head, _) = first.split_at_mut(16);
        head.copy_from_slice(bucket);
        let in_bucket = |(place, _): &(&Place, _)| place.starts_with(bucket);
        let mut keys = BTreeMap::new();
        for entries in [&*self.leaving, &self.fresh] {
            let there = entries.range(first..).take_while(in_bucket);
            let there = there.filter(|(place, _)| place.as_slice() > after);
            keys.extend(there.map(|(place, entry)| (*place, key(entry))));
        }
        keys
    }

    /// Has all of them leave.
    pub(super) fn leave(&mut self) -> Arc<Entries> {
        self.bytes = 0;
        self.leaving = Arc::new(std::mem::take(&mut self.fresh));
        Arc::clone(&self.leaving)
    }

    /// Those that left are in the store.
    pub(super) fn arrived(&mut self) {
        self.leaving = Arc::default();
    }

    /// Those that left are not in the store: they leave with the next ones.
    pub(super) fn returned(&mut self) {
        for (place, entry) in std::mem::take(&mut self.leaving).iter() {
            if let std::collections::btree_map::Entry::Vacant(free) = self.fresh.entry(*place) {
                self.bytes = self.bytes.saturating_add(bytes(entry));
                free.insert(Arc::clone(entry));
            }
        }
    }
}
